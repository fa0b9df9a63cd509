//! Renaming: one step, whatever is there.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{Kind, Refusal, refused, whole};
use storage::StorageBackend;

pub(crate) async fn moving(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("a", 0, b"bytes").await.unwrap();
    backend.rename("a", "b").await.unwrap();
    assert_eq!(backend.list("").await.unwrap(), ["b"]);
    refused(backend.read("a", 0, 1).await, Refusal::NotFound);
    assert_eq!(whole(backend, "b").await, b"bytes"[..]);
    // The two names have nothing to do with each other afterwards.
    backend.write("a", 0, b"other").await.unwrap();
    backend.write("b", 5, b" and more").await.unwrap();
    assert_eq!(whole(backend, "a").await, b"other"[..]);
    assert_eq!(whole(backend, "b").await, b"bytes and more"[..]);
    refused(backend.rename("none", "b").await, Refusal::NotFound);
    assert_eq!(whole(backend, "b").await, b"bytes and more"[..]);
}

pub(crate) async fn replacing(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("new", 0, b"new").await.unwrap();
    backend.write("old", 0, &[9; 10_000]).await.unwrap();
    assert_eq!(whole(backend, "old").await.len(), 10_000);
    backend.rename("new", "old").await.unwrap();
    assert_eq!(backend.list("").await.unwrap(), ["old"]);
    assert_eq!(whole(backend, "old").await, b"new"[..]);
    refused(backend.read("old", 0, 4).await, Refusal::PastEnd { file_len: 3 });
}

pub(crate) async fn onto_itself(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    for path in ["a", "folder/a"] {
        refused(backend.rename(path, path).await, Refusal::NotFound);
        backend.write(path, 0, b"bytes").await.unwrap();
        backend.rename(path, path).await.unwrap();
        assert_eq!(whole(backend, path).await, b"bytes"[..]);
        backend.seal(path).await.unwrap();
        backend.rename(path, path).await.unwrap();
        assert_eq!(whole(backend, path).await, b"bytes"[..]);
        refused(backend.write(path, 0, b"x").await, Refusal::Sealed);
    }
    assert_eq!(backend.list("").await.unwrap(), ["a", "folder/a"]);
}

pub(crate) async fn between_folders(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("a/b/c", 0, b"1").await.unwrap();
    backend.write("x", 0, b"2").await.unwrap();
    backend.rename("a/b/c", "d/e/f").await.unwrap();
    assert_eq!(backend.list("").await.unwrap(), ["d/e/f", "x"]);
    backend.rename("x", "d/e/f").await.unwrap();
    assert_eq!(backend.list("").await.unwrap(), ["d/e/f"]);
    assert_eq!(whole(backend, "d/e/f").await, b"2"[..]);
    backend.write("a", 0, b"the name is free").await.unwrap();
    backend.rename("d/e/f", "d/e/g").await.unwrap();
    backend.rename("d/e/g", "d/g").await.unwrap();
    backend.write("d/e", 0, b"this one too").await.unwrap();
    assert_eq!(backend.list("").await.unwrap(), ["a", "d/e", "d/g"]);
}

pub(crate) async fn onto_folders_and_under_files(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("folder/f", 0, b"in a folder").await.unwrap();
    backend.write("file", 0, b"a file").await.unwrap();
    refused(backend.rename("file", "folder").await, Refusal::IsFolder);
    refused(backend.rename("folder/f", "folder").await, Refusal::IsFolder);
    refused(backend.rename("folder/f", "file/f").await, Refusal::UnderFile);
    refused(backend.rename("file", "file/f").await, Refusal::UnderFile);
    refused(backend.rename("folder", "other").await, Refusal::NotFound);
    assert_eq!(backend.list("").await.unwrap(), ["file", "folder/f"]);
    assert_eq!(whole(backend, "folder/f").await, b"in a folder"[..]);
    assert_eq!(whole(backend, "file").await, b"a file"[..]);
}

/// Versions are published by renaming over one path. A reader always finds one, whole, and never an
/// older one than it saw before.
pub(crate) async fn seen_by_readers_as_old_or_new(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    const LEN: usize = 9_000;
    backend.write("now", 0, &[0; LEN]).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (backend, done) = (Arc::clone(backend), Arc::clone(&done));
            tokio::spawn(async move {
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    let bytes = backend.read("now", 0, LEN).await.unwrap();
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mixture");
                    assert!(bytes[0] >= newest, "{} after {newest}", bytes[0]);
                    newest = bytes[0];
                    assert!(backend.exists("now").await.unwrap());
                    tokio::task::yield_now().await;
                }
                newest
            })
        })
        .collect();
    for version in 1..=100_u8 {
        backend.write("next", 0, &[version; LEN]).await.unwrap();
        if version % 3 == 0 {
            backend.seal("next").await.unwrap();
        }
        backend.rename("next", "now").await.unwrap();
        assert_eq!(backend.read("now", 0, 1).await.unwrap()[0], version);
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(backend.list("").await.unwrap(), ["now"]);
}
