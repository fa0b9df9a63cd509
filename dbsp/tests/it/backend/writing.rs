//! Writing: what is there before a file is complete, what replaces what, and what is counted.

use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt, sync::atomic::Ordering};

use dbsp::circuit::metrics::{FILES_CREATED, FILES_DELETED};
use feldera_storage::fbuf::FBuf;

use super::files::{self, keep, names_on_disk, usage};

#[test]
fn a_file_appears_when_it_is_complete() {
    let (folder, backend) = files::backend();
    let mut writer = backend.create_named(&"deep/er/file".into()).unwrap();
    assert_eq!(writer.path().as_ref(), "deep/er/file");
    writer.write_block(FBuf::from_slice(&[7; 3 << 20])).unwrap();
    assert_eq!(names_on_disk(&folder.path().join("deep/er")), ["file.mut"]);
    assert!(!backend.exists(&"deep/er/file".into()).unwrap());
    let reader = writer.complete().unwrap();
    assert_eq!(names_on_disk(&folder.path().join("deep/er")), ["file"]);
    let mode = fs::metadata(folder.path().join("deep/er/file")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o400, "nobody writes to it any more, nobody else reads it");
    drop(reader);
    assert_eq!(names_on_disk(&folder.path().join("deep/er")), Vec::<String>::new());
}

#[test]
fn a_writer_that_is_dropped_leaves_the_file_that_was_there() {
    let (folder, backend) = files::backend();
    keep(&backend, "catalog", b"what was there");
    let mut writer = backend.create_named(&"catalog".into()).unwrap();
    writer.write_block(FBuf::from_slice(&[1; 2 << 20])).unwrap();
    assert_eq!(usage(&backend), 14 + (2 << 20));
    drop(writer);
    assert_eq!(usage(&backend), 14);
    assert_eq!(fs::read(folder.path().join("catalog")).unwrap(), b"what was there");
    assert_eq!(names_on_disk(folder.path()), ["catalog"]);
}

#[test]
fn a_file_replaces_another_and_who_reads_that_one_keeps_it() {
    let (_folder, backend) = files::backend();
    let name = "status.json".into();
    backend.write(&name, FBuf::from_slice(b"the old one")).unwrap().commit().unwrap();
    let old = backend.open(&name).unwrap();
    backend.write(&name, FBuf::from_slice(b"new")).unwrap().commit().unwrap();
    assert_eq!(usage(&backend), 3, "the replaced bytes are free");
    assert_eq!(files::read(old.as_ref(), 4, 3).unwrap(), b"old");
    assert_eq!(backend.read(&name).unwrap().as_slice(), b"new");
    assert_ne!(old.file_id(), backend.open(&name).unwrap().file_id(), "a cache tells them apart");
}

#[test]
fn what_an_earlier_process_left_unfinished_is_made_anew() {
    let (folder, backend) = files::backend();
    fs::write(folder.path().join("file.mut"), [9; 5000]).unwrap();
    keep(&backend, "file", b"short");
    assert_eq!(backend.read(&"file".into()).unwrap().as_slice(), b"short");
    assert_eq!(names_on_disk(folder.path()), ["file"]);
}

#[test]
fn of_two_writers_of_one_name_the_later_one_wins_whole() {
    let (folder, backend) = files::backend();
    let mut first = backend.create_named(&"file".into()).unwrap();
    first.write_block(FBuf::from_slice(b"first")).unwrap();
    let mut second = backend.create_named(&"file".into()).unwrap();
    let Err(error) = first.complete() else { panic!("its file was taken over") };
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    assert_eq!(names_on_disk(folder.path()), ["file.mut"], "that of the other one stays");
    second.write_block(FBuf::from_slice(b"second")).unwrap();
    second.complete().unwrap().mark_for_checkpoint();
    assert_eq!(backend.read(&"file".into()).unwrap().as_slice(), b"second");
    assert_eq!(usage(&backend), 6);
}

#[test]
fn usage_and_counts_follow_what_the_backend_does() {
    let (_folder, backend) = files::backend();
    let created = FILES_CREATED.load(Ordering::Relaxed);
    let deleted = FILES_DELETED.load(Ordering::Relaxed);
    keep(&backend, "a", &[0; 100]);
    keep(&backend, "b/c", &[0; 1000]);
    keep(&backend, "b/d/e", &[0; 10_000]);
    let reader = files::write(&backend, &"f".into(), &[0; 7], &[7]);
    assert_eq!(usage(&backend), 11_107);
    drop(reader);
    assert_eq!(usage(&backend), 11_100);
    backend.delete(&"a".into()).unwrap();
    assert_eq!(usage(&backend), 11_000);
    backend.delete_recursive(&"b".into()).unwrap();
    assert_eq!(usage(&backend), 0);
    // Other tests of this binary count too.
    assert!(FILES_CREATED.load(Ordering::Relaxed) >= created + 4);
    assert!(FILES_DELETED.load(Ordering::Relaxed) > deleted);
}
