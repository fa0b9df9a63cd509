//! Sealed files: nothing changes them, and where the medium can, nobody copies them.

use super::{Kind, Refusal, Sealed, pattern, refused, whole};
use storage::StorageBackend;

pub(crate) async fn nothing_changes_it(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let bytes = pattern(20, 10_001);
    backend.write("f", 0, &bytes).await.unwrap();
    backend.seal("f").await.unwrap();
    for (offset, data) in [(0, &b"x"[..]), (0, b""), (10_001, b"x"), (20_000, b"x"), (3, b"")] {
        refused(backend.write("f", offset, data).await, Refusal::Sealed);
    }
    for len in [0, 5, 10_001, 20_000] {
        refused(backend.truncate("f", len).await, Refusal::Sealed);
    }
    assert_eq!(whole(backend, "f").await, bytes);
    refused(backend.read("f", 10_000, 2).await, Refusal::PastEnd { file_len: 10_001 });
    backend.sync("f").await.unwrap();
    assert!(backend.exists("f").await.unwrap());
    assert_eq!(backend.len("f").await.unwrap(), 10_001);
}

pub(crate) async fn twice(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("f", 0, b"bytes").await.unwrap();
    for _ in 0..3 {
        backend.seal("f").await.unwrap();
        assert_eq!(whole(backend, "f").await, b"bytes"[..]);
    }
    let at_once = futures_util::future::join_all((0..8).map(|_| backend.seal("f"))).await;
    assert!(at_once.iter().all(Result::is_ok), "{at_once:?}");
    backend.write("g", 0, b"bytes").await.unwrap();
    let at_once = futures_util::future::join_all((0..8).map(|_| backend.seal("g"))).await;
    assert!(at_once.iter().all(Result::is_ok), "{at_once:?}");
    refused(backend.write("g", 0, b"x").await, Refusal::Sealed);
}

/// The seal goes with the file and not with the name.
pub(crate) async fn deleting_and_renaming(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("a", 0, b"sealed").await.unwrap();
    backend.seal("a").await.unwrap();
    backend.rename("a", "folder/b").await.unwrap();
    refused(backend.write("folder/b", 0, b"x").await, Refusal::Sealed);
    assert_eq!(whole(backend, "folder/b").await, b"sealed"[..]);
    backend.write("a", 0, b"a new one").await.unwrap();
    backend.truncate("a", 5).await.unwrap();
    assert_eq!(whole(backend, "a").await, b"a new"[..]);
    backend.delete("folder/b").await.unwrap();
    assert!(!backend.exists("folder/b").await.unwrap());
    backend.write("folder/b", 2, b"new").await.unwrap();
    assert_eq!(whole(backend, "folder/b").await, b"\0\0new"[..]);
}

pub(crate) async fn replaced_by_a_rename(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("old", 0, b"sealed and old").await.unwrap();
    backend.seal("old").await.unwrap();
    backend.write("new", 0, b"new").await.unwrap();
    backend.rename("new", "old").await.unwrap();
    assert_eq!(whole(backend, "old").await, b"new"[..]);
    backend.write("old", 3, b" grows").await.unwrap();
    assert_eq!(whole(backend, "old").await, b"new grows"[..]);
    // And a sealed one over one that is not.
    backend.write("other", 0, b"sealed").await.unwrap();
    backend.seal("other").await.unwrap();
    backend.rename("other", "old").await.unwrap();
    refused(backend.write("old", 0, b"x").await, Refusal::Sealed);
    assert_eq!(whole(backend, "old").await, b"sealed"[..]);
}

/// Two reads of one range give the same memory, and a part lies where it lies in the whole.
pub(crate) async fn views_without_a_copy(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let bytes = pattern(21, 200_000);
    backend.write("f", 0, &bytes).await.unwrap();
    let before = backend.read("f", 0, 200_000).await.unwrap();
    backend.seal("f").await.unwrap();
    let one = backend.read("f", 0, 200_000).await.unwrap();
    let two = backend.read("f", 0, 200_000).await.unwrap();
    let part = backend.read("f", 70_001, 4099).await.unwrap();
    assert_eq!([&before, &one, &two], [&bytes[..]; 3]);
    assert_eq!(part, bytes[70_001..74_100]);
    if kind.sealed == Sealed::Viewed {
        assert_eq!(one.as_ptr(), two.as_ptr());
        assert_eq!(part.as_ptr().addr(), one.as_ptr().addr() + 70_001);
    }
}

pub(crate) async fn surviving_a_reopen(kind: Kind) {
    let subject = kind.with_defaults();
    let bytes = pattern(22, 65_537);
    subject.backend().write("a/f", 0, &bytes).await.unwrap();
    subject.backend().seal("a/f").await.unwrap();
    subject.backend().write("moved", 0, &bytes).await.unwrap();
    subject.backend().seal("moved").await.unwrap();
    subject.backend().rename("moved", "g").await.unwrap();
    subject.backend().write("open", 0, &bytes).await.unwrap();
    let Some(subject) = subject.reopen() else { return };
    let backend = subject.backend();
    for path in ["a/f", "g"] {
        refused(backend.write(path, 0, b"x").await, Refusal::Sealed);
        refused(backend.write(path, 65_537, b"x").await, Refusal::Sealed);
        refused(backend.truncate(path, 1).await, Refusal::Sealed);
        assert_eq!(whole(backend, path).await, bytes);
        backend.seal(path).await.unwrap();
    }
    backend.write("open", 0, b"goes on").await.unwrap();
    backend.delete("a/f").await.unwrap();
    backend.rename("open", "g").await.unwrap();
    assert_eq!(backend.read("g", 0, 7).await.unwrap(), b"goes on"[..]);
    let subject = subject.reopen().unwrap();
    assert_eq!(subject.backend().list("").await.unwrap(), ["g"]);
    subject.backend().truncate("g", 4).await.unwrap();
    assert_eq!(whole(subject.backend(), "g").await, b"goes"[..]);
}

pub(crate) async fn an_empty_file(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("e", 0, b"").await.unwrap();
    backend.seal("e").await.unwrap();
    assert_eq!(backend.read("e", 0, 0).await.unwrap(), b""[..]);
    refused(backend.read("e", 0, 1).await, Refusal::PastEnd { file_len: 0 });
    refused(backend.write("e", 0, b"").await, Refusal::Sealed);
    refused(backend.truncate("e", 0).await, Refusal::Sealed);
    let Some(subject) = subject.reopen() else { return };
    refused(subject.backend().write("e", 0, b"x").await, Refusal::Sealed);
    subject.backend().delete("e").await.unwrap();
}
