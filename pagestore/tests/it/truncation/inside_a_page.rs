//! A cut inside a page, and a reader who asks the moment that he sees the zeros behind it.
//!
//! Method: one thread cuts the file in the middle of a page, another reads the rest of that page until its
//! bytes are not right any more, and asks then whether they can be trusted. XFS puts the zeros there while the
//! file still has its old length, for some microseconds: about one round in eighty meets them, so the rounds
//! are many there, and few elsewhere.

use std::{fs, io::IoSlice, path::Path, sync::Barrier, thread};

use pagestore::{PageCount, PageFile, PageId, RawFile, Result, SealedFile, VersionedFile};

use super::{
    mutable::mutable_file,
    pages::{PAGE_LEN, PAGES, write_new},
    sealed::sealed_file,
};
use crate::unleased::open_unleased;

const ROUNDS: usize = 400;
/// Opening one of these waits for the disk.
const ROUNDS_VERSIONED: usize = 100;
/// The page that is cut, and a byte of it that goes.
const PAGE: u64 = 32;
const PLACE: usize = PAGE_LEN - 1;

/// Cuts a file while `read` reads a byte that is lost by it, until it says that it is not there.
fn cut_once(path: &Path, data_start: u64, right: u8, mut read: impl FnMut() -> Result<u8>) {
    let outside = fs::OpenOptions::new().write(true).open(path).unwrap();
    assert_eq!(read().unwrap(), right);
    let start = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            start.wait();
            outside.set_len(data_start + PAGE * PAGE_LEN as u64 + 100).unwrap();
        });
        start.wait();
        while let Ok(byte) = read() {
            assert_eq!(byte, right, "a byte that was cut away was told for one of the file");
        }
    });
}

/// Many rounds, each with a new file of the bytes that `make` makes.
fn rounds(count: usize, make: impl Fn(&Path) -> Vec<u8>, round: impl Fn(&Path, &[u8])) {
    let folder = tempfile::tempdir().unwrap();
    let bytes = make(folder.path());
    let path = folder.path().join("file");
    let on_xfs = rustix::fs::statfs(folder.path()).unwrap().f_type == 0x5846_5342;
    for _ in 0..if on_xfs { count } else { count / 20 } {
        drop(write_new(&path, &bytes));
        round(&path, &bytes);
    }
}

/// What the file has where it is read.
fn byte_at(bytes: &[u8], data_start: u64) -> u8 {
    bytes[usize::try_from(data_start).unwrap() + usize::try_from(PAGE).unwrap() * PAGE_LEN + PLACE]
}

#[test]
fn a_mutable_file_tells_the_zeros_of_a_cut() {
    rounds(ROUNDS, mutable_file, |path, bytes| {
        let file = PageFile::open(path).unwrap();
        let start = bytes.len() as u64 - PAGES * PAGE_LEN as u64;
        cut_once(path, start, byte_at(bytes, start), || {
            let byte = file.page(PageId::new(PAGE))?[PLACE];
            file.still_valid()?;
            Ok(byte)
        });
    });
}

#[test]
fn a_sealed_file_tells_the_zeros_of_a_cut() {
    rounds(ROUNDS, sealed_file, |path, bytes| {
        let file = open_unleased(&SealedFile::options(), path);
        let start = super::DATA_START;
        cut_once(path, start, byte_at(bytes, start), || {
            file.with_pages(PageId::new(PAGE)..PageId::new(PAGE + 1), |bytes| bytes[PLACE])
        });
    });
}

#[test]
fn a_raw_file_tells_the_zeros_of_a_cut() {
    for sealed in [false, true] {
        rounds(
            ROUNDS,
            |_| vec![7; usize::try_from(PAGES).unwrap() * PAGE_LEN],
            |path, _| {
                let opened = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
                let file = RawFile::open(opened, path).unwrap();
                if sealed {
                    file.write_at(0, &[IoSlice::new(&[7])]).unwrap();
                    file.seal().unwrap();
                }
                cut_once(path, 0, 7, || {
                    let mut byte = [0];
                    file.read_at(PAGE * PAGE_LEN as u64 + PLACE as u64, &mut byte)?;
                    Ok(byte[0])
                });
            },
        );
    }
}

fn versioned_file(folder: &Path) -> Vec<u8> {
    let path = folder.join("template");
    let file = VersionedFile::create(&path).unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(PageCount::new(PAGES)).unwrap();
    for page in 0..PAGES {
        transaction.page_mut(PageId::new(page)).unwrap().fill(7);
    }
    transaction.commit().unwrap();
    file.close().unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(path).unwrap();
    bytes
}

#[test]
fn a_snapshot_tells_the_zeros_of_a_cut() {
    rounds(ROUNDS_VERSIONED, versioned_file, |path, bytes| {
        // The pages are the last of it that is not zero.
        let end = bytes.iter().rposition(|&byte| byte == 7).unwrap() as u64 + 1;
        let start = end - PAGES * PAGE_LEN as u64;
        let file = VersionedFile::open(path).unwrap();
        let snapshot = file.snapshot().unwrap();
        cut_once(path, start, 7, || {
            let byte = snapshot.page(PageId::new(PAGE))?[PLACE];
            snapshot.still_valid()?;
            Ok(byte)
        });
    });
}
