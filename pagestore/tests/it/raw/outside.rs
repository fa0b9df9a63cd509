//! Another descriptor cuts the file: an error, no death, and never a wrong `Ok`.

use std::{
    fs::File,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use pagestore::{Error, FaultCause, RawFile, RawPoisonCause};

use super::{full_of_places, places, read, read_write, write};
use crate::report::{Random, say, seed};

const LEN: usize = 300_000;
const ROUNDS: u64 = 150;

fn is_cut(error: &Error) -> bool {
    let Error::RawPoisoned { cause, .. } = error else { return false };
    // A fault while the length is still on its way down looks like one of the disk.
    matches!(
        cause,
        RawPoisonCause::Fault { cause: FaultCause::CutShort { .. } | FaultCause::Disk, .. }
    )
}

fn some_range(random: &mut Random) -> (usize, usize) {
    let offset = usize::try_from(random.below(LEN as u64)).unwrap();
    let len_max = if random.one_in(2) { LEN } else { 3000 }.min(LEN - offset);
    (offset, usize::try_from(random.below(len_max as u64)).unwrap() + 1)
}

/// Reads one range in one of the ways there are; `None` where that would have to wait.
fn read_somehow(
    file: &RawFile,
    offset: usize,
    len: usize,
    random: &mut Random,
) -> Option<Result<Vec<u8>, Error>> {
    let (at, mut buffer) = (offset as u64, vec![0xee; len]);
    match random.below(4) {
        0 => Some(read(file, at, len)),
        1 => file.try_read_at(at, &mut buffer).map(|result| result.map(|()| buffer)),
        way if file.is_sealed() => {
            let view = if way == 2 { Some(file.view(at, len)) } else { file.try_view(at, len) };
            // A slice alone promises nothing; who hands on what it made of one asks afterwards.
            view.map(|view| {
                let bytes = view?.to_vec();
                file.still_valid().map(|()| bytes)
            })
        }
        _ => Some(read(file, at, len)),
    }
}

fn round(file: &RawFile, outside: &File, expected: &[u8], random: &mut Random) -> (u64, u64) {
    let (over, right, errors) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let warm = random.one_in(2);
    if warm {
        assert!(read(file, 0, LEN).unwrap() == expected);
    }
    // Most of the time in the middle of a page, where nothing faults.
    let cut = random.below(LEN as u64) & if random.one_in(4) { !4095 } else { !0 };
    thread::scope(|scope| {
        for _ in 0..2 {
            let mut random = random.fork();
            let (over, right, errors) = (&over, &right, &errors);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let (offset, len) = some_range(&mut random);
                    match read_somehow(file, offset, len, &mut random) {
                        Some(Ok(bytes)) => {
                            let right_bytes = &expected[offset..offset + len];
                            assert!(
                                bytes == right_bytes,
                                "a wrong Ok: {len} at {offset}, cut {cut}"
                            );
                            right.fetch_add(1, Ordering::Relaxed);
                        }
                        Some(Err(error)) => {
                            assert!(is_cut(&error), "a cut does not explain {error}");
                            errors.fetch_add(1, Ordering::Relaxed);
                        }
                        None => {}
                    }
                }
            });
        }
        thread::sleep(Duration::from_micros(random.below(400)));
        outside.set_len(cut).unwrap();
        thread::sleep(Duration::from_micros(200));
        over.store(true, Ordering::Relaxed);
    });
    (right.into_inner(), errors.into_inner())
}

#[test]
fn a_cut_from_outside_is_an_error_and_never_a_wrong_ok() {
    let seed = seed();
    let mut random = Random(seed);
    let expected = places(LEN);
    let (mut right, mut errors) = (0, 0);
    for place in ["/dev/shm", env!("CARGO_TARGET_TMPDIR")] {
        let folder = tempfile::tempdir_in(place).unwrap();
        for number in 0..ROUNDS {
            let path = folder.path().join(format!("file{number}"));
            let file = full_of_places(&path, LEN);
            let outside = read_write(&path);
            if number % 2 == 0 {
                file.seal().unwrap();
            }
            let counts = round(&file, &outside, &expected, &mut random);
            (right, errors) = (right + counts.0, errors + counts.1);
            // Now that the cut is done, nothing succeeds any more that looks.
            assert!(is_cut(&file.still_valid().unwrap_err()), "seed {seed}");
            let len = outside.metadata().unwrap().len();
            outside.set_len(LEN as u64).unwrap();
            assert!(is_cut(&read(&file, 0, 1).unwrap_err()), "poisoned for good, seed {seed}");
            assert!(file.is_poisoned(), "cut to {len}, seed {seed}");
            assert!(is_cut(&file.sync().unwrap_err()));
            assert!(is_cut(&file.len().unwrap_err()));
            assert!(is_cut(&file.seal().unwrap_err()));
            assert!(is_cut(&write(&file, 0, b"x").unwrap_err()));
            if file.is_sealed() {
                assert!(is_cut(&file.view(0, 1).unwrap_err()));
                assert!(is_cut(&file.try_view(0, 1).unwrap().unwrap_err()));
            }
        }
    }
    say(&format!(
        "raw, cut from outside: {right} right reads, {errors} errors, 0 false (seed {seed})"
    ));
    assert!(right > 0 && errors > 0, "both were seen");
}

/// A cut in the middle of a page puts zeros behind it without any page fault.
#[test]
fn a_copy_of_a_page_that_was_cut_in_its_middle_is_an_error() {
    type Read = fn(&RawFile) -> Result<(), Error>;
    let at_once: Read = |file| file.try_read_at(8192, &mut [0; 4096]).expect("it is in memory");
    let reads: [Read; 2] = [|file| read(file, 8192, 4096).map(drop), at_once];
    for read_page in reads {
        for sealed in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let file = full_of_places(&path, LEN);
            if sealed {
                file.seal().unwrap();
            }
            read(&file, 0, LEN).unwrap();
            read_page(&file).unwrap();
            read_write(&path).set_len(8192 + 1000).unwrap();
            assert!(is_cut(&read_page(&file).unwrap_err()));
        }
    }
}

/// A write, a sync or a new length does not make a file look whole that was cut.
#[test]
fn writing_to_a_file_that_was_cut_does_not_hide_the_cut() {
    type Change = fn(&RawFile) -> Result<(), Error>;
    let changes: [(&str, Change); 5] = [
        ("append", |file| write(file, LEN as u64, b"more")),
        ("overwrite", |file| write(file, LEN as u64 - 4, b"last")),
        ("set_len", |file| file.set_len(2 * LEN as u64)),
        ("sync", RawFile::sync),
        ("seal", RawFile::seal),
    ];
    for (name, change) in changes {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = full_of_places(&path, LEN);
        read_write(&path).set_len(LEN as u64 / 2).unwrap();
        let error = change(&file).unwrap_err();
        assert!(is_cut(&error), "{name}: {error}");
        assert!(is_cut(&read(&file, 0, 1).unwrap_err()), "{name}");
        assert!(!file.is_sealed());
    }
}
