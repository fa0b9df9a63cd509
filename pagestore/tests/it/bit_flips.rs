//! No single changed bit of a sealed file goes unnoticed, and no page in a wrong place.
//!
//! Method: every bit of a small sealed file is flipped in turn, by a write past the mapping, and
//! the file is opened anew each time. Either opening refuses it or `verify` reports it; a flip in
//! the data also shows when the page is borrowed.

use std::{
    fs::{self, OpenOptions},
    ops::{ControlFlow, Range},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use pagestore::{Error, Existing, FilePart, PageId, PageSize, PageWriter, SealedFile, Slot};

const PAGE: usize = 4096;
const DATA: Range<usize> = 2 * PAGE..4 * PAGE;

/// Two pages, the second one filled to a half.
fn sealed(path: &Path, fill: u8) -> Vec<u8> {
    let payload: Vec<u8> = (0..6000_u32).map(|number| (number % 251) as u8 ^ fill).collect();
    let mut writer = PageWriter::options().existing(Existing::Replace).create(path).unwrap();
    writer.append(&payload).unwrap();
    assert!(writer.seal().unwrap().verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
    fs::read(path).unwrap()
}

/// What is found of damage: a word for each kind, empty where nothing is.
fn found(path: &Path) -> Vec<String> {
    match SealedFile::open(path) {
        Err(error) => vec![error.to_string()],
        Ok(file) => {
            let report = file.verify(|_| ControlFlow::Continue(())).unwrap();
            let bad = report.bad_pages.iter().map(|bad| format!("page {}", bad.page));
            bad.chain(report.damage.iter().map(ToString::to_string)).collect()
        }
    }
}

/// Writes to the file past every mapping; nobody may have it open to read meanwhile.
fn write_at(path: &Path, bytes: &[u8], at: u64) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

struct Flipper {
    path: PathBuf,
    good: Vec<u8>,
}

impl Flipper {
    fn new(path: PathBuf) -> Self {
        let good = sealed(&path, 0);
        Self { path, good }
    }

    /// Flips each bit of the bytes in turn.
    fn run(&self, bytes: Range<usize>) {
        for at in bytes {
            for bit in 0..8 {
                write_at(&self.path, &[self.good[at] ^ (1 << bit)], at as u64);
                let found = found(&self.path);
                assert!(!found.is_empty(), "bit {bit} of byte {at} went unnoticed");
                if DATA.contains(&at) {
                    let page = (at - DATA.start) / PAGE;
                    assert_eq!(found, [format!("page {page}")], "bit {bit} of byte {at}");
                    check_borrow(&self.path, page as u64);
                }
            }
            write_at(&self.path, &self.good[at..=at], at as u64);
        }
        assert_eq!(found(&self.path), [""; 0], "every bit was put back");
    }
}

/// Borrowing the damaged page is an error that names it; the other page is fine.
fn check_borrow(path: &Path, damaged: u64) {
    let file = SealedFile::open(path).unwrap();
    let error = file.page(PageId::new(damaged)).unwrap_err();
    let Error::Checksum { page, found, expected, .. } = &error else { panic!("{error}") };
    assert_eq!(page.get(), damaged);
    assert_ne!(found, expected);
    file.page(PageId::new(1 - damaged)).unwrap();
    assert!(matches!(file.pages(..), Err(Error::Checksum { page, .. }) if page.get() == damaged));
}

fn flip_all(bytes: impl FnOnce(usize) -> Range<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let flipper = Flipper::new(folder.path().join("file"));
    flipper.run(bytes(flipper.good.len()));
}

// Four tests, so that they run beside each other.

#[test]
fn every_bit_of_the_header() {
    flip_all(|_| 0..DATA.start);
}

#[test]
fn every_bit_of_the_first_page() {
    flip_all(|_| DATA.start..DATA.start + PAGE);
}

#[test]
fn every_bit_of_the_second_page() {
    flip_all(|_| DATA.start + PAGE..DATA.end);
}

#[test]
fn every_bit_of_the_table_and_the_seal() {
    flip_all(|len| DATA.end..len);
}

/// The zeros between the header and the first page exist with larger pages only.
#[test]
fn a_bit_in_each_byte_before_a_large_first_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let size = PageSize::new(16 << 10).unwrap();
    PageWriter::options().page_size(size).create(&path).unwrap().seal().unwrap();
    for at in 8192..16_384 {
        write_at(&path, &[1 << (at % 8)], at);
        let [found] = &found(&path)[..] else { panic!("byte {at} went unnoticed") };
        assert!(found.contains(&format!("byte {at} of the file must be zero")), "{found}");
        write_at(&path, &[0], at);
    }
}

#[test]
fn a_page_in_another_place_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut bytes = sealed(&path, 0);
    let (first, second) = bytes[DATA].split_at_mut(PAGE);
    first.swap_with_slice(second);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(found(&path), ["page 0", "page 1"]);
    // One page written over the other, as a misdirected write does it.
    let good = sealed(&path, 0);
    let mut bytes = good;
    bytes.copy_within(DATA.start..DATA.start + PAGE, DATA.start + PAGE);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(found(&path), ["page 1"]);
}

