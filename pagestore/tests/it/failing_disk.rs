//! A disk that fails at every place it can: no error is kept quiet, and nothing that was said to be
//! on the disk is missing there.
//!
//! Method: a FUSE filesystem (`filesystem.rs`) counts the operations that the kernel asks of it. Each
//! workload is run again and again, with the first, second, third... read (or write, or other
//! operation) made to fail, by EIO or by ENOSPC, once or from then on, until the workload ends before
//! the failure comes. Each operation fails in one of these ways in a run, and in all of them where
//! `PAGESTORE_TEST_ALL_FAILURES` is set. A workload notes what it was promised: the pages of a flush that returned `Ok`,
//! a file whose `seal` did. Then the disk is healed and the files are opened again, whereupon the
//! kernel forgets what it had of them; then the filesystem is thrown back to what was made durable,
//! as a crash would, and they are opened once more. Each time, every promise must hold.
//!
//! Both ways of the kernel with a FUSE filesystem are tried: sending at once what write(2) writes,
//! and keeping it for later as a disk's filesystem does. Stores to a mapping are sent later in both;
//! msync(2) reports their failure in both.

mod disk;
mod filesystem;
mod full_backing;
mod transactions;
mod ways;
mod workloads;

use disk::{FailingDisk, Writes};
use filesystem::{CUT_SHORT, Fault, Kind};
use pagestore::{
    Error, FaultCause, Lease, PageCount, PageFile, PageId, PageWriter, PoisonCause, ResidencyBudget,
};
use ways::numbers;
use workloads::{WORKLOADS, Workload};

use crate::{child, report::say, skip};

/// The name of the test below, which the server is a child of.
const SERVER: &str = "without_a_failure_the_disk_keeps_what_is_written_and_a_crash_what_is_synced";

#[test]
fn without_a_failure_the_disk_keeps_what_is_written_and_a_crash_what_is_synced() {
    if let Some(path) = child::path() {
        return disk::serve(&path);
    }
    for writes in [Writes::Through, Writes::Back] {
        let mut disk = match FailingDisk::new(SERVER, writes) {
            Ok(disk) => disk,
            Err(reason) => return skip::skipped(SERVER, &reason),
        };
        let path = |name: &str| disk.path().join(name);
        let (synced, unsynced, unnamed) = (path("synced"), path("unsynced"), path("unnamed"));
        // FUSE has leases as well.
        let sealed = PageWriter::create(path("sealed")).unwrap().seal().unwrap();
        assert_eq!(sealed.lease(), Lease::Held);
        drop(sealed);
        std::fs::write(&synced, [1; 50_000]).unwrap();
        std::fs::write(&unsynced, [2; 50_000]).unwrap();
        std::fs::File::open(&synced).unwrap().sync_all().unwrap();
        std::fs::File::open(disk.path()).unwrap().sync_all().unwrap();
        std::fs::write(&unnamed, [3; 50_000]).unwrap();
        std::fs::File::open(&unnamed).unwrap().sync_all().unwrap();
        let read = std::fs::read(&unsynced).unwrap();
        assert_eq!(read, [2; 50_000]);
        disk.crash();
        assert_eq!(std::fs::read(&synced).unwrap(), [1; 50_000]);
        assert_eq!(std::fs::read(&unsynced).unwrap(), []);
        assert!(!unnamed.exists());
    }
}

/// Fails every operation of every kind of one workload in turn, in one way or in all ([`numbers`]).
fn fail_all(test: &str, workload: &Workload) {
    for &writes in workload.writes {
        let mut disk = match FailingDisk::new(SERVER, writes) {
            Ok(disk) => disk,
            Err(reason) => return skip::skipped(test, &reason),
        };
        let mut tallies = Vec::new();
        for kind in Kind::ALL {
            let (mut cases, mut errors) = (0, 0);
            let ways = [libc::EIO, libc::ENOSPC].map(|errno| [(errno, true), (errno, false)]);
            let ways = ways.concat();
            for (way, &(errno, once)) in ways.iter().enumerate() {
                for number in numbers(way, ways.len()) {
                    let fault = Fault { kind, number, errno, once };
                    let case = workload.run(&mut disk, &fault);
                    if case.fired == 0 {
                        break;
                    }
                    cases += 1;
                    errors += u64::from(case.errors > 0);
                    assert!(number < 1000, "the workload does not end");
                }
            }
            tallies.push(format!("{kind:?} {cases} cases, {errors} with an error"));
        }
        let name = workload.name;
        say(&format!("failing disk, {name}, {writes:?}: {}; 0 false", tallies.join("; ")));
    }
}

