//! Filesystems other than the one that the rest is tested on: everything works there, or is refused
//! with the reason, and nothing is left behind.
//!
//! Method: one run through the public interface (create, grow, write, flush, lock, reopen, recover,
//! append, seal, verify, evict, cut short) in a folder of each filesystem. Those that need mounting
//! need root, and are skipped without it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::ErrorKind,
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use pagestore::{
    Error, Existing, Lease, PageCount, PageFile, PageId, PageSize, PageWriter, Populate, Result,
    SealedFile, inspect,
};
use tempfile::TempDir;

use crate::skip;

const PAGES: u64 = 300;

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", errors.trim())) }
}

/// A filesystem mounted in a temporary folder, unmounted on drop.
struct Mounted {
    folder: TempDir,
}

impl Mounted {
    /// Mounts by `mount_words`, in which `{}` stands for the temporary folder.
    fn new(folders: &[&str], mount_words: &[&str]) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting needs root".into());
        }
        let mounted = Self { folder: tempfile::tempdir().map_err(|error| error.to_string())? };
        let folder = mounted.folder.path();
        for name in folders.iter().chain(&["mounted"]) {
            fs::create_dir(folder.join(name)).map_err(|error| error.to_string())?;
        }
        let words = mount_words.iter().map(|word| word.replace("{}", folder.to_str().unwrap()));
        run(Command::new("mount").args(words).arg(mounted.path()))?;
        Ok(mounted)
    }

    /// ext4 with these features, on a loop device.
    fn ext4(mkfs_words: &[&str]) -> Result<Self, String> {
        let image = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        image.as_file().set_len(64 << 20).map_err(|error| error.to_string())?;
        let image = image.into_temp_path();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).args(mkfs_words).arg(&image))?;
        // The mount keeps the image, whose name is not needed any more.
        Self::new(&[], &["-o", "loop", image.to_str().unwrap()])
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let path = self.path();
        if run(Command::new("umount").arg(&path)).is_err() {
            let _lazily = run(Command::new("umount").arg("-l").arg(&path));
        }
    }
}

/// Runs `test` on a filesystem, or says why it is skipped.
fn on(name: &str, mounted: Result<Mounted, String>, test: impl FnOnce(&Mounted)) {
    match mounted {
        Ok(mounted) => test(&mounted),
        Err(reason) => skip::skipped(name, &reason),
    }
}

fn byte(page: u64, round: u8) -> u8 {
    u8::try_from(page % 100).unwrap() * 2 + round
}

/// Everything that there is to do with a mutable file.
fn use_mutable(folder: &Path) -> Result<()> {
    for page_size in [PageSize::DEFAULT, PageSize::new(64 << 10).unwrap()] {
        let path = folder.join("mutable");
        let file = PageFile::options().page_size(page_size).create(&path)?;
        let held = file.grow(PageCount::new(PAGES)).and_then(|_| file.page(PageId::new(0)))?;
        for page in 0..PAGES {
            if page > 0 {
                file.page_mut(PageId::new(page))?.fill(byte(page, 0));
            }
        }
        assert_eq!(file.flush()?.pages.get(), PAGES - 1);
        assert_eq!(file.flush()?.pages.get(), 0);
        for page in (1..PAGES).step_by(7) {
            file.page_mut(PageId::new(page))?.fill(byte(page, 1));
        }
        assert_eq!(file.flush()?.pages.get(), PAGES.div_ceil(7));
        file.grow(PageCount::new(50))?;
        assert!(held.iter().all(|&byte| byte == 0), "a guard outlives growth");
        drop(held);
        assert!(matches!(PageFile::open(&path), Err(Error::Locked { .. })));
        file.still_valid()?;
        file.close()?;

        let file = PageFile::open(&path)?;
        assert_eq!(file.page_count().get(), PAGES + 50);
        for page in 1..PAGES {
            let round = u8::from(page % 7 == 1);
            let right = file.with_pages(PageId::new(page)..=PageId::new(page), |bytes| {
                bytes.iter().all(|&found| found == byte(page, round))
            })?;
            assert!(right, "page {page}");
        }
        let copy = folder.join("copy");
        assert_eq!(file.recover_into(&copy)?.pages, file.page_count());
        drop(file);
        assert_eq!(inspect(&copy)?.page_count.get(), PAGES + 50);

        // Cut short under a reader.
        let file = PageFile::options().populate(Populate::OnTouch).open(&copy)?;
        let outside = OpenOptions::new().write(true).open(&copy).unwrap();
        outside.set_len(page_size.get() * 40).unwrap();
        let read = file.with_pages(PageId::new(200)..PageId::new(210), |bytes| bytes[0]);
        assert!(matches!(read, Err(Error::Poisoned { .. })), "{read:?}");
        assert!(matches!(file.flush(), Err(Error::Poisoned { .. })));
        drop(file);
        fs::remove_file(copy).unwrap();
        fs::remove_file(path).unwrap();
    }
    Ok(())
}

