//! Operations that were begun on a runtime that goes away, or does nothing more, or on none at all.
//!
//! Purpose: what such an operation still does comes before what begins later, and nobody has to wait
//! for its runtime. A hang is what the latter would show as, hence the generous time limit; nothing
//! else is timed.

use std::{
    pin::Pin,
    sync::mpsc,
    task::{Context, Waker},
    time::Duration,
};

use tokio::runtime::{Builder, Runtime};

use super::{Kind, whole};
use storage::{Limits, StorageBackend, StorageError};

fn one() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

type Begun<'a> = Pin<Box<dyn Future<Output = Result<(), StorageError>> + Send + 'a>>;

/// Polls once, inside of a runtime or outside of any. `None` where that was all.
fn begin<'a>(
    runtime: Option<&Runtime>,
    future: impl Future<Output = Result<(), StorageError>> + Send + 'a,
) -> Option<Begun<'a>> {
    let mut future: Begun<'a> = Box::pin(future);
    let _inside = runtime.map(Runtime::enter);
    let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    polled.is_pending().then_some(future)
}

/// Where the runtime of an operation that is given up ends.
#[derive(Clone, Copy, Debug)]
enum Ended {
    Never,
    BeforeTheDrop,
    AfterTheDrop,
}

/// What was begun on one runtime, or on none, is given up; another runtime goes on.
pub(crate) fn across_runtimes(kind: Kind) {
    const LEN: usize = 70_000;
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let other = one();
    let mut value = 0_u8;
    let cases = [Ended::Never, Ended::BeforeTheDrop, Ended::AfterTheDrop];
    for case in cases.into_iter().cycle().take(60) {
        for inside in [true, false] {
            value = value % 100 + 1;
            let runtime = one();
            let x = [100 + value; LEN];
            let within = inside.then_some(&runtime);
            let mut begun: Vec<_> =
                (0..3).filter_map(|_| begin(within, backend.write("f", 0, &x))).collect();
            match case {
                Ended::Never => begun.clear(),
                Ended::BeforeTheDrop => {
                    runtime.shutdown_background();
                    begun.clear();
                }
                Ended::AfterTheDrop => {
                    begun.clear();
                    runtime.shutdown_background();
                }
            }
            other.block_on(async {
                backend.write("f", 0, &[value; LEN]).await.unwrap();
                for look in 0..3 {
                    let bytes = whole(backend, "f").await;
                    let is_new = bytes == [value; LEN][..];
                    assert!(is_new, "{case:?}, inside: {inside}, look {look}: {}", bytes[0]);
                    backend.sync("f").await.unwrap();
                }
            });
        }
    }
}

/// A runtime begins operations and does nothing more; its threads for blocking calls are taken, too.
/// Others do not wait for it.
pub(crate) fn nobody_waits_for_an_idle_runtime(kind: Kind) {
    for max_concurrent_ops in [1, 64] {
        let subject = kind.make(Limits::default().max_concurrent_ops(max_concurrent_ops));
        let backend = subject.backend();
        let other = one();
        other.block_on(backend.write("f", 0, &[1; 9000])).unwrap();
        let idle = Builder::new_current_thread().enable_time().max_blocking_threads(1).build();
        let idle = idle.unwrap();
        let (release, taken) = mpsc::channel::<()>();
        idle.spawn_blocking(move || {
            taken.recv().unwrap_err();
        });
        let mut begun: Vec<Begun<'_>> = Vec::new();
        for _ in 0..3 {
            begun.extend(begin(Some(&idle), async { backend.read("f", 0, 9000).await.map(drop) }));
            begun.extend(begin(Some(&idle), backend.write("f", 0, &[2; 9000])));
            begun.extend(begin(Some(&idle), async { backend.len("f").await.map(drop) }));
            begun.extend(begin(Some(&idle), backend.sync("f")));
            begun.extend(begin(Some(&idle), backend.truncate("f", 9000)));
            begun.extend(begin(Some(&idle), backend.write("g", 0, &[2; 100])));
            begun.extend(begin(Some(&idle), backend.rename("g", "h")));
        }
        other.block_on(async {
            let limit = Duration::from_secs(20);
            let all = async {
                backend.write("f", 0, &[3; 9000]).await.unwrap();
                let bytes = backend.read("f", 0, 9000).await.unwrap();
                assert!(bytes.iter().all(|byte| *byte == bytes[0]));
                backend.sync("f").await.unwrap();
                backend.list("").await.unwrap();
                backend.write("g", 0, &[3; 9]).await.unwrap();
                backend.delete("f").await.unwrap();
            };
            tokio::time::timeout(limit, all).await.expect("waits for who does not poll");
        });
        drop(begun);
        drop(release);
    }
}
