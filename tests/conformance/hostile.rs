//! Numbers that nobody means well with: an error each, nothing allocated, nothing changed.

use super::{Holes, Kind, Refusal, pattern, refused, whole};
use storage::{Limits, StorageBackend, StorageError};

const HIGH_OFFSETS: [u64; 6] =
    [u64::MAX, u64::MAX - 1, i64::MAX as u64, i64::MAX as u64 - 1, 1 << 63, (1 << 63) + 1];

pub(crate) async fn reads(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("f", 0, b"12345").await.unwrap();
    backend.write("sealed", 0, b"12345").await.unwrap();
    backend.seal("sealed").await.unwrap();
    // None of these could be allocated.
    let lengths = [usize::MAX, usize::MAX - 4095, isize::MAX.unsigned_abs(), 1 << 46, 1 << 63];
    for path in ["f", "sealed"] {
        for offset in HIGH_OFFSETS.into_iter().chain([0, 1, 5, 6]) {
            for length in lengths {
                let read = backend.read(path, offset, length).await;
                refused(read, Refusal::PastEnd { file_len: 5 });
            }
        }
        for offset in HIGH_OFFSETS {
            for length in [0, 1, 4096] {
                let read = backend.read(path, offset, length).await;
                refused(read, Refusal::PastEnd { file_len: 5 });
            }
        }
    }
    refused(backend.read("none", u64::MAX, usize::MAX).await, Refusal::NotFound);
}

pub(crate) async fn writes(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let bytes = pattern(50, 5000);
    backend.write("f", 0, &bytes).await.unwrap();
    for offset in HIGH_OFFSETS {
        for data in [&[1; 2][..], &[1; 4096], &[1; 70_000]] {
            refused(backend.write("f", offset, data).await, Refusal::NoRoom);
            assert_eq!(backend.read("f", 0, 5000).await.unwrap(), bytes);
        }
        refused(backend.write("folder/new", offset, b"no").await, Refusal::NoRoom);
    }
    // Whether the file was made may be either way, but it must be one of the two.
    if backend.exists("folder/new").await.unwrap() {
        backend.delete("folder/new").await.unwrap();
    }
    backend.write("folder", 0, b"free").await.unwrap();
    backend.write("f", 5000, b"goes on").await.unwrap();
    assert_eq!(backend.read("f", 5000, 7).await.unwrap(), b"goes on"[..]);
}

pub(crate) async fn truncating(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let bytes = pattern(51, 5000);
    backend.write("f", 0, &bytes).await.unwrap();
    for len in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) + 1] {
        refused(backend.truncate("f", len).await, Refusal::NoRoom);
        assert_eq!(whole(backend, "f").await, bytes);
    }
}

pub(crate) async fn nothing_written_at_no_place(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    for (number, offset) in HIGH_OFFSETS.into_iter().enumerate() {
        let path = format!("{number}");
        backend.write(&path, offset, b"").await.unwrap();
        assert_eq!(backend.len(&path).await.unwrap(), 0, "nothing at {offset}");
    }
}

/// 1 KiB at 5 GiB: past what 32 bits count.
pub(crate) async fn holes_of_five_gib(kind: Kind) {
    const FAR: u64 = 5 << 30;
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let data = pattern(52, 1024);
    backend.write("f", 0, b"begin").await.unwrap();
    let written = backend.write("f", FAR, &data).await;
    if kind.holes == Holes::Full {
        refused(written, Refusal::NoRoom);
        assert_eq!(whole(backend, "f").await, b"begin"[..]);
        return;
    }
    written.unwrap();
    assert_eq!(backend.len("f").await.unwrap(), FAR + 1024);
    assert_eq!(backend.read("f", FAR, 1024).await.unwrap(), data);
    assert_eq!(backend.read("f", FAR - (1 << 20), 1 << 20).await.unwrap(), vec![0; 1 << 20]);
    assert_eq!(backend.read("f", 1 << 32, 4096).await.unwrap(), vec![0; 4096]);
    assert_eq!(backend.read("f", FAR & 0xFFFF_FFFF, 1024).await.unwrap(), vec![0; 1024]);
    let across = backend.read("f", FAR - 10, 20).await.unwrap();
    assert_eq!(across, [&[0; 10][..], &data[..10]].concat());
    let past_end = Refusal::PastEnd { file_len: FAR + 1024 };
    refused(backend.read("f", FAR + 1000, 25).await, past_end);
    // A file this size is cut and sealed like any other.
    backend.truncate("f", FAR + 1).await.unwrap();
    assert_eq!(backend.read("f", FAR, 1).await.unwrap(), data[..1]);
    backend.truncate("f", 6 << 30).await.unwrap();
    backend.write("f", (6 << 30) - 1, b"!").await.unwrap();
    assert_eq!(backend.read("f", (6 << 30) - 2, 2).await.unwrap(), b"\0!"[..]);
    assert_eq!(backend.read("f", 0, 6).await.unwrap(), b"begin\0"[..]);
    backend.delete("f").await.unwrap();
}

/// A range that is there, but larger than all buffers may be together.
pub(crate) async fn more_than_all_buffers(kind: Kind) {
    let subject = kind.make(Limits::default().buffer_bytes(1 << 20));
    let backend = subject.backend();
    let whole = vec![3; 256 << 10];
    for part in 0..16 {
        backend.write("f", part * (256 << 10), &whole).await.unwrap();
    }
    for _ in 0..5 {
        match backend.read("f", 0, 4 << 20).await {
            // A medium that needs no buffer has given a view.
            Ok(bytes) => assert!(bytes.len() == 4 << 20 && bytes.iter().all(|&byte| byte == 3)),
            Err(StorageError::BuffersInUse { .. } | StorageError::BudgetExceeded { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(backend.read("f", 5, 256 << 10).await.unwrap(), whole);
    }
    match backend.write("g", 0, &vec![1; 4 << 20]).await {
        Ok(()) => assert_eq!(backend.len("g").await.unwrap(), 4 << 20),
        Err(StorageError::BuffersInUse { .. } | StorageError::BudgetExceeded { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}
