//! What is said of how parts of a file are read reaches the kernel, for just these parts, and stays
//! when the file is mapped anew.
//!
//! Method: the kernel keeps such advice with each part of a mapping, and /proc/self/smaps shows it
//! (`rr` for random; a part that is read in order has no advice of its own). Under a budget, where it is this store that reads ahead,
//! `budget/asking.rs` looks at what comes into memory.
#![allow(clippy::single_range_in_vec_init, reason = "one part is what is expected")]

use std::{fs, fs::OpenOptions, io::IoSlice, ops::Range, os::unix::fs::OpenOptionsExt, path::Path};

use pagestore::{Access, PageCount, PageFile, PageId, PageWriter, RawFile};

use crate::skip;

const PAGE: u64 = 4096;

/// The parts of a file that are mapped with a flag, in pages of the file.
fn flagged(path: &Path, flag: &str) -> Vec<Range<u64>> {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut mapped, mut found) = (None, Vec::new());
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some((start, end)) = words[0].split_once('-') {
            let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
            let (first, len) = (number(words[2]) / PAGE, (number(end) - number(start)) / PAGE);
            mapped =
                words.get(5).filter(|name| Path::new(name) == path).map(|_| first..first + len);
        } else if words[0] == "VmFlags:"
            && let Some(range) = mapped.take()
            && words.contains(&flag)
        {
            found.push(range);
        }
    }
    found
}

/// Whether this kernel shows flags; says so where it does not.
fn shows_flags(test: &str) -> bool {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let shows = smaps.contains("VmFlags:");
    if !shows {
        skip::skipped(test, "/proc/self/smaps has no VmFlags");
    }
    shows
}

fn pages(range: Range<u64>) -> Range<PageId> {
    PageId::new(range.start)..PageId::new(range.end)
}

#[test]
fn parts_of_page_files_are_advised_by_themselves() {
    if !shows_flags("parts_of_page_files_are_advised_by_themselves") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sealed");
    let mut writer = PageWriter::create(&path).unwrap();
    writer.append(&[7; 100 * 4096]).unwrap();
    let sealed = writer.seal().unwrap();
    // The mapping begins behind the header.
    let (at, _) = flagged_hull(&path);
    sealed.advise(pages(10..30), Access::Random).unwrap();
    sealed.advise(PageId::new(15)..=PageId::new(24), Access::Sequential).unwrap();
    assert_eq!(flagged(&path, "rr"), [at + 10..at + 15, at + 25..at + 30]);
    assert!(sealed.advise(pages(90..101), Access::Random).is_err(), "it has no such page");
    assert!(sealed.pages(..).unwrap().iter().all(|&byte| byte == 7));
    sealed.advise(.., Access::Normal).unwrap();
    assert_eq!(flagged(&path, "rr"), []);

    let path = folder.path().join("mutable");
    let file = PageFile::options().access(Access::Normal).create(&path).unwrap();
    file.grow(PageCount::new(100)).unwrap();
    let (at, _) = flagged_hull(&path);
    file.advise(pages(50..60), Access::Random).unwrap();
    file.advise(pages(60..60), Access::Sequential).unwrap();
    assert_eq!(flagged(&path, "rr"), [at + 50..at + 60]);
}

/// The first page of the file that is mapped, and the end.
fn flagged_hull(path: &Path) -> (u64, u64) {
    // Everything here may be read.
    let parts = flagged(path, "rd");
    (parts[0].start, parts[parts.len() - 1].end)
}

#[test]
fn a_raw_file_that_is_mapped_anew_is_advised_as_before() {
    if !shows_flags("a_raw_file_that_is_mapped_anew_is_advised_as_before") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create_new(true).mode(0o600).open(&path).unwrap();
    let file = RawFile::open(opened, &path).unwrap();
    file.write_at(0, &[IoSlice::new(&[7; 10 * 4096])]).unwrap();
    // Nothing is mapped before the first read.
    file.advise(4096 + 1..3 * 4096 + 1, Access::Random).unwrap();
    assert_eq!(flagged(&path, "rr"), []);
    let mut byte = [0];
    file.read_at(5, &mut byte).unwrap();
    assert_eq!(flagged(&path, "rr"), [1..4]);
    file.advise(2 * 4096..u64::MAX, Access::Sequential).unwrap();
    assert_eq!(flagged(&path, "rr"), [1..2]);
    // Far more than the present mapping has.
    file.write_at(8 << 20, &[IoSlice::new(&[7])]).unwrap();
    file.read_at(8 << 20, &mut byte).unwrap();
    let (_, end) = flagged_hull(&path);
    assert!(end * PAGE > 8 << 20);
    assert_eq!(flagged(&path, "rr"), [1..2]);
    file.seal().unwrap();
    assert_eq!(flagged(&path, "rr"), [1..2]);
    file.advise(.., Access::Normal).unwrap();
    assert_eq!(flagged(&path, "rr"), []);
    assert_eq!(file.view(8 << 20, 1).unwrap(), [7][..]);
}

/// Major faults of this thread so far (proc_pid_stat(5), field 12): page faults that waited for a disk.
fn major_faults() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The name, field 2, may have spaces in it.
    let rest = stat.rsplit_once(") ").unwrap().1;
    rest.split(' ').nth(12 - 3).unwrap().parse().unwrap()
}

/// Where the kernel was told to read nothing ahead, it would read a page of ours that is many of its
/// own in as many requests, one after the other.
#[test]
fn a_large_page_is_asked_for_at_once_where_nothing_is_read_ahead() {
    const LARGE: u64 = 16 * PAGE;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("sealed");
    let options = PageWriter::options().page_size(pagestore::PageSize::new(LARGE).unwrap());
    let mut writer = options.create(&path).unwrap();
    writer.append(&vec![7; 64 * usize::try_from(LARGE).unwrap()]).unwrap();
    drop(writer.seal().unwrap());
    let sealed = pagestore::SealedFile::options().access(Access::Random).open(&path).unwrap();
    sealed.evict(..).unwrap();
    if sealed.is_resident(PageId::new(0)..PageId::new(1)).unwrap() {
        skip::skipped("a_large_page_is_asked_for_at_once", "this filesystem keeps evicted pages");
        return;
    }
    let before = major_faults();
    for page in (0..32).step_by(4) {
        assert!(sealed.page(PageId::new(page)).unwrap().iter().all(|&byte| byte == 7));
    }
    assert!(sealed.pages(pages(40..48)).unwrap().iter().all(|&byte| byte == 7));
    let faults = major_faults() - before;
    // Of 256 of the kernel's pages, and one of checksums.
    assert!(faults < 64, "{faults} pages were waited for one by one");
}
