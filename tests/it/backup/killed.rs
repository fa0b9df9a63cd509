//! A process is killed (SIGKILL) in the middle of a backup, and of a restoration: nothing is there.

use std::{ops::ControlFlow, path::Path};

use storage::{
    Existing, VersionedFile,
    backup::{BackupOptions, BackupProgress, Chain},
};
use tempfile::tempdir;

use super::{file, fill, go_on, names, whole};
use crate::child;

/// In the child: says that the work is half done, and waits.
fn half_done(so_far: BackupProgress) -> ControlFlow<()> {
    if so_far.bytes_done * 2 >= so_far.bytes {
        child::done_and_wait();
    }
    ControlFlow::Continue(())
}

#[test]
fn a_killed_backup_leaves_nothing() {
    if let Some(folder) = child::path() {
        let snapshot = VersionedFile::open_read_only(folder.join("file")).unwrap();
        BackupOptions::new().create(&snapshot, folder.join("backup"), half_done).unwrap();
        unreachable!();
    }
    let folder = tempdir().unwrap();
    file(&folder.path().join("file"), 2_000).close().unwrap();
    kill("a_killed_backup_leaves_nothing", folder.path());
    assert_eq!(names(folder.path()), ["file"]);
    let file = VersionedFile::open(folder.path().join("file")).unwrap();
    fill(&file, 0, 1);
}

#[test]
fn a_killed_restoration_leaves_nothing() {
    if let Some(folder) = child::path() {
        let chain = Chain::open([folder.join("backup")]).unwrap();
        chain.restore(folder.join("restored"), Existing::Refuse, half_done).unwrap();
        unreachable!();
    }
    let folder = tempdir().unwrap();
    let source = file(&folder.path().join("file"), 2_000);
    drop(whole(&source, &folder.path().join("backup")));
    kill("a_killed_restoration_leaves_nothing", folder.path());
    assert_eq!(names(folder.path()), ["backup", "file"]);
    let chain = Chain::open([folder.path().join("backup")]).unwrap();
    chain.restore(folder.path().join("restored"), Existing::Refuse, go_on).unwrap();
}

#[track_caller]
fn kill(test: &str, folder: &Path) {
    child::Waiting::start(&mut child::command("", test, folder)).kill();
}
