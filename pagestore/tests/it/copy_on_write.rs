//! A disk that is full when pages are written anew: an error of the borrow, nothing is lost, and the file
//! goes on when there is room again.
//!
//! Method: on btrfs every page that is written back moves, on XFS those that a copy of the file shares
//! (`cp --reflink`), and on ext4 a page that a hole stands for has no place yet. Each gets a loop device,
//! which is filled after pages were read and flushed. One test takes the room away while a guard is open, so
//! that the store itself meets the full disk. It needs root and mkfs(8); without, each test says that it was
//! skipped.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
};

use pagestore::{
    Error, FaultCause, PageCount, PageFile, PageId, PageWriter, PoisonCause, Populate, Result,
    SealedFile,
};

use crate::{
    loop_disk::{BTRFS_MIB_MIN, LoopDisk, XFS_MIB_MIN},
    skip,
};

const PAGES: u64 = 2000;

/// See `disk_full.rs`.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn on(name: &str, disk: impl FnOnce() -> Result<LoopDisk, String>, test: impl FnOnce(&LoopDisk)) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    match disk() {
        Ok(disk) => test(&disk),
        Err(reason) => skip::skipped(name, &reason),
    }
}

type MakeDisk = fn() -> Result<LoopDisk, String>;

fn btrfs() -> Result<LoopDisk, String> {
    LoopDisk::btrfs(BTRFS_MIB_MIN)
}

fn xfs() -> Result<LoopDisk, String> {
    LoopDisk::xfs(XFS_MIB_MIN)
}

fn ext4() -> Result<LoopDisk, String> {
    LoopDisk::new(64, 64)
}

fn id(page: u64) -> PageId {
    PageId::new(page)
}

fn old(page: u64) -> u8 {
    u8::try_from(page % 100).unwrap() + 1
}

/// A file whose pages were all written, flushed and read.
fn written(path: &Path) -> PageFile {
    let file = PageFile::create(path).unwrap();
    file.grow(PageCount::new(PAGES)).unwrap();
    for page in 0..PAGES {
        file.page_mut(id(page)).unwrap().fill(old(page));
    }
    file.flush().unwrap();
    for page in 0..PAGES {
        assert_eq!(file.page(id(page)).unwrap()[7], old(page));
    }
    file
}

/// Stores to all pages. Gives how many were stored to, and the error of the first that was not.
fn store(file: &PageFile, byte: u8) -> (u64, Option<Error>) {
    for page in 0..PAGES {
        match file.page_mut(id(page)) {
            Ok(mut page) => page.fill(byte),
            Err(error) => return (page, Some(error)),
        }
    }
    (PAGES, None)
}

