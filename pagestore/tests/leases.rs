//! The kernel keeps writers away from a sealed file as long as it is read, and says that one asks.
//!
//! Method: sealed files are opened, and then asked for by other descriptors, threads and processes,
//! by way of open(2) and truncate(2) and by this crate. A lease that is asked for sends its holder a
//! signal that ends a process which does not expect it; so that this process is still there is part
//! of each test.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "children are only run to their end here")]
mod child;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use pagestore::{
    Error, Existing, Lease, PageFile, PageId, PageWriter, SealedFile, SealedFileOptions, Writers,
    inspect,
};
use rustix::{
    fs::OFlags,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use tempfile::TempDir;

/// A folder, and in it a sealed file that nobody has open.
fn sealed() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sealed");
    drop(write_sealed(&path));
    (folder, path)
}

fn write_sealed(path: &Path) -> SealedFile {
    let mut writer = PageWriter::options().existing(Existing::Replace).create(path).unwrap();
    writer.append(&[7; 3 * 4096]).unwrap();
    writer.seal().unwrap()
}

/// Opens the file for writing as any program would, but does not wait.
fn open_to_write(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().write(true).custom_flags(flags).open(path)
}

#[track_caller]
fn check_writer_refused(path: &Path) {
    let refused = open_to_write(path).map(drop).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock, "{refused}");
}

#[track_caller]
fn check_locked(path: &Path) {
    let error = SealedFile::open(path).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert!(error.to_string().contains("it is open for writing somewhere"), "{error}");
}

#[test]
fn a_writer_is_kept_out_and_reported_until_the_last_view_is_dropped() {
    let (_folder, path) = sealed();
    let file = SealedFile::open(&path).unwrap();
    let clone = file.clone();
    let view = file.bytes(..).unwrap();
    assert_eq!(file.lease(), Lease::Held);
    check_writer_refused(&path);
    assert_eq!((file.lease(), clone.lease()), (Lease::WriterWaits, Lease::WriterWaits));
    // What is read is right all the same.
    assert_eq!(file.page(PageId::new(1)).unwrap(), [7; 4096]);
    file.with_pages(.., |bytes| assert_eq!(bytes, [7; 3 * 4096])).unwrap();
    drop((file, clone));
    check_writer_refused(&path);
    drop(view);
    open_to_write(&path).unwrap();
}

#[test]
fn a_file_just_sealed_is_under_a_lease() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sealed");
    let file = write_sealed(&path);
    assert_eq!(file.lease(), Lease::Held);
    check_writer_refused(&path);
    assert_eq!(file.lease(), Lease::WriterWaits);
    drop(file);
    open_to_write(&path).unwrap();
}

/// Waits in a thread, so that a lease that is never given back fails the test after 45 s.
#[test]
fn a_writer_that_waits_is_let_in_when_the_reader_is_gone() {
    let (_folder, path) = sealed();
    for truncates in [false, true] {
        let file = SealedFile::open(&path).unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                if truncates {
                    fs::OpenOptions::new().write(true).truncate(true).open(&path)
                } else {
                    fs::OpenOptions::new().write(true).open(&path)
                }
            });
            while file.lease() == Lease::Held {
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(file.lease(), Lease::WriterWaits);
            assert!(!waiter.is_finished());
            file.with_pages(.., |bytes| assert_eq!(bytes, [7; 3 * 4096])).unwrap();
            drop(file);
            waiter.join().unwrap().unwrap();
        });
    }
    assert_eq!(path.metadata().unwrap().len(), 0, "the last one cut it");
}

#[test]
fn a_writer_in_another_process_is_kept_out_and_reported() {
    let test = "a_writer_in_another_process_is_kept_out_and_reported";
    if let Some(path) = child::path() {
        check_writer_refused(&path);
        return child::done();
    }
    let (_folder, path) = sealed();
    let file = SealedFile::open(&path).unwrap();
    child::check(&mut child::command("", test, &path));
    assert_eq!(file.lease(), Lease::WriterWaits);
}

#[test]
fn readers_share_the_file_until_somebody_asks_to_write() {
    let (_folder, path) = sealed();
    let first = SealedFile::open(&path).unwrap();
    let second = SealedFile::open(&path).unwrap();
    assert_eq!((first.lease(), second.lease()), (Lease::Held, Lease::Held));
    fs::read(&path).unwrap();
    assert_eq!(first.lease(), Lease::Held, "who only reads asks for nothing");
    drop(first);
    assert_eq!(second.lease(), Lease::Held);
    check_writer_refused(&path);
    assert_eq!(second.lease(), Lease::WriterWaits);
    // The one who asked comes first.
    check_locked(&path);
    drop(second);
    assert_eq!(SealedFile::open(&path).unwrap().lease(), Lease::Held);
}

