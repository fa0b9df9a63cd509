//! A bit, a page or the end of a file is not what it was: found, or without any effect, and never a wrong page.
//!
//! Method: a small file is copied while it is open, which is what the death of its process leaves, and after it
//! was closed. Each copy is damaged in one place and opened, and every page is read. It must show the last
//! commit, or say what is wrong.

use std::{fs, ops::ControlFlow, path::Path};

use pagestore::{Error, PageId, VersionedFile, VersionedFileOptions, VersionedGeometry};
use tempfile::{TempDir, tempdir_in};

use super::{count, fill, index, page, small_log};

const PAGES: u64 = 6;
const COMMITS: u8 = 5;

/// The bytes of a file of five commits, while it is open and after it was closed, and what it says then.
fn files() -> ([Vec<u8>; 2], Vec<Vec<u8>>) {
    let folder = in_memory();
    let path = folder.path().join("file");
    let file = options().create(&path).unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(PAGES)).unwrap();
    (0..PAGES - 1).for_each(|number| fill(&mut transaction, number, 1));
    transaction.commit().unwrap();
    for byte in 2..=COMMITS {
        let mut transaction = file.begin().unwrap();
        fill(&mut transaction, u64::from(byte) % (PAGES - 1), byte);
        fill(&mut transaction, 0, byte);
        transaction.commit().unwrap();
    }
    let open = fs::read(&path).unwrap();
    let snapshot = file.snapshot().unwrap();
    let pages = (0..PAGES).map(|number| snapshot.page(page(number)).unwrap().to_vec()).collect();
    drop(snapshot);
    file.close().unwrap();
    ([open, fs::read(&path).unwrap()], pages)
}

/// A folder in memory: thousands of files are opened, each with its syncs.
fn in_memory() -> TempDir {
    tempdir_in("/dev/shm").unwrap()
}

fn options() -> VersionedFileOptions {
    small_log().checkpoints(pagestore::Checkpoints::WhenFull)
}

/// What became of a damaged file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Error,
    Nothing,
}

