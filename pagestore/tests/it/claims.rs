//! Who may open a file, and who is kept out: locks, owners, modes, access control lists.
//!
//! Method: each refusal is provoked with real users, real locks and real processes. What acts as
//! another user runs in a child process; without root such a test says that it was skipped.

use std::{
    fs::{self, OpenOptions, Permissions},
    io,
    ops::ControlFlow,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
};

use pagestore::{
    Error, Lease, PageCount, PageFile, PageId, PageWriter, Result, SealedFile, inspect,
};
use rustix::fs::XattrFlags;
use tempfile::TempDir;

use crate::{child, loop_disk, skip};

/// The user `nobody`, who owns nothing.
const NOBODY: u32 = 65534;

fn mutable(folder: &Path) -> PathBuf {
    let path = folder.join("mutable");
    let file = PageFile::create(&path).unwrap();
    file.grow(PageCount::new(2)).unwrap();
    file.page_mut(PageId::new(1)).unwrap().fill(1);
    file.close().unwrap();
    path
}

fn sealed(folder: &Path) -> PathBuf {
    let path = folder.join("sealed");
    let mut writer = PageWriter::create(&path).unwrap();
    writer.append(b"sealed bytes").unwrap();
    writer.seal().unwrap();
    path
}

fn both(folder: &TempDir) -> [PathBuf; 2] {
    [mutable(folder.path()), sealed(folder.path())]
}

/// Opens either kind, as its name says.
fn open(path: &Path) -> Result<()> {
    if path.ends_with("sealed") {
        SealedFile::open(path).map(drop)
    } else {
        PageFile::open(path).map(drop)
    }
}

/// Opens either kind by the function that asks its caller to vouch for the other users.
fn open_shared(path: &Path) -> Result<()> {
    if path.ends_with("sealed") {
        #[expect(unsafe_code, reason = "the function under test")]
        // SAFETY: the file lies in a folder that this test made, and nothing else writes to it.
        let opened = unsafe { SealedFile::options().open_shared(path) };
        let opened = opened?;
        assert!(opened.page(PageId::new(0))?.starts_with(b"sealed bytes"));
    } else {
        #[expect(unsafe_code, reason = "the function under test")]
        // SAFETY: as above.
        let opened = unsafe { PageFile::options().open_shared(path) };
        assert_eq!(opened?.page(PageId::new(1))?[9], 1);
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn check_words(error: &Error, words: &[&str]) {
    let message = pagestore::WithCauses(error).to_string();
    for part in words {
        assert!(message.contains(part), "{message:?} should say {part:?}");
    }
}

/// Refused by `open` because of other users, and opened by `open_shared`.
#[track_caller]
fn check_others_can_write(path: &Path, reason: &str) {
    let error = open(path).unwrap_err();
    assert!(matches!(error, Error::OthersCanWrite { .. }), "{error}");
    let way_out = if reason.contains("owner") { "run as that user" } else { "(chmod go-w)" };
    check_words(&error, &[reason, way_out, "`open_shared`"]);
    let message = error.to_string();
    assert!(!message.contains("chown"), "that would lock its owner out: {message}");
    open_shared(path).unwrap();
}

/// Whether a writer would get the file's lock.
fn is_free(path: &Path) -> bool {
    fs::File::open(path).unwrap().try_lock().is_ok()
}

#[test]
fn an_open_file_is_locked_in_the_same_process() {
    let folder = tempfile::tempdir().unwrap();
    let [mutable, sealed] = both(&folder);
    let file = PageFile::open(&mutable).unwrap();
    let error = PageFile::open(&mutable).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    check_words(&error, &["is in use", "close it there first", "lock is gone by itself"]);
    let error = SealedFile::open(&mutable).unwrap_err();
    check_words(&error, &["a writer has it open"]);
    assert!(matches!(open_shared(&mutable), Err(Error::Locked { .. })), "no way around the lock");
    inspect(&mutable).unwrap();
    drop(file);
    PageFile::open(&mutable).unwrap();

    let readers = [SealedFile::open(&sealed).unwrap(), SealedFile::open(&sealed).unwrap()];
    assert!(matches!(PageFile::open(&sealed), Err(Error::Sealed { .. })));
    assert!(!is_free(&sealed), "readers share a lock");
    let bytes = readers[0].bytes(..).unwrap();
    drop(readers);
    assert!(!is_free(&sealed), "a view keeps the lock");
    drop(bytes);
    assert!(is_free(&sealed));
}

#[test]
fn a_file_just_created_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new");
    let file = PageFile::create(&path).unwrap();
    assert!(matches!(PageFile::open(&path), Err(Error::Locked { .. })));
    drop(file);
    PageFile::open(&path).unwrap();
}

#[test]
fn the_lock_of_another_process_holds_until_it_is_killed() {
    if let Some(path) = child::path() {
        let _file = if path.ends_with("sealed") {
            (None, Some(SealedFile::open(path).unwrap()))
        } else {
            (Some(PageFile::open(path).unwrap()), None)
        };
        child::done_and_wait();
    }
    let folder = tempfile::tempdir().unwrap();
    let [mutable, sealed] = both(&folder);
    let test = "the_lock_of_another_process_holds_until_it_is_killed";
    let holder = child::Waiting::start(&mut child::command("", test, &mutable));
    let error = PageFile::open(&mutable).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    holder.kill();
    PageFile::open(&mutable).unwrap();

    let holder = child::Waiting::start(&mut child::command("", test, &sealed));
    SealedFile::open(&sealed).unwrap();
    assert!(!is_free(&sealed));
    holder.kill();
    assert!(is_free(&sealed));
}

#[test]
fn a_mode_that_lets_others_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for path in both(&folder) {
        for mode in [0o620, 0o602, 0o622, 0o660, 0o666, 0o777, 0o720, 0o2660, 0o1602] {
            set_mode(&path, mode);
            let reason = format!("its mode {mode:04o} lets its group or everybody write to it");
            check_others_can_write(&path, &reason);
        }
        for mode in [0o600, 0o644, 0o755, 0o640, 0o604, 0o711] {
            set_mode(&path, mode);
            open(&path).unwrap();
        }
    }
}

