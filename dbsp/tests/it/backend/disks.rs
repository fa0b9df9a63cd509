//! A full disk and a failing one.
//!
//! Method: ext4 on a loop device; and the same on a file in a full tmpfs, where write-back ends in
//! EIO although ext4 itself has room.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Barrier},
    thread,
};

use dbsp::{
    dynamic::DynUnit,
    trace::{BatchReader as _, Builder as _},
};
use feldera_storage::{FileCommitter, fbuf::FBuf};
use feldera_types::config::StorageSyncMode;
use storage_dbsp::{MappedBatchBuilder, MappedStorage};

use super::files::{self, Backend, keep, names_on_disk, usage};
use crate::{failing_ext4::FailingExt4, loop_disk::LoopDisk, skip};

#[test]
fn a_full_disk_is_an_error_and_leaves_no_file() {
    let test = "a_full_disk_is_an_error_and_leaves_no_file";
    let disk = match LoopDisk::new(16, 64) {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let root = disk.path().join("state");
    let backend = files::open(&root);
    keep(&backend, "before", &files::random(1, 1 << 20));
    disk.fill_but(600);
    let mut writer = backend.create_named(&"file".into()).unwrap();
    let failed = (0..100).find_map(|_| writer.write_block(FBuf::from_slice(&[1; 256 << 10])).err());
    assert_eq!(failed.unwrap().kind(), ErrorKind::StorageFull);
    // It stays failed, even if there is room again: a part of the file is missing.
    fs::remove_file(disk.path().join("ballast")).unwrap();
    assert!((0..5).any(|_| writer.write_block(FBuf::from_slice(&[1; 256 << 10])).is_err()));
    let Err(error) = writer.complete() else { panic!("a part of it is missing") };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(names_on_disk(&root), ["before"]);
    assert_eq!(usage(&backend), 1 << 20);
    let before = backend.read(&"before".into()).unwrap();
    assert_eq!(before.as_slice(), files::random(1, 1 << 20));
    keep(&backend, "after", &files::random(2, 5 << 20));
    drop(backend);
}

#[test]
fn a_file_that_cannot_be_made_durable_says_so_for_good() {
    let test = "a_file_that_cannot_be_made_durable_says_so_for_good";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let root = disk.above().join("state");
    let backend: Backend = files::open(&root);
    keep(&backend, "before", &files::random(1, 1 << 20));
    disk.fill();
    let bytes = files::random(2, 8 << 20);
    // It can be read, and no more is promised of it.
    let reader = files::write(&backend, &"file".into(), &bytes, &[bytes.len()]);
    assert_eq!(names_on_disk(&root), ["before", "file"]);
    let error = reader.commit().unwrap_err();
    assert!(error.to_string().contains("fsync"), "{error}");
    assert_eq!(error.kind(), disk.sync_error_kind(), "{error}");
    // The kernel has told it, and counts the pages as written: a sync of them would be in order now.
    disk.heal();
    assert_eq!(reader.commit().unwrap_err().to_string(), error.to_string());
    drop(reader);
    assert_eq!(usage(&backend), 1 << 20);
    files::write(&backend, &"file".into(), &bytes, &[bytes.len()]).commit().unwrap();
    drop(backend);
}

#[test]
fn a_file_that_cannot_be_made_durable_takes_no_place() {
    let test = "a_file_that_cannot_be_made_durable_takes_no_place";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let root = disk.above().join("state");
    let backend: Backend = files::open(&root);
    keep(&backend, "catalog", b"what was there");
    backend.open(&"catalog".into()).unwrap().commit().unwrap();
    let mut writer = backend.create_named(&"catalog".into()).unwrap();
    disk.fill();
    writer.write_block(FBuf::from_slice(&files::random(2, 8 << 20))).unwrap();
    let Err(error) = writer.complete() else { panic!("what is on the disk is unknown") };
    assert!(error.to_string().contains("fsync"), "{error}");
    assert_eq!(error.kind(), disk.sync_error_kind(), "{error}");
    assert_eq!(names_on_disk(&root), ["catalog"], "neither the file nor what was to become it");
    assert_eq!(backend.read(&"catalog".into()).unwrap().as_slice(), b"what was there");
    assert_eq!(usage(&backend), 14);
    drop(backend);
}

#[test]
fn of_many_files_one_that_cannot_be_made_durable_fails_all_and_the_others_go_on() {
    let test = "of_many_files_one_that_cannot_be_made_durable_fails_all_and_the_others_go_on";
    for mode in [StorageSyncMode::PerFile, StorageSyncMode::Syncfs] {
        let disk = match FailingExt4::new() {
            Ok(disk) => disk,
            Err(reason) => return skip::skipped(test, &reason),
        };
        let root = disk.above().join("state");
        let backend: Backend =
            Arc::new(MappedStorage::options().sync_mode(mode).open(&root).unwrap());
        let write = |number: usize, len| {
            let name = format!("file-{number}").into();
            let bytes = files::random(number as u64, len);
            files::write(&backend, &name, &bytes, &[len]) as Arc<dyn FileCommitter>
        };
        let mut sound: Vec<_> = (0..40).map(|number| write(number, 10_000)).collect();
        // They have got their room below, by somebody else's doing.
        rustix::fs::syncfs(File::open(disk.above()).unwrap()).unwrap();
        disk.fill();
        let failing = write(40, 8 << 20);
        let mut all = sound.clone();
        all.insert(17, Arc::clone(&failing));
        // A failure of the whole filesystem is reported now, and not again.
        backend.sync_files(&sound).unwrap();
        let error = backend.sync_files(&all).unwrap_err();
        assert!(error.to_string().contains("file-40"), "{mode:?}: {error}");
        assert_eq!(error.kind(), disk.sync_error_kind(), "{mode:?}: {error}");
        backend.sync_files(&sound).unwrap();
        disk.heal();
        assert_eq!(backend.sync_files(&all).unwrap_err().to_string(), error.to_string());
        assert_eq!(failing.commit().unwrap_err().to_string(), error.to_string());
        sound.push(write(41, 100_000));
        backend.sync_files(&sound).unwrap();
        // What failed may be gone before anybody asks, and then it is nobody's failure.
        drop((failing, all));
        backend.sync_files(&sound).unwrap();
    }
}

/// The kernel reports a failure of the whole filesystem once, and says to whoever asks beside that one that all is in
/// order.
#[test]
fn a_failure_is_told_to_all_who_ask_at_the_same_time() {
    // Each with a file of its own, all of which fail.
    const CALLERS: usize = 4;
    let test = "a_failure_is_told_to_all_who_ask_at_the_same_time";
    for round in 0..10 {
        let disk = match FailingExt4::new() {
            Ok(disk) => disk,
            Err(reason) => return skip::skipped(test, &reason),
        };
        let options = MappedStorage::options().sync_mode(StorageSyncMode::Syncfs);
        let backend: Backend = Arc::new(options.open(disk.above().join("state")).unwrap());
        // The folder itself has its room below.
        keep(&backend, "before", b"bytes");
        rustix::fs::syncfs(File::open(disk.above()).unwrap()).unwrap();
        disk.fill();
        let start = Barrier::new(CALLERS);
        let ask = |number: usize| {
            let name = format!("file-{number}").into();
            let file = files::write(&backend, &name, &[1; 8 << 20], &[8 << 20]);
            start.wait();
            backend.sync_files(&[file])
        };
        let told: Vec<_> = thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|number| {
                    scope.spawn({
                        let ask = &ask;
                        move || ask(number)
                    })
                })
                .collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        assert!(told.iter().all(Result::is_err), "round {round}: {told:?}");
    }
}

