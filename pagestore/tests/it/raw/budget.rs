//! Raw files under a budget: it is kept, every byte comes back, and what was evicted is not taken for
//! being in memory.
//!
//! Method: files several times as large as the budget are written and read through it; what is in
//! memory is asked of the kernel. Each byte tells its place. Files lie in the target folder: tmpfs
//! has no disk to evict to.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use pagestore::{Error, RawFile, ResidencyBudget};
use tempfile::TempDir;

use super::{MIB, places, read, read_write, write};
use crate::report::Random;

const LIMIT: u64 = 4 * MIB;
const MOST: u64 = LIMIT + LIMIT / 20;
const LEN: u64 = 8 * LIMIT;
const PAGE: usize = 4096;

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn under(budget: &ResidencyBudget, path: &Path) -> RawFile {
    RawFile::options().budget(budget).open(read_write(path), path).unwrap()
}

fn resident(file: &RawFile) -> u64 {
    file.residency().map_or(0, |residency| residency.resident_bytes)
}

/// The bytes of a place in a file where each byte tells its own.
fn content(offset: u64, len: usize) -> Vec<u8> {
    let skipped = usize::try_from(offset % 251).unwrap();
    places(skipped + len).split_off(skipped)
}

/// A mutable file of `len` such bytes.
fn filled(budget: &ResidencyBudget, path: &Path, len: u64) -> RawFile {
    const PIECE: usize = 700_001;
    let file = under(budget, path);
    for offset in (0..len).step_by(PIECE) {
        let piece = PIECE.min(usize::try_from(len - offset).unwrap());
        write(&file, offset, &content(offset, piece)).unwrap();
        assert!(resident(&file) <= MOST, "{} bytes after {offset}", resident(&file));
    }
    file
}

/// The kernel keeps what was written in large pieces in large folios, and drops no part of one.
#[test]
fn a_file_that_lies_in_large_folios_is_cut_down_too() {
    let folder = folder();
    let path = folder.path().join("file");
    let written = read_write(&path);
    for offset in (0..LEN).step_by(2 << 20) {
        written.write_all_at(&content(offset, 2 << 20), offset).unwrap();
    }
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let file = under(&budget, &path);
    assert!(resident(&file) <= LIMIT, "{} bytes after joining", resident(&file));
    for offset in (0..LEN).step_by(100_000) {
        let len = PAGE.min(usize::try_from(LEN - offset).unwrap());
        assert!(read(&file, offset, len).unwrap() == content(offset, len), "at {offset}");
        assert!(resident(&file) <= MOST, "{} bytes at {offset}", resident(&file));
    }
}

#[test]
fn a_file_of_eight_times_the_budget_goes_through_it() {
    let folder = folder();
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let file = filled(&budget, &folder.path().join("file"), LEN);
    let stats = budget.stats();
    assert!(stats.written_back_bytes >= LEN - 2 * LIMIT, "{stats:?}");
    assert!(stats.evicted_bytes >= LEN - LIMIT, "{stats:?}");
    let check = |bytes: &[u8], offset: u64| {
        assert!(*bytes == content(offset, bytes.len()), "{} bytes at {offset}", bytes.len());
        assert!(resident(&file) <= MOST, "{} bytes at {offset}", resident(&file));
        assert!(budget.stats().used_bytes <= LIMIT);
    };
    let mut random = Random(7);
    for seals in [false, true] {
        if seals {
            file.seal().unwrap();
        }
        let faults = budget.stats().faults;
        for offset in (0..LEN - MIB).step_by(300_007) {
            check(&read(&file, offset, 300_007).unwrap(), offset);
        }
        assert!(budget.stats().faults > faults, "what was evicted is brought in again");
        for _ in 0..500 {
            let offset = random.below(LEN - 9000);
            let len = 1 + usize::try_from(random.below(9000)).unwrap();
            check(&read(&file, offset, len).unwrap(), offset);
            if seals {
                check(&file.view(offset, len).unwrap(), offset);
                check(&file.view_in_memory(offset, len).unwrap(), offset);
            }
        }
        // More than the budget holds, in one call.
        let half = usize::try_from(LEN / 2).unwrap();
        check(&read(&file, 3, half).unwrap(), 3);
    }
    let whole = file.view(0, usize::try_from(LEN).unwrap()).unwrap();
    assert!(whole == content(0, whole.len()), "views fault again");
    budget.enforce().unwrap();
    assert!(resident(&file) <= MOST, "what came in under the view is evicted");
    let path = file.path().to_owned();
    drop((file, whole));
    assert_eq!(budget.stats().used_bytes, 0);
    let left = resident(&RawFile::open(File::open(&path).unwrap(), &path).unwrap());
    assert!(left <= LIMIT / 20, "what was charged goes with the file: {left}");
}

#[test]
fn what_was_evicted_is_not_answered_at_once() {
    let folder = folder();
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let file = filled(&budget, &folder.path().join("file"), MIB);
    for seals in [false, true] {
        if seals {
            file.seal().unwrap();
        }
        let whole = usize::try_from(MIB).unwrap();
        let mut buffer = vec![0; whole];
        file.read_at(0, &mut buffer).unwrap();
        for len in [1, PAGE, whole] {
            assert!(file.try_read_at(0, &mut buffer[..len]).is_some(), "{len} bytes are there");
        }
        // Well within the time for which a look at the pages counts.
        drop(budget.reserve(LIMIT).unwrap());
        let left = resident(&file);
        // A page that the kernel has in its hands for a moment stays until the next look.
        assert!(left <= MIB / 16, "{left}");
        let at_once = [1, PAGE, whole].map(|len| {
            let copied = file.try_read_at(0, &mut buffer[..len]).is_some();
            copied || seals && file.try_view(0, len).is_some()
        });
        assert_eq!(at_once, [false; 3], "sealed: {seals}");
        assert!(resident(&file) <= left, "looking brings nothing in");
        assert_eq!(read(&file, 0, whole).unwrap(), content(0, whole));
    }
}