/// Opens a file and reads it; panics where it says something that is not so.
fn look(path: &Path, bytes: &[u8], pages: &[Vec<u8>], what: &str) -> Found {
    fs::write(path, bytes).unwrap();
    // Before it is opened, since that may recover it.
    let verified = verify(path, bytes, pages);
    let found = (|| {
        let file = options().open(path)?;
        let snapshot = file.snapshot()?;
        assert_eq!(snapshot.page_count().get(), PAGES, "{what}");
        let mut damaged = Ok(Found::Nothing);
        for (number, expected) in pages.iter().enumerate() {
            match snapshot.page(PageId::new(number as u64)) {
                Ok(bytes) => assert_eq!(bytes, expected, "{what}: page {number} is wrong"),
                Err(error) => damaged = Err(error),
            }
        }
        damaged
    })();
    if found.is_err() {
        assert_ne!(verified, Found::Nothing, "{what}: a verification overlooked it");
    }
    match found {
        Ok(found) => found,
        Err(error @ (Error::Format { .. } | Error::Checksum { .. })) => {
            assert!(!error.to_string().is_empty());
            Found::Error
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

/// Verifies a file, which must not change it.
fn verify(path: &Path, bytes: &[u8], pages: &[Vec<u8>]) -> Found {
    let report = VersionedFile::verify(path, |_| ControlFlow::Continue(()));
    assert!(fs::read(path).unwrap() == bytes, "a verification wrote to the file");
    match report {
        Ok(report) if report.is_ok() => {
            assert_eq!(report.pages.get(), pages.len() as u64);
            Found::Nothing
        }
        _ => Found::Error,
    }
}

fn geometry() -> VersionedGeometry {
    VersionedGeometry::new(pagestore::PageSize::DEFAULT, 128 << 10).unwrap()
}

/// The places that bits of each byte are flipped in, and those of which a byte in a while is.
fn places() -> (Vec<usize>, Vec<usize>) {
    let geometry = geometry();
    let at = index;
    let log = at(geometry.half_start(layout::LogHalf::First));
    let table = at(geometry.stamp_offset(page(0)));
    let data = at(geometry.page_offset(page(0)));
    let mut every: Vec<_> = (0..256).chain(4096..4096 + 256).chain(8192..8192 + 64).collect();
    every.extend(table..table + index(PAGES) * 16);
    // The heads of the five records: the first has 5 images, the others 2.
    let mut head = log;
    for images in [5, 2, 2, 2, 2] {
        every.extend(head..head + 128 + 16 * images);
        head += 4096 * (1 + images);
    }
    let some = (log..head).chain(data..data + index(PAGES) * 4096).step_by(211).collect();
    (every, some)
}

#[test]
fn flipped_bits_are_found_or_harmless() {
    let (files, pages) = files();
    let folder = in_memory();
    let path = folder.path().join("damaged");
    let (every, some) = places();
    for (bytes, state) in files.iter().zip(["open", "closed"]) {
        let mut errors = 0;
        // Two bits of each byte; what matters is the byte's place.
        let bits = |place: usize| [place % 8, (place + 5) % 8];
        let flips = every.iter().flat_map(|&place| bits(place).map(|bit| (place, bit)));
        let flips = flips.chain(some.iter().map(|&place| (place, place % 8)));
        for (place, bit) in flips {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << bit;
            let what = format!("{state}, byte {place}, bit {bit}");
            errors += u64::from(look(&path, &damaged, &pages, &what) == Found::Error);
        }
        assert!(errors > 300, "{state}: {errors} were found");
    }
}

#[test]
fn every_length_a_file_can_be_cut_to_is_found_or_harmless() {
    let (files, pages) = files();
    let folder = in_memory();
    let path = folder.path().join("damaged");
    for (bytes, state) in files.iter().zip(["open", "closed"]) {
        for len in (0..bytes.len()).step_by(2048) {
            let found = look(&path, &bytes[..len], &pages, &format!("{state}, cut to {len}"));
            // What only grew since the checkpoint is in the log.
            assert!(found == Found::Error || state == "open", "{state}, cut to {len}");
        }
    }
}

#[test]
fn pages_that_are_zeroed_swapped_or_old_are_found() {
    let (files, pages) = files();
    let folder = in_memory();
    let path = folder.path().join("damaged");
    let closed = &files[1];
    let at = |number: u64| index(geometry().page_offset(page(number)));
    let check = |what: &str, damage: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = closed.clone();
        damage(&mut bytes);
        assert_ne!(&bytes, closed, "{what}");
        assert_eq!(look(&path, &bytes, &pages, what), Found::Error, "{what}");
    };
    for number in 0..PAGES - 1 {
        check("zeroed", &|bytes| bytes[at(number)..at(number) + 4096].fill(0));
        check("swapped", &|bytes| {
            let other = (number + 1) % PAGES;
            let one = bytes[at(number)..at(number) + 4096].to_vec();
            bytes.copy_within(at(other)..at(other) + 4096, at(number));
            bytes[at(other)..at(other) + 4096].copy_from_slice(&one);
        });
        // What the first commit wrote, the bytes of all but the last of its pages.
        if pages[index(number)][0] != 1 {
            check("an older version", &|bytes| bytes[at(number)..at(number) + 4096].fill(1));
        }
        let stamp = |number: u64| index(geometry().stamp_offset(page(number)));
        check("its stamp is another's", &|bytes| {
            let other = (number + 1) % PAGES;
            bytes.copy_within(stamp(other)..stamp(other) + 16, stamp(number));
        });
        check("its stamp is gone", &|bytes| bytes[stamp(number)..stamp(number) + 16].fill(0));
    }
}

#[test]
fn the_log_of_another_file_or_of_an_older_copy_is_found() {
    let ([open, _], pages) = files();
    let ([other, _], _) = files();
    let folder = in_memory();
    let path = folder.path().join("damaged");
    let log = index(VersionedGeometry::LOG_START)..index(geometry().groups_start());
    let mut swapped = open.clone();
    swapped[log.clone()].copy_from_slice(&other[log.clone()]);
    assert_eq!(look(&path, &swapped, &pages, "another file's log"), Found::Error);
    let mut emptied = open.clone();
    emptied[log].fill(0);
    assert_eq!(look(&path, &emptied, &pages, "no log"), Found::Error);
    assert_eq!(look(&path, &open, &pages, "nothing"), Found::Nothing);
}

/// The mark is not synced, so a crash may have lost it; then the slot that says that the log is needed is all
/// that tells of it, and where that is damaged, the records themselves.
#[test]
fn a_damaged_slot_does_not_make_an_older_one_right() {
    let ([open, _], pages) = files();
    let folder = in_memory();
    let path = folder.path().join("damaged");
    let mut unmarked = open;
    unmarked[8192..8192 + 64].fill(0);
    assert_eq!(look(&path, &unmarked, &pages, "no mark"), Found::Nothing);
    let mut damaged = unmarked;
    damaged[4096 + 30] ^= 1;
    assert_eq!(look(&path, &damaged, &pages, "no mark, and a damaged slot"), Found::Error);
}
