//! ext4 whose device fails: a loop device over a file on a tmpfs that is full, so that write-back
//! ends in EIO although ext4 itself has room.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use pagestore::{
    Error, PageCount, PageFile, PageId, PageWriter, PoisonCause, SealedFile, VersionedFile,
    WithCauses,
};
use rustix::{io::Errno, mm::Advice};
use tempfile::TempDir;

use crate::skip;

const PAGES: u64 = 2048;

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", errors.trim())) }
}

/// ext4 on a loop device on a tmpfs; unmounted on drop.
struct FailingExt4 {
    folder: TempDir,
}

impl FailingExt4 {
    fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting needs root".into());
        }
        let disk = Self { folder: tempfile::tempdir().map_err(|error| error.to_string())? };
        let (below, above) = (disk.below(), disk.above());
        fs::create_dir(&below).map_err(|error| error.to_string())?;
        fs::create_dir(&above).map_err(|error| error.to_string())?;
        let tmpfs = ["-t", "tmpfs", "-o", "size=48m", "failing_disk"];
        run(Command::new("mount").args(tmpfs).arg(&below))?;
        let image = below.join("image");
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(128 << 20).map_err(|error| error.to_string())?;
        // Its tables are written now, so that only data is missing later.
        let options = ["-q", "-F", "-m", "0", "-b", "4096", "-N", "64"];
        let eager = ["-O", "^has_journal", "-E", "lazy_itable_init=0,nodiscard"];
        run(Command::new("mkfs.ext4").args(options).args(eager).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&above))?;
        Ok(disk)
    }

    /// Where the tmpfs is mounted.
    fn below(&self) -> std::path::PathBuf {
        self.folder.path().join("below")
    }

    /// Where ext4 is mounted.
    fn above(&self) -> std::path::PathBuf {
        self.folder.path().join("above")
    }

    /// Takes all room on the tmpfs.
    fn fill(&self) {
        let zeros = vec![0; 64 << 10];
        let mut ballast = File::create(self.below().join("ballast")).unwrap();
        while std::io::Write::write_all(&mut ballast, &zeros).is_ok() {}
    }
}

impl Drop for FailingExt4 {
    fn drop(&mut self) {
        let _room = fs::remove_file(self.below().join("ballast"));
        for mounted in [self.above(), self.below()] {
            if run(Command::new("umount").arg(&mounted)).is_err() {
                let _lazily = run(Command::new("umount").arg("-l").arg(&mounted));
            }
        }
    }
}

fn stored(page: u64) -> u8 {
    u8::try_from(page % 250).unwrap() + 1
}

fn check_poisoned(path: &Path, file: &PageFile) {
    let page = PageId::new(0);
    for _ in 0..3 {
        let all = [
            file.flush().map(drop),
            file.page_mut(page).map(drop),
            file.pages_mut(..).map(drop),
            file.grow(PageCount::new(1)).map(drop),
        ];
        for result in all {
            let Err(error @ Error::Poisoned { cause: PoisonCause::Flush(_), .. }) = &result else {
                panic!("after a failed flush: {result:?}");
            };
            let message = error.to_string();
            assert!(message.contains(&path.display().to_string()), "{message}");
            assert!(message.contains("poisoned for good"), "{message}");
        }
    }
}

/// What a lack of memory does: drops the pages that the kernel takes for clean and that nobody keeps.
fn page_out(file: &PageFile) {
    let kept = (0..PAGES).filter(|&page| {
        let page = file.page(PageId::new(page)).unwrap();
        let start = page.as_ptr().cast_mut().cast();
        #[expect(unsafe_code, reason = "there is no safe way to lack memory")]
        // SAFETY: the guard keeps the page mapped. The advice takes it out of memory (madvise(2)); who
        // reads it brings it back, from the file that the mapping is of.
        let dropped = unsafe { rustix::mm::madvise(start, page.len(), Advice::LinuxPageOut) };
        match dropped {
            Ok(()) => false,
            // It is locked.
            Err(Errno::INVAL) => true,
            Err(errno) => panic!("{errno}"),
        }
    });
    assert_eq!(kept.count() as u64, PAGES / 2, "the pages of the failed flush are kept, no others");
}

#[test]
fn on_ext4_a_flush_that_the_device_fails_says_so_and_all_after_it() {
    let test = "on_ext4_a_flush_that_the_device_fails_says_so_and_all_after_it";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let path = disk.above().join("file");
    let file = PageFile::create(&path).unwrap();
    file.grow(PageCount::new(PAGES)).unwrap();
    file.flush().unwrap();
    let pages = || (0..PAGES).step_by(2);
    for page in pages() {
        file.page_mut(PageId::new(page)).unwrap().fill(stored(page));
    }
    disk.fill();
    let error = file.flush().unwrap_err();
    let Error::FlushFailed { pages: hull, source, .. } = &error else { panic!("{error}") };
    assert_eq!((hull.start().get(), hull.end().get()), (0, PAGES - 1), "the pages concerned");
    assert!(source.raw_os_error().is_some(), "{source}");
    check_poisoned(&path, &file);

    // The device works again; the kernel would let a second flush succeed, without writing.
    fs::remove_file(disk.below().join("ballast")).unwrap();
    check_poisoned(&path, &file);
    page_out(&file);
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let saved = elsewhere.path().join("saved");
    let report = file.recover_into(&saved).unwrap();
    assert_eq!((report.pages.get(), report.pages_unprotected.get()), (PAGES, 0));
    assert!(matches!(file.close(), Err(Error::Poisoned { .. })));
    let recovered = PageFile::open(saved).unwrap();
    for page in 0..PAGES {
        let expected = if page % 2 == 0 { stored(page) } else { 0 };
        let bytes = recovered.page(PageId::new(page)).unwrap();
        assert!(bytes.iter().all(|&found| found == expected), "page {page}");
    }
}

