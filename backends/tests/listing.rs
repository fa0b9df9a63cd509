//! Listing a root in which lie things that the store did not put there.
//!
//! Purpose: one stray thing never hides all files, and no file of this user is ever left out without an
//! error. Method: an ordinary user, in a child process that gives root up, lists a root with a
//! `lost+found`, with a folder of its own that it cannot read, and with everything else that a folder can
//! hold; and folders come and go while others list.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, Permissions},
    io::ErrorKind,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, chown, symlink},
        net::UnixListener,
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use backends::{Limits, MmapBackend, PosixBackend, StorageBackend, StorageError};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat};

#[path = "../../pagestore/tests/child/mod.rs"]
#[allow(dead_code, reason = "nobody is killed here")]
mod child;
#[path = "../../pagestore/tests/skip/mod.rs"]
mod skip;

const USER: u32 = 65_534;

/// The command that runs a test of this binary as an ordinary user.
fn as_user(test: &str, root: &Path) -> Command {
    let mut command = child::command("", test, root);
    command.uid(USER).gid(USER);
    command
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A root of the ordinary user, with a file of it; and what stands above can be passed through by all.
fn root_of_user(folder: &Path) -> std::path::PathBuf {
    set_mode(folder, 0o755);
    let root = folder.join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), "x").unwrap();
    fs::create_dir(root.join("lost+found")).unwrap();
    fs::write(root.join("lost+found/#11"), "x").unwrap();
    set_mode(&root.join("lost+found"), 0o700);
    for path in [root.clone(), root.join("file")] {
        chown(&path, Some(USER), Some(USER)).unwrap();
    }
    root
}

/// Whether the test binary can be run by everybody, as it lies.
fn others_can_run_this(test: &str, root: &Path) -> bool {
    let mut command = Command::new("sh");
    command.arg("-c").arg("test -x \"$0\" && ls \"$1\" >/dev/null");
    command.arg(std::env::current_exe().unwrap()).arg(root).uid(USER).gid(USER);
    let reached = command.status().unwrap().success();
    if !reached {
        skip::skipped(test, "an ordinary user cannot reach the test binary or its folder");
    }
    reached
}

async fn lists(root: &Path, prefix: &str) -> [Result<Vec<String>, StorageError>; 2] {
    let mapped = MmapBackend::open(root, Limits::default()).unwrap();
    let positioned = PosixBackend::open(root, Limits::default()).unwrap();
    [mapped.list(prefix).await, positioned.list(prefix).await]
}

