//! Pages at the end are removed, pages in the middle become holes, and a range is flushed alone.
//!
//! Method: each against a model of the bytes, in a file and in anonymous memory, with and without a budget, beside
//! threads that borrow and flush, across a reopening, and across a crash at each step of it (the file as each write
//! left it). Space is counted in blocks of the file. Full disks are in `copy_on_write.rs`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod elsewhere;
mod loop_disk;
#[expect(dead_code, reason = "`LoopDisk` asks for root itself")]
mod skip;

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use layout::Header;
use pagestore::{
    Error, PageCount, PageFile, PageFileOptions, PageId, PageSize, ResidencyBudget, inspect,
};

fn id(page: u64) -> PageId {
    PageId::new(page)
}

fn count(pages: u64) -> PageCount {
    PageCount::new(pages)
}

fn byte(page: u64) -> u8 {
    u8::try_from(page % 250).unwrap() + 1
}

fn filled(options: &PageFileOptions, path: Option<&Path>, pages: u64) -> PageFile {
    let file = match path {
        Some(path) => options.create(path).unwrap(),
        None => options.anonymous().unwrap(),
    };
    for page in file.grow(count(pages)).unwrap().iter() {
        file.page_mut(page).unwrap().fill(byte(page.get()));
    }
    file
}

#[track_caller]
fn check(file: &PageFile, expected: impl Fn(u64) -> u8) {
    for page in 0..file.page_count().get() {
        let right = file.page(id(page)).unwrap().iter().all(|&found| found == expected(page));
        assert!(right, "page {page}");
    }
}

/// Each kind of file, to run the same on.
fn each_kind(test: impl Fn(&PageFileOptions, Option<&Path>)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let budget = ResidencyBudget::new(4 << 20).unwrap();
    let large = PageSize::new(64 << 10).unwrap();
    for options in [
        PageFile::options(),
        PageFile::options().page_size(large),
        PageFile::options().budget(&budget),
    ] {
        test(&options, Some(&path));
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(budget.stats().used_bytes, 0, "all is given back");
    test(&PageFile::options(), None);
}

#[test]
fn pages_at_the_end_are_removed_and_come_back_as_zeros() {
    each_kind(|options, path| {
        let file = filled(options, path, 500);
        file.shrink_to(count(500)).unwrap();
        file.flush().unwrap();
        for page in 250..500 {
            file.page_mut(id(page)).unwrap().fill(9);
        }
        let blocks = || path.map(|path| path.metadata().unwrap().blocks());
        let before = blocks();
        file.shrink_to(count(200)).unwrap();
        assert_eq!(file.page_count(), count(200));
        assert_eq!(file.dirty_count(), count(0), "what is gone is not dirty");
        let page_blocks = file.page_size().get() / 512;
        assert_eq!(blocks(), before.map(|before| before - 300 * page_blocks));
        assert!(matches!(file.page(id(200)), Err(Error::Range(_))));
        assert!(matches!(file.shrink_to(count(201)), Err(Error::Range(_))));
        file.still_valid().unwrap();
        check(&file, byte);
        assert_eq!(file.flush().unwrap().pages, count(0));
        // They come back as new ones.
        assert_eq!(file.grow(count(150)).unwrap().start(), id(200));
        check(&file, |page| if page < 200 { byte(page) } else { 0 });
        file.page_mut(id(349)).unwrap().fill(4);
        assert_eq!(file.flush().unwrap().pages, count(1));
        file.shrink_to(count(0)).unwrap();
        assert!(file.pages(..).unwrap().is_empty());
        file.grow(count(3)).unwrap();
        check(&file, |_| 0);
        file.close().unwrap();
        if let Some(path) = path {
            assert_eq!(PageFile::open(path).unwrap().page_count(), count(3));
        }
    });
}

#[test]
fn nothing_that_is_borrowed_is_removed() {
    each_kind(|options, path| {
        let file = filled(options, path, 100);
        let held = file.page(id(70)).unwrap();
        let refused = file.shrink_to(count(50)).unwrap_err();
        assert!(matches!(refused, Error::Latched { page } if page == id(70)), "{refused}");
        assert_eq!(file.page_count(), count(100));
        file.shrink_to(count(71)).unwrap();
        assert_eq!(held[9], byte(70));
        drop(held);
        check(&file, byte);
        file.page_mut(id(0)).unwrap().fill(byte(0));
        file.shrink_to(count(1)).unwrap();
    });
}

/// Those who wait for a page that goes, or resolved it a moment before, get an error and no page.
#[test]
fn threads_that_borrow_flush_and_look_while_pages_come_and_go_see_whole_pages() {
    each_kind(|options, path| {
        let file = filled(options, path, 64);
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            for thread in 0..3_u64 {
                let (file, is_done) = (&file, &is_done);
                scope.spawn(move || {
                    let mut number = thread;
                    while !is_done.load(Ordering::Relaxed) {
                        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let page = id((number >> 33) % 64);
                        match number % 4 {
                            0 => match file.page_mut(page) {
                                Ok(mut page) => page.fill(5),
                                Err(error) => assert!(matches!(error, Error::Range(_)), "{error}"),
                            },
                            1 => drop(file.flush().unwrap()),
                            2 => file.still_valid().unwrap(),
                            _ => match file.page(page) {
                                Ok(page) => assert!(page.iter().all(|&byte| byte == page[0])),
                                Err(error) => assert!(matches!(error, Error::Range(_)), "{error}"),
                            },
                        }
                    }
                });
            }
            let mut shrunk = 0;
            while shrunk < 200 {
                match file.shrink_to(count(shrunk % 60)) {
                    Ok(()) => {
                        shrunk += 1;
                        let missing = 64 - file.page_count().get();
                        file.grow(count(missing)).unwrap();
                    }
                    Err(error) => assert!(matches!(error, Error::Latched { .. }), "{error}"),
                }
            }
            is_done.store(true, Ordering::Relaxed);
        });
        file.flush().unwrap();
        file.still_valid().unwrap();
    });
}

