//! Making the files of a checkpoint durable.
//!
//! Method: what a power cut would leave is the image below a loop device, copied while the filesystem above is in
//! use, and mounted by itself. How many files were synchronised one by one, DBSP counts for all of a process; so
//! that is looked at in a process of its own. Syncs fail, or are none, where a filter refuses the call to a thread.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, atomic::Ordering},
    thread,
};

use dbsp::circuit::metrics::FILES_SYNCED;
use feldera_storage::{FileCommitter, StoragePath, error::StorageError};
use feldera_types::config::StorageSyncMode;
use storage_dbsp::MappedStorage;

use super::files::{self, Backend};
use crate::{
    filter::{self, Call},
    loop_disk::LoopDisk,
    process::{self, Process},
    skip,
};

const FILES: usize = 40;

fn open(folder: &Path, mode: StorageSyncMode) -> Backend {
    Arc::new(MappedStorage::options().sync_mode(mode).open(folder).unwrap())
}

fn bytes(number: usize) -> Vec<u8> {
    files::random(number as u64, 3_000 + number * 5_000)
}

fn name(number: usize) -> String {
    format!("w-{number}.feldera")
}

fn write(backend: &Backend) -> Vec<Arc<dyn FileCommitter>> {
    let written = (0..FILES).map(|number| {
        let bytes = bytes(number);
        let reader = files::write(backend, &name(number).into(), &bytes, &[bytes.len()]);
        reader.mark_for_checkpoint();
        reader as Arc<dyn FileCommitter>
    });
    written.collect()
}

/// A copy of a disk as it is now, below its filesystem; unmounted on drop.
struct CopiedDisk {
    folder: tempfile::TempDir,
}

impl CopiedDisk {
    fn of(disk: &LoopDisk) -> Self {
        let copy = Self { folder: tempfile::tempdir().unwrap() };
        let image = copy.folder.path().join("image");
        fs::copy(disk.path().with_file_name("image"), &image).unwrap();
        fs::create_dir(copy.path()).unwrap();
        let mounted =
            Command::new("mount").args(["-o", "loop"]).arg(&image).arg(copy.path()).status();
        assert!(mounted.unwrap().success());
        copy
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }
}

impl Drop for CopiedDisk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn all_files_outlive_a_power_cut() {
    let test = "all_files_outlive_a_power_cut";
    for mode in [StorageSyncMode::Auto, StorageSyncMode::PerFile] {
        let disk = match LoopDisk::with_feature("has_journal", 64, 1000) {
            Ok(disk) => disk,
            Err(reason) => return skip::skipped(test, &reason),
        };
        let backend = open(&disk.path(), mode);
        let written = write(&backend);
        backend.sync_files(&written).unwrap();
        backend.fsync_dir(&StoragePath::default()).unwrap();
        let copy = CopiedDisk::of(&disk);
        for number in 0..FILES {
            let found = fs::read(copy.path().join(name(number)));
            let is_there = found.is_ok_and(|found| found == bytes(number));
            assert!(is_there, "{mode:?}, file {number}");
        }
    }
}

/// How many files are synchronised one by one when they are all asked for, and when they are again.
fn synced_one_by_one(folder: &Path, mode: StorageSyncMode) -> [u64; 2] {
    let backend = open(folder, mode);
    let written = write(&backend);
    let counts = [(); 2].map(|()| {
        let before = FILES_SYNCED.load(Ordering::Relaxed);
        backend.sync_files(&written).unwrap();
        FILES_SYNCED.load(Ordering::Relaxed) - before
    });
    (0..FILES).for_each(|number| backend.delete(&name(number).into()).unwrap());
    counts
}