/// Everything that there is to do with a sealed file.
fn use_sealed(folder: &Path) -> Result<()> {
    let path = folder.join("sealed");
    let payload: Vec<u8> = (0..=250).cycle().take(3_000_000).collect();
    for round in 0..2 {
        let existing = if round == 0 { Existing::Refuse } else { Existing::Replace };
        let mut writer = PageWriter::options().existing(existing).create(&path)?;
        payload.chunks(333_333).try_for_each(|piece| writer.append(piece).map(drop))?;
        drop(writer.seal()?);
        let taken = PageWriter::create(&path);
        assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{taken:?}");
    }
    let sealed = SealedFile::open(&path)?;
    assert_eq!(sealed.lease(), Lease::Held);
    let other = SealedFile::open(&path)?;
    let writer = PageFile::open(&path);
    assert!(matches!(writer, Err(Error::Sealed { .. })), "{writer:?}");
    let locked = File::open(&path).unwrap().try_lock();
    assert!(matches!(locked, Err(TryLockError::WouldBlock)), "the readers lock it: {locked:?}");
    assert!(sealed.verify(|_| ControlFlow::Continue(()))?.is_ok());
    assert!(sealed.pages(..)?.starts_with(&payload));
    let view = sealed.bytes(PageId::new(5)..PageId::new(9))?;
    sealed.evict(..)?;
    assert!(sealed.with_pages(.., |bytes| bytes.starts_with(&payload))?);
    drop(sealed);
    assert_eq!(view, payload[5 * 4096..9 * 4096]);
    other.still_valid()?;
    let refused = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&path);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(other.lease(), Lease::WriterWaits);
    drop((other, view));

    // Flipped on the disk, found by its page's checksum.
    let mut bytes = fs::read(&path).unwrap();
    bytes[8192 + 77 * 4096 + 9] ^= 4;
    fs::write(&path, bytes).unwrap();
    let sealed = SealedFile::open(&path)?;
    let read = sealed.page(PageId::new(77));
    assert!(matches!(read, Err(Error::Checksum { page, .. }) if page.get() == 77), "{read:?}");
    drop(sealed);
    fs::remove_file(path).unwrap();
    Ok(())
}

#[track_caller]
fn check_works(folder: &Path) {
    let before = names(folder);
    use_mutable(folder).unwrap();
    use_sealed(folder).unwrap();
    assert_eq!(names(folder), before, "nothing is left behind");
}

/// A filesystem that cannot reserve space: the error says so, and nothing is left behind.
#[track_caller]
fn check_refused(folder: &Path) {
    let before = names(folder);
    for error in [use_mutable(folder).unwrap_err(), use_sealed(folder).unwrap_err()] {
        let message = error.to_string();
        assert!(message.contains("cannot reserve disk space (fallocate) for"), "{message}");
        assert!(message.contains("cannot do it: choose a filesystem like ext4"), "{message}");
        assert_eq!(names(folder), before, "after {message}");
    }
}

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn tmpfs() {
    match tempfile::tempdir_in("/dev/shm") {
        Ok(folder) => check_works(folder.path()),
        Err(error) => skip::skipped("tmpfs", &error.to_string()),
    }
}

