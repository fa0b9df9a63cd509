//! Giving up, on media where that is harder to get right, or sure to meet a thread at work: changes
//! that take their time, compression over files and over such changes.
//!
//! Purpose and method: see `given_up.rs` and `foreign.rs`.

use storage::{
    BufferPool, Compressed, Limits, MmapBackend, PosixBackend, StorageBackend, StorageError,
    backend::{Breaker, Layered, Retry},
    config::{BreakerConfig, RetryConfig},
};

use crate::{Holes, Kind, Sealed, Subject, given_up::given_up_at, plain_tests, slow::slow, themes};

fn packed<B: StorageBackend<Error = StorageError> + 'static>(backend: B) -> Compressed<B> {
    Compressed::new(backend, 16 << 10, BufferPool::new(1 << 30)).unwrap()
}

const fn copied(make: fn(Limits) -> Subject) -> Kind {
    Kind { make, sealed: Sealed::Copied, holes: Holes::Free }
}

macro_rules! giving_up {
    ($name:ident, $make:expr) => {
        mod $name {
            use super::*;
            const KIND: Kind = copied($make);
            themes! { (KIND, "multi_thread")
                given_up: a_write_that_was_ok_stays, each_change_before_each_other,
                    random_changes;
            }
            plain_tests! { (KIND)
                foreign: across_runtimes, nobody_waits_for_an_idle_runtime;
            }
        }
    };
}

giving_up!(directly, |limits| Subject::passing(slow(limits)));
giving_up!(compressed, |limits| Subject::passing(packed(slow(limits))));

giving_up!(compressed_in_mapped_files, |limits| {
    let folder = tempfile::tempdir().unwrap();
    let backend = MmapBackend::open(folder.path().join("root"), limits).unwrap();
    Subject::lasting(packed(backend), move || unreachable!("{folder:?} is not opened again"))
});

giving_up!(compressed_in_positioned_files, |limits| {
    let folder = tempfile::tempdir().unwrap();
    let backend = PosixBackend::open(folder.path().join("root"), limits).unwrap();
    Subject::lasting(packed(backend), move || unreachable!("{folder:?} is not opened again"))
});

giving_up!(retried, |limits| {
    let retry = Retry::new(RetryConfig::default()).unwrap();
    Subject::passing(Layered::new(retry, slow(limits)))
});

giving_up!(behind_a_breaker, |limits| {
    let breaker = Breaker::new(BreakerConfig::default()).unwrap();
    Subject::passing(Layered::new(breaker, slow(limits)))
});

/// The last handle is dropped with a change under way, and another one made over the same backend.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_comes_before_another_who_compresses() {
    const LEN: usize = 50_000;
    let below = slow(Limits::default());
    packed(below.clone()).write("f", 0, &[0; LEN]).await.unwrap();
    for round in 0..60_usize {
        let value = u8::try_from(1 + round).unwrap();
        let first = packed(below.clone());
        given_up_at(first.write("f", 10, &[100 + value; LEN]), 1 + round % 3).await;
        drop(first);
        let second = packed(below.clone());
        second.write("f", 0, &[value; LEN]).await.unwrap();
        drop(second);
        for look in 0..3 {
            let third = packed(below.clone());
            let bytes = third.read("f", 0, LEN).await.unwrap();
            assert!(bytes == [value; LEN][..], "round {round}, look {look}: {}", bytes[0]);
            third.sync("f").await.unwrap();
        }
    }
}
