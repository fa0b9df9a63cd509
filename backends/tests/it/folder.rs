//! A folder of files through positioned reads and writes: what operations promise to each other,
//! how files stay sealed, locked and within the limit of open files, and a disk that is full.
//!
//! Method: everything through the public interface, on the temporary folder's filesystem. Storms of
//! tasks use the same few names, and each result is held against what any order of the operations
//! could have left; the bytes of each write are all the same, so a torn one shows. The full disk is
//! an ext4 of its own on a loop device. A child process has a limit on the length of its files.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use backends::{
    Limits, MmapBackend, Operation, PosixBackend, StorageBackend, StorageError, WriteRequest,
};
use bytes::Bytes;
use rustix::process::{Resource, getrlimit};

use crate::{
    child,
    loop_disk::{BLOCK_BYTES, LoopDisk},
    skip,
};

fn open(root: &Path) -> PosixBackend {
    PosixBackend::open(root, Limits::default()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn bytes_come_back_and_files_are_plain() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(&folder.path().join("made/for/it"));
    backend.write("a/file", 5, b"hello").await.unwrap();
    assert_eq!(backend.read("a/file", 0, 10).await.unwrap(), &b"\0\0\0\0\0hello"[..]);
    assert_eq!(fs::read(folder.path().join("made/for/it/a/file")).unwrap(), b"\0\0\0\0\0hello");
    backend.truncate("a/file", 7).await.unwrap();
    backend.truncate("a/file", 9).await.unwrap();
    assert_eq!(backend.read("a/file", 4, 5).await.unwrap(), &b"\0he\0\0"[..]);
    let error = backend.read("a/file", 5, 5).await.unwrap_err();
    assert!(matches!(error, StorageError::PastEnd { file_len: 9, .. }), "{error}");
    let error = backend.read("a/file", u64::MAX, usize::MAX).await.unwrap_err();
    assert!(matches!(error, StorageError::PastEnd { .. }), "{error}");
    let error = backend.write("a/file", u64::MAX - 1, b"xyz").await.unwrap_err();
    assert_eq!(error.io_kind(), ErrorKind::FileTooLarge);
    backend.write("a/file", 1 << 40, b"").await.unwrap();
    assert_eq!(backend.len("a/file").await.unwrap(), 9);
    backend.write("empty", 0, b"").await.unwrap();
    assert_eq!(backend.list("").await.unwrap(), ["a/file", "empty"]);
}

#[tokio::test]
async fn folders_are_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path());
    backend.write("a/b", 0, b"x").await.unwrap();
    backend.write("file", 0, b"x").await.unwrap();
    for path in ["a", "a/b/c", "missing", "missing/x"] {
        assert!(!backend.exists(path).await.unwrap());
        for error in [
            backend.read(path, 0, 1).await.unwrap_err(),
            backend.len(path).await.unwrap_err(),
            backend.delete(path).await.unwrap_err(),
            backend.rename(path, "new").await.unwrap_err(),
            backend.truncate(path, 0).await.unwrap_err(),
            backend.sync(path).await.unwrap_err(),
            backend.seal(path).await.unwrap_err(),
        ] {
            assert!(matches!(error, StorageError::NotFound { .. }), "{error}");
        }
    }
    let error = backend.write("a", 0, b"x").await.unwrap_err();
    assert_eq!(error.io_kind(), ErrorKind::IsADirectory, "{error}");
    let error = backend.rename("file", "a").await.unwrap_err();
    assert_eq!(error.io_kind(), ErrorKind::IsADirectory, "{error}");
    let error = backend.rename("file", "a/b/c").await.unwrap_err();
    assert_eq!(error.io_kind(), ErrorKind::NotADirectory, "{error}");
    backend.rename("file", "file").await.unwrap();
    assert_eq!(backend.list("").await.unwrap(), ["a/b", "file"]);
    backend.delete("a/b").await.unwrap();
    backend.write("a", 0, b"free again").await.unwrap();
}

#[tokio::test]
async fn prefixes_are_of_characters_and_not_of_folders() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path());
    for path in ["ab/x", "ab/y/z", "abc", "a", "b/ab"] {
        backend.write(path, 0, b"").await.unwrap();
    }
    for (prefix, expected) in [
        ("", vec!["a", "ab/x", "ab/y/z", "abc", "b/ab"]),
        ("a", vec!["a", "ab/x", "ab/y/z", "abc"]),
        ("ab", vec!["ab/x", "ab/y/z", "abc"]),
        ("ab/", vec!["ab/x", "ab/y/z"]),
        ("ab/y", vec!["ab/y/z"]),
        ("ab/y/z", vec!["ab/y/z"]),
        ("ab/y/z/", vec![]),
        ("abc/", vec![]),
    ] {
        assert_eq!(backend.list(prefix).await.unwrap(), expected, "{prefix:?}");
    }
}