/// A thread that must not wait charges only where there is room.
#[test]
fn what_others_brought_in_is_charged_before_it_is_answered() {
    let folder = folder();
    let budget = ResidencyBudget::new(MIB).unwrap();
    let path = folder.path().join("file");
    let file = filled(&budget, &path, 2 * MIB);
    file.seal().unwrap();
    let offset = MIB;
    let bring_in = || {
        let outside = File::open(&path).unwrap();
        outside.read_exact_at(&mut [0; PAGE], offset).unwrap();
    };
    let full = budget.reserve(MIB).unwrap();
    bring_in();
    assert!(file.try_view(offset, PAGE).is_none(), "there is no room");
    let refused = file.view(offset, PAGE).unwrap_err();
    assert!(matches!(refused, Error::BudgetExceeded { .. }), "{refused}");
    drop(full);
    bring_in();
    assert_eq!(budget.stats().used_bytes, 0);
    let view = file.try_view(offset, PAGE).expect("it is in memory and there is room").unwrap();
    assert_eq!(view, content(offset, PAGE));
    assert_eq!(budget.stats().used_bytes, PAGE as u64);
}

#[test]
fn what_is_cut_off_is_given_back() {
    let folder = folder();
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let file = filled(&budget, &folder.path().join("file"), 2 * MIB);
    assert_eq!(budget.stats().used_bytes, 2 * MIB);
    file.set_len(MIB / 2).unwrap();
    assert_eq!(budget.stats().used_bytes, MIB / 2);
    file.set_len(MIB).unwrap();
    assert_eq!(read(&file, MIB / 2 - 1, 3).unwrap()[1..], [0, 0]);
}

#[test]
fn a_file_under_a_budget_ends_before_sixteen_tib() {
    let folder = folder();
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let file = under(&budget, &folder.path().join("file"));
    let refused = write(&file, 1 << 44, b"x").unwrap_err();
    let refused = pagestore::WithCauses(&refused).to_string();
    assert!(refused.contains("open it without one"), "{refused}");
    assert_eq!(file.len().unwrap(), 0);
    // ext4 has no longer ones than 16 TiB itself, less a block.
    write(&file, (1 << 43) - 1, b"x").unwrap();
    assert_eq!(read(&file, (1 << 43) - 2, 2).unwrap(), *b"\0x");
}

/// Two who write and two who read a file of 16 times the budget, from which a third takes the room
/// all the time.
#[test]
fn threads_lose_nothing_while_pages_are_evicted_under_them() {
    const PIECE: usize = 50_000;
    const PIECES: u64 = 16 * MIB / PIECE as u64;
    let folder = folder();
    let budget = ResidencyBudget::new(MIB).unwrap();
    let file = under(&budget, &folder.path().join("file"));
    file.set_len(PIECES * PIECE as u64).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (file, budget, over) = (&file, &budget, &over);
        let writers = (0..2_u64).map(|seed| {
            scope.spawn(move || {
                let mut random = Random(seed);
                for count in 0..1500_u64 {
                    let piece = random.below(PIECES);
                    let byte = u8::try_from(count % 255).unwrap();
                    write(file, piece * PIECE as u64, &[byte; PIECE]).unwrap();
                }
            })
        });
        let readers = (2..4_u64).map(|seed| {
            scope.spawn(move || {
                let mut random = Random(seed);
                let mut buffer = vec![0; PIECE];
                while !over.load(Ordering::Relaxed) {
                    let offset = random.below(PIECES) * PIECE as u64;
                    match file.try_read_at(offset, &mut buffer) {
                        Some(read) => read.unwrap(),
                        None => file.read_at(offset, &mut buffer).unwrap(),
                    }
                    let first = buffer[0];
                    assert!(buffer.iter().all(|&byte| byte == first), "half a write at {offset}");
                }
            })
        });
        let (writers, readers): (Vec<_>, Vec<_>) = (writers.collect(), readers.collect());
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                drop(budget.reserve(MIB / 2).unwrap());
                file.sync().unwrap();
                assert!(budget.stats().used_bytes <= MIB);
            }
        });
        let written: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        written.into_iter().for_each(Result::unwrap);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    budget.enforce().unwrap();
    assert!(resident(&file) <= MIB + MIB / 20, "{}", resident(&file));
    let mut expected = vec![0_u8; usize::try_from(PIECES).unwrap()];
    // Which of the two wrote last, nobody knows; but each piece shows one of them.
    for seed in 0..2 {
        let mut random = Random(seed);
        for _ in 0..1500 {
            expected[usize::try_from(random.below(PIECES)).unwrap()] = 1;
        }
    }
    let written = expected.iter().filter(|&&piece| piece == 1).count();
    assert!(written > 300, "most pieces were written");
    drop(file);
    assert_eq!(budget.stats().used_bytes, 0, "no charge is lost");
}
