//! How the manifest comes to its name: whole, durable before that, and on every filesystem.
//!
//! Method: a child has single system calls refused (seccomp(2)), and the root is looked at afterwards, as
//! somebody would find it after a crash at that call.

use std::{fs, path::Path};

use rustix::io::Errno;

use super::{MANIFEST, open, picture};
use crate::{
    child,
    filter::{Call, refuse},
};
use storage::{
    DynBackend, StorageError,
    config::{BackendKind, CompressionConfig},
};

const RENAME: Call = Call::all("renameat2", libc::SYS_renameat2);
const LINK: Call = Call::all("linkat", libc::SYS_linkat);
const SYNC: Call = Call::all("fsync", libc::SYS_fsync);

fn open_packed(root: &Path) -> Result<DynBackend, StorageError> {
    open(root, BackendKind::Posixio, CompressionConfig::Lz4)
}

/// Runs the rest of a test in a child, with calls refused in it.
fn in_child(test: &str, refused: &[(Call, Errno)], run: impl FnOnce(&Path)) {
    if let Some(root) = child::path() {
        refused.iter().for_each(|&(call, errno)| refuse(call, errno.raw_os_error()));
        run(&root);
        return child::done();
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    child::check(&mut child::command("", test, &root));
    // What the child left is a store or none, for a process to which nothing is refused.
    open_packed(&root).unwrap();
    assert_eq!(names(&root), [MANIFEST]);
}

fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A filesystem, or a kernel, that knows no rename which replaces nothing.
fn by_a_link(test: &str, errno: Errno) {
    in_child(test, &[(RENAME, errno)], |root| {
        open_packed(root).unwrap();
        assert_eq!(names(root), [MANIFEST], "the temporary name is gone");
        let manifest = picture(root);
        open_packed(root).unwrap();
        assert_eq!(picture(root), manifest, "one that is there is left");
    });
}

#[test]
fn a_filesystem_that_does_not_know_the_flag_gets_a_link() {
    by_a_link("a_filesystem_that_does_not_know_the_flag_gets_a_link", Errno::INVAL);
}

#[test]
fn a_kernel_that_does_not_know_the_call_gets_a_link() {
    by_a_link("a_kernel_that_does_not_know_the_call_gets_a_link", Errno::NOSYS);
}

#[test]
fn a_manifest_that_is_not_durable_gets_no_name() {
    let test = "a_manifest_that_is_not_durable_gets_no_name";
    in_child(test, &[(SYNC, Errno::IO)], |root| {
        open_packed(root).map(drop).unwrap_err();
        assert!(names(root).is_empty(), "{:?}", names(root));
    });
}

#[test]
fn a_manifest_that_cannot_get_its_name_leaves_nothing() {
    let test = "a_manifest_that_cannot_get_its_name_leaves_nothing";
    in_child(test, &[(RENAME, Errno::NOSYS), (LINK, Errno::IO)], |root| {
        open_packed(root).map(drop).unwrap_err();
        assert!(names(root).is_empty(), "{:?}", names(root));
    });
}