#[track_caller]
fn check_no_room(error: Option<Error>) {
    let error = error.expect("there is not room for all");
    assert!(matches!(error, Error::Fault { cause: FaultCause::NoRoom, .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("free some space and try again"), "{message}");
}

/// Makes room again, and waits until it can be had: XFS and btrfs give back later.
fn make_room(disk: &LoopDisk, ballast: &Path) {
    fs::remove_file(ballast).unwrap();
    for _ in 0..1000 {
        rustix::fs::syncfs(File::open(disk.path()).unwrap()).unwrap();
        if disk.free_blocks() > 2 * PAGES {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("only {} blocks are free", disk.free_blocks());
}

/// What the file must do when `disk` becomes full after it was written, flushed and read.
fn check_full(disk: &LoopDisk) {
    let path = disk.path().join("file");
    let file = written(&path);
    let ballast = disk.fill();

    // Several rounds: pages that were stored to and flushed have to move once more.
    let mut expected: Vec<u8> = (0..PAGES).map(old).collect();
    for byte in 200..203 {
        let (count, error) = store(&file, byte);
        check_no_room(error);
        file.still_valid().unwrap();
        file.flush().unwrap();
        expected[..usize::try_from(count).unwrap()].fill(byte);
        for (page, expected) in (0..).zip(&expected) {
            assert_eq!(file.page(id(page)).unwrap()[4095], *expected, "page {page}");
        }
    }
    // Everything can be read and saved, and goes on.
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(file.recover_into(elsewhere.path().join("copy")).unwrap().pages.get(), PAGES);
    make_room(disk, &ballast);
    let (count, error) = store(&file, 210);
    assert!(error.is_none() && count == PAGES, "{error:?}");
    file.close().unwrap();
    let file = PageFile::open(&path).unwrap();
    assert!(file.pages(..).unwrap().iter().all(|&byte| byte == 210));
}

#[test]
fn on_btrfs_a_full_disk_is_an_error_of_the_borrow_each_time() {
    on("on_btrfs_a_full_disk_is_an_error_of_the_borrow_each_time", btrfs, |disk| {
        check_full(disk);
    });
}

fn reflink(path: &Path) {
    let copied = Command::new("cp")
        .arg("--reflink=always")
        .args([path, &path.with_extension("copy")])
        .status()
        .unwrap();
    assert!(copied.success());
}

/// The copy is made while the file is open, and its pages are flushed and read: only the kernel knows of it.
#[test]
fn on_xfs_pages_that_a_copy_shares_are_an_error_of_the_borrow() {
    let name = "on_xfs_pages_that_a_copy_shares_are_an_error_of_the_borrow";
    on(name, xfs, |disk| {
        let path = disk.path().join("file");
        let file = written(&path);
        reflink(&path);
        let ballast = disk.fill();
        let (count, error) = store(&file, 200);
        check_no_room(error);
        file.flush().unwrap();
        for page in 0..PAGES {
            let expected = if page < count { 200 } else { old(page) };
            assert_eq!(file.page(id(page)).unwrap()[0], expected, "page {page}");
        }
        make_room(disk, &ballast);
        let (_, error) = store(&file, 201);
        assert!(error.is_none(), "{error:?}");
        file.close().unwrap();
        let copy = PageFile::open(path.with_extension("copy")).unwrap();
        assert_eq!(copy.page(id(77)).unwrap()[0], old(77), "the copy is as it was");
    });
}

/// A copy of a file by cp(1) has holes where pages are zero, and a page of a hole was read: the file then
/// counts as present.
#[test]
fn on_every_filesystem_a_hole_is_an_error_of_the_borrow() {
    let disks: [(&str, MakeDisk); 3] = [("ext4", ext4), ("xfs", xfs), ("btrfs", btrfs)];
    for (name, disk) in disks {
        on(name, disk, |disk| {
            let path = disk.path().join("file");
            drop(PageFile::create(&path).unwrap());
            let outside = File::options().write(true).open(&path).unwrap();
            outside.set_len(8192 + PAGES * 4096).unwrap();
            outside.write_all_at(&[9; 4096], 8192).unwrap();
            outside.sync_all().unwrap();
            drop(outside);
            let file = PageFile::open(&path).unwrap();
            assert_eq!(file.page_count().get(), PAGES);
            assert_eq!(file.pages(..).unwrap()[4096..].iter().position(|&byte| byte != 0), None);
            let ballast = disk.fill();
            let (count, error) = store(&file, 3);
            check_no_room(error);
            file.flush().unwrap();
            assert_eq!(file.page(id(count)).unwrap()[0], if count == 0 { 9 } else { 0 });
            make_room(disk, &ballast);
            let (_, error) = store(&file, 4);
            assert!(error.is_none(), "{error:?}");
            file.close().unwrap();
        });
    }
}

/// The one window that is left: the kernel writes a page back while a guard is open, and the disk is full by
/// then. The guard's store goes to memory alone, everything that is in memory can be saved, and nothing is
/// said to be durable.
#[test]
fn a_store_that_meets_the_full_disk_itself_loses_nothing_that_is_in_memory() {
    let name = "a_store_that_meets_the_full_disk_itself_loses_nothing_that_is_in_memory";
    on(name, btrfs, |disk| {
        let path = disk.path().join("file");
        let file = PageFile::options().populate(Populate::BeforeBorrow);
        drop(written(&path));
        let file = file.open(&path).unwrap();
        let mut guards: Vec<_> =
            (0..PAGES).step_by(2).map(|page| file.page_mut(id(page)).unwrap()).collect();
        // The kernel writes back what was made ready to be stored to.
        rustix::fs::syncfs(File::open(disk.path()).unwrap()).unwrap();
        disk.fill();
        for guard in &mut guards {
            guard[9] = 222;
        }
        drop(guards);
        let poisoned = |result: Result<()>| {
            let error = result.unwrap_err();
            let is_no_room = matches!(
                &error,
                Error::Poisoned { cause: PoisonCause::Fault(FaultCause::NoRoom), .. }
            );
            assert!(is_no_room, "{error}");
            assert!(error.to_string().contains("save it with `recover_into`"), "{error}");
        };
        poisoned(file.flush().map(drop));
        poisoned(file.page(id(0)).map(drop));
        poisoned(file.page_mut(id(1)).map(drop));
        poisoned(file.still_valid());
        let elsewhere = tempfile::tempdir().unwrap();
        let copy_path = elsewhere.path().join("copy");
        file.recover_into(&copy_path).unwrap();
        let copy = PageFile::open(&copy_path).unwrap();
        for page in 0..PAGES {
            let bytes = copy.page(id(page)).unwrap();
            let stored = if page % 2 == 0 { 222 } else { old(page) };
            assert_eq!((bytes[8], bytes[9], bytes[10]), (old(page), stored, old(page)), "{page}");
        }
    });
}

/// Who writes by system calls has the error already.
#[test]
fn on_btrfs_a_writer_and_its_seal_meet_the_full_disk_as_an_error() {
    on("on_btrfs_a_writer_and_its_seal_meet_the_full_disk_as_an_error", btrfs, |disk| {
        let path = disk.path().join("sealed");
        let mut writer = PageWriter::create(&path).unwrap();
        writer.append(&vec![1; 3 << 20]).unwrap();
        let ballast = disk.fill();
        let error = loop {
            if let Err(error) = writer.append(&vec![2; 1 << 20]) {
                break error;
            }
        };
        assert!(matches!(error, Error::DiskFull { .. }), "{error}");
        make_room(disk, &ballast);
        drop(writer.seal().unwrap());
        assert!(SealedFile::open(&path).unwrap().page(id(0)).unwrap().starts_with(&[1; 9]));
    });
}
