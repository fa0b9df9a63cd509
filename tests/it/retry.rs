//! Trying again: how often, after which delays, and what is never repeated.
//!
//! A scripted backend fails as told and notes when it was called; time is tokio's paused clock, so
//! delays are exact to its millisecond.

use std::{error::Error as _, io::ErrorKind, time::Duration};

use bytes::Bytes;
use storage::{
    Operation, ReadRequest, StorageBackend, StorageError, WriteRequest,
    backend::{Layered, Retry},
    config::RetryConfig,
};
use tokio::time::Instant;

use crate::scripted::{Scripted, Step, broken, io_error, transient};

const MS: Duration = Duration::from_millis(1);

fn retrying(config: RetryConfig, inner: &Scripted) -> Layered<Retry, Scripted> {
    Layered::new(Retry::new(config).unwrap(), inner.clone())
}

fn failing(operation: Operation, times: usize) -> Scripted {
    Scripted::new((0..times).map(|_| Step::Fail(transient(operation))))
}

#[tokio::test(start_paused = true)]
async fn a_transient_error_is_tried_again_until_it_passes() {
    let inner = failing(Operation::Read, 3);
    let backend = retrying(RetryConfig::default(), &inner);
    assert_eq!(backend.read("f", 4, 2).await.unwrap(), [7, 7].as_slice());
    assert_eq!(inner.count(), 4);
    assert!(inner.noted().iter().all(|call| (call.path.as_str(), call.offset) == ("f", 4)));
    let stats = backend.stats();
    assert_eq!((stats.retries, stats.open_files), (3, 3), "its own count beside the inner ones");
}

