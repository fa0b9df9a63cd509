//! Addresses: a file reserves what it needs, becomes longer where it lies, and an error names the limit that
//! was met. A program of its own, since these tests take addresses and mappings that others would need.
//!
//! Method: pages are borrowed across growth, and their addresses compared. Limits are set on a child process
//! (`ulimit`), used up (`vm.max_map_count`), or put in the way by hand (memory right behind a file).
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unsafe_code, reason = "maps memory in the way of a file, and uses up all mappings")]

#[path = "it/child.rs"]
#[expect(dead_code, reason = "no child is killed here")]
mod child;
#[path = "it/skip.rs"]
#[expect(dead_code, reason = "no other users are needed")]
mod skip;

use std::{
    fs,
    path::{Path, PathBuf},
    ptr,
};

use pagestore::{
    AddressLimit, Error, PageCount, PageFile, PageId, PageSize, PageWriter, SealedFile,
};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

const GIB_PAGES: u64 = 1 << 18;

fn count(pages: u64) -> PageCount {
    PageCount::new(pages)
}

fn id(page: u64) -> PageId {
    PageId::new(page)
}

#[track_caller]
fn check_limit(error: &Error, is_it: impl Fn(&AddressLimit) -> bool, words: &str) {
    let Error::AddressSpace { limit, .. } = error else { panic!("another error: {error}") };
    assert!(is_it(limit), "{error}");
    assert!(error.to_string().contains(words), "`{words}` is not in: {error}");
}

#[test]
fn a_file_becomes_longer_and_no_page_moves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for file in [PageFile::create(&path).unwrap(), PageFile::anonymous(PageSize::DEFAULT).unwrap()]
    {
        file.grow(count(1)).unwrap();
        file.page_mut(id(0)).unwrap().fill(7);
        let first = file.page(id(0)).unwrap();
        let mut model = vec![7];
        for round in 0..12_u8 {
            let range = file.grow(count(1 << round)).unwrap();
            for page in range.iter() {
                file.page_mut(page).unwrap().fill(round);
                model.push(round);
            }
            let all: Vec<u8> =
                model.iter().zip(0..).map(|(_, page)| file.page(id(page)).unwrap()[9]).collect();
            assert_eq!(all, model);
            assert_eq!(file.page(id(0)).unwrap().as_ptr(), first.as_ptr());
            assert_eq!(first[4095], 7);
        }
        file.flush().unwrap();
        file.evict(id(1)..).unwrap();
        assert_eq!(file.pages(id(1)..).unwrap().len(), 4095 * 4096);
    }
    let file = PageFile::open(&path).unwrap();
    assert_eq!(file.page(id(4095)).unwrap()[0], 11);
    file.grow(count(1000)).unwrap();
    file.page_mut(id(5095)).unwrap().fill(1);
}

/// Where parts of a file were advised differently, it is several ranges to the kernel.
#[test]
fn a_file_whose_parts_were_advised_differently_becomes_longer_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = PageFile::create(folder.path().join("file")).unwrap();
    file.grow(count(600)).unwrap();
    file.advise(id(100)..id(200), pagestore::Access::Normal).unwrap();
    file.advise(id(500).., pagestore::Access::Sequential).unwrap();
    for _ in 0..5 {
        file.grow(count(600)).unwrap();
        file.pages_mut(..).unwrap().fill(4);
    }
    file.flush().unwrap();
    assert!(file.pages(..).unwrap().iter().all(|&byte| byte == 4));
}

