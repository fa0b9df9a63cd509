//! Futures that are dropped before they are done.
//!
//! Method: futures are polled a random number of times and dropped. A hang is what a leaked permit
//! shows as, hence the generous time limits; nothing else is timed.

use std::{
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use super::{Kind, Refusal, pattern, refusal, whole};
use storage::{DynBackend, Limits, ReadRequest, StorageBackend, WriteRequest};

/// Polls up to `polls` times, then drops the future. Whether it was done.
fn abandon<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Some(done);
        }
        std::thread::yield_now();
    }
    None
}

/// Fails where the future hangs.
async fn ends<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(120);
    tokio::time::timeout(limit, future).await.expect("something that was dropped is still held")
}

/// Begins one operation of any kind and drops it.
fn abandon_any(backend: &DynBackend, random: &mut fastrand::Rng) {
    let polls = random.usize(..4);
    let data = [5; 9000];
    let bytes = bytes::Bytes::from_static(b"many");
    match random.u8(..11) {
        0 => drop(abandon(backend.read("f", 0, 9000), polls)),
        1 => drop(abandon(backend.write("f", 0, &data), polls)),
        2 => drop(abandon(backend.len("f"), polls)),
        3 => drop(abandon(backend.list(""), polls)),
        4 => drop(abandon(backend.sync("f"), polls)),
        5 => drop(abandon(backend.rename("g", "h"), polls)),
        6 => drop(abandon(backend.truncate("h", 5), polls)),
        7 => drop(abandon(backend.write("g", 0, &data), polls)),
        8 => drop(abandon(backend.delete("h"), polls)),
        9 => {
            let request = ReadRequest { path: "f", offset: 0, length: 100 };
            drop(abandon(backend.read_many(&[request; 20]), polls));
        }
        _ => {
            let request = WriteRequest { path: "m", offset: 0, data: bytes };
            drop(abandon(backend.write_many(&vec![request; 20]), polls));
        }
    }
}

/// Many more operations are dropped than may run at once; then as many as may run still do.
pub(crate) async fn leaves_no_permit_behind(kind: Kind) {
    let subject = kind.make(Limits::default().max_concurrent_ops(2));
    let backend = subject.backend();
    backend.write("f", 0, &[5; 9000]).await.unwrap();
    let mut random = fastrand::Rng::with_seed(60);
    for round in 0..400 {
        abandon_any(backend, &mut random);
        if round % 50 == 0 {
            assert_eq!(ends(backend.read("f", 0, 9000)).await.unwrap(), [5; 9000][..]);
        }
    }
    let lens = futures_util::future::join_all((0..10).map(|_| backend.len("f")));
    assert!(ends(lens).await.into_iter().all(|len| len.unwrap() == 9000));
    // What was dropped in the middle of making, moving and deleting left whole files or none.
    for path in ends(backend.list("")).await.unwrap() {
        let bytes = ends(whole(backend, &path)).await;
        let plain = bytes.iter().all(|&byte| byte == 5) && [0, 5, 9000].contains(&bytes.len());
        assert!(plain || *bytes == b"many"[..], "{path}: {} bytes", bytes.len());
        ends(backend.delete(&path)).await.unwrap();
    }
}

/// With one thread at most, an operation that waited for a thread comes after all that were
/// dropped, so what is seen then stays.
pub(crate) async fn is_whole_or_nothing(kind: Kind) {
    const LEN: usize = 100_000;
    let subject = kind.make(Limits::default().max_concurrent_ops(1));
    let backend = subject.backend();
    let mut random = fastrand::Rng::with_seed(61);
    backend.write("f", 0, &[0; LEN]).await.unwrap();
    let mut last = 0;
    for value in 1..=120_u8 {
        let polls = random.usize(..5);
        let done = abandon(backend.write("f", 0, &[value; LEN]), polls);
        assert_eq!(ends(backend.len("f")).await.unwrap(), LEN as u64);
        let bytes = ends(backend.read("f", 0, LEN)).await.unwrap();
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mixture");
        assert!(bytes[0] == last || bytes[0] == value);
        if done.is_some() || polls == 0 {
            assert_eq!(bytes[0], if polls == 0 { last } else { value });
        }
        last = bytes[0];
    }
    // Other operations have their whole effect or none.
    for round in 0..60 {
        let polls = random.usize(..4);
        ends(backend.write("from", 0, b"moves")).await.unwrap();
        drop(abandon(backend.rename("from", "to"), polls));
        let files = ends(backend.list("")).await.unwrap();
        assert!(files == ["f", "from"] || files == ["f", "to"], "{round}: {files:?}");
        drop(abandon(backend.seal(&files[1]), polls));
        match ends(backend.truncate(&files[1], 2)).await {
            Ok(()) => assert_eq!(ends(whole(backend, &files[1])).await, b"mo"[..]),
            Err(error) => {
                assert_eq!(refusal(&error), Refusal::Sealed);
                assert_eq!(ends(whole(backend, &files[1])).await, b"moves"[..]);
            }
        }
        drop(abandon(backend.delete(&files[1]), polls));
        if ends(backend.exists(&files[1])).await.unwrap() {
            ends(backend.delete(&files[1])).await.unwrap();
        }
    }
}

/// Buffers are few; if dropped futures kept theirs, the later operations would find none.
pub(crate) async fn leaves_no_buffer_behind(kind: Kind) {
    const LEN: usize = 64 << 10;
    let limits = Limits::default().max_concurrent_ops(1).buffer_bytes(8 * LEN as u64);
    let subject = kind.make(limits);
    let backend = subject.backend();
    let bytes = pattern(62, LEN);
    backend.write("f", 0, &bytes).await.unwrap();
    let mut random = fastrand::Rng::with_seed(62);
    for _ in 0..100 {
        drop(abandon(backend.read("f", 0, LEN), random.usize(..4)));
        drop(abandon(backend.write("f", 0, &bytes), random.usize(..4)));
        ends(backend.len("f")).await.unwrap();
    }
    for _ in 0..10 {
        let reads = futures_util::future::join_all((0..6).map(|_| backend.read("f", 0, LEN)));
        for read in ends(reads).await {
            assert_eq!(read.unwrap(), bytes);
        }
    }
}

/// Operations that wait for their turn are dropped; those behind them get theirs.
pub(crate) async fn in_the_queue(kind: Kind) {
    let subject = kind.make(Limits::default().max_concurrent_ops(1));
    let backend = subject.backend();
    backend.write("f", 0, b"bytes").await.unwrap();
    let mut random = fastrand::Rng::with_seed(63);
    for _ in 0..20 {
        let mut waiting: Vec<_> = (0..30).map(|_| Box::pin(backend.len("f"))).collect();
        let mut context = Context::from_waker(Waker::noop());
        waiting.retain_mut(|future| future.as_mut().poll(&mut context).is_pending());
        random.shuffle(&mut waiting);
        waiting.truncate(random.usize(..10));
        for len in ends(futures_util::future::join_all(waiting)).await {
            assert_eq!(len.unwrap(), 5);
        }
        assert_eq!(ends(backend.len("f")).await.unwrap(), 5);
    }
}