#[tokio::test]
async fn a_sealed_file_stays_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let check = async |backend: &PosixBackend, path: &str| {
        let refused = |result: Result<(), StorageError>| {
            let error = result.unwrap_err();
            assert!(matches!(error, StorageError::Sealed { .. }), "{error}");
        };
        refused(backend.write(path, 0, b"new").await);
        refused(backend.write(path, 0, b"").await);
        refused(backend.truncate(path, 0).await);
        backend.sync(path).await.unwrap();
        backend.seal(path).await.unwrap();
        assert_eq!(backend.read(path, 0, 6).await.unwrap(), &b"sealed"[..]);
    };
    let backend = open(folder.path());
    backend.write("file", 0, b"sealed").await.unwrap();
    backend.seal("file").await.unwrap();
    assert_eq!(mode(&folder.path().join("file")), 0o400);
    check(&backend, "file").await;
    backend.rename("file", "moved").await.unwrap();
    check(&backend, "moved").await;
    // Several at a time may read a sealed file.
    let other = open(folder.path());
    check(&other, "moved").await;
    drop(backend);
    let backend = open(folder.path());
    check(&backend, "moved").await;
    backend.write("new", 0, b"another").await.unwrap();
    backend.rename("new", "moved").await.unwrap();
    assert_eq!(backend.read("moved", 0, 7).await.unwrap(), &b"another"[..]);
    backend.write("moved", 0, b"A").await.unwrap();
}

#[tokio::test]
async fn two_backends_do_not_write_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path()), open(folder.path()));
    one.write("file", 0, b"one").await.unwrap();
    let error = two.write("file", 0, b"two").await.unwrap_err();
    assert!(matches!(error, StorageError::Locked { .. }), "{error}");
    let error = two.read("file", 0, 3).await.unwrap_err();
    assert!(matches!(error, StorageError::Locked { .. }), "{error}");
    drop(one);
    two.write("file", 0, b"two").await.unwrap();
}

#[tokio::test]
async fn what_was_read_outlives_the_file_and_the_backend() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path());
    backend.write("file", 0, &[7; 100_000]).await.unwrap();
    let (small, large) =
        tokio::join!(backend.read("file", 10, 100), backend.read("file", 0, 100_000));
    backend.write("file", 0, &[8; 100_000]).await.unwrap();
    backend.delete("file").await.unwrap();
    assert!(!backend.exists("file").await.unwrap());
    drop(backend);
    assert_eq!(small.unwrap(), vec![7; 100]);
    assert_eq!(large.unwrap(), vec![7; 100_000]);
}

#[tokio::test]
async fn a_read_past_the_budget_is_refused_and_nothing_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let backend =
        PosixBackend::open(folder.path(), Limits::default().buffer_bytes(256 << 10)).unwrap();
    for at in 0..8_u8 {
        backend.write("file", u64::from(at) << 16, &[at; 1 << 16]).await.unwrap();
    }
    let error = backend.read("file", 0, 512 << 10).await.unwrap_err();
    assert!(
        matches!(error, StorageError::BudgetExceeded { operation: Operation::Read, .. }),
        "{error}"
    );
    for _ in 0..100 {
        assert_eq!(backend.read("file", 1 << 16, 100).await.unwrap(), vec![1; 100]);
    }
}

