//! What a mutable file's header says over time, and what outlives the process that wrote it.
//!
//! Method: the header is looked at from outside (`inspect`) after every step of many growths and
//! flushes; a process that wrote and never flushed is ended with SIGKILL, and its file opened.

use std::fs;

use pagestore::{PageCount, PageFile, PageId, PageWriter, Slot, inspect};

use crate::{child, nameless::nameless_in};

#[test]
fn slots_alternate_with_each_flush_that_grew_and_with_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut file = PageFile::create(&path).unwrap();
    let new = inspect(&path).unwrap();
    assert_eq!((new.slot, new.superblock.generation()), (Slot::First, 1));
    let mut slot = Slot::First;
    for round in 1..=40 {
        file.grow(PageCount::new(2)).unwrap();
        let before = inspect(&path).unwrap();
        assert_eq!(before.superblock.page_count().get(), 2 * (round - 1), "a lower bound");
        assert_eq!(before.page_count.get(), 2 * round, "what the file holds");
        file.flush().unwrap();
        slot = slot.other();
        for _ in 0..2 {
            let after = inspect(&path).unwrap();
            assert_eq!((after.slot, after.superblock.generation()), (slot, 1 + round));
            assert_eq!(after.superblock.page_count().get(), 2 * round);
            assert_eq!(after.other_slot_error, None);
            assert_eq!(after.superblock.file_uuid(), new.superblock.file_uuid());
            // A flush of bytes alone leaves the header as it is.
            file.page_mut(PageId::new(round)).unwrap()[0] = 1;
            file.flush().unwrap();
        }
        if round % 7 == 0 {
            drop(file);
            file = PageFile::open(&path).unwrap();
        }
    }
}

#[test]
fn pages_that_were_grown_but_not_flushed_count_after_a_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = PageFile::create(&path).unwrap();
    file.grow(PageCount::new(5)).unwrap();
    drop(file);
    let file = PageFile::open(&path).unwrap();
    assert_eq!(file.page_count().get(), 5);
    assert_eq!(inspect(&path).unwrap().superblock.page_count().get(), 0);
    // The flush of a reopened file makes the count known.
    file.flush().unwrap();
    assert_eq!(inspect(&path).unwrap().superblock.page_count().get(), 5);
}

#[test]
fn a_killed_process_loses_nothing_that_it_wrote() {
    let test = "a_killed_process_loses_nothing_that_it_wrote";
    if let Some(path) = child::path() {
        let file = PageFile::create(path).unwrap();
        for page in 0..200_u64 {
            file.grow(PageCount::new(1)).unwrap();
            file.page_mut(PageId::new(page)).unwrap().as_slice_of_mut::<u64>().unwrap().fill(page);
        }
        let mut open = file.page_mut(PageId::new(7)).unwrap();
        open[4095] = 0xee;
        child::done_and_wait();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    child::Waiting::start(&mut child::command("", test, &path)).kill();
    let file = PageFile::open(&path).unwrap();
    assert_eq!(file.page_count().get(), 200);
    for page in (0..200_u64).filter(|&page| page != 7) {
        let words = file.page(PageId::new(page)).unwrap();
        assert_eq!(words.as_slice_of::<u64>().unwrap(), [page; 512], "page {page}");
    }
    assert_eq!(file.page(PageId::new(7)).unwrap()[4095], 0xee, "also through an open guard");
}

/// A writer that is killed has no chance to remove anything: its file has no name that could stay.
#[test]
fn a_killed_writer_leaves_nothing() {
    let test = "a_killed_writer_leaves_nothing";
    if let Some(path) = child::path() {
        let mut writer = PageWriter::create(path).unwrap();
        writer.append(&[1; 3 << 20]).unwrap();
        child::done_and_wait();
    }
    for folder in [tempfile::tempdir(), tempfile::tempdir_in("/dev/shm")].map(Result::unwrap) {
        let path = folder.path().join("file");
        let writer = child::Waiting::start(&mut child::command("", test, &path));
        let unfinished = nameless_in(folder.path(), writer.pid());
        assert!(unfinished[0].metadata().unwrap().len() > 3 << 20, "it was writing");
        writer.kill();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        PageFile::create(&path).unwrap();
    }
}