/// The kernel reports it to whoever asks next for the whole filesystem, and that is not the file's owner.
#[test]
fn the_failure_of_a_file_that_is_gone_fails_no_other() {
    let test = "the_failure_of_a_file_that_is_gone_fails_no_other";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let root = disk.above().join("state");
    let options = MappedStorage::options().sync_mode(StorageSyncMode::Syncfs);
    let backend: Backend = Arc::new(options.open(&root).unwrap());
    let bytes = files::random(1, 50_000);
    let sound = files::write(&backend, &"sound".into(), &bytes, &[bytes.len()]);
    let somebody = File::open(disk.above()).unwrap();
    rustix::fs::syncfs(&somebody).unwrap();
    disk.fill();
    let lost = files::write(&backend, &"lost".into(), &[1; 8 << 20], &[8 << 20]);
    rustix::fs::syncfs(&somebody).unwrap_err();
    drop(lost);
    disk.heal();
    backend.sync_files(&[sound]).unwrap();
}

#[test]
fn a_commit_says_that_the_disk_did_not_take_what_somebody_wrote() {
    let test = "a_commit_says_that_the_disk_did_not_take_what_somebody_wrote";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let root = disk.above().join("state");
    let backend: Backend = files::open(&root);
    disk.fill();
    // Not sealed: a file that somebody left there, of which nothing is durable yet.
    let path = root.join("shared");
    fs::write(&path, files::random(3, 8 << 20)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let error = backend.open(&"shared".into()).unwrap().commit().unwrap_err();
    assert!(error.to_string().contains("fsync"), "{error}");
    assert_eq!(error.kind(), disk.sync_error_kind(), "{error}");
    drop(backend);
}

/// Nobody syncs a batch in place before a checkpoint names it: the kernel writes it when it likes.
#[test]
fn a_batch_that_the_disk_did_not_take_is_not_read_as_right() {
    let test = "a_batch_that_the_disk_did_not_take_is_not_read_as_right";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let root = disk.above().join("state");
    fs::create_dir(&root).unwrap();
    let above = File::open(disk.above()).unwrap();
    rustix::fs::syncfs(&above).unwrap();
    let mut builder = MappedBatchBuilder::<u64, (), DynUnit>::create_in(&root).unwrap();
    for key in 1..500_000_u64 {
        builder.push_typed(&(), 1);
        builder.push_typed_key(&key);
    }
    let batch = builder.done();
    drop(batch.cursor());

    disk.fill();
    assert!(rustix::fs::syncfs(&above).is_err(), "the disk took everything");
    disk.heal();
    let cursor = batch.cursor();
    let read = catch_unwind(AssertUnwindSafe(|| drop(cursor)));
    assert!(read.is_err(), "what is read may be gone, and nobody says so");
}