#[test]
fn a_file_that_is_open_for_writing_is_refused_with_or_without_a_lock() {
    let (_folder, path) = sealed();
    let writable = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    check_locked(&path);
    drop(writable);
    SealedFile::open(&path).unwrap();
}

#[test]
fn our_own_ways_to_a_file_do_not_wait_for_its_readers() {
    let (_folder, path) = sealed();
    let old = SealedFile::open(&path).unwrap();
    assert!(matches!(PageFile::open(&path), Err(Error::Sealed { .. })));
    inspect(&path).unwrap();
    let new = write_sealed(&path);
    assert_eq!((old.lease(), new.lease()), (Lease::Held, Lease::Held));
    fs::rename(&path, path.with_extension("moved")).unwrap();
    fs::remove_file(path.with_extension("moved")).unwrap();
    assert_eq!((old.lease(), new.lease()), (Lease::Held, Lease::Held));
    assert_eq!(old.pages(..).unwrap(), [7; 3 * 4096]);
}

/// Whoever does without the lease lets strangers write at once, and is not let in beside them.
#[test]
fn writers_who_are_let_in_do_not_wait() {
    let (_folder, path) = sealed();
    let options = SealedFile::options().writers(Writers::LetIn);
    let file = options.open(&path).unwrap();
    assert_eq!(file.lease(), Lease::Unavailable);
    let writable = open_to_write(&path).unwrap();
    assert_eq!(file.page(PageId::new(1)).unwrap(), [7; 4096]);
    let error = options.open(&path).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop((writable, file));
    options.open(&path).unwrap();

    let replacing = PageWriter::options().existing(Existing::Replace).writers(Writers::LetIn);
    let _file = replacing.create(&path).unwrap().seal().unwrap();
    open_to_write(&path).unwrap();
}

/// A program of another kind has a lease on a mutable file: that is told, and not waited for.
#[test]
fn a_lease_of_somebody_else_refuses_our_writer_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mutable");
    PageFile::create(&path).unwrap().close().unwrap();
    let holder = File::open(&path).unwrap();
    const F_SETSIG: libc::c_int = 10;
    for (command, argument) in
        [(F_SETSIG, libc::SIGURG), (libc::F_SETLEASE, libc::c_int::from(libc::F_RDLCK))]
    {
        #[expect(unsafe_code, reason = "no library wraps leases")]
        // SAFETY: both commands take a number.
        let result = unsafe { libc::fcntl(holder.as_raw_fd(), command, argument) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }
    let error = PageFile::open(&path).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(holder);
    PageFile::open(&path).unwrap();
}

#[test]
fn whoever_vouches_for_the_writers_has_no_lease() {
    let (_folder, path) = sealed();
    let writable = OpenOptions::new().write(true).open(&path).unwrap();
    #[expect(unsafe_code, reason = "the function under test")]
    // SAFETY: nothing is written through the descriptor above.
    let file = unsafe { SealedFileOptions::new().open_shared(&path) }.unwrap();
    assert_eq!(file.lease(), Lease::Unavailable);
    drop(writable);
    open_to_write(&path).unwrap();
    assert_eq!(file.lease(), Lease::Unavailable);
}

/// A child that another thread is just starting has a copy of every descriptor.
#[test]
fn the_lease_ends_with_the_reader_though_a_copy_of_its_descriptor_lives_on() {
    let (_folder, path) = sealed();
    let file = SealedFile::open(&path).unwrap();
    let path_there = path.canonicalize().unwrap();
    let number = fs::read_dir("/proc/self/fd").unwrap().find_map(|entry| {
        let entry = entry.unwrap();
        let is_ours = fs::read_link(entry.path()).is_ok_and(|target| target == path_there);
        is_ours.then(|| entry.file_name().to_str().unwrap().parse().unwrap())
    });
    let this = Pid::from_raw(std::process::id().cast_signed()).unwrap();
    let this = pidfd_open(this, PidfdFlags::empty()).unwrap();
    let copy = pidfd_getfd(&this, number.unwrap(), PidfdGetfdFlags::empty()).unwrap();
    check_writer_refused(&path);
    drop(file);
    open_to_write(&path).unwrap();
    drop(copy);
}
