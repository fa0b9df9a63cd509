//! Files as wholes: which there are, and what becomes of their folders.

use super::{Kind, Refusal, pattern, refused, whole};
use storage::{StorageBackend, StorageError};

pub(crate) async fn deleting(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("f", 0, b"first and long").await.unwrap();
    backend.delete("f").await.unwrap();
    assert!(!backend.exists("f").await.unwrap());
    refused(backend.delete("f").await, Refusal::NotFound);
    refused(backend.read("f", 0, 0).await, Refusal::NotFound);
    // A new file of that name has nothing of the old one.
    backend.write("f", 3, b"2nd").await.unwrap();
    assert_eq!(whole(backend, "f").await, b"\0\0\x002nd"[..]);
    // Deleting after a sync and with bytes not synced.
    backend.sync("f").await.unwrap();
    backend.write("f", 0, &[1; 10_000]).await.unwrap();
    backend.delete("f").await.unwrap();
    assert_eq!(backend.list("").await.unwrap(), Vec::<String>::new());
}

pub(crate) async fn existing(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("a/b", 0, b"x").await.unwrap();
    backend.write("c", 0, b"").await.unwrap();
    for (path, there) in
        [("a/b", true), ("c", true), ("a", false), ("a/b/c", false), ("c/d/e", false), ("d", false)]
    {
        assert_eq!(backend.exists(path).await.unwrap(), there, "{path}");
    }
}