/// The header counts no more pages than the file has, at each step: a crash between any two leaves a file that
/// opens.
#[test]
fn a_crash_while_pages_are_removed_leaves_a_file_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = filled(&PageFile::options(), Some(&path), 100);
    file.flush().unwrap();
    let full = fs::read(&path).unwrap();
    assert_eq!(inspect(&path).unwrap().superblock.page_count(), count(100));
    file.shrink_to(count(40)).unwrap();
    drop(file);
    let short = fs::read(&path).unwrap();
    assert_eq!(Header::parse(&short).unwrap().superblock().page_count(), count(40));
    // The header is durable before the file is cut. So it has the header of before and all pages, the new one
    // and all pages, or the new one and fewer.
    let steps = [full.clone(), [&short[..8192], &full[8192..]].concat(), short.clone()];
    for (step, bytes) in steps.iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        let file = PageFile::open(&path).unwrap();
        let pages = if step < 2 { 100 } else { 40 };
        assert_eq!(file.page_count(), count(pages), "step {step}");
        check(&file, byte);
    }
    // The order matters: cut before the header says so, it is refused.
    fs::write(&path, [&full[..8192], &short[8192..]].concat()).unwrap();
    assert!(matches!(PageFile::open(&path), Err(Error::Format { .. })));
}

#[test]
fn holes_read_as_zeros_and_give_their_space_back() {
    each_kind(|options, path| {
        let file = filled(options, path, 300);
        file.flush().unwrap();
        let blocks = || path.map(|path| path.metadata().unwrap().blocks());
        let before = blocks();
        file.page_mut(id(110)).unwrap().fill(77);
        file.punch(id(100)..id(200)).unwrap();
        let page_blocks = file.page_size().get() / 512;
        assert_eq!(blocks(), before.map(|before| before - 100 * page_blocks));
        assert_eq!(file.page_count(), count(300));
        let expected = |page| if (100..200).contains(&page) { 0 } else { byte(page) };
        check(&file, expected);
        assert!(file.is_dirty(id(150)) && !file.is_dirty(id(99)) && !file.is_dirty(id(200)));
        assert_eq!(file.flush().unwrap().pages, count(100));
        // A page of a hole is written like any other.
        file.page_mut(id(150)).unwrap().fill(3);
        file.flush().unwrap();
        let expected = |page| if page == 150 { 3 } else { expected(page) };
        check(&file, expected);
        file.punch(id(5)..id(5)).unwrap();
        assert!(matches!(file.punch(id(299)..id(301)), Err(Error::Range(_))));
        file.evict(..).unwrap();
        check(&file, expected);
        drop(file);
        if let Some(path) = path {
            let file = PageFile::open(path).unwrap();
            check(&file, expected);
        }
    });
}

#[test]
fn a_hole_waits_for_who_has_borrowed_a_page_of_it() {
    each_kind(|options, path| {
        let file = filled(options, path, 20);
        let held = file.page(id(9)).unwrap();
        thread::scope(|scope| {
            let punch = scope.spawn(|| file.punch(id(5)..id(15)).unwrap());
            // As soon as it waits for that page nobody else is let in.
            while file.try_page(id(9)).is_ok() {
                thread::yield_now();
            }
            assert_eq!(held[4095], byte(9));
            drop(held);
            punch.join().unwrap();
        });
        check(&file, |page| if (5..15).contains(&page) { 0 } else { byte(page) });
    });
}

#[test]
fn a_range_is_flushed_alone() {
    each_kind(|options, path| {
        let file = filled(options, path, 300);
        let report = file.flush_range(id(64)..id(130)).unwrap();
        assert_eq!((report.pages, report.runs), (count(66), 1));
        assert_eq!(file.dirty_count(), count(300 - 66));
        assert!(!file.is_dirty(id(64)) && !file.is_dirty(id(129)));
        assert!(file.is_dirty(id(63)) && file.is_dirty(id(130)));
        assert_eq!(file.flush_range(id(64)..id(130)).unwrap().pages, count(0));
        let open = file.page_mut(id(100)).map(|mut page| {
            page.fill(1);
            page
        });
        assert_eq!(file.flush_range(id(99)..=id(101)).unwrap().pages_still_open, count(1));
        drop(open.unwrap());
        assert_eq!(file.flush_range(id(99)..=id(101)).unwrap().pages, count(1));
        assert!(matches!(file.flush_range(id(0)..id(301)), Err(Error::Range(_))));
        assert_eq!(file.flush().unwrap().pages, count(300 - 66));
        assert_eq!(file.flush().unwrap().pages, count(0));
    });
}

/// What a flushed range says is durable is in the file, read past the mapping.
#[test]
fn what_is_cut_from_outside_is_still_told_apart_from_what_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = filled(&PageFile::options(), Some(&path), 100);
    file.flush().unwrap();
    file.shrink_to(count(80)).unwrap();
    file.still_valid().unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(8192 + 79 * 4096).unwrap();
    assert!(matches!(file.still_valid(), Err(Error::Poisoned { .. })));
    assert!(matches!(file.shrink_to(count(10)), Err(Error::Poisoned { .. })));
}

#[test]
fn the_suite_passes_on_other_filesystems() {
    elsewhere::run("giving_back::the_suite_passes_on_other_filesystems", &[]);
}