#[test]
fn a_file_of_another_owner_is_refused() {
    if !skip::is_root_or_skipped("a_file_of_another_owner_is_refused") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for path in both(&folder) {
        chown(&path, Some(NOBODY), None).unwrap();
        check_others_can_write(&path, "its owner (uid 65534) could write to it");
        // Also a mode that does not let the owner write: the owner can change it.
        set_mode(&path, 0o444);
        check_others_can_write(&path, "its owner (uid 65534) could write to it");
        chown(&path, Some(0), Some(NOBODY)).unwrap();
        open(&path).unwrap();
    }
}

/// A POSIX access control list as the kernel stores it (linux/posix_acl_xattr.h): the version, then
/// tag, permissions and id of each entry.
fn set_acl(path: &Path, name: &str, named_user: u16, mask: u16) -> io::Result<()> {
    const NO_ID: u32 = u32::MAX;
    let (owner, user, group, mask_tag, other) = (0x01, 0x02, 0x04, 0x10, 0x20);
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (owner, 6, NO_ID),
        (user, named_user, NOBODY),
        (group, 0, NO_ID),
        (mask_tag, mask, NO_ID),
        (other, 0, NO_ID),
    ] {
        acl.extend(u16::to_le_bytes(tag));
        acl.extend(u16::to_le_bytes(permissions));
        acl.extend(u32::to_le_bytes(id));
    }
    Ok(rustix::fs::setxattr(path, name, &acl, XattrFlags::empty())?)
}

#[test]
fn an_access_control_list_that_lets_a_named_user_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for path in both(&folder) {
        let name = "system.posix_acl_access";
        if let Err(error) = set_acl(&path, name, 6, 6) {
            let test = "an_access_control_list_that_lets_a_named_user_write_is_refused";
            return skip::skipped(test, &format!("no access control lists here: {error}"));
        }
        check_others_can_write(&path, "its mode 0660 lets its group or everybody write to it");
        // The mask takes the permission away again, or it was never given.
        for (named_user, mask) in [(6, 4), (6, 0), (4, 4)] {
            set_acl(&path, name, named_user, mask).unwrap();
            open(&path).unwrap();
        }
    }
}

#[test]
fn what_a_folder_gives_its_new_files_does_not_reach_ours() {
    let folder = tempfile::tempdir().unwrap();
    if let Err(error) = set_acl(folder.path(), "system.posix_acl_default", 6, 6) {
        let test = "what_a_folder_gives_its_new_files_does_not_reach_ours";
        return skip::skipped(test, &format!("no access control lists here: {error}"));
    }
    for path in both(&folder) {
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600, "{}", path.display());
        open(&path).unwrap();
    }
}

#[test]
fn a_second_name_is_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = mutable(folder.path());
    let second = folder.path().join("second");
    fs::hard_link(&path, &second).unwrap();
    let file = PageFile::open(&second).unwrap();
    assert!(matches!(PageFile::open(&path), Err(Error::Locked { .. })));
    drop(file);
    PageFile::open(&path).unwrap();
}