#[tokio::test]
async fn a_long_list_of_parts_is_written_in_one_piece() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path());
    // More than the kernel takes in one call, some empty.
    let parts: Vec<Bytes> =
        (0..5000_u16).map(|i| Bytes::from(vec![i.to_le_bytes()[0]; usize::from(i % 7)])).collect();
    let mut offset = 3;
    let requests: Vec<WriteRequest<'_>> = parts
        .iter()
        .map(|data| {
            let request = WriteRequest { path: "file", offset, data: data.clone() };
            offset += data.len() as u64;
            request
        })
        .collect();
    for result in backend.write_many(&requests).await {
        result.unwrap();
    }
    let expected: Vec<u8> = [0; 3].into_iter().chain(parts.concat()).collect();
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_files_than_may_be_open() {
    const COUNT: usize = 2500;
    // A quarter of the descriptors is left to the program.
    let most = (getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 4 * 3).min(1000);
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path());
    for i in 0..COUNT {
        let path = format!("{}/{i}", i % 10);
        backend.write(&path, 0, path.as_bytes()).await.unwrap();
        let open_files = backend.stats().open_files;
        assert!(open_files <= most, "{open_files} open files");
        // Half of them are clean and are closed first.
        if i % 2 == 0 {
            backend.sync(&path).await.unwrap();
        }
    }
    for i in (0..COUNT).rev() {
        let path = format!("{}/{i}", i % 10);
        assert_eq!(backend.read(&path, 0, path.len()).await.unwrap(), path.as_bytes());
    }
    assert_eq!(backend.stats().open_files, most);
    assert_eq!(backend.list("").await.unwrap().len(), COUNT);
    for i in 0..COUNT {
        backend.delete(&format!("{}/{i}", i % 10)).await.unwrap();
    }
    assert_eq!((backend.stats().open_files, backend.stats().dirty_bytes), (0, Some(0)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn stats_count_what_is_open_and_not_synced() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path());
    backend.write("a", 0, &[1; 1000]).await.unwrap();
    backend.write("b", 0, &[1; 500]).await.unwrap();
    assert_eq!((backend.stats().open_files, backend.stats().dirty_bytes), (2, Some(1500)));
    backend.sync("a").await.unwrap();
    assert_eq!(backend.stats().dirty_bytes, Some(500));
    backend.seal("b").await.unwrap();
    assert_eq!(backend.stats().dirty_bytes, Some(0));
    backend.rename("a", "b").await.unwrap();
    assert_eq!(backend.stats().open_files, 1);
    // The page cache has it, so no thread was needed.
    backend.read("b", 0, 1000).await.unwrap();
    assert_eq!(backend.stats().reads.at_once, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_read_sees_each_write_wholly_or_not_at_all() {
    // Long enough that a write and a read of the page cache meet halfway.
    const LEN: usize = 1 << 20;
    const ROUND_COUNT: u16 = 500;
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path());
    backend.write("file", 0, &vec![0; LEN]).await.unwrap();
    let writers = (1..=2_u8).map(|value| {
        let backend = backend.clone();
        tokio::spawn(async move {
            for round in 0..ROUND_COUNT {
                backend
                    .write("file", 0, &vec![value + 2 * (round.to_le_bytes()[0] % 100); LEN])
                    .await
                    .unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    // Small reads as well: they are short enough to begin in the middle of a write.
    let reader = {
        let backend = backend.clone();
        tokio::spawn(async move {
            let mut values = std::collections::BTreeSet::new();
            while !writers.iter().all(|writer| writer.is_finished()) {
                for (offset, len) in [(0, LEN), (LEN / 2, 32 << 10), (0, 2 * LEN / 3)] {
                    let read = backend.read("file", offset as u64, len).await.unwrap();
                    let same = read.iter().all(|byte| *byte == read[0]);
                    assert!(same, "a read saw parts of two writes");
                    values.insert(read[0]);
                }
            }
            for writer in writers {
                writer.await.unwrap();
            }
            values
        })
    };
    let values = reader.await.unwrap();
    assert!(values.len() > 10, "the reads met the writes, they saw only {values:?}");
}

/// Each file holds its own content id in every byte, made anew under `new/` and renamed into place.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn storms_on_the_same_names_leave_no_stale_file_behind() {
    const ROUND_COUNT: u64 = 1500;
    const NAMES: [&str; 5] = ["a", "d/a", "d/e/a", "d/e/b", "f"];
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path());
    let next = Arc::new(AtomicU64::new(1));
    let workers = (0..6).map(|worker: u64| {
        let (backend, next) = (backend.clone(), Arc::clone(&next));
        tokio::spawn(async move {
            let mut random = worker * 7919 + 1;
            let mut pick = || {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                NAMES[usize::try_from(random >> 33).unwrap() % NAMES.len()]
            };
            for round in 0..ROUND_COUNT {
                let (from, to) = (pick(), pick());
                let content = next.fetch_add(1, Ordering::Relaxed).to_le_bytes();
                let made = format!("new/{worker}/{round}");
                let result = match round % 5 {
                    0 => {
                        // Only this task knows the name, so it must hold what was just written.
                        backend.write(&made, 0, &content).await.unwrap();
                        assert_eq!(backend.read(&made, 0, 8).await.unwrap(), content[..]);
                        backend.rename(&made, to).await.unwrap();
                        assert!(!backend.exists(&made).await.unwrap());
                        Ok(())
                    }
                    1 => backend.delete(from).await,
                    2 => backend.rename(from, to).await,
                    3 => backend.read(from, 0, 8).await.map(|read| assert_eq!(read.len(), 8)),
                    _ => backend.sync(from).await,
                };
                if let Err(error) = result {
                    assert!(matches!(error, StorageError::NotFound { .. }), "{error}");
                }
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    // What the table of open files says is what the folder says.
    let listed = backend.list("").await.unwrap();
    for path in NAMES {
        let on_disk = fs::read(folder.path().join(path)).ok();
        let read = backend.read(path, 0, 8).await.ok().map(|read| read.to_vec());
        assert_eq!(read, on_disk, "{path}");
        assert_eq!(on_disk.is_some(), listed.iter().any(|listed| listed == path), "{path}");
    }
    assert!(backend.stats().open_files <= NAMES.len() as u64, "{:?}", backend.stats());
    for path in listed {
        backend.delete(&path).await.unwrap();
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no folder is left");
}

/// Making, deleting and opening one name at the same time: what is read back must be on the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_deleted_while_it_is_opened_does_not_come_back() {
    const ROUND_COUNT: usize = 1500;
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path());
    for round in 0..ROUND_COUNT {
        let path = folder.path().join("door/file");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "old").unwrap();
        let (read, deleted, exists) = tokio::join!(
            tokio::spawn({
                let b = backend.clone();
                async move { b.read("door/file", 0, 3).await }
            }),
            tokio::spawn({
                let b = backend.clone();
                async move { b.delete("door/file").await }
            }),
            tokio::spawn({
                let b = backend.clone();
                async move { b.sync("door/file").await }
            }),
        );
        deleted.unwrap().unwrap();
        for result in [read.unwrap().map(drop), exists.unwrap()] {
            if let Err(error) = result {
                assert!(matches!(error, StorageError::NotFound { .. }), "{error}");
            }
        }
        assert!(!path.exists());
        let stale = backend.read("door/file", 0, 3).await;
        assert!(matches!(stale, Err(StorageError::NotFound { .. })), "round {round}: {stale:?}");
        assert_eq!(backend.stats().open_files, 0);
    }
}

#[tokio::test]
async fn a_write_that_the_disk_has_no_room_for_leaves_the_length_as_it_was() {
    let disk = match LoopDisk::new(16, 256) {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped("a full disk", &reason),
    };
    let backend = open(&disk.path().join("root"));
    backend.write("file", 0, &[1; 8192]).await.unwrap();
    backend.sync("file").await.unwrap();
    let ballast = disk.fill_but(4);
    let more = vec![2; usize::try_from(64 * BLOCK_BYTES).unwrap()];
    let error = backend.write("file", 4096, &more).await.unwrap_err();
    assert_eq!(error.io_kind(), ErrorKind::StorageFull, "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
    assert_eq!(backend.len("file").await.unwrap(), 8192);
    assert_eq!(fs::metadata(disk.path().join("root/file")).unwrap().len(), 8192);
    assert_eq!(backend.read("file", 0, 4096).await.unwrap(), vec![1; 4096]);
    fs::remove_file(ballast).unwrap();
    backend.write("file", 4096, &more).await.unwrap();
    backend.sync("file").await.unwrap();
    assert_eq!(backend.read("file", 4096, more.len()).await.unwrap(), more);
}

/// As that child.
#[tokio::test]
async fn child_writes_up_to_the_limit_of_its_files() {
    let Some(root) = child::path() else { return };
    refuses_what_is_too_long(PosixBackend::open(root.join("posix"), Limits::default())).await;
    refuses_what_is_too_long(MmapBackend::open(root.join("mmap"), Limits::default())).await;
    child::done();
}

async fn refuses_what_is_too_long(
    backend: Result<impl StorageBackend<Error = StorageError>, StorageError>,
) {
    let backend = backend.unwrap();
    backend.write("file", 0, b"bytes").await.unwrap();
    let errors = [
        backend.write("file", 1 << 20, b"far").await.unwrap_err(),
        backend.write("file", 2, &[1; 1 << 20]).await.unwrap_err(),
        backend.truncate("file", 1 << 20).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().ends_with("ulimit -f)"), "{error}");
        assert_eq!(error.io_kind(), ErrorKind::FileTooLarge);
    }
    assert_eq!(backend.read("file", 0, 5).await.unwrap(), b"bytes"[..]);
    backend.truncate("file", 2).await.unwrap();
}

/// And not SIGXFSZ, the kernel's answer to who writes on.
#[test]
fn a_limit_on_the_length_of_files_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let test = "child_writes_up_to_the_limit_of_its_files";
    child::check(&mut child::command("ulimit -f 128;", test, folder.path()));
    assert!(folder.path().join("mmap/file").exists());
}