#[test]
fn tmpfs_with_huge_pages() {
    let mounted = Mounted::new(&[], &["-t", "tmpfs", "-o", "size=128m,huge=always", "tmpfs"]);
    on("tmpfs_with_huge_pages", mounted, |mounted| check_works(&mounted.path()));
}

/// The upper layer of an overlay, on a disk and on tmpfs.
#[test]
fn overlayfs() {
    let options = "lowerdir={}/lower,upperdir={}/upper,workdir={}/work";
    let folders = ["lower", "upper", "work"];
    let mounted = Mounted::new(&folders, &["-t", "overlay", "-o", options, "overlay"]);
    on("overlayfs", mounted, |mounted| {
        check_works(&mounted.path());
        // A file of the lower layer is copied up when it is opened for writing.
        let lower = mounted.folder.path().join("lower/file");
        let file = PageFile::create(&lower).unwrap();
        file.grow(PageCount::new(9)).unwrap();
        file.page_mut(PageId::new(8)).unwrap().fill(1);
        file.close().unwrap();
        let before = fs::read(&lower).unwrap();
        let merged = mounted.path().join("file");
        let file = PageFile::open(&merged).unwrap();
        file.page_mut(PageId::new(7)).unwrap().fill(2);
        file.flush().unwrap();
        drop(file);
        let file = PageFile::open(&merged).unwrap();
        let bytes = [7, 8].map(|page| file.page(PageId::new(page)).unwrap()[4095]);
        assert_eq!(bytes, [2, 1]);
        assert_eq!(fs::read(&lower).unwrap(), before, "the lower layer is as it was");
    });
}

#[test]
fn ext4_with_blocks_of_1_kib() {
    let mounted = Mounted::ext4(&["-b", "1024"]);
    on("ext4_with_blocks_of_1_kib", mounted, |mounted| check_works(&mounted.path()));
}

#[test]
fn ext4_with_a_journal() {
    let mounted = Mounted::ext4(&["-b", "4096", "-O", "has_journal"]);
    on("ext4_with_a_journal", mounted, |mounted| check_works(&mounted.path()));
}

/// ext4 reserves space by extents alone.
#[test]
fn ext4_without_extents_is_refused_with_the_reason() {
    let name = "ext4_without_extents_is_refused_with_the_reason";
    let mounted = Mounted::ext4(&["-b", "4096", "-O", "^extents,^64bit,^flex_bg"]);
    on(name, mounted, |mounted| check_refused(&mounted.path()));
}

#[test]
fn ramfs_is_refused_with_the_reason() {
    let mounted = Mounted::new(&[], &["-t", "ramfs", "ramfs"]);
    on("ramfs_is_refused_with_the_reason", mounted, |mounted| check_refused(&mounted.path()));
}

#[test]
fn a_read_only_filesystem_is_refused_with_the_reason() {
    let name = "a_read_only_filesystem_is_refused_with_the_reason";
    let mounted = Mounted::new(&[], &["-t", "tmpfs", "-o", "size=16m", "tmpfs"]);
    on(name, mounted, |mounted| {
        let path = mounted.path().join("sealed");
        let mut writer = PageWriter::create(&path).unwrap();
        writer.append(&[7; 5000]).unwrap();
        drop(writer.seal().unwrap());
        let mutable = mounted.path().join("mutable");
        PageFile::create(&mutable).unwrap().close().unwrap();
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(mounted.path())).unwrap();
        for error in [
            PageFile::create(mounted.path().join("new")).unwrap_err(),
            PageWriter::create(mounted.path().join("new")).unwrap_err(),
            PageFile::open(&mutable).unwrap_err(),
        ] {
            let message = error.to_string();
            assert!(message.contains("choose a folder on a writable filesystem"), "{message}");
        }
        // What is sealed is read there like anywhere.
        let sealed = SealedFile::open(&path).unwrap();
        assert!(sealed.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
        assert!(File::open(&path).is_ok());
    });
}