/// The kernel wrote pages by itself before the flush, failed, and dropped them.
#[test]
fn pages_that_had_left_memory_before_a_flush_failed_are_counted() {
    let test = "pages_that_had_left_memory_before_a_flush_failed_are_counted";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let file = PageFile::create(disk.above().join("file")).unwrap();
    file.grow(PageCount::new(PAGES)).unwrap();
    file.flush().unwrap();
    file.pages_mut(..).unwrap().fill(1);
    disk.fill();
    assert!(rustix::fs::syncfs(File::open(disk.above()).unwrap()).is_err(), "it took everything");
    fs::remove_file(disk.below().join("ballast")).unwrap();
    {
        let pages = file.pages(..).unwrap();
        let start = pages.as_ptr().cast_mut().cast();
        #[expect(unsafe_code, reason = "there is no safe way to lack memory")]
        // SAFETY: as in `page_out`.
        let dropped = unsafe { rustix::mm::madvise(start, pages.len(), Advice::LinuxPageOut) };
        dropped.unwrap();
    }
    assert!(matches!(file.flush(), Err(Error::FlushFailed { .. })));
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let saved = elsewhere.path().join("saved");
    let report = file.recover_into(&saved).unwrap();
    let saved = PageFile::open(saved).unwrap();
    let lost = (0..PAGES).filter(|&page| *saved.page(PageId::new(page)).unwrap() != [1; 4096]);
    let lost = lost.count() as u64;
    assert!(lost > 0, "the kernel kept what it could not write");
    assert_eq!(report.pages_unprotected.get(), lost);
}

/// Of a temporary file the kernel writes what it likes, and tells nobody where it cannot.
#[test]
fn what_a_temporary_file_lost_is_not_taken_for_right() {
    let test = "what_a_temporary_file_lost_is_not_taken_for_right";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let mut writer = PageWriter::options().create_temporary(disk.above()).unwrap();
    for page in 0..PAGES {
        writer.append(&[stored(page); 4096]).unwrap();
    }
    let file = writer.finish().unwrap();
    let is_right = |file: &SealedFile| {
        let pages = file.pages(..).unwrap().chunks_exact(4096);
        (0..).zip(pages).all(|(page, bytes)| bytes.iter().all(|&byte| byte == stored(page)))
    };
    assert!(file.with_pages(.., |_| is_right(&file)).unwrap());

    disk.fill();
    let folder = File::open(disk.above()).unwrap();
    assert!(rustix::fs::syncfs(&folder).is_err(), "the disk took everything");
    fs::remove_file(disk.below().join("ballast")).unwrap();
    let pages = file.pages(..).unwrap();
    #[expect(unsafe_code, reason = "there is no safe way to lack memory")]
    // SAFETY: the slice is mapped as long as the file. The advice takes it out of memory (madvise(2)); who reads it
    // brings it back, from the file that the mapping is of.
    let dropped = unsafe {
        rustix::mm::madvise(pages.as_ptr().cast_mut().cast(), pages.len(), Advice::LinuxPageOut)
    };
    dropped.unwrap();
    assert!(!is_right(&file), "the kernel kept what it could not write");
    for _ in 0..2 {
        let error = file.still_valid().unwrap_err();
        let Error::Poisoned { cause: PoisonCause::WriteBack(_), .. } = &error else {
            panic!("{error}");
        };
        assert!(error.to_string().contains("write it once more"), "{error}");
        assert!(file.page(PageId::new(0)).is_err());
    }
}

/// The log has what the disk did not take; what is in its place is of an earlier commit.
#[test]
fn a_versioned_file_gives_no_page_of_an_earlier_commit_for_one_that_was_lost() {
    let test = "a_versioned_file_gives_no_page_of_an_earlier_commit_for_one_that_was_lost";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let path = disk.above().join("file");
    let file = VersionedFile::options().log_bytes(16 << 20).create(&path).unwrap();
    let grow_and_fill = |count, byte| {
        let grown = file.update(|pages| {
            pages.grow(PageCount::new(count))?;
            pages.pages_mut(..)?.fill(byte);
            Ok::<_, Error>(())
        });
        grown.unwrap();
    };
    // Their stamps fill a block, so those of the next ones are lost with their pages.
    grow_and_fill(256, 7);
    file.checkpoint().unwrap();
    grow_and_fill(100, 8);
    // It is on its way into the file no more when the next one is there.
    let again = file.update(|pages| {
        pages.page_mut(PageId::new(0))?.fill(8);
        Ok::<_, Error>(())
    });
    again.unwrap();
    disk.fill();
    let above = File::open(disk.above()).unwrap();
    assert!(rustix::fs::syncfs(&above).is_err(), "the disk took everything");
    fs::remove_file(disk.below().join("ballast")).unwrap();
    let dropped = File::open(&path).unwrap();
    rustix::fs::fadvise(&dropped, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert!(matches!(file.checkpoint(), Err(Error::SyncFailed { .. })));

    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let saved = elsewhere.path().join("saved");
    let error = file.recover_into(&saved).unwrap_err();
    assert!(WithCauses(&error).to_string().contains("open it anew"), "{error}");
    assert!(!saved.exists());
    drop(file);
    let file = VersionedFile::open(&path).unwrap();
    let snapshot = file.snapshot().unwrap();
    assert!(snapshot.pages(..).unwrap().iter().all(|&byte| byte == 8));
}