#[tokio::test]
async fn a_folder_of_another_user_hides_nothing() {
    const TEST: &str = "a_folder_of_another_user_hides_nothing";
    if let Some(root) = child::path() {
        for listed in lists(&root, "").await {
            assert_eq!(listed.unwrap(), ["file"]);
        }
        for listed in lists(&root, "lost").await {
            assert!(listed.unwrap().is_empty());
        }
        // Who asks for what is in there hears why there is no answer.
        for listed in lists(&root, "lost+found/").await {
            let error = listed.unwrap_err();
            assert_eq!(error.io_kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(error.to_string().contains("\"lost+found\""), "{error}");
        }
        let backend = PosixBackend::open(&root, Limits::default()).unwrap();
        let error = backend.read("lost+found/#11", 0, 1).await.unwrap_err();
        assert_eq!(error.io_kind(), ErrorKind::PermissionDenied, "{error}");
        return child::done();
    }
    let folder = tempfile::tempdir().unwrap();
    if !skip::is_root_or_skipped(TEST) {
        return;
    }
    let root = root_of_user(folder.path());
    if others_can_run_this(TEST, &root) {
        child::check(&mut as_user(TEST, &root));
    }
}

#[tokio::test]
async fn a_folder_of_this_user_that_cannot_be_read_is_an_error() {
    const TEST: &str = "a_folder_of_this_user_that_cannot_be_read_is_an_error";
    if let Some(root) = child::path() {
        fs::create_dir(root.join("own")).unwrap();
        fs::write(root.join("own/file"), "written here").unwrap();
        // Neither readable, nor readable without being searchable.
        for mode in [0o000, 0o300, 0o400] {
            set_mode(&root.join("own"), mode);
            for listed in lists(&root, "").await {
                let error = listed.unwrap_err();
                assert_eq!(error.io_kind(), ErrorKind::PermissionDenied, "{mode:o}: {error}");
                assert!(error.to_string().contains("\"own\""), "{mode:o}: {error}");
            }
        }
        set_mode(&root.join("own"), 0o700);
        for listed in lists(&root, "").await {
            assert_eq!(listed.unwrap(), ["file", "own/file"]);
        }
        return child::done();
    }
    let folder = tempfile::tempdir().unwrap();
    if !skip::is_root_or_skipped(TEST) {
        return;
    }
    let root = root_of_user(folder.path());
    if others_can_run_this(TEST, &root) {
        child::check(&mut as_user(TEST, &root));
    }
}

#[tokio::test]
async fn whatever_else_lies_there_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for at in ["", "deep", "deep/er"] {
        let at = root.join(at);
        fs::create_dir_all(&at).unwrap();
        fs::write(at.join("file"), "x").unwrap();
        symlink("nowhere", at.join("dangling")).unwrap();
        symlink("file", at.join("to a file")).unwrap();
        symlink(".", at.join("loop")).unwrap();
        mknodat(CWD, at.join("fifo"), FileType::Fifo, Mode::RUSR, makedev(0, 0)).unwrap();
        drop(UnixListener::bind(at.join("socket")).unwrap());
        fs::write(at.join(std::ffi::OsStr::from_bytes(b"\xff")), "x").unwrap();
        let odd_folder = at.join(std::ffi::OsStr::from_bytes(b"folder \xc3\x28"));
        fs::create_dir(&odd_folder).unwrap();
        fs::write(odd_folder.join("file"), "x").unwrap();
    }
    // Longer than a path can be, so it is made step by step.
    let part = "x".repeat(250);
    let mut here = rustix::fs::open(root, OFlags::RDONLY, Mode::empty()).unwrap();
    for _ in 0..20 {
        rustix::fs::mkdirat(&here, &part, Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, &part, OFlags::RDONLY, Mode::empty()).unwrap();
    }
    for listed in lists(root, "").await {
        assert_eq!(listed.unwrap(), ["deep/er/file", "deep/file", "file"]);
    }
}

/// What was there from the beginning to the end is in every list, and no list fails.
#[tokio::test]
async fn folders_that_come_and_go_meanwhile_fail_no_list() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("stays")).unwrap();
    fs::write(root.join("stays/file"), "x").unwrap();
    let done = AtomicBool::new(false);
    let backend = PosixBackend::open(root, Limits::default()).unwrap();
    thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let (done, root) = (&done, &root);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    for number in 0..8 {
                        let path = root.join(format!("{name}{number}"));
                        fs::create_dir(&path).unwrap();
                        fs::create_dir(path.join("in")).unwrap();
                        fs::remove_dir(path.join("in")).unwrap();
                        fs::remove_dir(&path).unwrap();
                    }
                }
            });
        }
        let lister = scope.spawn(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let listed = runtime.block_on(async {
                let mut listed = Vec::new();
                for _ in 0..3000 {
                    listed.push(backend.list("").await);
                }
                listed
            });
            done.store(true, Ordering::Relaxed);
            listed
        });
        for listed in lister.join().unwrap() {
            assert_eq!(listed.unwrap(), ["stays/file"]);
        }
    });
}

#[tokio::test]
async fn a_root_that_was_removed_is_not_taken_for_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let backend = PosixBackend::open(&root, Limits::default()).unwrap();
    fs::remove_dir(&root).unwrap();
    backend.list("").await.unwrap_err();
}