#[tokio::test(start_paused = true)]
async fn after_the_last_attempt_the_last_error_comes_as_it_is() {
    let inner = failing(Operation::Write, 3);
    inner.then(Step::Fail(io_error(Operation::Write, ErrorKind::TimedOut)));
    let backend = retrying(RetryConfig { attempts_max: 4, ..Default::default() }, &inner);
    let error = backend.write("f", 0, b"x").await.unwrap_err();
    assert_eq!(inner.count(), 4);
    assert_eq!(error.io_kind(), ErrorKind::TimedOut);
    let source = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(source.kind(), ErrorKind::TimedOut);
    assert!(matches!(error, StorageError::Io { operation: Operation::Write, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn one_attempt_means_none_again() {
    let inner = failing(Operation::Read, 1);
    let backend = retrying(RetryConfig { attempts_max: 1, ..Default::default() }, &inner);
    backend.read("f", 0, 1).await.unwrap_err();
    assert_eq!((inner.count(), backend.stats().retries), (1, 0));
}

/// Full jitter: between nothing and a bound that doubles up to `delay_max`, and the whole of that
/// range is used.
#[tokio::test(start_paused = true)]
async fn delays_lie_within_the_bounds_and_fill_them() {
    let config = RetryConfig {
        attempts_max: 7,
        delay_base: 100 * MS,
        delay_max: 500 * MS,
        total_max: Duration::from_secs(1000),
    };
    let bounds = [100, 200, 400, 500, 500, 500].map(|ms| ms * MS);
    let mut below_a_quarter = [false; 6];
    let mut above_three_quarters = [false; 6];
    let mut total = Duration::ZERO;
    for _ in 0..100 {
        let inner = failing(Operation::Read, 6);
        retrying(config, &inner).read("f", 0, 1).await.unwrap();
        let noted = inner.noted();
        for (attempt, pair) in noted.windows(2).enumerate() {
            let (delay, bound) = (pair[1].at - pair[0].at, bounds[attempt]);
            assert!(delay <= bound + MS, "{delay:?} before attempt {}", attempt + 2);
            below_a_quarter[attempt] |= delay < bound / 4;
            above_three_quarters[attempt] |= delay > bound * 3 / 4;
            total += delay;
        }
    }
    assert_eq!(below_a_quarter, [true; 6], "missing by chance once in 10^12 runs");
    assert_eq!(above_three_quarters, [true; 6]);
    let mean_of_sum = bounds.iter().sum::<Duration>() / 2;
    let mean = total / 100;
    assert!(mean > mean_of_sum / 2 && mean < mean_of_sum * 3 / 2, "{mean:?}, not {mean_of_sum:?}");
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_after_the_total_time() {
    let config = RetryConfig {
        attempts_max: 100,
        delay_base: 200 * MS,
        delay_max: 200 * MS,
        total_max: 1000 * MS,
    };
    for _ in 0..20 {
        let inner = failing(Operation::Read, 1000);
        let began = Instant::now();
        retrying(config, &inner).read("f", 0, 1).await.unwrap_err();
        let noted = inner.noted();
        assert!(noted.len() > 2, "{} attempts", noted.len());
        assert!(noted.iter().all(|call| call.at - began <= 1001 * MS), "{noted:?}");
        assert!(began.elapsed() <= 1001 * MS, "it gives up at once, not after another delay");
    }
}

/// The time of the attempts counts, and an attempt is not interrupted.
#[tokio::test(start_paused = true)]
async fn slow_attempts_use_the_total_time_up() {
    let config =
        RetryConfig { attempts_max: 100, delay_base: MS, delay_max: MS, total_max: 1000 * MS };
    let slow = || Step::FailAfter(600 * MS, transient(Operation::Read));
    let inner = Scripted::new([slow(), slow(), slow()]);
    let began = Instant::now();
    retrying(config, &inner).read("f", 0, 1).await.unwrap_err();
    assert_eq!(inner.count(), 2, "the third one would begin after 1.2 s");
    assert!(began.elapsed() >= 1200 * MS);
}

#[tokio::test(start_paused = true)]
async fn permanent_errors_come_at_once() {
    let permanent = [
        broken(Operation::Read),
        io_error(Operation::Read, ErrorKind::StorageFull),
        io_error(Operation::Read, ErrorKind::PermissionDenied),
        io_error(Operation::Read, ErrorKind::NotFound),
        StorageError::PastEnd { path: "f".into(), offset: 0, length: 1, file_len: 0 },
        StorageError::CircuitOpen { operation: Operation::Read, path: "f".into(), retry_after: MS },
    ];
    for error in permanent {
        let (text, began) = (error.to_string(), Instant::now());
        let inner = Scripted::new([Step::Fail(error)]);
        let error = retrying(RetryConfig::default(), &inner).read("f", 0, 1).await.unwrap_err();
        assert_eq!((error.to_string(), inner.count(), began.elapsed()), (text, 1, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_ends_the_attempts() {
    let inner = failing(Operation::Read, 1);
    inner.then(Step::Fail(broken(Operation::Read)));
    let error = retrying(RetryConfig::default(), &inner).read("f", 0, 1).await.unwrap_err();
    assert_eq!((inner.count(), error.is_transient()), (2, false));
}

/// Whatever the error says of itself: here one of opening the file on the way to syncing it.
#[tokio::test(start_paused = true)]
async fn sync_and_seal_are_never_tried_again() {
    for operation in [Operation::Sync, Operation::Open] {
        let inner = failing(operation, 2);
        let backend = retrying(RetryConfig::default(), &inner);
        backend.sync("f").await.unwrap_err();
        assert_eq!(inner.count(), 1);
        backend.seal("f").await.unwrap_err();
        assert_eq!(inner.count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn every_other_operation_is_tried_again() {
    let inner = Scripted::new([]);
    let backend = retrying(RetryConfig::default(), &inner);
    let fail = |operation| inner.then(Step::Fail(transient(operation)));
    fail(Operation::Write);
    backend.write("f", 0, b"x").await.unwrap();
    fail(Operation::Delete);
    backend.delete("f").await.unwrap();
    fail(Operation::Examine);
    assert!(backend.exists("f").await.unwrap());
    fail(Operation::Examine);
    assert_eq!(backend.len("f").await.unwrap(), 7);
    fail(Operation::List);
    assert_eq!(backend.list("").await.unwrap(), ["a"]);
    fail(Operation::Rename);
    backend.rename("f", "g").await.unwrap();
    fail(Operation::Truncate);
    backend.truncate("f", 1).await.unwrap();
    assert_eq!((inner.count(), backend.stats().retries), (14, 7));
}

#[tokio::test(start_paused = true)]
async fn a_delete_whose_first_attempt_had_its_effect_succeeds() {
    let inner = Scripted::new([
        Step::Fail(io_error(Operation::Delete, ErrorKind::TimedOut)),
        Step::Fail(io_error(Operation::Delete, ErrorKind::NotFound)),
        Step::Fail(io_error(Operation::Delete, ErrorKind::NotFound)),
    ]);
    let backend = retrying(RetryConfig::default(), &inner);
    backend.delete("f").await.unwrap();
    let error = backend.delete("f").await.unwrap_err();
    assert!(matches!(error, StorageError::NotFound { .. }), "a first attempt says what it found");
    assert_eq!(inner.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_rename_is_not_tried_again_where_it_may_have_been_done() {
    let inner = Scripted::new([Step::Fail(io_error(Operation::Rename, ErrorKind::TimedOut))]);
    let backend = retrying(RetryConfig::default(), &inner);
    assert_eq!(backend.rename("f", "g").await.unwrap_err().io_kind(), ErrorKind::TimedOut);
    assert_eq!(inner.count(), 1);

    inner.then(Step::Fail(transient(Operation::Rename)));
    inner.then(Step::Fail(io_error(Operation::Rename, ErrorKind::NotFound)));
    let error = backend.rename("f", "g").await.unwrap_err();
    assert_eq!(error.io_kind(), ErrorKind::WouldBlock, "the error before \"no such file\"");
    assert_eq!(inner.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_only_what_failed_is_tried_again_and_the_order_stays() {
    let inner = Scripted::new([
        Step::Succeed,
        Step::Fail(transient(Operation::Read)),
        Step::Fail(broken(Operation::Read)),
        Step::Fail(transient(Operation::Read)),
        // The second round: offset 1 fails once more, offset 3 is read.
        Step::Fail(transient(Operation::Read)),
    ]);
    let backend = retrying(RetryConfig::default(), &inner);
    let requests = [(0, 1), (1, 2), (2, 3), (3, 4)].map(|(offset, length)| ReadRequest {
        path: "f",
        offset,
        length,
    });
    let results = backend.read_many(&requests).await;
    let got: Vec<_> = results.iter().map(|r| r.as_ref().ok().map(Bytes::len)).collect();
    assert_eq!(got, [Some(1), Some(2), None, Some(4)]);
    let offsets: Vec<_> = inner.noted().iter().map(|call| call.offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 1, 3, 1]);
    assert_eq!(backend.stats().retries, 3);
}

/// The second write of the batch lies over the first one, so it has to stay the last.
#[tokio::test(start_paused = true)]
async fn a_write_tried_again_does_not_undo_a_later_one() {
    let inner = Scripted::new([Step::Fail(transient(Operation::Write))]);
    let backend = retrying(RetryConfig::default(), &inner);
    let write = |path, offset, data| WriteRequest { path, offset, data: Bytes::from_static(data) };
    let requests = [
        write("f", 0, b"old-"),
        write("f", 2, b"new-"),
        write("f", 5, b"more"),
        write("f", 20, b"apart"),
        write("g", 0, b"else"),
    ];
    let results = backend.write_many(&requests).await;
    assert!(results.iter().all(Result::is_ok));
    let noted = inner.noted();
    let again: Vec<_> = noted[5..].iter().map(|call| (call.offset, &call.data[..])).collect();
    assert_eq!(again, [(0, &b"old-"[..]), (2, b"new-"), (5, b"more")]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_gives_up_too() {
    let inner = failing(Operation::Read, 1000);
    let backend = retrying(RetryConfig { attempts_max: 3, ..Default::default() }, &inner);
    let request = ReadRequest { path: "f", offset: 0, length: 1 };
    let results = backend.read_many(&[request, request]).await;
    assert!(results.iter().all(|r| r.as_ref().unwrap_err().is_transient()));
    assert_eq!(inner.count(), 6);
    assert!(backend.read_many(&[]).await.is_empty());
}

#[test]
fn impossible_values_are_refused() {
    let error = Retry::new(RetryConfig { attempts_max: 0, ..Default::default() }).unwrap_err();
    assert!(matches!(error, StorageError::Config { field: "retry.attempts_max", .. }), "{error}");
}

/// No runtime, no timer: the error comes at once instead of a panic.
#[test]
fn outside_of_a_runtime_nothing_is_tried_again() {
    let inner = failing(Operation::Read, 1);
    let backend = retrying(RetryConfig::default(), &inner);
    let mut read = std::pin::pin!(backend.read("f", 0, 1));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let polled = read.as_mut().poll(&mut cx);
    assert!(matches!(polled, std::task::Poll::Ready(Err(ref e)) if e.is_transient()), "{polled:?}");
    assert_eq!(inner.count(), 1);
}
