//! Raw files: any bytes of any length, read as copies while they can change and as views after.
//!
//! Method: through the public interface, on the real kernel. A model (`model.rs`) says what random
//! sequences of operations must give; threads (`threads.rs`) look for reads that see half a write;
//! another descriptor (`outside.rs`) cuts the file; the kernel (`residency.rs`) and a budget
//! (`budget.rs`) take pages back; small disks (`disks.rs`) are full or fail.

mod budget;
mod disks;
mod model;
mod outside;
mod residency;
mod sealing;
mod threads;

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, IoSlice},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use pagestore::{Error, RawFile, Result};

use crate::elsewhere;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Opens a file as it has to be for `RawFile`, and makes it where it is missing. Where its mode keeps its owner
/// from that, as it keeps no root, the owner changes the mode for a moment.
fn read_write(path: &Path) -> File {
    let open = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
    };
    open().unwrap_or_else(|error| {
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        let before = std::fs::metadata(path).unwrap().permissions();
        std::fs::set_permissions(path, Permissions::from_mode(before.mode() | 0o600)).unwrap();
        let file = open().unwrap();
        std::fs::set_permissions(path, before).unwrap();
        file
    })
}

fn open(path: &Path) -> Result<RawFile> {
    RawFile::open(read_write(path), path)
}

fn write(file: &RawFile, offset: u64, bytes: &[u8]) -> Result<()> {
    file.write_at(offset, &[IoSlice::new(bytes)])
}

fn read(file: &RawFile, offset: u64, len: usize) -> Result<Vec<u8>> {
    // Whatever is in the buffer before must not show.
    let mut buffer = vec![0xee; len];
    file.read_at(offset, &mut buffer).map(|()| buffer)
}

/// A file whose bytes tell their places, none of them zero.
fn full_of_places(path: &Path, len: usize) -> RawFile {
    let file = open(path).unwrap();
    write(&file, 0, &places(len)).unwrap();
    file
}

fn places(len: usize) -> Vec<u8> {
    (0..len).map(|place| u8::try_from(place % 251).unwrap() + 1).collect()
}

#[test]
fn a_write_in_many_parts_is_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(&folder.path().join("file")).unwrap();
    // More parts than one system call takes, some of them empty, the first and the last too.
    let numbers: Vec<[u8; 2]> = (0..3000_u16).map(u16::to_le_bytes).collect();
    let empty = || IoSlice::new(&[]);
    let parts = numbers.iter().flat_map(|number| [empty(), IoSlice::new(number), empty()]);
    let parts: Vec<IoSlice<'_>> = parts.collect();
    file.write_at(3, &parts).unwrap();
    let mut expected = vec![0; 3];
    expected.extend(numbers.concat());
    assert_eq!(read(&file, 0, expected.len()).unwrap(), expected);
    assert_eq!(file.len().unwrap(), expected.len() as u64);
}

#[test]
fn writing_nothing_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(&folder.path().join("file")).unwrap();
    for offset in [0, 1, u64::MAX] {
        write(&file, offset, &[]).unwrap();
        file.write_at(offset, &[]).unwrap();
    }
    assert!(file.is_empty().unwrap());
    assert_eq!(read(&file, 0, 0).unwrap(), []);
    assert!(matches!(read(&file, 1, 0), Err(Error::PastEnd { .. })));
    file.seal().unwrap();
    assert_eq!(file.view(0, 0).unwrap(), b""[..]);
    assert!(matches!(file.view(0, 1), Err(Error::PastEnd { file_len: 0, .. })));
    file.still_valid().unwrap();
}

/// No number is an allocation or a panic.
#[test]
fn hostile_numbers_are_errors() {
    for folder in [tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap()] {
        let path = folder.path().join("file");
        let file = open(&path).unwrap();
        write(&file, 0, b"0123456789").unwrap();
        let far = [11, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX - 1, u64::MAX];
        for offset in far {
            let mut buffer = [0; 7];
            let error = file.read_at(offset, &mut buffer).unwrap_err();
            assert!(matches!(error, Error::PastEnd { len: 7, file_len: 10, .. }), "{error}");
            let error = file.try_read_at(offset, &mut buffer).unwrap().unwrap_err();
            assert!(matches!(error, Error::PastEnd { .. }), "{error}");
        }
        for offset in &far[1..] {
            let error = write(&file, *offset, b"x").unwrap_err();
            let kind = io::Error::from(error).kind();
            assert_eq!(kind, io::ErrorKind::FileTooLarge, "{offset}");
        }
        assert_eq!(file.len().unwrap(), 10);
        for len in [u64::MAX, i64::MAX as u64 + 1] {
            file.set_len(len).unwrap_err();
        }
        // What some filesystems take and others refuse: either way nothing is allocated by it.
        for len in [1 << 43, 1 << 62, i64::MAX as u64] {
            if file.set_len(len).is_ok() {
                assert_eq!(file.len().unwrap(), len);
                if let Ok(bytes) = read(&file, len - 5, 5) {
                    assert_eq!(bytes, [0; 5]);
                }
                let mut buffer = [0; 10];
                if let Some(result) = file.try_read_at(0, &mut buffer) {
                    result.unwrap();
                    assert_eq!(&buffer, b"0123456789");
                }
                file.set_len(10).unwrap();
            }
        }
        assert_eq!(read(&file, 0, 10).unwrap(), b"0123456789");
        file.seal().unwrap();
        for offset in far {
            for len in [1, 7, usize::MAX / 2, usize::MAX] {
                assert!(matches!(file.view(offset, len), Err(Error::PastEnd { .. })));
                assert!(matches!(file.try_view(offset, len), Some(Err(Error::PastEnd { .. }))));
            }
        }
        for len in [11, isize::MAX.unsigned_abs(), usize::MAX] {
            let error = file.view(0, len).unwrap_err();
            assert!(matches!(error, Error::PastEnd { file_len: 10, .. }), "{error}");
        }
    }
}

