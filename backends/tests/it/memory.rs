//! The memory backend, for what is its own: the budget, what views keep alive, and the rules of
//! names. What all backends share is in the conformance suite.

use std::io;

use backends::{
    BufferPool, Limits, Medium as _, MemoryBackend, MemoryMedium, Operation, StorageBackend as _,
    StorageError, StoragePath,
};

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

fn backend(budget_bytes: u64) -> MemoryBackend {
    MemoryBackend::with_budget(budget_bytes, Limits::default()).unwrap()
}

fn used(backend: &MemoryBackend) -> u64 {
    backend.stats().used_bytes
}

#[tokio::test]
async fn bytes_come_back_and_are_charged_by_the_page() {
    let backend = backend(MIB);
    backend.write("a/b", 10_000, b"here").await.unwrap();
    assert_eq!(backend.read("a/b", 9_998, 6).await.unwrap(), b"\0\0here"[..]);
    assert_eq!(backend.len("a/b").await.unwrap(), 10_004);
    let stats = backend.stats();
    assert_eq!((stats.used_bytes, stats.resident_bytes), (PAGE, Some(PAGE)));
    assert_eq!((stats.budget_bytes, stats.open_files), (Some(MIB), 1));
    backend.truncate("a/b", 0).await.unwrap();
    assert_eq!(used(&backend), 0);
    backend.sync("a/b").await.unwrap();
    assert!(matches!(backend.sync("none").await, Err(StorageError::NotFound { .. })));
}

/// In the same poll: a current-thread runtime is not needed, nor any.
#[test]
fn small_operations_on_files_that_exist_are_answered_at_once() {
    let medium = MemoryMedium::new(MIB, BufferPool::new(MIB)).unwrap();
    let path = StoragePath::new("file").unwrap();
    assert!(medium.try_write(path, 0, b"x").is_none(), "making a file takes a system call");
    medium.write(path, 0, &[bytes::Bytes::from_static(b"word")]).unwrap();
    medium.try_write(path, 4, b"s").unwrap().unwrap();
    assert_eq!(medium.try_read(path, 0, 5).unwrap().unwrap(), "words");
    assert!(medium.try_write(path, 0, &[0; 65_537]).is_none(), "a large copy takes its time");
    medium.truncate(path, 100_000).unwrap();
    assert!(medium.try_read(path, 0, 65_536).is_some());
    assert!(medium.try_read(path, 0, 65_537).is_none());
    medium.seal(path).unwrap();
    assert!(medium.try_read(path, 0, 65_537).is_some(), "a view takes none");
    assert!(matches!(medium.try_write(path, 0, b"x"), Some(Err(StorageError::Sealed { .. }))));
    let none = StoragePath::new("none").unwrap();
    assert!(matches!(medium.try_read(none, 0, 1), Some(Err(StorageError::NotFound { .. }))));
}

#[tokio::test]
async fn beyond_the_budget_is_an_error_that_leaves_nothing_behind() {
    let backend = backend(4 * PAGE);
    backend.write("old", 0, &[1; 8_000]).await.unwrap();
    for (path, offset) in [("old", 4_000), ("new", 0), ("far/new", 9 << 30)] {
        for _ in 0..2 {
            let error = backend.write(path, offset, &[2; 13_000]).await.unwrap_err();
            let StorageError::BudgetExceeded { operation, used_bytes, budget_bytes, .. } = error
            else {
                panic!("{error:?}");
            };
            assert_eq!(operation, Operation::Write);
            assert_eq!((used_bytes, budget_bytes), (2 * PAGE, 4 * PAGE));
        }
    }
    assert_eq!(backend.list("").await.unwrap(), ["old"]);
    assert_eq!(backend.read("old", 0, 8_000).await.unwrap(), [1; 8_000][..]);
    assert_eq!((used(&backend), backend.len("old").await.unwrap()), (2 * PAGE, 8_000));
    backend.delete("old").await.unwrap();
    backend.write("new", 0, &[2; 13_000]).await.unwrap();
}