#[test]
fn a_folder_with_a_filesystem_of_its_own_takes_one_sync() {
    let test = "backend::syncing::a_folder_with_a_filesystem_of_its_own_takes_one_sync";
    if process::passed().is_none() {
        let mut child = Process::start(test, "");
        match child.hear().expect("it tells how it went").as_str() {
            "as expected" => {}
            reason => skip::skipped(test, reason),
        }
        return;
    }
    let disk = match LoopDisk::new(64, 1000) {
        Ok(disk) => disk,
        Err(reason) => return process::tell(&reason),
    };
    let inner = disk.path().join("state");
    let (at_once, one_by_one) = ([0, 0], [FILES as u64, 0]);
    for (folder, mode, expected) in [
        (disk.path(), StorageSyncMode::Auto, at_once),
        (inner.clone(), StorageSyncMode::Auto, one_by_one),
        (inner, StorageSyncMode::Syncfs, at_once),
        (disk.path(), StorageSyncMode::PerFile, one_by_one),
    ] {
        assert_eq!(synced_one_by_one(&folder, mode), expected, "{mode:?}, {}", folder.display());
    }
    // The same filesystem in a second place: what is written there is not ours.
    let second = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        let done = Command::new(arguments[0]).args(&arguments[1..]).arg(second.path()).status();
        assert!(done.unwrap().success(), "{arguments:?}");
    };
    mount(&["mount", "--bind", disk.path().to_str().unwrap()]);
    let shared = synced_one_by_one(&disk.path(), StorageSyncMode::Auto);
    mount(&["umount"]);
    assert_eq!(shared, one_by_one);
    // Their syncfs(2) says nothing of what failed below, or does nothing.
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| disk.path().join(name));
    for folder in [&lower, &upper, &work] {
        fs::create_dir(folder).unwrap();
    }
    let layers = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    for layer in
        [["-t", "overlay", "-o", &layers, "overlay"], ["-t", "tmpfs", "-o", "size=32m", "tmpfs"]]
    {
        mount(&[&["mount"], &layer[..]].concat());
        let counts = [StorageSyncMode::Auto, StorageSyncMode::Syncfs]
            .map(|mode| synced_one_by_one(second.path(), mode));
        mount(&["umount"]);
        assert_eq!(counts, [one_by_one; 2], "{layer:?}");
    }
    process::tell("as expected");
}

/// Runs it on a thread of its own, to which the kernel answers so.
fn answered<T: Send>(calls: &[(Call, i32)], run: impl FnOnce() -> T + Send) -> T {
    let on_thread = || {
        calls.iter().for_each(|(call, errno)| filter::refuse(*call, *errno));
        run()
    };
    thread::scope(|scope| scope.spawn(on_thread).join().unwrap())
}

const FSYNC: Call = Call::all("fsync", libc::SYS_fsync);
const SYNCFS: Call = Call::all("syncfs", libc::SYS_syncfs);

/// As kernels from 5.8 to 5.16 do when it is the filesystem's own part that fails.
#[test]
fn a_sync_of_the_filesystem_is_not_believed_where_its_folder_cannot_be_synchronised() {
    let test = "a_sync_of_the_filesystem_is_not_believed_where_its_folder_cannot_be_synchronised";
    let disk = match LoopDisk::new(64, 1000) {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let backend = open(&disk.path(), StorageSyncMode::Syncfs);
    let written = write(&backend);
    let synced = || backend.sync_files(&written);
    let error = answered(&[(SYNCFS, 0), (FSYNC, libc::EIO)], synced).unwrap_err();
    assert!(error.to_string().contains("fsync"), "{error}");
    drop((written, backend));
}

/// The kernel reports it once: a sync of the names would be in order when it is tried again.
#[test]
fn names_that_could_not_be_made_durable_fail_their_files_for_good() {
    let (_folder, backend) = files::backend();
    let root = StoragePath::default();
    let write = |name: &str| files::write(&backend, &name.into(), b"bytes", &[5]);
    let (before, inner) = (write("before"), write("inner/file"));
    backend.fsync_dir(&root).unwrap();
    let lost = write("lost");
    lost.commit().unwrap();
    let failed = || backend.fsync_dir(&root);
    let error: StorageError = answered(&[(FSYNC, libc::EIO)], failed).unwrap_err();
    backend.fsync_dir(&root).unwrap();
    assert_eq!(lost.commit().unwrap_err().to_string(), error.to_string());
    // Those that were durable before, lie elsewhere, or were given later.
    let after = write("after");
    for sound in [&before, &inner, &after] {
        sound.commit().unwrap();
    }
    backend.fsync_dir(&root).unwrap();
    after.commit().unwrap();
    assert_eq!(lost.commit().unwrap_err().to_string(), error.to_string());
}

#[test]
fn a_folder_whose_name_could_not_be_made_durable_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outer/state");
    answered(&[(FSYNC, libc::EIO)], || MappedStorage::open(&path).map(drop)).unwrap_err();
    assert!(!folder.path().join("outer").exists(), "else the next one would believe in its name");
    MappedStorage::open(&path).unwrap();
}