/// Every operation that needs a file says so where there is none: no such name, a folder's name, a
/// name beneath a file.
pub(crate) async fn missing_files(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("folder/f", 0, b"x").await.unwrap();
    backend.write("file", 0, b"x").await.unwrap();
    for path in ["none", "folder", "folder/none", "none/none", "file/none", "file/none/none"] {
        refused(backend.read(path, 0, 1).await, Refusal::NotFound);
        refused(backend.len(path).await, Refusal::NotFound);
        refused(backend.delete(path).await, Refusal::NotFound);
        refused(backend.truncate(path, 5).await, Refusal::NotFound);
        refused(backend.sync(path).await, Refusal::NotFound);
        refused(backend.seal(path).await, Refusal::NotFound);
        refused(backend.rename(path, "to").await, Refusal::NotFound);
        match backend.read(path, 0, 1).await {
            Err(StorageError::NotFound { path: said, .. }) => assert_eq!(said, path),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(backend.list("").await.unwrap(), ["file", "folder/f"]);
    assert_eq!(whole(backend, "folder/f").await, b"x"[..]);
}

pub(crate) async fn listing(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    assert!(backend.list("").await.unwrap().is_empty());
    // By bytes, `-` and `.` come before `/`, which comes before digits and letters.
    let sorted = ["B", "a-c", "a.c", "a/b", "a/b0", "a/c/d", "a0", "b/a", "é", "\u{1F600}"];
    for path in sorted.iter().rev() {
        backend.write(path, 0, path.as_bytes()).await.unwrap();
    }
    assert_eq!(backend.list("").await.unwrap(), sorted);
}

/// A prefix is a string: neither a folder nor a path.
pub(crate) async fn listing_by_prefix(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    for path in ["ab", "abc/d", "abc/e/f", "abd", "b", "\u{e9}t\u{e9}"] {
        backend.write(path, 0, b"").await.unwrap();
    }
    let expected: [(&str, &[&str]); 12] = [
        ("a", &["ab", "abc/d", "abc/e/f", "abd"]),
        ("ab", &["ab", "abc/d", "abc/e/f", "abd"]),
        ("abc", &["abc/d", "abc/e/f"]),
        ("abc/", &["abc/d", "abc/e/f"]),
        ("abc/e", &["abc/e/f"]),
        ("abc/e/", &["abc/e/f"]),
        ("abc/e/f", &["abc/e/f"]),
        ("abc/e/f/", &[]),
        ("ab/", &[]),
        ("c", &[]),
        ("\u{e9}", &["\u{e9}t\u{e9}"]),
        ("none/none/", &[]),
    ];
    for (prefix, files) in expected {
        assert_eq!(backend.list(prefix).await.unwrap(), files, "{prefix:?}");
    }
    // No file's path begins with these, and that is all there is to say.
    let long = "x".repeat(10_000);
    for prefix in ["/", "//", ".", "..", "../", "./a", "a//", "\0", "ab\0", "abc/../a", &long] {
        assert!(backend.list(prefix).await.unwrap().is_empty(), "{prefix:?}");
    }
}

/// With its last file a folder goes, and its name is free.
pub(crate) async fn folders_vanish(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    for _ in 0..3 {
        backend.write("a/b/c", 0, b"deep").await.unwrap();
        backend.write("a/d", 0, b"").await.unwrap();
        backend.delete("a/b/c").await.unwrap();
        backend.write("a/b", 0, b"now a file").await.unwrap();
        backend.delete("a/b").await.unwrap();
        backend.delete("a/d").await.unwrap();
        backend.write("a", 0, b"now this").await.unwrap();
        assert_eq!(backend.list("").await.unwrap(), ["a"]);
        backend.delete("a").await.unwrap();
        backend.write("x/y/z", 0, b"moves out").await.unwrap();
        backend.rename("x/y/z", "moved").await.unwrap();
        backend.write("x", 0, b"").await.unwrap();
        backend.rename("moved", "x").await.unwrap();
        backend.delete("x").await.unwrap();
    }
    assert!(backend.list("").await.unwrap().is_empty());
}

pub(crate) async fn a_name_is_a_file_or_a_folder(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("a/b", 0, b"file").await.unwrap();
    for data in [&b"x"[..], b""] {
        refused(backend.write("a", 0, data).await, Refusal::IsFolder);
        refused(backend.write("a/b/c", 0, data).await, Refusal::UnderFile);
        refused(backend.write("a/b/c/d/e", 0, data).await, Refusal::UnderFile);
    }
    assert_eq!(backend.list("").await.unwrap(), ["a/b"]);
    assert_eq!(whole(backend, "a/b").await, b"file"[..]);
}

/// An operation that fails leaves no folder that would take a name.
pub(crate) async fn failures_leave_no_folders(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    refused(backend.rename("none", "a/b/c").await, Refusal::NotFound);
    refused(backend.truncate("b/c", 5).await, Refusal::NotFound);
    refused(backend.read("c/d", 0, 1).await, Refusal::NotFound);
    assert!(!backend.exists("d/e").await.unwrap());
    refused(backend.seal("e/f").await, Refusal::NotFound);
    backend.write("f", 0, b"").await.unwrap();
    refused(backend.rename("f", "f/g").await, Refusal::UnderFile);
    for path in ["a", "b", "c", "d", "e"] {
        backend.write(path, 0, b"free").await.unwrap();
    }
    assert_eq!(backend.list("").await.unwrap(), ["a", "b", "c", "d", "e", "f"]);
}

pub(crate) async fn empty_files(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("e", 0, b"").await.unwrap();
    assert_eq!(backend.read("e", 0, 0).await.unwrap(), b""[..]);
    refused(backend.read("e", 0, 1).await, Refusal::PastEnd { file_len: 0 });
    backend.sync("e").await.unwrap();
    backend.truncate("e", 0).await.unwrap();
    backend.rename("e", "f").await.unwrap();
    assert_eq!(backend.list("").await.unwrap(), ["f"]);
    backend.write("f", 0, b"content").await.unwrap();
    backend.truncate("f", 0).await.unwrap();
    assert_eq!(whole(backend, "f").await, b""[..]);
    backend.delete("f").await.unwrap();
    assert!(backend.list("").await.unwrap().is_empty());
}

/// More files than a process may have open at once by default.
pub(crate) async fn thousands_of_files(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let path = |number: u32| format!("folder{}/{number:05}", number % 7);
    for number in 0..3000_u32 {
        backend.write(&path(number), 0, &number.to_le_bytes()).await.unwrap();
        if number % 50 == 0 {
            backend.seal(&path(number)).await.unwrap();
        }
    }
    let all = backend.list("").await.unwrap();
    assert_eq!(all.len(), 3000);
    assert!(all.is_sorted());
    let mut kept = Vec::new();
    for number in 0..3000_u32 {
        kept.push(backend.read(&path(number), 0, 4).await.unwrap());
    }
    for (number, bytes) in (0..3000_u32).zip(&kept) {
        assert_eq!(*bytes, number.to_le_bytes()[..]);
        backend.delete(&path(number)).await.unwrap();
    }
    assert!(backend.list("").await.unwrap().is_empty());
    backend.write("folder0", 0, b"free").await.unwrap();
}

/// Where there is storage: the files are there again, with and without a sync.
pub(crate) async fn surviving_a_reopen(kind: Kind) {
    let subject = kind.with_defaults();
    let bytes = pattern(6, 70_001);
    subject.backend().write("a/synced", 0, &bytes).await.unwrap();
    subject.backend().sync("a/synced").await.unwrap();
    subject.backend().write("a/not", 5000, &bytes).await.unwrap();
    subject.backend().write("empty", 0, b"").await.unwrap();
    subject.backend().write("gone", 0, b"x").await.unwrap();
    subject.backend().delete("gone").await.unwrap();
    subject.backend().write("cut", 0, &bytes).await.unwrap();
    subject.backend().truncate("cut", 4097).await.unwrap();
    let Some(subject) = subject.reopen() else { return };
    let backend = subject.backend();
    assert_eq!(backend.list("").await.unwrap(), ["a/not", "a/synced", "cut", "empty"]);
    assert_eq!(whole(backend, "a/synced").await, bytes);
    assert_eq!(backend.len("a/not").await.unwrap(), 75_001);
    assert_eq!(backend.read("a/not", 5000, 70_001).await.unwrap(), bytes);
    assert_eq!(backend.read("a/not", 0, 5000).await.unwrap(), vec![0; 5000]);
    assert_eq!(whole(backend, "cut").await, bytes[..4097]);
    assert_eq!(whole(backend, "empty").await, b""[..]);
    backend.write("a/not", 0, b"and goes on").await.unwrap();
    assert_eq!(backend.read("a/not", 0, 11).await.unwrap(), b"and goes on"[..]);
}