#[test]
fn a_sparse_file_of_five_gib_takes_no_five_gib() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = open(&path).unwrap();
    write(&file, 0, b"begin").unwrap();
    write(&file, 5 * GIB + 7, b"end").unwrap();
    let len = 5 * GIB + 10;
    let check = |read: &dyn Fn(u64, usize) -> Vec<u8>| {
        assert_eq!(read(0, 8), b"begin\0\0\0");
        assert_eq!(read(3 * GIB - 1, 3), [0; 3]);
        assert_eq!(read(5 * GIB, 10), b"\0\0\0\0\0\0\0end");
    };
    check(&|offset, len| read(&file, offset, len).unwrap());
    file.set_len(len + GIB).unwrap();
    file.set_len(len).unwrap();
    check(&|offset, len| read(&file, offset, len).unwrap());
    file.seal().unwrap();
    check(&|offset, len| file.view(offset, len).unwrap().to_vec());
    let whole = usize::try_from(len).unwrap();
    assert!(file.try_view(0, whole).is_none(), "most of it was never touched");
    assert!(path.metadata().unwrap().blocks() * 512 < MIB);
}

#[test]
fn unsynced_bytes_are_counted_until_a_sync() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = open(&path).unwrap();
    assert_eq!(file.unsynced_bytes(), 0);
    write(&file, 0, &[1; 5000]).unwrap();
    assert!(file.unsynced_bytes() >= 5000);
    file.sync().unwrap();
    assert_eq!(file.unsynced_bytes(), 0);
    file.sync().unwrap();
    file.set_len(10).unwrap();
    assert_ne!(file.unsynced_bytes(), 0, "a length is to be synced too");
    file.sync().unwrap();
    if let Some(residency) = file.residency() {
        assert_eq!((residency.resident_bytes, residency.dirty_bytes), (4096, 0));
    }
    write(&file, 0, &[1; 10]).unwrap();
    file.seal().unwrap();
    assert_eq!(file.unsynced_bytes(), 0);
    file.sync().unwrap();
}

#[test]
fn a_mutable_file_is_for_one_and_a_sealed_one_for_many() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let first = open(&path).unwrap();
    write(&first, 0, b"bytes").unwrap();
    let descriptor = read_write(&path);
    let error = RawFile::open(descriptor.try_clone().unwrap(), &path).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert!(error.to_string().contains("close it there first"), "{error}");
    first.seal().unwrap();
    // This descriptor was opened when the file could still be written to.
    let second = RawFile::open(descriptor, &path).unwrap();
    let third = RawFile::open(File::open(&path).unwrap(), &path).unwrap();
    assert!(second.is_sealed() && third.is_sealed());
    for file in [&first, &second, &third] {
        assert_eq!(file.view(0, 5).unwrap(), b"bytes"[..]);
    }
    assert!(File::open(&path).unwrap().try_lock().is_err(), "readers share a lock");
    let view = third.view(1, 3).unwrap();
    drop([first, second, third]);
    assert!(File::open(&path).unwrap().try_lock().is_err(), "a view keeps the lock");
    drop(view);
    File::open(&path).unwrap().try_lock().unwrap();
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    drop(open(&path).unwrap());
    for mode in [0o620, 0o602, 0o666, 0o420, 0o402] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let file = read_write(&path);
        let error = RawFile::open(file, &path).unwrap_err();
        assert!(matches!(error, Error::OthersCanWrite { .. }), "{mode:o}: {error}");
        #[expect(unsafe_code, reason = "the function under test")]
        // SAFETY: nothing else writes to this test's own file.
        let opened = unsafe { RawFile::options().open_shared(read_write(&path), &path) };
        assert!(!opened.unwrap().is_sealed());
    }
}

#[test]
fn a_descriptor_that_cannot_do_what_is_needed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "bytes").unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let refused = |file: File, words: &str| {
        let error = RawFile::open(file, &path).unwrap_err();
        let error = pagestore::WithCauses(&error).to_string();
        assert!(error.contains(words), "{error:?} should say {words:?}");
    };
    refused(File::open(&path).unwrap(), "open for writing too");
    refused(OpenOptions::new().write(true).open(&path).unwrap(), "open for reading");
    let appending = OpenOptions::new().read(true).append(true).open(&path).unwrap();
    refused(appending, "O_APPEND");
    let error = RawFile::open(File::open(folder.path()).unwrap(), folder.path()).unwrap_err();
    assert!(matches!(error, Error::NotAFile { found: "a folder", .. }), "{error}");
    let file = open(&path).unwrap();
    assert_eq!(read(&file, 0, 5).unwrap(), b"bytes", "a refusal leaves no lock behind");
    assert!(matches!(file.view(0, 5), Err(Error::NotSealed { .. })));
    assert!(matches!(file.try_view(0, 5), Some(Err(Error::NotSealed { .. }))));
}

#[test]
fn the_suite_passes_on_other_filesystems() {
    // Those left out are about memory, and take long.
    let but = ["budget::", "threads::", "residency::", "disks::"];
    elsewhere::run("raw::the_suite_passes_on_other_filesystems", &but);
}
