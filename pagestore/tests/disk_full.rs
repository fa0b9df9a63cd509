//! A full disk is an error, never a signal, and leaves everything as it was.
//!
//! Method: a small ext4 of its own on a loop device, filled to the last block or inode, or to
//! exactly as many as a step lacks. It needs root; without, each test says that it was skipped.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod loop_disk;
mod nameless;
#[expect(dead_code, reason = "`LoopDisk` asks for root itself")]
mod skip;

use std::{
    fs,
    ops::ControlFlow,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use loop_disk::{BLOCK_BYTES, LoopDisk};
use nameless::the_nameless_in;
use pagestore::{
    ByteOffset, Error, Existing, PageCount, PageFile, PageId, PageSize, PageWriter, SealedFile,
    TempWriter,
};

const MIB: usize = 1 << 20;

/// A test that forks for mkfs(8) copies all descriptors for a moment, and so keeps another test's
/// removed file, and its blocks, alive. So one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs `test` on a fresh disk, where there can be one.
fn on_a_disk(name: &str, mib: u64, inodes: u32, test: impl FnOnce(&LoopDisk)) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    match LoopDisk::new(mib, inodes) {
        Ok(disk) => test(&disk),
        Err(reason) => skip::skipped(name, &reason),
    }
}

/// A file's length and the 512-byte sectors that it holds.
fn size(path: &Path) -> (u64, u64) {
    let metadata = path.metadata().unwrap();
    (metadata.len(), metadata.blocks())
}

#[track_caller]
fn check_full(error: &Error) {
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("no room for") && words.contains("free some space and try again"));
}

/// The file that a writer is writing.
fn unfinished(disk: &LoopDisk) -> PathBuf {
    the_nameless_in(&disk.path())
}

#[test]
fn a_grow_that_fails_changes_nothing_and_works_after_space_is_freed() {
    let name = "a_grow_that_fails_changes_nothing_and_works_after_space_is_freed";
    on_a_disk(name, 24, 32, |disk| {
        let path = disk.path().join("file");
        let file = PageFile::create(&path).unwrap();
        file.grow(PageCount::new(100)).unwrap();
        file.pages_mut(..).unwrap().fill(1);
        file.flush().unwrap();
        let ballast = disk.fill_but(10);
        for more in [11, 12, 1000, 1 << 20] {
            let (before, free) = (size(&path), disk.free_blocks());
            let error = file.grow(PageCount::new(more)).unwrap_err();
            check_full(&error);
            let Error::DiskFull { needed_bytes, .. } = error else { unreachable!() };
            assert_eq!(needed_bytes, more * BLOCK_BYTES);
            assert_eq!(size(&path), before, "{more} pages more: length and blocks as before");
            assert_eq!(disk.free_blocks(), free, "{more} pages more: all given back");
            assert_eq!(file.page_count().get(), 100);
        }
        assert_eq!(file.grow(PageCount::new(10)).unwrap().start().get(), 100, "the last blocks");
        check_full(&file.grow(PageCount::new(1)).unwrap_err());

        // What is there can be written and flushed, every second page, although nothing is free.
        for number in (0..110).step_by(2).map(PageId::new) {
            file.page_mut(number).unwrap().fill(2);
        }
        assert_eq!(file.flush().unwrap().pages.get(), 55);

        fs::remove_file(ballast).unwrap();
        file.grow(PageCount::new(1000)).unwrap();
        assert!(file.pages(PageId::new(110)..).unwrap().iter().all(|&byte| byte == 0));
        file.close().unwrap();
        let file = PageFile::open(&path).unwrap();
        assert_eq!(file.page_count().get(), 1110);
        for (page, expected) in [(0, 2), (1, 1), (99, 1), (108, 2), (109, 0)] {
            assert_eq!(file.page(PageId::new(page)).unwrap()[4095], expected, "page {page}");
        }
    });
}

