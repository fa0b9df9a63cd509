//! What shows that nobody else writes to a file, and what only seems to.
//!
//! Method: files that their owner or their group could write to by the mode, on an ext4 of their own: made
//! immutable, on a filesystem that is mounted read-only, behind a read-only bind mount; and sealed
//! memory. Only where nobody can write is the file opened by a safe function. It needs root.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "only a mounted disk is wanted")]
mod loop_disk;
#[expect(dead_code, reason = "`LoopDisk` asks for root itself")]
mod skip;

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use loop_disk::LoopDisk;
use pagestore::{Error, Evidence, PageFile, PageId, PageWriter, RawFile, SealedFile};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Somebody who is neither root nor this process.
const STRANGER: u32 = 1234;

fn run(command: &str, arguments: &[&str], path: &Path) -> bool {
    let output = Command::new(command).args(arguments).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}

/// A sealed file that a stranger owns, and one that everybody may write to.
fn files(folder: &Path) -> [PathBuf; 2] {
    let paths = ["theirs", "everybodys"].map(|name| folder.join(name));
    for path in &paths {
        let mut writer = PageWriter::create(path).unwrap();
        writer.append(b"unwritten").unwrap();
        writer.seal_and_close().unwrap();
    }
    chown(&paths[0], Some(STRANGER), Some(STRANGER)).unwrap();
    fs::set_permissions(&paths[0], Permissions::from_mode(0o664)).unwrap();
    fs::set_permissions(&paths[1], Permissions::from_mode(0o666)).unwrap();
    paths
}

#[track_caller]
fn check_refused(path: &Path) {
    let error = SealedFile::open(path).unwrap_err();
    assert!(matches!(error, Error::OthersCanWrite { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("chattr +i") && !message.contains("chown"), "{message}");
    let file = File::open(path).unwrap();
    assert!(RawFile::open(file, path).is_err());
}

#[track_caller]
fn check_opened(path: &Path, evidence: Evidence) {
    let file = SealedFile::open(path).unwrap();
    assert_eq!(file.evidence(), evidence);
    assert!(file.page(PageId::new(0)).unwrap().starts_with(b"unwritten"));
}

fn on_a_disk(test: &str, run: impl FnOnce(&LoopDisk)) {
    match LoopDisk::new(24, 64) {
        Ok(disk) => run(&disk),
        Err(reason) => skip::skipped(test, &reason),
    }
}

#[test]
fn an_own_file_is_known_by_owner_and_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own");
    let mut writer = PageWriter::create(&path).unwrap();
    writer.append(b"unwritten").unwrap();
    assert_eq!(writer.seal().unwrap().evidence(), Evidence::OwnerAndMode);
    check_opened(&path, Evidence::OwnerAndMode);
}

#[test]
fn what_is_immutable_is_opened_unless_somebody_has_it_open_for_writing() {
    on_a_disk("what_is_immutable_is_opened_unless_somebody_has_it_open_for_writing", |disk| {
        for path in files(&disk.path()) {
            check_refused(&path);
            let writable = OpenOptions::new().write(true).open(&path).unwrap();
            assert!(run("chattr", &["+i"], &path), "chattr is there");
            check_refused(&path);
            drop(writable);
            check_opened(&path, Evidence::Immutable);
            assert!(run("chattr", &["-i"], &path));
            check_refused(&path);
        }
    });
}

#[test]
fn a_filesystem_is_read_only_as_a_whole_or_not_at_all() {
    on_a_disk("a_filesystem_is_read_only_as_a_whole_or_not_at_all", |disk| {
        let paths = files(&disk.path());
        // Read-only here, but not where it is mounted otherwise.
        let folder = tempfile::tempdir().unwrap();
        let source = disk.path();
        let bind = ["--bind", "-o", "ro", source.to_str().unwrap()];
        assert!(run("mount", &bind, folder.path()));
        let behind = folder.path().join("theirs");
        let written = OpenOptions::new().write(true).open(&behind);
        assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        let refused = SealedFile::open(&behind);
        assert!(run("umount", &[], folder.path()));
        assert!(matches!(refused, Err(Error::OthersCanWrite { .. })));

        disk.remount("ro").unwrap();
        paths.iter().for_each(|path| check_opened(path, Evidence::ReadOnlyFilesystem));
        disk.remount("rw").unwrap();
        paths.iter().for_each(|path| check_refused(path));
    });
}

#[test]
fn sealed_memory_is_viewed_and_other_memory_is_not() {
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let mut memory = File::from(memfd_create("weights", flags).unwrap());
    memory.write_all(b"unwritten").unwrap();
    let name = Path::new("weights");
    let open = || RawFile::open(memory.try_clone().unwrap(), name);
    let error = open().unwrap_err();
    assert!(matches!(error, Error::OthersCanWrite { .. }), "{error}");
    // Cut it could still be.
    fcntl_add_seals(&memory, SealFlags::WRITE).unwrap();
    assert!(open().is_err());
    fcntl_add_seals(&memory, SealFlags::SHRINK).unwrap();
    let file = open().unwrap();
    assert_eq!((file.is_sealed(), file.evidence()), (true, Evidence::SealedMemory));
    assert_eq!(file.view(0, 9).unwrap(), "unwritten");
}

/// A mutable file is not only read, so nothing but owner and mode will do; and nobody is advised to take a
/// file from its owner.
#[test]
fn a_mutable_file_of_another_owner_is_refused_with_advice_that_leaves_it_theirs() {
    on_a_disk("a_mutable_file_of_another_owner_is_refused", |disk| {
        let path = disk.path().join("mutable");
        PageFile::create(&path).unwrap().close().unwrap();
        chown(&path, Some(STRANGER), Some(STRANGER)).unwrap();
        let message = PageFile::open(&path).unwrap_err().to_string();
        assert!(
            message.contains("its owner (uid 1234) could write to it; run as that user"),
            "{message}"
        );
        assert!(!message.contains("chown") && !message.contains("chattr"), "{message}");
    });
}
