//! Many requests in one call: what each would have given alone, in order.

use bytes::Bytes;

use super::{Kind, Refusal, pattern, refusal, refused, whole};
use storage::{ReadRequest, StorageBackend, WriteRequest};

fn ask(path: &str, offset: u64, length: usize) -> ReadRequest<'_> {
    ReadRequest { path, offset, length }
}

fn put<'a>(path: &'a str, offset: u64, data: &[u8]) -> WriteRequest<'a> {
    WriteRequest { path, offset, data: Bytes::copy_from_slice(data) }
}

pub(crate) async fn in_order(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let bytes = pattern(40, 300_000);
    backend.write("a", 0, &bytes).await.unwrap();
    backend.write("b", 0, &bytes[7..]).await.unwrap();
    backend.seal("b").await.unwrap();
    let mut random = fastrand::Rng::with_seed(40);
    let requests: Vec<_> = (0..300)
        .map(|_| {
            let (offset, length) = (random.usize(..250_000), random.usize(..40_000));
            ask(if random.bool() { "a" } else { "b" }, offset as u64, length)
        })
        .collect();
    let results = backend.read_many(&requests).await;
    assert_eq!(results.len(), requests.len());
    for (request, result) in requests.iter().zip(results) {
        let start =
            usize::try_from(request.offset).unwrap() + if request.path == "a" { 0 } else { 7 };
        assert_eq!(result.unwrap(), bytes[start..start + request.length], "{request:?}");
    }
}

/// One that fails takes none of the others with it.
pub(crate) async fn good_and_bad(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("f", 0, b"0123456789").await.unwrap();
    backend.write("sealed", 0, b"s").await.unwrap();
    backend.seal("sealed").await.unwrap();
    let read = backend
        .read_many(&[
            ask("f", 0, 3),
            ask("none", 0, 1),
            ask("f", 9, 2),
            ask("../f", 0, 1),
            ask("f", u64::MAX, usize::MAX),
            ask("f", 3, 3),
            ask("f", 10, 0),
            ask("sealed", 0, 1),
        ])
        .await;
    let read: Vec<_> = read
        .iter()
        .map(|result| result.as_ref().map(|bytes| &bytes[..]).map_err(refusal))
        .collect();
    let past_end = Err(Refusal::PastEnd { file_len: 10 });
    let expected: [Result<&[u8], Refusal>; 8] = [
        Ok(b"012"),
        Err(Refusal::NotFound),
        past_end,
        Err(Refusal::Path),
        past_end,
        Ok(b"345"),
        Ok(b""),
        Ok(b"s"),
    ];
    assert_eq!(read, expected);

    let written = backend
        .write_many(&[
            put("f", 0, b"ab"),
            put("sealed", 0, b"x"),
            put("f/under", 0, b"x"),
            put("", 0, b"x"),
            put("f", 2, b"cd"),
            put("new/file", 0, b"made"),
            put("new", 0, b"x"),
            put("sealed", 1, b""),
            put("empty", 9, b""),
        ])
        .await;
    let written: Vec<_> = written.iter().map(|r| r.as_ref().copied().map_err(refusal)).collect();
    let expected = [
        Ok(()),
        Err(Refusal::Sealed),
        Err(Refusal::UnderFile),
        Err(Refusal::Path),
        Ok(()),
        Ok(()),
        Err(Refusal::IsFolder),
        Err(Refusal::Sealed),
        Ok(()),
    ];
    assert_eq!(written, expected);
    assert_eq!(backend.list("").await.unwrap(), ["empty", "f", "new/file", "sealed"]);
    assert_eq!(whole(backend, "f").await, b"abcd456789"[..]);
    assert_eq!(whole(backend, "new/file").await, b"made"[..]);
    assert_eq!(whole(backend, "sealed").await, b"s"[..]);
    assert_eq!(whole(backend, "empty").await, b""[..]);
}

/// Requests that follow one another without a gap may go as one; nobody can tell.
pub(crate) async fn neighbours(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let bytes = pattern(41, 100_000);
    let sizes = [1, 0, 4095, 4096, 0, 0, 30_000, 2, 61_806];
    let mut at = 0;
    let mut requests = Vec::new();
    for size in sizes {
        requests.push(put("f", 50 + at as u64, &bytes[at..at + size]));
        at += size;
    }
    assert_eq!(at, bytes.len());
    assert!(backend.write_many(&requests).await.iter().all(Result::is_ok));
    assert_eq!(backend.read("f", 50, 100_000).await.unwrap(), bytes);
    assert_eq!(backend.read("f", 0, 50).await.unwrap(), vec![0; 50]);
    assert_eq!(backend.len("f").await.unwrap(), 100_050);
    // A run that begins or ends with nothing, also behind the end of the file.
    let written = backend
        .write_many(&[put("g", 5, b""), put("g", 5, b"a"), put("g", 6, b""), put("h", 7, b"")])
        .await;
    assert!(written.iter().all(Result::is_ok));
    assert_eq!(whole(backend, "g").await, b"\0\0\0\0\0a"[..]);
    assert_eq!(backend.len("h").await.unwrap(), 0);
    // The last of the run does not fit into any file; the others are written.
    let high = i64::MAX as u64;
    let written = backend.write_many(&[put("i", 0, b"yes"), put("i", high, b"no")]).await;
    assert!(written[0].is_ok());
    refused(written.into_iter().nth(1).unwrap(), Refusal::NoRoom);
    assert_eq!(backend.read("i", 0, 3).await.unwrap(), b"yes"[..]);
}

/// The later one wins, as if they had been written one after the other.
pub(crate) async fn overlapping(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let mut random = fastrand::Rng::with_seed(42);
    for round in 0..20_u8 {
        let mut expected: Vec<u8> = Vec::new();
        let requests: Vec<_> = (0..50_u8)
            .map(|number| {
                let (offset, len) = (random.usize(..20_000), random.usize(..9_000));
                if len > 0 {
                    expected.resize(expected.len().max(offset + len), 0);
                    expected[offset..offset + len].fill(number ^ round);
                }
                put("f", offset as u64, &vec![number ^ round; len])
            })
            .collect();
        assert!(backend.write_many(&requests).await.iter().all(Result::is_ok));
        assert_eq!(whole(backend, "f").await, expected);
        backend.delete("f").await.unwrap();
    }
}

pub(crate) async fn no_requests(kind: Kind) {
    let subject = kind.with_defaults();
    assert!(subject.backend().read_many(&[]).await.is_empty());
    assert!(subject.backend().write_many(&[]).await.is_empty());
    assert!(subject.backend().list("").await.unwrap().is_empty());
}

/// Far more requests than operations may run at once, over many files.
pub(crate) async fn a_lot(kind: Kind) {
    let subject = kind.make(storage::Limits::default().max_concurrent_ops(3));
    let backend = subject.backend();
    let paths: Vec<String> = (0..40).map(|number| format!("d{}/{number}", number % 5)).collect();
    let data = pattern(43, 64 * 50);
    let requests: Vec<_> = (0..2000_usize)
        .map(|n| put(&paths[n % 40], (n / 40) as u64 * 64, &data[n / 40 * 64..][..64]))
        .collect();
    assert!(backend.write_many(&requests).await.iter().all(Result::is_ok));
    let requests: Vec<_> =
        (0..2000_usize).map(|n| ask(&paths[n % 40], (n / 40) as u64 * 64, 64)).collect();
    for (n, result) in backend.read_many(&requests).await.into_iter().enumerate() {
        assert_eq!(result.unwrap(), data[n / 40 * 64..][..64]);
    }
    assert_eq!(backend.list("").await.unwrap().len(), 40);
}