/// Nothing of the kernel's says so; only the look at the length behind the msync does.
#[test]
fn a_file_cut_short_during_a_flush_is_no_success() {
    let mut disk = match FailingDisk::new(SERVER, Writes::Through) {
        Ok(disk) => disk,
        Err(reason) => {
            return skip::skipped("a_file_cut_short_during_a_flush_is_no_success", &reason);
        }
    };
    let file = PageFile::create(disk.path().join("file")).unwrap();
    file.grow(PageCount::new(20)).unwrap();
    file.flush().unwrap();
    file.page_mut(PageId::new(19)).unwrap().fill(1);
    // One page is written, then the fsync comes.
    let fault = Fault { kind: Kind::Write, number: 2, errno: CUT_SHORT, once: true };
    disk.arm(&fault);
    let flushed = file.flush();
    assert_eq!(disk.heal(), 1);
    let cut = PoisonCause::Fault(FaultCause::CutShort { file_len: 11 * 4096 });
    match flushed {
        Err(Error::Poisoned { pages, cause, .. }) => {
            assert_eq!((pages.start().get(), cause), (9, cut));
        }
        other => panic!("false Ok: {other:?}"),
    }
    assert!(matches!(file.flush(), Err(Error::Poisoned { .. })));
    assert!(matches!(file.still_valid(), Err(Error::Poisoned { .. })));
}

/// Whoever needs room hears that what is in the way cannot be written; that file is poisoned, and
/// what is good goes on with the room that it does not take.
#[test]
fn an_eviction_whose_flush_fails_poisons_the_file_and_says_so() {
    let test = "an_eviction_whose_flush_fails_poisons_the_file_and_says_so";
    for writes in [Writes::Through, Writes::Back] {
        let mut disk = match FailingDisk::new(SERVER, writes) {
            Ok(disk) => disk,
            Err(reason) => return skip::skipped(test, &reason),
        };
        let budget = ResidencyBudget::new(1 << 20).unwrap();
        let options = PageFile::options().budget(&budget);
        let (bad_path, good_path) = (disk.path().join("bad"), disk.path().join("good"));
        let good = options.create(&good_path).unwrap();
        good.grow(PageCount::new(512)).unwrap();
        good.flush().unwrap();
        let bad = options.create(&bad_path).unwrap();
        bad.grow(PageCount::new(100)).unwrap();
        bad.flush().unwrap();
        bad.pages_mut(..).unwrap().fill(1);
        let fault = Fault { kind: Kind::Write, number: 1, errno: libc::EIO, once: true };
        disk.arm(&fault);
        // Read from end to end, it needs all the room there is.
        let read = |page: u64| good.page(PageId::new(page)).map(|guard| guard[0]);
        let refused = (0..512).find_map(|page| read(page).err()).expect("a flush failed");
        assert!(
            matches!(&refused, Error::FlushFailed { path, .. } if *path == bad_path),
            "{refused}"
        );
        assert_eq!(disk.heal(), 1);
        assert!(matches!(bad.flush(), Err(Error::Poisoned { .. })), "it is never tried again");
        // It was told once, and then there is room elsewhere.
        for page in (0..512).chain(0..512) {
            assert_eq!(read(page).unwrap(), 0, "{writes:?}, page {page}");
        }
        let stats = budget.stats();
        assert!(stats.used_bytes <= 1 << 20, "{stats:?}");
        // What could not be written is still in memory, and charged.
        assert!(stats.used_bytes >= 100 * 4096, "{stats:?}");
        assert!(bad.page(PageId::new(99)).unwrap().iter().all(|&byte| byte == 1));
        let nothing_left = budget.reserve(900 << 10).unwrap_err();
        assert!(matches!(nothing_left, Error::Poisoned { .. }), "{nothing_left}");
        let saved = bad.recover_into(disk.path().join("saved")).unwrap();
        assert_eq!(saved.pages.get(), 100);
        drop(bad);
        drop(budget.reserve(900 << 10).unwrap());
    }
}

#[test]
fn creating_growing_and_updating() {
    fail_all("creating_growing_and_updating", &WORKLOADS[0]);
}

#[test]
fn reopening_and_updating() {
    fail_all("reopening_and_updating", &WORKLOADS[1]);
}

#[test]
fn appending_and_sealing() {
    fail_all("appending_and_sealing", &WORKLOADS[2]);
}

#[test]
fn appending_more_than_a_chunk_and_sealing() {
    fail_all("appending_more_than_a_chunk_and_sealing", &WORKLOADS[3]);
}

#[test]
fn replacing_a_sealed_file() {
    fail_all("replacing_a_sealed_file", &WORKLOADS[4]);
}

#[test]
fn reading_and_verifying_a_sealed_file() {
    fail_all("reading_and_verifying_a_sealed_file", &WORKLOADS[5]);
}

#[test]
fn committing_in_a_versioned_file() {
    fail_all("committing_in_a_versioned_file", &transactions::TRANSACTIONS);
}

#[test]
fn opening_a_versioned_file_after_a_crash() {
    fail_all("opening_a_versioned_file_after_a_crash", &transactions::AFTER_A_CRASH);
}