#[test]
fn memory_of_others_behind_a_file_is_said_and_the_file_goes_on() {
    let file = PageFile::anonymous(PageSize::DEFAULT).unwrap();
    file.grow(count(1)).unwrap();
    let start = file.page(id(0)).unwrap().as_ptr().addr();
    let at = ptr::without_provenance_mut(start + (1 << 30));
    let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
    // SAFETY: nothing that is mapped is replaced.
    unsafe { mmap_anonymous(at, 4096, ProtFlags::READ, flags) }.unwrap();
    let error = file.grow(count(2 * GIB_PAGES)).unwrap_err();
    let is_it = |limit: &AddressLimit| matches!(limit, AddressLimit::Neighbour);
    check_limit(&error, is_it, "open with `address_space_bytes`");
    assert_eq!(file.page_count(), count(1));
    // What lies before it can be had, to the last page.
    file.grow(count(GIB_PAGES - 1)).unwrap();
    file.page_mut(id(GIB_PAGES - 1)).unwrap().fill(1);
    check_limit(&file.grow(count(1)).unwrap_err(), is_it, "open with `address_space_bytes`");
    // Another one is elsewhere.
    let other = PageFile::anonymous(PageSize::DEFAULT).unwrap();
    other.grow(count(2 * GIB_PAGES)).unwrap();
    let sure = PageFile::options().address_space_bytes(4 << 30).anonymous().unwrap();
    sure.grow(count(4 * GIB_PAGES)).unwrap();
    assert!(matches!(sure.grow(count(1)), Err(Error::AddressSpaceFull { .. })));
}

/// A folder in memory, where a file costs little.
fn memory_folder() -> Option<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").ok()
}

#[test]
fn ten_thousand_files_are_open_at_once_and_each_grows() {
    const FILES: usize = 10_000;
    let test = "ten_thousand_files_are_open_at_once_and_each_grows";
    if let Some(folder) = child::path() {
        let files: Vec<PageFile> = (0..FILES)
            .map(|number| {
                let path = folder.join(number.to_string());
                let file = PageFile::create(path).unwrap_or_else(|error| panic!("{error}"));
                file.grow(count(1)).unwrap();
                file
            })
            .collect();
        for (number, file) in files.iter().enumerate() {
            file.page_mut(id(0)).unwrap().as_slice_of_mut::<u64>().unwrap()[0] = number as u64;
        }
        // Each of them has room.
        for file in files.iter().step_by(97) {
            file.grow(count(600)).unwrap();
            file.page_mut(id(600)).unwrap().fill(1);
        }
        for (number, file) in files.iter().enumerate() {
            assert_eq!(file.page(id(0)).unwrap().as_slice_of::<u64>().unwrap()[0], number as u64);
        }
        return child::done();
    }
    let Some(folder) = memory_folder() else { return skip::skipped(test, "no /dev/shm") };
    let is_allowed = std::process::Command::new("sh").args(["-c", "ulimit -n 10100"]).status();
    if !is_allowed.unwrap().success() {
        return skip::skipped(test, "this user may not open 10,100 files (ulimit -n)");
    }
    child::check(&mut child::command("ulimit -n 10100;", test, folder.path()));
}