#[test]
fn the_same_page_of_another_file_is_found_even_with_the_same_bytes_around_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("file"), folder.path().join("other"));
    let mut bytes = sealed(&path, 0);
    let strange = sealed(&other, 1);
    bytes[DATA.start..DATA.start + PAGE].copy_from_slice(&strange[DATA.start..DATA.start + PAGE]);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(found(&path), ["page 0"]);
    // With its entry in the table too: the uuid in the checksum and the table's own one tell.
    let table = DATA.end..DATA.end + 4;
    bytes[table.clone()].copy_from_slice(&strange[table]);
    fs::write(&path, &bytes).unwrap();
    let found = found(&path);
    assert_eq!(found[0], "page 0");
    assert!(found[1].contains("the checksum table is damaged"), "{found:?}");
}

/// What a file that was made again under the same name held before: a write that got lost.
#[test]
fn a_stale_page_of_the_earlier_file_of_that_name_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let stale = sealed(&path, 7);
    let mut bytes = sealed(&path, 0);
    bytes[DATA.start + PAGE..DATA.end].copy_from_slice(&stale[DATA.start + PAGE..DATA.end]);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(found(&path), ["page 1"]);
    check_borrow(&path, 1);
}

#[test]
fn a_damaged_superblock_is_named_by_its_slot() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for (slot, number, start) in [(Slot::First, 0, 0), (Slot::Second, 1, 4096)] {
        // In the magic bytes, a field, and the checksum.
        for at in [0, 7, 20, 255] {
            let good = sealed(&path, 0);
            write_at(&path, &[good[start + at] ^ 1], (start + at) as u64);
            let file = SealedFile::open(&path).unwrap();
            let report = file.verify(|_| ControlFlow::Continue(())).unwrap();
            let [damage] = report.damage[..] else { panic!("{report:?}") };
            assert_eq!(damage.part, FilePart::Slot(slot), "byte {at}");
            let words = format!("superblock slot {number} is damaged");
            assert!(damage.to_string().starts_with(&words), "{damage}");
        }
    }
}

#[test]
fn all_damage_is_reported_not_only_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut bytes = sealed(&path, 0);
    let end = bytes.len();
    for at in [300, 4096 + 100, DATA.start, DATA.end - 1, DATA.end + 100, end - 1] {
        bytes[at] ^= 0x40;
    }
    fs::write(&path, &bytes).unwrap();
    let report = SealedFile::open(&path).unwrap().verify(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!(report.pages.get(), 2);
    assert_eq!(report.bad_pages.iter().map(|bad| bad.page.get()).collect::<Vec<_>>(), [0, 1]);
    let parts: Vec<_> = report.damage.iter().map(|damage| damage.part).collect();
    let second = FilePart::Slot(Slot::Second);
    assert_eq!(parts, [second, FilePart::Header, FilePart::TablePadding, FilePart::Seal]);
    assert!(!report.is_ok());
}
