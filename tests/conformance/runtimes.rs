//! Runtimes: of one thread, of several, none at all, and one after the other.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
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

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls on this thread until it is done: the simplest executor there is.
fn by_hand<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
        thread::park();
    }
}

/// Outside of any runtime, every operation works.
pub(crate) fn none_at_all(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    by_hand(async {
        backend.write("f", 0, b"bytes").await.unwrap();
        backend.write("sealed", 0, b"bytes").await.unwrap();
        backend.seal("sealed").await.unwrap();
        for path in ["f", "sealed"] {
            assert_eq!(backend.read(path, 1, 3).await.unwrap(), b"yte"[..]);
            assert_eq!(backend.len(path).await.unwrap(), 5);
            assert!(backend.exists(path).await.unwrap());
            backend.sync(path).await.unwrap();
            let request = ReadRequest { path, offset: 0, length: 5 };
            for read in backend.read_many(&[request; 3]).await {
                assert_eq!(read.unwrap(), b"bytes"[..]);
            }
        }
        assert_eq!(backend.list("").await.unwrap(), ["f", "sealed"]);
        let data = bytes::Bytes::from_static(b"S");
        let request = WriteRequest { path: "f", offset: 4, data };
        backend.write_many(&[request]).await.remove(0).unwrap();
        backend.truncate("f", 7).await.unwrap();
        backend.rename("f", "g").await.unwrap();
        let path = backend.read("../g", 0, 1).await;
        assert!(matches!(path, Err(StorageError::Path { .. })));
    });
    several().block_on(async { assert_eq!(whole(backend, "g").await, b"byteS\0\0"[..]) });
    by_hand(async { backend.delete("g").await.unwrap() });
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
        // Begun on a runtime that is gone: it is done all the same.
        for future in begun.drain(..begun.len().min(2)) {
            assert_eq!(by_hand(future).unwrap(), 8);
        }
        drop(begun);
        let read = several().block_on(async { backend.read("f", 0, 8).await.unwrap() });
        assert_eq!(read, round.to_le_bytes()[..]);
    }
}