/// Where a file lies in more than four pieces, ext4 needs a block of its own to note where. A grow
/// that failed can leave that one behind, also where the file lies in fewer pieces again; ext4
/// gives it back with the file.
#[test]
fn a_grow_that_fails_on_a_fragmented_disk_keeps_one_block_at_most() {
    let name = "a_grow_that_fails_on_a_fragmented_disk_keeps_one_block_at_most";
    on_a_disk(name, 24, 1024, |disk| {
        let path = disk.path().join("file");
        let file = PageFile::create(&path).unwrap();
        let crumbs = disk.path().join("crumbs");
        fs::create_dir(&crumbs).unwrap();
        // Single free blocks between files of one block each.
        for number in 0..400 {
            fs::write(crumbs.join(number.to_string()), [1; 4096]).unwrap();
        }
        rustix::fs::syncfs(fs::File::open(&crumbs).unwrap()).unwrap();
        disk.fill_but(0);
        for number in (0..400).step_by(2) {
            fs::remove_file(crumbs.join(number.to_string())).unwrap();
        }
        let free = disk.free_blocks();
        assert!(free >= 190, "there are crumbs to take: {free}");
        let mut grown = 0;
        loop {
            let (len, _) = size(&path);
            check_full(&file.grow(PageCount::new(10_000)).unwrap_err());
            // However often it fails, in how many pieces: one block more than pages and header.
            let sectors = (2 + grown + 1) * (BLOCK_BYTES / 512);
            assert!(size(&path).0 == len && size(&path).1 <= sectors, "after {grown} pages");
            match file.grow(PageCount::new(1)) {
                Ok(_) => grown += 1,
                Err(error) => {
                    check_full(&error);
                    break;
                }
            }
        }
        assert!(grown > 100, "{grown} pages in pieces");
        file.pages_mut(..).unwrap().fill(3);
        assert_eq!(file.flush().unwrap().pages.get(), grown);
        drop(file);
        let file = PageFile::open(&path).unwrap();
        assert_eq!(file.page_count().get(), grown);
        assert!(file.pages(..).unwrap().iter().all(|&byte| byte == 3));
    });
}

/// Scattered stores split what fallocate reserved in one piece, which takes blocks of metadata.
#[test]
fn scattered_stores_into_reserved_pages_need_no_free_block() {
    let name = "scattered_stores_into_reserved_pages_need_no_free_block";
    on_a_disk(name, 40, 32, |disk| {
        let path = disk.path().join("file");
        let file = PageFile::create(&path).unwrap();
        file.grow(PageCount::new(4000)).unwrap();
        disk.fill_but(0);
        for round in 1..=3_u8 {
            for page in (usize::from(round)..4000).step_by(4) {
                file.page_mut(PageId::new(page as u64)).unwrap()[0] = round;
            }
            file.flush().unwrap();
        }
        drop(file);
        let file = PageFile::open(&path).unwrap();
        for page in 0..4000 {
            let expected = u8::try_from(page % 4).unwrap();
            assert_eq!(file.page(PageId::new(page)).unwrap()[0], expected, "page {page}");
        }
    });
}

