//! Pages that are whole and in the wrong place.
//!
//! Purpose: a page that comes with its own checksum, from another place or another file, is found
//! when it is borrowed, though bytes and checksum match. Method: pages are exchanged together with
//! their entries in the checksum table; only what a checksum says beyond the bytes can tell.

use std::{fs, ops::ControlFlow, path::Path};

use pagestore::{Error, PageId, PageWriter, SealedFile};

const PAGE_LEN: usize = 4096;
const DATA_START: usize = 8192;
const PAGES: usize = 8;

/// The bytes of a sealed file whose pages differ.
fn sealed(path: &Path) -> Vec<u8> {
    let mut writer = PageWriter::create(path).unwrap();
    for page in 0..PAGES {
        writer.append(&[u8::try_from(page).unwrap(); PAGE_LEN]).unwrap();
    }
    drop(writer.seal().unwrap());
    fs::read(path).unwrap()
}

/// Where a page and its checksum stand.
fn places(page: usize) -> [std::ops::Range<usize>; 2] {
    let (data, entry) = (DATA_START + page * PAGE_LEN, DATA_START + PAGES * PAGE_LEN + page * 4);
    [data..data + PAGE_LEN, entry..entry + 4]
}

#[track_caller]
fn check_damaged(path: &Path, damaged: &[usize]) {
    let file = SealedFile::open(path).unwrap();
    for page in 0..PAGES {
        let borrowed = file.page(PageId::new(page as u64));
        if damaged.contains(&page) {
            assert!(matches!(borrowed, Err(Error::Checksum { .. })), "page {page}: {borrowed:?}");
        } else {
            assert_eq!(borrowed.unwrap()[9], u8::try_from(page).unwrap());
        }
    }
    let report = file.verify(|_| ControlFlow::Continue(())).unwrap();
    let found: Vec<_> = report.bad_pages.iter().map(|bad| bad.page.get()).collect();
    assert_eq!(found, damaged.iter().map(|&page| page as u64).collect::<Vec<_>>());
    assert_eq!(report.damage.len(), 1, "the table's own checksum: {:?}", report.damage);
}

#[test]
fn pages_exchanged_together_with_their_checksums_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let good = sealed(&path);
    for (first, second) in [(0, 1), (2, 7), (6, 3)] {
        let mut bytes = good.clone();
        for (to, from) in [(first, second), (second, first)] {
            for (to, from) in places(to).into_iter().zip(places(from)) {
                bytes[to].copy_from_slice(&good[from]);
            }
        }
        fs::write(&path, bytes).unwrap();
        let mut damaged = [first, second];
        damaged.sort_unstable();
        check_damaged(&path, &damaged);
    }
}

#[test]
fn a_page_of_another_file_is_found_though_its_checksum_came_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut bytes = sealed(&path);
    let other = sealed(&folder.path().join("other"));
    for place in places(5) {
        bytes[place.clone()].copy_from_slice(&other[place]);
    }
    fs::write(&path, bytes).unwrap();
    check_damaged(&path, &[5]);
}
