//! Both ways of looking folders up, against the same obstacles: the steps that stand in for
//! openat2(2) are taken only on kernels without that call, so no test through the public interface
//! reaches them.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Missing, Root, resolve::Lookup};
use crate::{Operation, StorageError, StoragePath};

const BOTH: [Lookup; 2] = [Lookup::Kernel, Lookup::Steps];

fn root(path: &Path, lookup: Lookup) -> Root {
    let mut root = Root::open(path).unwrap();
    root.lookup = lookup;
    root
}

fn path(path: &str) -> StoragePath<'_> {
    StoragePath::new(path).unwrap()
}

/// Makes a file, or says why not.
fn make(root: &Root, at: &str) -> Result<(), StorageError> {
    root.open_file(Operation::Write, path(at), Missing::Make).map(drop)
}

#[test]
fn folders_come_and_go_with_their_files() {
    for lookup in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let root = root(folder.path(), lookup);
        make(&root, "a/b/c/file").unwrap();
        make(&root, "a/other").unwrap();
        root.rename(path("a/b/c/file"), path("x/y/file")).unwrap();
        root.settle(path("a/b/c/file"), path("x/y/file")).unwrap();
        assert!(!folder.path().join("a/b").exists(), "{lookup:?}");
        root.delete(path("a/other")).unwrap();
        assert!(!folder.path().join("a").exists(), "{lookup:?}");
        assert_eq!(root.list("").unwrap(), ["x/y/file"]);
        root.delete(path("x/y/file")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{lookup:?}");
    }
}

#[test]
fn no_folder_is_left_by_what_could_not_be_made() {
    for lookup in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let root = root(folder.path(), lookup);
        make(&root, "file").unwrap();
        let error = make(&root, "file/below").unwrap_err();
        assert_eq!(error.io_kind(), ErrorKind::NotADirectory, "{lookup:?}: {error}");
        let error = root.rename(path("missing"), path("new/folder/file")).unwrap_err();
        assert!(matches!(error, StorageError::NotFound { .. }), "{lookup:?}: {error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{lookup:?}");
    }
}

#[test]
fn an_empty_folder_is_nothing_and_gives_way() {
    for lookup in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let root = root(folder.path(), lookup);
        fs::create_dir(folder.path().join("name")).unwrap();
        make(&root, "name").unwrap();
        fs::create_dir(folder.path().join("other")).unwrap();
        root.rename(path("name"), path("other")).unwrap();
        assert_eq!(root.list("").unwrap(), ["other"], "{lookup:?}");
    }
}

#[test]
fn symlinks_are_refused_at_every_place() {
    for lookup in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let (beneath, outside) = (folder.path().join("root"), folder.path().join("outside"));
        fs::create_dir_all(beneath.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("canary"), "sings").unwrap();
        let root = root(&beneath, lookup);
        make(&root, "good").unwrap();
        for at in ["link", "a/link", "a/b/link"] {
            symlink(&outside, beneath.join(at)).unwrap();
            for below in ["canary", "new", "new/deeper"] {
                let at = format!("{at}/{below}");
                let error = make(&root, &at).unwrap_err();
                let error = pagestore::WithCauses(&error).to_string();
                assert!(error.contains("is a symlink"), "{lookup:?}: {error}");
                root.open_file(Operation::Read, path(&at), Missing::Fail).unwrap_err();
                root.delete(path(&at)).unwrap_err();
                root.len(path(&at)).unwrap_err();
                root.rename(path("good"), path(&at)).unwrap_err();
                root.rename(path(&at), path("stolen")).unwrap_err();
            }
            assert!(root.list(&format!("{at}/")).unwrap().is_empty(), "{lookup:?}");
        }
        assert_eq!(root.list("").unwrap(), ["good"], "{lookup:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{lookup:?}");
        assert_eq!(fs::read(outside.join("canary")).unwrap(), b"sings", "{lookup:?}");
    }
}

#[test]
fn a_path_that_was_not_checked_does_not_lead_up_either() {
    for lookup in BOTH {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("root/a")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        let root = root(&folder.path().join("root"), lookup);
        for hostile in ["..", "../outside", "a/../..", "a/../../outside", "/", "/etc"] {
            root.folder(Some(hostile)).unwrap_err();
            root.make_folder(Some(hostile)).unwrap_err();
        }
    }
}

#[test]
fn a_swapped_folder_never_leads_outside() {
    const ROUND_COUNT: usize = 5000;
    for lookup in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let (beneath, outside) = (folder.path().join("root"), folder.path().join("outside"));
        fs::create_dir_all(beneath.join("door/in")).unwrap();
        fs::write(beneath.join("door/in/stays"), "").unwrap();
        fs::create_dir_all(outside.join("in")).unwrap();
        fs::write(outside.join("in/canary"), "sings").unwrap();
        let (door, spare) = (beneath.join("door"), beneath.join("spare"));
        symlink(&outside, &spare).unwrap();
        let root = root(&beneath, lookup);
        let done = AtomicBool::new(false);
        let made = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    renameat_with(CWD, &door, CWD, &spare, RenameFlags::EXCHANGE).unwrap();
                }
            });
            let mut made = 0;
            let mut rounds = 0;
            while rounds < ROUND_COUNT || made < 200 {
                rounds += 1;
                made += u32::from(make(&root, "door/in/file").is_ok());
                made += u32::from(make(&root, "door/in/new/file").is_ok());
                let _may_fail = root.rename(path("door/in/file"), path("door/in/new/other"));
                let _may_fail = root.delete(path("door/in/canary"));
                let _may_fail = root.delete(path("door/in/new/file"));
                let _may_fail = root.delete(path("door/in/new/other"));
            }
            done.store(true, Ordering::Relaxed);
            made
        });
        assert!(made >= 200, "{lookup:?}");
        let names: Vec<_> = fs::read_dir(outside.join("in")).unwrap().collect();
        assert_eq!(names.len(), 1, "{lookup:?}: {names:?}");
        assert_eq!(fs::read(outside.join("in/canary")).unwrap(), b"sings");
    }
}
