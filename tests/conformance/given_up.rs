//! Operations that are given up: what begins later comes later, and what was `Ok` stays.
//!
//! Purpose: any `timeout` or `select!` gives operations up, while a thread may still be at them.
//! Method: each operation is given up at each point where it waits, beside tasks that keep threads
//! busy; what other ones show then must be what one of the worlds has in which it either happened
//! before all of them, or not at all ([`Worlds`]).

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use tokio::task::JoinSet;

use super::{
    Kind, pattern, whole,
    worlds::{Change, Worlds},
};
use storage::{DynBackend, Limits, StorageBackend};

/// No operation waits more often than this where nothing holds it up for long.
const PENDING_MAX: usize = 6;

/// Polls until it had to wait for the `count`th time, and drops it then. What it gave before.
pub(crate) async fn given_up_at<T>(future: impl Future<Output = T>, count: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut waited = 0;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => {
            waited += 1;
            if waited == count { Poll::Ready(None) } else { Poll::Pending }
        }
    })
    .await
}

/// Tasks that keep the threads of the runtime and of the backend busy, until they are dropped.
pub(crate) struct Busy {
    stopped: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Busy {
    fn beside(backend: &DynBackend) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for number in 0..4_u64 {
            let (backend, stopped) = (Arc::clone(backend), Arc::clone(&stopped));
            tasks.spawn(async move {
                let path = format!("busy/{number}");
                while !stopped.load(Ordering::Relaxed) {
                    backend.write(&path, 0, &pattern(number, 30_000)).await.unwrap();
                    backend.read(&path, number * 100, 20_000).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
        }
        Self { stopped, tasks }
    }

    async fn end(mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        while let Some(done) = self.tasks.join_next().await {
            done.unwrap();
        }
    }
}

/// The plainest case: a write is given up, a later one is `Ok`, and stays.
pub(crate) async fn a_write_that_was_ok_stays(kind: Kind) {
    const LEN: usize = 9000;
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let busy = Busy::beside(backend);
    backend.write("f", 0, &[0; LEN]).await.unwrap();
    for round in 0..200_usize {
        let value = u8::try_from(1 + round % 100).unwrap();
        given_up_at(backend.write("f", 0, &[100 + value; LEN]), 1 + round % 3).await;
        backend.write("f", 0, &[value; LEN]).await.unwrap();
        for look in 0..3 {
            let bytes = whole(backend, "f").await;
            assert!(bytes == [value; LEN][..], "round {round}, look {look}: {}", bytes[0]);
            tokio::task::yield_now().await;
        }
    }
    busy.end().await;
}

/// Each kind of change is given up at each point, and followed by each kind.
pub(crate) async fn each_change_before_each_other(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let busy = Busy::beside(backend);
    let kinds = Change::one_of_each();
    for first in &kinds {
        for second in &kinds {
            for count in 1..=PENDING_MAX {
                let mut worlds = Worlds::begin(backend).await;
                let done = worlds.give_up(backend, first, count).await;
                worlds.make(backend, second).await;
                worlds.look(backend).await;
                tokio::task::yield_now().await;
                worlds.look(backend).await;
                if done {
                    break;
                }
            }
        }
    }
    busy.end().await;
}

/// Random changes, some of them given up, and looks at everything in between.
pub(crate) async fn random_changes(kind: Kind) {
    let seed = 77;
    let subject = kind.make(Limits::default().max_concurrent_ops(3));
    let backend = subject.backend();
    let busy = Busy::beside(backend);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..20 {
        let mut worlds = Worlds::begin(backend).await;
        for _ in 0..40 {
            let change = Change::random(&mut random);
            match random.u8(..3) {
                0 => worlds.make(backend, &change).await,
                _ => drop(worlds.give_up(backend, &change, random.usize(1..4)).await),
            }
            if worlds.are_many() || random.u8(..3) == 0 {
                worlds.look(backend).await;
            }
        }
    }
    busy.end().await;
}
