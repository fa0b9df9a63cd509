//! A full disk and a failing one.
//!
//! Method: ext4 on a loop device; and the same on a file in a full tmpfs, where write-back ends in
//! EIO although ext4 itself has room.

use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt};

use feldera_storage::fbuf::FBuf;

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
fn a_file_that_cannot_be_made_durable_never_gets_its_name() {
    let test = "a_file_that_cannot_be_made_durable_never_gets_its_name";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let root = disk.above().join("state");
    let backend: Backend = files::open(&root);
    keep(&backend, "before", &files::random(1, 1 << 20));
    let mut writer = backend.create_named(&"file".into()).unwrap();
    disk.fill();
    writer.write_block(FBuf::from_slice(&files::random(2, 8 << 20))).unwrap();
    let Err(error) = writer.complete() else { panic!("what is on the disk is unknown") };
    assert!(error.to_string().contains("fsync"), "{error}");
    assert_eq!(error.kind(), disk.sync_error_kind(), "{error}");
    assert_eq!(names_on_disk(&root), ["before"], "neither the file nor what was to become it");
    assert_eq!(usage(&backend), 1 << 20);
    disk.heal();
    keep(&backend, "again", &files::random(2, 8 << 20));
    assert_eq!(backend.read(&"again".into()).unwrap().as_slice(), files::random(2, 8 << 20));
    drop(backend);
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