#[tokio::test]
async fn many_tasks_share_one_budget() {
    let backend = backend(64 * PAGE);
    let tasks: Vec<_> = (0..16_u8)
        .map(|task| {
            let backend = backend.clone();
            tokio::spawn(async move {
                let path = format!("file {task}");
                let mut written = 0_u64;
                for page in 0..16 {
                    match backend.write(&path, page * PAGE, &[task; 4096]).await {
                        Ok(()) => written += 1,
                        Err(StorageError::BudgetExceeded { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    assert!(used(&backend) <= 64 * PAGE);
                }
                written
            })
        })
        .collect();
    let mut written = 0;
    for task in tasks {
        written += task.await.unwrap();
    }
    assert_eq!((written, used(&backend)), (64, 64 * PAGE));
}

#[tokio::test]
async fn views_outlive_everything_and_keep_their_charge() {
    let backend = backend(MIB);
    backend.write("sealed", 0, &[3; 10_000]).await.unwrap();
    backend.seal("sealed").await.unwrap();
    let view = backend.read("sealed", 0, 10_000).await.unwrap();
    let again = backend.read("sealed", 1, 1).await.unwrap();
    assert_eq!(view.as_ptr().wrapping_add(1), again.as_ptr(), "no copy was made");
    backend.write("new", 0, b"short").await.unwrap();
    backend.rename("new", "sealed").await.unwrap();
    assert_eq!(backend.read("sealed", 0, 5).await.unwrap(), "short");
    drop(again);
    assert_eq!(used(&backend), 4 * PAGE, "the old file, for its view, and the new one");
    assert_eq!(view, [3; 10_000][..]);
    drop(view);
    assert_eq!(used(&backend), PAGE);
    let copy = backend.read("sealed", 0, 5).await.unwrap();
    backend.delete("sealed").await.unwrap();
    assert_eq!(used(&backend), 0, "a copy belongs to the buffers");
    drop(backend);
    assert_eq!(copy, "short");
}

fn kind<T: std::fmt::Debug>(result: Result<T, StorageError>) -> (Option<i32>, io::ErrorKind) {
    let error = result.unwrap_err();
    let StorageError::Io { source, .. } = &error else { panic!("{error:?}") };
    (source.raw_os_error(), error.io_kind())
}

/// As in a folder on a disk: `ENOTDIR` below a file, `EISDIR` in the place of a folder.
#[tokio::test]
async fn a_name_is_a_file_or_a_folder() {
    const BELOW_A_FILE: (Option<i32>, io::ErrorKind) = (Some(20), io::ErrorKind::NotADirectory);
    const A_FOLDER: (Option<i32>, io::ErrorKind) = (Some(21), io::ErrorKind::IsADirectory);
    let backend = backend(MIB);
    backend.write("a", 0, b"file").await.unwrap();
    backend.write("x/y/z", 0, b"deep").await.unwrap();
    backend.write("x-", 0, b"beside").await.unwrap();
    assert_eq!(kind(backend.write("a/b", 0, b"").await), BELOW_A_FILE);
    assert_eq!(kind(backend.write("a/b/c", 0, b"").await), BELOW_A_FILE);
    assert_eq!(kind(backend.write("x", 0, b"").await), A_FOLDER);
    assert_eq!(kind(backend.write("x/y", 0, b"").await), A_FOLDER);
    assert_eq!(kind(backend.rename("a", "x/y/z/w").await), BELOW_A_FILE);
    assert_eq!(kind(backend.rename("a", "a/b").await), BELOW_A_FILE);
    assert_eq!(kind(backend.rename("a", "x").await), A_FOLDER);
    assert_eq!(kind(backend.rename("x/y/z", "x").await), A_FOLDER);
    assert_eq!(backend.list("").await.unwrap(), ["a", "x-", "x/y/z"]);
    assert_eq!(backend.list("x").await.unwrap(), ["x-", "x/y/z"]);
    assert_eq!(backend.list("x/").await.unwrap(), ["x/y/z"]);
    assert_eq!(backend.list("y").await.unwrap(), [""; 0]);
    assert!(!backend.exists("x").await.unwrap(), "only files can be seen");
    backend.delete("x/y/z").await.unwrap();
    backend.write("x", 0, b"free").await.unwrap();
    backend.rename("a", "a").await.unwrap();
    assert_eq!(backend.read("a", 0, 4).await.unwrap(), "file");
}

/// Readers on many threads look names up in tables of their own; none may find a name gone, or an
/// older file than another thread found before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn renaming_replaces_in_one_step() {
    let backend = backend(16 * MIB);
    backend.write("current", 0, &0_u64.to_le_bytes()).await.unwrap();
    let newest = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (backend, newest) = (backend.clone(), newest.clone());
            tokio::spawn(async move {
                loop {
                    let before = newest.load(std::sync::atomic::Ordering::SeqCst);
                    let bytes = backend.read("current", 0, 8).await.unwrap();
                    let seen = u64::from_le_bytes(bytes[..].try_into().unwrap());
                    assert!(seen >= before, "{seen} after {before}");
                    newest.fetch_max(seen, std::sync::atomic::Ordering::SeqCst);
                    if seen == 2_000 {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for version in 1..=2_000_u64 {
        backend.write("next", 0, &version.to_le_bytes()).await.unwrap();
        backend.rename("next", "current").await.unwrap();
    }
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!((used(&backend), backend.stats().open_files), (PAGE, 1));
}

#[tokio::test]
async fn buffers_have_a_limit_of_their_own() {
    let limits = Limits::default().buffer_bytes(64 << 10);
    let backend = MemoryBackend::with_budget(MIB, limits).unwrap();
    backend.write("file", 0, &[1; 60_000]).await.unwrap();
    let held = backend.read("file", 0, 60_000).await.unwrap();
    let error = backend.read("file", 0, 60_000).await.unwrap_err();
    let StorageError::BudgetExceeded { operation: Operation::Read, budget_bytes, .. } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(budget_bytes, 64 << 10);
    drop(held);
    backend.read("file", 0, 60_000).await.unwrap();
    let error = backend.read("file", 1, usize::MAX).await.unwrap_err();
    assert!(matches!(error, StorageError::PastEnd { file_len: 60_000, .. }), "{error:?}");
}

#[test]
fn impossible_budgets_are_refused() {
    for bytes in [0, 4095, (64 << 40) + 1, u64::MAX] {
        let error = MemoryBackend::with_budget(bytes, Limits::default()).unwrap_err();
        assert!(matches!(error, StorageError::Config { field: "budget_bytes", .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_too_large_is_an_error_of_the_system() {
    let backend = backend(MIB);
    backend.write("file", 0, b"x").await.unwrap();
    assert_eq!(kind(backend.write("file", 65 << 40, b"x").await).1, io::ErrorKind::FileTooLarge);
    assert_eq!(kind(backend.truncate("file", u64::MAX).await).1, io::ErrorKind::FileTooLarge);
    assert_eq!(kind(backend.write("new", u64::MAX, b"xy").await).1, io::ErrorKind::FileTooLarge);
    assert_eq!(backend.list("").await.unwrap(), ["file"]);
}