#[test]
fn a_user_without_permission_is_told_what_to_check() {
    let test = "a_user_without_permission_is_told_what_to_check";
    if let Some(folder) = child::path() {
        let denied = |error: Error| {
            let Error::Io { source, .. } = &error else { panic!("{error}") };
            assert_eq!(source.kind(), io::ErrorKind::PermissionDenied, "{error}");
            check_words(&error, &["check that this user may do so"]);
        };
        let [mutable, sealed] = ["mutable", "sealed"].map(|name| folder.join("root").join(name));
        denied(PageFile::open(&mutable).unwrap_err());
        denied(SealedFile::open(&sealed).unwrap_err());
        denied(inspect(&mutable).unwrap_err());
        denied(PageFile::create(folder.join("root/new")).unwrap_err());
        denied(PageWriter::create(folder.join("root/new")).unwrap_err());
        denied(PageFile::open(folder.join("closed/mutable")).unwrap_err());
        denied(PageFile::create(folder.join("closed/new")).unwrap_err());

        // What root owns, nobody but root can write: reading it is safe.
        let file = SealedFile::open(folder.join("readable/sealed")).unwrap();
        assert!(file.page(PageId::new(0)).unwrap().starts_with(b"sealed bytes"));
        assert_eq!(file.lease(), Lease::Unavailable, "only the owner may take a lease");
        denied(PageFile::open(folder.join("readable/mutable")).unwrap_err());

        let own = folder.join("own");
        assert!(matches!(open(&own.join("sealed")), Err(Error::OthersCanWrite { .. })));
        check_others_can_write(&own.join("sealed"), "its owner (uid 1000) could write to it");
        let new = PageFile::create(own.join("new")).unwrap();
        new.grow(PageCount::new(1)).unwrap();
        new.close().unwrap();
        PageFile::open(own.join("new")).unwrap();
        return child::done();
    }
    if !skip::is_root_or_skipped(test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o755);
    for (name, folder_mode, file_mode) in
        [("root", 0o755, 0o600), ("readable", 0o755, 0o644), ("closed", 0o700, 0o666)]
    {
        let inner = folder.path().join(name);
        fs::create_dir(&inner).unwrap();
        set_mode(&mutable(&inner), file_mode);
        set_mode(&sealed(&inner), file_mode);
        set_mode(&inner, folder_mode);
    }
    let own = folder.path().join("own");
    fs::create_dir(&own).unwrap();
    let strange = sealed(&own);
    set_mode(&strange, 0o644);
    chown(&strange, Some(1000), None).unwrap();
    chown(&own, Some(NOBODY), None).unwrap();
    child::check(child::command("", test, folder.path()).uid(NOBODY).gid(NOBODY));
}

#[test]
fn a_file_that_another_user_opened_is_locked_for_root_too() {
    let test = "a_file_that_another_user_opened_is_locked_for_root_too";
    if let Some(path) = child::path() {
        let _file = PageFile::open(path).unwrap();
        child::done_and_wait();
    }
    if !skip::is_root_or_skipped(test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o755);
    let path = mutable(folder.path());
    chown(&path, Some(NOBODY), None).unwrap();
    let mut command = child::command("", test, &path);
    let holder = child::Waiting::start(command.uid(NOBODY).gid(NOBODY));
    assert!(matches!(open_shared(&path), Err(Error::Locked { .. })));
    holder.kill();
    open_shared(&path).unwrap();
}

#[test]
fn new_files_are_private_whatever_the_umask() {
    let test = "new_files_are_private_whatever_the_umask";
    if let Some(folder) = child::path() {
        for path in [mutable(&folder), sealed(&folder)] {
            assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600, "{}", path.display());
            open(&path).unwrap();
        }
        return child::done();
    }
    for umask in ["umask 0;", "umask 077;", "umask 022;"] {
        let folder = tempfile::tempdir().unwrap();
        child::check(&mut child::command(umask, test, folder.path()));
    }
}

#[test]
fn a_read_only_filesystem_serves_sealed_files_and_says_what_it_is() {
    let test = "a_read_only_filesystem_serves_sealed_files_and_says_what_it_is";
    let disk = match loop_disk::LoopDisk::new(8, 32) {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let [mutable, sealed] = [mutable(&disk.path()), sealed(&disk.path())];
    disk.remount("ro").unwrap();
    let file = SealedFile::open(&sealed).unwrap();
    assert!(file.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
    inspect(&mutable).unwrap();
    let new = disk.path().join("new");
    for error in [
        PageFile::open(&mutable).unwrap_err(),
        PageFile::create(&new).unwrap_err(),
        PageWriter::create(&new).unwrap_err(),
    ] {
        check_words(&error, &["Read-only file system", "on a writable filesystem"]);
    }
}

/// The contract of the safe `open` is about users, not about descriptors: one that this user opened
/// before is not seen. This is what remains, and ARCHITECTURE.md says so.
#[test]
fn a_descriptor_of_the_same_user_is_not_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = mutable(folder.path());
    let _writable = OpenOptions::new().write(true).open(&path).unwrap();
    PageFile::open(&path).unwrap();
}