#[test]
fn a_limit_on_addresses_is_named_and_the_default_lives_within_it() {
    let test = "a_limit_on_addresses_is_named_and_the_default_lives_within_it";
    if let Some(folder) = child::path() {
        let path = folder.join("file");
        let is_it = |limit: &AddressLimit| matches!(limit, AddressLimit::Addresses { limit_bytes } if *limit_bytes == 4_000_000 << 10);
        let large = PageFile::options().address_space_bytes(1 << 40);
        for error in [large.create(&path).unwrap_err(), large.anonymous().unwrap_err()] {
            check_limit(&error, is_it, "(ulimit -v)");
            check_limit(&error, is_it, "pass a smaller `address_space_bytes`");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing stays behind");
        let files =
            [PageFile::create(&path).unwrap(), PageFile::anonymous(PageSize::DEFAULT).unwrap()];
        for file in files {
            file.grow(count(4)).unwrap();
            check_limit(&file.grow(count(4 * GIB_PAGES)).unwrap_err(), is_it, "(ulimit -v)");
            file.page_mut(id(3)).unwrap().fill(1);
            file.flush().unwrap();
        }
        drop(PageFile::open(&path).unwrap());
        let mut writer = PageWriter::create(folder.join("sealed")).unwrap();
        writer.append(b"bytes").unwrap();
        drop(writer.seal().unwrap());
        assert_eq!(SealedFile::open(folder.join("sealed")).unwrap().payload_len(), 5);
        return child::done();
    }
    let folder = tempfile::tempdir().unwrap();
    child::check(&mut child::command("ulimit -v 4000000;", test, folder.path()));
}

#[test]
fn a_limit_on_open_files_is_named() {
    let test = "a_limit_on_open_files_is_named";
    if let Some(folder) = child::path() {
        let mut files = Vec::new();
        let error = loop {
            match PageFile::create(folder.join(files.len().to_string())) {
                Ok(file) => files.push(file),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(error.to_string().contains("ulimit -n)"), "{error}");
        return child::done();
    }
    let folder = tempfile::tempdir().unwrap();
    child::check(&mut child::command("ulimit -n 60;", test, folder.path()));
}

#[test]
fn a_limit_on_private_memory_is_named() {
    let test = "a_limit_on_private_memory_is_named";
    if let Some(folder) = child::path() {
        let file = PageFile::anonymous(PageSize::DEFAULT).unwrap();
        let is_it = |limit: &AddressLimit| matches!(limit, AddressLimit::Data { .. });
        check_limit(&file.grow(count(2 * GIB_PAGES)).unwrap_err(), is_it, "(ulimit -d)");
        // A file's pages are not private.
        let path = folder.join("file");
        drop(PageFile::options().address_space_bytes(8 << 30).create(&path).unwrap());
        return child::done();
    }
    let folder = tempfile::tempdir().unwrap();
    child::check(&mut child::command("ulimit -d 1000000;", test, folder.path()));
}

#[test]
fn a_process_without_a_mapping_left_is_told_so() {
    let test = "a_process_without_a_mapping_left_is_told_so";
    if let Some(folder) = child::path() {
        // Every second page has other rights, so that none joins its neighbour.
        let mut is_readable = false;
        while {
            is_readable = !is_readable;
            let rights = if is_readable { ProtFlags::READ } else { ProtFlags::empty() };
            // SAFETY: the kernel chooses a free place.
            unsafe { mmap_anonymous(ptr::null_mut(), 4096, rights, MapFlags::PRIVATE) }.is_ok()
        } {}
        let is_it = |limit: &AddressLimit| matches!(limit, AddressLimit::Mappings { .. });
        let refused = PageFile::create(folder.join("file")).unwrap_err();
        check_limit(&refused, is_it, "vm.max_map_count");
        assert_eq!(names(&folder), Vec::<PathBuf>::new(), "nothing stays behind");
        return child::done();
    }
    let limit: u64 =
        fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
    if limit > 1 << 20 {
        return skip::skipped(test, "a process may have more than a million mappings here");
    }
    let folder = tempfile::tempdir().unwrap();
    child::check(&mut child::command("", test, folder.path()));
}

fn names(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Where the system promises no more memory than it has, reserved anonymous memory is promised.
#[test]
fn where_memory_is_promised_the_default_asks_for_little_and_the_limit_is_named() {
    let test = "where_memory_is_promised_the_default_asks_for_little_and_the_limit_is_named";
    if fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap().trim() != "2" {
        return skip::skipped(test, "vm.overcommit_memory is not 2 here");
    }
    let file = PageFile::anonymous(PageSize::DEFAULT).unwrap();
    file.grow(count(300)).unwrap();
    file.page_mut(id(299)).unwrap().fill(1);
    let error = PageFile::options().address_space_bytes(20 << 40).anonymous().unwrap_err();
    let is_it = |limit: &AddressLimit| matches!(limit, AddressLimit::Commit { .. });
    check_limit(&error, is_it, "vm.overcommit_memory is 2");
    // What is shared with a file is not.
    let folder = tempfile::tempdir().unwrap();
    drop(
        PageFile::options()
            .address_space_bytes(20 << 40)
            .create(folder.path().join("file"))
            .unwrap(),
    );
}
