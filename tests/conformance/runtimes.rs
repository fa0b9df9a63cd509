//! Runtimes: of one thread, of several, none at all, and one after the other.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{Kind, pattern, whole};
use storage::{DynBackend, Limits, ReadRequest, StorageBackend, StorageError, WriteRequest};
use tokio::runtime::{Builder, Runtime};

fn one() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn several() -> Runtime {
    Builder::new_multi_thread().worker_threads(3).enable_time().build().unwrap()
}

/// Polls once, outside of any runtime.
#[track_caller]
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("waits for a thread that cannot be there"),
    }
}

/// What was answered at once, or the error that a runtime is missing; never a panic.
#[track_caller]
fn check<T>(result: Result<T, StorageError>) -> Option<T> {
    match result {
        Ok(done) => Some(done),
        Err(StorageError::NoRuntime { .. }) => None,
        Err(other) => panic!("{other:?}"),
    }
}

/// Outside of a runtime, an operation is answered at once or says what is missing.
pub(crate) fn none_at_all(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    one().block_on(async {
        backend.write("f", 0, b"bytes").await.unwrap();
        backend.write("sealed", 0, b"bytes").await.unwrap();
        backend.seal("sealed").await.unwrap();
    });
    for path in ["f", "sealed"] {
        if let Some(bytes) = check(at_once(backend.read(path, 1, 3))) {
            assert_eq!(bytes, b"yte"[..]);
        }
        let _: Option<u64> = check(at_once(backend.len(path)));
        let _: Option<bool> = check(at_once(backend.exists(path)));
        let _: Option<()> = check(at_once(backend.sync(path)));
        let request = ReadRequest { path, offset: 0, length: 5 };
        for result in at_once(backend.read_many(&[request; 3])) {
            let _: Option<bytes::Bytes> = check(result);
        }
    }
    let listed = check(at_once(backend.list("")));
    assert!(listed.is_none_or(|paths| paths == ["f", "sealed"]));
    let mut expected = b"bytes".to_vec();
    if check(at_once(backend.write("f", 0, b"B"))).is_some() {
        expected[0] = b'B';
    }
    let data = bytes::Bytes::from_static(b"S");
    let request = WriteRequest { path: "f", offset: 4, data };
    if check(at_once(backend.write_many(&[request])).remove(0)).is_some() {
        expected[4] = b'S';
    }
    if check(at_once(backend.truncate("f", 5))).is_some() {
        expected.truncate(5);
    }
    // Paths are looked at first, runtime or not.
    assert!(matches!(at_once(backend.read("../f", 0, 1)), Err(StorageError::Path { .. })));
    several().block_on(async { assert_eq!(whole(backend, "f").await, expected) });
}

async fn one_file(backend: DynBackend, task: u64) {
    let backend = &backend;
    let (path, bytes) = (format!("{task}"), pattern(task, 70_000));
    backend.write(&path, 0, &bytes).await.unwrap();
    backend.sync(&path).await.unwrap();
    assert_eq!(whole(backend, &path).await, bytes);
    if task.is_multiple_of(2) {
        backend.seal(&path).await.unwrap();
    }
    assert_eq!(whole(backend, &path).await, bytes);
}

fn works(kind: Kind, runtime: &Runtime) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..8_u64)
            .map(|task| {
                let backend: DynBackend = Arc::clone(backend);
                tokio::spawn(one_file(backend, task))
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(backend.list("").await.unwrap().len(), 8);
    });
}

pub(crate) fn one_thread(kind: Kind) {
    works(kind, &one());
}

pub(crate) fn many_threads(kind: Kind) {
    works(kind, &several());
}

/// A backend outlives runtimes, also one that goes away amid operations.
pub(crate) fn one_after_the_other(kind: Kind) {
    type Begun<'a> = Pin<Box<dyn Future<Output = Result<u64, StorageError>> + Send + 'a>>;
    let subject = kind.make(Limits::default().max_concurrent_ops(2));
    let backend = subject.backend();
    for round in 0..5_u64 {
        several().block_on(backend.write("f", 0, &round.to_le_bytes())).unwrap();
        let runtime = one();
        let mut context = Context::from_waker(Waker::noop());
        let mut begun: Vec<Begun<'_>> =
            (0..10).map(|_| Box::pin(backend.len("f")) as Begun<'_>).collect();
        {
            let _inside = runtime.enter();
            begun.retain_mut(|future| future.as_mut().poll(&mut context).is_pending());
        }
        runtime.shutdown_background();
        // Begun on a runtime that is gone: an answer or the error, and no permit is kept.
        for mut future in begun.drain(..begun.len().min(2)) {
            for _ in 0..3 {
                if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
                    assert!(check(result).is_none_or(|len| len == 8));
                    break;
                }
            }
        }
        drop(begun);
        let read = several().block_on(async { backend.read("f", 0, 8).await.unwrap() });
        assert_eq!(read, round.to_le_bytes()[..]);
    }
}
