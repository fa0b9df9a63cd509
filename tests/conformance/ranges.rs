//! Bytes of one file: exact reads, writes, gaps, cuts.

use super::{Kind, Refusal, pattern, refused, whole};
use storage::{StorageBackend, StorageError};

/// Sizes at and around what media count in: words, pages of the machine, stripes and huge pages.
const SIZES: [usize; 17] = [
    1, 7, 8, 511, 4095, 4096, 4097, 8191, 8192, 12_289, 65_535, 65_536, 65_537, 131_072, 262_145,
    1_048_576, 2_097_153,
];

pub(crate) async fn exact_reads(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let bytes = pattern(1, 70_000);
    backend.write("f", 0, &bytes).await.unwrap();
    for (offset, length) in [
        (0, 0),
        (0, 1),
        (0, 70_000),
        (4095, 2),
        (4096, 4096),
        (65_535, 2),
        (69_999, 1),
        (70_000, 0),
    ] {
        let read = backend.read("f", offset as u64, length).await.unwrap();
        assert_eq!(read, bytes[offset..offset + length], "{length} bytes at {offset}");
    }
}

/// The error says what was asked and how long the file is.
pub(crate) async fn reads_past_the_end(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    for len in [0, 1, 4096, 4097, 65_536] {
        let path = format!("f{len}");
        backend.write(&path, 0, &pattern(2, len)).await.unwrap();
        let end = len as u64;
        for (offset, length) in
            [(end, 1), (0, len + 1), (end + 1, 0), (end + 1, 1), (end / 2, len + 1), (1 << 40, 9)]
        {
            match backend.read(&path, offset, length).await {
                Err(StorageError::PastEnd { path: said, offset: at, length: asked, file_len }) => {
                    assert_eq!((said, at, asked, file_len), (path.clone(), offset, length, end));
                }
                other => panic!("{length} bytes at {offset} of {len}: {other:?}"),
            }
        }
    }
}

pub(crate) async fn gaps_are_zeros(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    for (number, gap) in [1, 100, 4095, 4096, 5000, 65_536, 200_000].into_iter().enumerate() {
        let path = format!("gap{number}");
        backend.write(&path, gap as u64, b"end").await.unwrap();
        let bytes = whole(backend, &path).await;
        assert_eq!(bytes.len(), gap + 3);
        assert!(bytes[..gap].iter().all(|&byte| byte == 0), "a gap of {gap}");
        assert_eq!(&bytes[gap..], b"end");
        // A second gap, behind bytes of a page that is begun.
        backend.write(&path, 2 * gap as u64 + 3, b"!").await.unwrap();
        let bytes = whole(backend, &path).await;
        assert_eq!(&bytes[gap..gap + 3], b"end");
        assert!(bytes[gap + 3..2 * gap + 3].iter().all(|&byte| byte == 0), "behind {gap}");
        assert_eq!(bytes[2 * gap + 3..], b"!"[..]);
    }
}

/// Makes the file, and extends nothing.
pub(crate) async fn writing_nothing(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("new", 1000, b"").await.unwrap();
    assert!(backend.exists("new").await.unwrap());
    assert_eq!(backend.len("new").await.unwrap(), 0);
    backend.write("old", 0, b"abc").await.unwrap();
    for offset in [0, 1, 3, 4, 100_000] {
        backend.write("old", offset, b"").await.unwrap();
        assert_eq!(whole(backend, "old").await, b"abc"[..], "nothing at {offset}");
    }
}

pub(crate) async fn overwriting_across_pages(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let mut expected = pattern(3, 200_000);
    backend.write("f", 0, &expected).await.unwrap();
    let ranges = [(4090, 12), (0, 1), (65_530, 12), (8192, 4096), (1, 131_072), (199_990, 30)];
    for (seed, (offset, len)) in (10..).zip(ranges) {
        let data = pattern(seed, len);
        backend.write("f", offset as u64, &data).await.unwrap();
        expected.resize(expected.len().max(offset + len), 0);
        expected[offset..offset + len].copy_from_slice(&data);
        assert_eq!(whole(backend, "f").await, expected, "{len} bytes at {offset}");
    }
}

pub(crate) async fn truncating(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let bytes = pattern(4, 10_000);
    backend.write("f", 0, &bytes).await.unwrap();
    for len in [10_000, 9_999, 8192, 4097, 4096, 4095, 1, 0] {
        backend.truncate("f", len as u64).await.unwrap();
        assert_eq!(backend.len("f").await.unwrap(), len as u64);
        assert_eq!(whole(backend, "f").await, bytes[..len]);
        let past_end = Refusal::PastEnd { file_len: len as u64 };
        refused(backend.read("f", 0, len + 1).await, past_end);
    }
    backend.truncate("f", 9000).await.unwrap();
    assert_eq!(whole(backend, "f").await, vec![0; 9000]);
    refused(backend.truncate("none", 0).await, Refusal::NotFound);
    assert!(!backend.exists("none").await.unwrap());
}

/// What was cut off does not come back when the file grows again, by either way of growing.
pub(crate) async fn truncating_and_growing_again(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    for cut in [0, 1, 100, 4095, 4096, 4097, 65_537] {
        for by_write in [false, true] {
            let path = format!("{cut}-{by_write}");
            backend.write(&path, 0, &[7; 80_000]).await.unwrap();
            backend.truncate(&path, cut as u64).await.unwrap();
            if by_write {
                backend.write(&path, 79_999, &[0]).await.unwrap();
            } else {
                backend.truncate(&path, 80_000).await.unwrap();
            }
            let bytes = whole(backend, &path).await;
            assert_eq!(bytes.len(), 80_000);
            assert!(bytes[..cut].iter().all(|&byte| byte == 7));
            assert!(bytes[cut..].iter().all(|&byte| byte == 0), "cut at {cut}, {by_write}");
        }
    }
}

pub(crate) async fn large_files(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let bytes = pattern(5, 9_000_001);
    backend.write("f", 0, &bytes).await.unwrap();
    assert_eq!(whole(backend, "f").await, bytes);
    backend.sync("f").await.unwrap();
    assert_eq!(whole(backend, "f").await, bytes);
    assert_eq!(backend.read("f", 4_194_303, 2).await.unwrap(), bytes[4_194_303..4_194_305]);
}

pub(crate) async fn many_sizes(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    for size in SIZES {
        let (path, bytes) = (format!("{size}"), pattern(size as u64, size));
        backend.write(&path, 0, &bytes).await.unwrap();
        assert_eq!(backend.len(&path).await.unwrap(), size as u64);
        assert_eq!(whole(backend, &path).await, bytes);
        // Appended to, as a log is.
        backend.write(&path, size as u64, &bytes).await.unwrap();
        assert_eq!(whole(backend, &path).await, [&bytes[..], &bytes[..]].concat());
    }
}

/// What a write completed is seen by all who ask afterwards, whatever they asked before.
pub(crate) async fn reads_after_writes(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    for round in 0..200_u64 {
        backend.write("f", (round % 3) * 4094, &round.to_le_bytes()).await.unwrap();
        let reads = (0..4).map(|_| backend.read("f", (round % 3) * 4094, 8));
        for read in futures_util::future::join_all(reads).await {
            assert_eq!(read.unwrap(), round.to_le_bytes()[..]);
        }
    }
}