#[test]
fn an_append_that_fails_appends_nothing_and_goes_on_after_space_is_freed() {
    let name = "an_append_that_fails_appends_nothing_and_goes_on_after_space_is_freed";
    on_a_disk(name, 64, 32, |disk| {
        let path = disk.path().join("file");
        let mut writer = PageWriter::create(&path).unwrap();
        // Past the first window of what is reserved ahead, into the middle of a page.
        let first = vec![1; 16 * MIB - 100];
        writer.append(&first).unwrap();
        // What the kernel writes meanwhile takes blocks too, to note where the written parts lie.
        fs::File::open(unfinished(disk)).unwrap().sync_all().unwrap();
        let ballast = disk.fill_but(5);
        let before = size(&unfinished(disk));
        check_full(&writer.append(&vec![2; 6 * 4096 + 101]).unwrap_err());
        check_full(&writer.append(&vec![2; 100 * MIB]).unwrap_err());
        check_full(&writer.align_to((128 << 20).try_into().unwrap()).unwrap_err());
        assert_eq!(writer.payload_len(), first.len() as u64);
        // See above for the one block that ext4 may keep.
        let after = size(&unfinished(disk));
        assert!(after.0 == before.0 && after.1 <= before.1 + BLOCK_BYTES / 512, "{after:?}");
        // What fits the five blocks is taken.
        assert_eq!(writer.append(&vec![3; 5 * 4096]).unwrap().get(), first.len() as u64);
        check_full(&writer.append(&vec![2; 5000]).unwrap_err());

        fs::remove_file(ballast).unwrap();
        let last: Vec<u8> = (0..=255).cycle().take(17 * MIB).collect();
        writer.append(&last).unwrap();
        let sealed = writer.seal().unwrap();
        let payload = [first, vec![3; 5 * 4096], last].concat();
        let read = sealed.as_slice_of_at::<u8>(ByteOffset::ZERO, payload.len()).unwrap();
        assert!(read == payload, "all of it and nothing else");
        assert!(sealed.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
        assert_eq!(disk.names(), ["file"]);
    });
}

/// The least a sealed file needs is what it is given, though a writer would rather reserve more.
#[test]
fn a_small_file_fits_a_disk_that_is_nearly_full_and_one_block_less_is_an_error() {
    let name = "a_small_file_fits_a_disk_that_is_nearly_full_and_one_block_less_is_an_error";
    on_a_disk(name, 24, 32, |disk| {
        let path = disk.path().join("file");
        // Two blocks of header, two pages, one block of table, one of seal. A little more can go
        // to metadata, but five blocks are certainly too few.
        let mut least = None;
        for free in 0..=10 {
            let ballast = disk.fill_but(free);
            let sealed = PageWriter::create(&path).and_then(|mut writer| {
                writer.append(&[9; 4097])?;
                writer.seal().map_err(Error::from)
            });
            match sealed {
                Ok(sealed) => {
                    least = least.or(Some(free));
                    assert!(sealed.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
                    assert_eq!(disk.names(), ["ballast", "file"]);
                    drop(sealed);
                    fs::remove_file(&path).unwrap();
                }
                Err(error) => {
                    check_full(&error);
                    assert_eq!(least, None, "{free} blocks are enough, as fewer were");
                    assert_eq!(disk.names(), ["ballast"], "with {free} free blocks");
                    assert_eq!(disk.free_blocks(), free);
                }
            }
            fs::remove_file(ballast).unwrap();
        }
        assert_eq!(least, Some(6));
    });
}

#[test]
fn a_seal_without_room_for_the_table_leaves_nothing_and_the_old_file_in_place() {
    let name = "a_seal_without_room_for_the_table_leaves_nothing_and_the_old_file_in_place";
    on_a_disk(name, 40, 32, |disk| {
        let path = disk.path().join("file");
        let mut old = PageWriter::create(&path).unwrap();
        old.append(b"old").unwrap();
        drop(old.seal().unwrap());
        let before = disk.free_blocks();
        // The table of 4096 pages takes four blocks, the seal one.
        for free in 0..5 {
            let mut writer =
                PageWriter::options().existing(Existing::Replace).create(&path).unwrap();
            writer.append(&vec![5; 16 * MIB]).unwrap();
            let ballast = disk.fill_but(free);
            // The writer comes back as it was, and goes with the file.
            let (error, writer) = writer.seal().unwrap_err().into_parts();
            check_full(&error);
            assert_eq!(writer.unwrap().payload_len(), 16 * MIB as u64);
            assert_eq!(disk.names(), ["ballast", "file"]);
            fs::remove_file(ballast).unwrap();
            assert_eq!(disk.free_blocks(), before, "everything was given back");
            let old = SealedFile::open(&path).unwrap();
            assert!(old.page(PageId::new(0)).unwrap().starts_with(b"old"));
        }
        let mut writer = PageWriter::options().existing(Existing::Replace).create(&path).unwrap();
        writer.append(&vec![5; 16 * MIB]).unwrap();
        let ballast = disk.fill_but(4);
        let (error, writer) = writer.seal().unwrap_err().into_parts();
        check_full(&error);
        fs::remove_file(ballast).unwrap();
        disk.fill_but(5);
        let sealed = writer.unwrap().seal().unwrap();
        assert!(
            sealed.verify(|_| ControlFlow::Continue(())).unwrap().is_ok(),
            "five blocks are enough"
        );
        assert_eq!(sealed.pages(..).unwrap().iter().position(|&byte| byte != 5), None);
    });
}

#[test]
fn creating_on_a_full_disk_leaves_nothing() {
    on_a_disk("creating_on_a_full_disk_leaves_nothing", 24, 32, |disk| {
        let path = disk.path().join("file");
        for free in [0, 1] {
            let ballast = disk.fill_but(free);
            check_full(&PageFile::create(&path).unwrap_err());
            check_full(&PageWriter::create(&path).unwrap_err());
            assert_eq!(disk.names(), ["ballast"]);
            assert_eq!(disk.free_blocks(), free);
            fs::remove_file(ballast).unwrap();
        }
        let large = PageFile::options().page_size(PageSize::MAX);
        let ballast = disk.fill_but(511);
        check_full(&large.create(&path).unwrap_err());
        fs::remove_file(ballast).unwrap();
        disk.fill_but(512);
        let file = large.create(&path).unwrap();
        assert_eq!(disk.free_blocks(), 0);
        check_full(&file.grow(PageCount::new(1)).unwrap_err());
        file.flush().unwrap();
    });
}

#[test]
fn a_disk_without_inodes_says_so() {
    on_a_disk("a_disk_without_inodes_says_so", 8, 16, |disk| {
        let mut count = 0;
        while fs::write(disk.path().join(format!("full{count}")), "").is_ok() {
            count += 1;
        }
        let (before, path) = (disk.names(), disk.path().join("file"));
        for error in [PageFile::create(&path).unwrap_err(), PageWriter::create(&path).unwrap_err()]
        {
            assert!(matches!(error, Error::Io { operation: "create", .. }), "{error}");
            assert!(error.to_string().ends_with("(free some space)"), "{error}");
        }
        assert_eq!(disk.names(), before);
        fs::remove_file(disk.path().join("full0")).unwrap();
        PageFile::create(&path).unwrap();
    });
}

#[test]
fn a_temporary_file_goes_on_after_space_is_freed_and_gives_all_of_it_back() {
    let name = "a_temporary_file_goes_on_after_space_is_freed_and_gives_all_of_it_back";
    on_a_disk(name, 24, 32, |disk| {
        let free = disk.free_blocks();
        let mut writer = TempWriter::create_in(disk.path()).unwrap();
        writer.append(&[1; 100]).unwrap();
        let ballast = disk.fill_but(0);
        check_full(&writer.append(&vec![2; 70 << 20]).unwrap_err());
        assert_eq!(writer.payload_len(), 100, "nothing is appended");
        fs::remove_file(&ballast).unwrap();
        writer.append(&vec![2; MIB]).unwrap();
        let sealed = writer.finish().unwrap();
        assert_eq!(sealed.as_slice_of_at::<u8>(ByteOffset::new(99), 3).unwrap(), [1, 2, 2]);
        drop(sealed);
        assert_eq!(disk.free_blocks(), free);
    });
}

#[test]
fn a_temporary_file_that_cannot_be_finished_leaves_nothing() {
    let name = "a_temporary_file_that_cannot_be_finished_leaves_nothing";
    on_a_disk(name, 24, 32, |disk| {
        let free = disk.free_blocks();
        let mut writer = TempWriter::create_in(disk.path()).unwrap();
        let first_blocks = free - disk.free_blocks();
        let ballast = disk.fill_but(8);
        writer.append(&[1; 8 * 4096]).unwrap();
        check_full(&writer.finish().unwrap_err().into_error());
        assert_eq!(disk.free_blocks(), 8 + first_blocks, "the writer's blocks are free again");
        fs::remove_file(&ballast).unwrap();
        TempWriter::create_in(disk.path()).unwrap().finish().unwrap();
        assert_eq!(disk.free_blocks(), free);
    });
}
