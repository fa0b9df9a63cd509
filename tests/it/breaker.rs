//! The circuit breaker: when it opens, whom it lets through, and how it closes again.
//!
//! A scripted backend fails as told and counts what reaches it; time is tokio's paused clock, so
//! what the breaker says about times is compared exactly.

use std::{io::ErrorKind, pin::pin, time::Duration};

use bytes::Bytes;
use storage::{
    CircuitState, Operation, ReadRequest, Stats, StorageBackend, StorageError, WriteRequest,
    backend::{Breaker, Layered},
    config::BreakerConfig,
};
use tokio::time::{advance, sleep};

use crate::scripted::{Scripted, Step, broken, io_error, poll_once};

const OPEN_FOR: Duration = Duration::from_secs(5);

type Broken = Layered<Breaker, Scripted>;

fn breaking(config: BreakerConfig) -> (Broken, Scripted) {
    let inner = Scripted::new([]);
    (Layered::new(Breaker::new(config).unwrap(), inner.clone()), inner)
}

fn config(failures_max: u32, half_open_probes: u32) -> BreakerConfig {
    BreakerConfig { failures_max, open_for: OPEN_FOR, half_open_probes }
}

async fn fail_read(backend: &Broken, inner: &Scripted) {
    inner.then(Step::Fail(broken(Operation::Read)));
    assert!(!is_rejected(&backend.read("f", 0, 1).await));
}

async fn read(backend: &Broken) -> Result<Bytes, StorageError> {
    backend.read("f", 0, 1).await
}

fn is_rejected<T>(result: &Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::CircuitOpen { .. }))
}

fn retry_after<T: std::fmt::Debug>(result: Result<T, StorageError>) -> Duration {
    match result.unwrap_err() {
        StorageError::CircuitOpen { retry_after, .. } => retry_after,
        other => panic!("{other:?}"),
    }
}

fn states(backend: &Broken) -> (CircuitState, CircuitState) {
    let Stats { reads_circuit, writes_circuit, .. } = backend.stats();
    (reads_circuit, writes_circuit)
}

#[tokio::test(start_paused = true)]
async fn it_opens_after_failures_in_a_row_and_says_when_the_next_probe_is_due() {
    let (backend, inner) = breaking(config(3, 1));
    for _ in 0..3 {
        assert_eq!(states(&backend).0, CircuitState::Closed);
        fail_read(&backend, &inner).await;
    }
    assert_eq!(states(&backend), (CircuitState::Open, CircuitState::Closed));
    assert_eq!(retry_after(read(&backend).await), OPEN_FOR);
    advance(Duration::from_millis(1234)).await;
    let error = read(&backend).await.unwrap_err();
    assert_eq!(error.path(), Some("f"));
    assert!(matches!(
        error,
        StorageError::CircuitOpen { operation: Operation::Read, retry_after, .. }
            if retry_after == Duration::from_millis(3766)
    ));
    assert!(!error.is_transient(), "so that no retry above it waits in a loop");
    assert_eq!(inner.count(), 3, "nothing reached the medium");
    let stats = backend.stats();
    assert_eq!((stats.rejected, stats.breaker_opened, stats.open_files), (2, 1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_success_between_begins_the_count_anew() {
    let (backend, inner) = breaking(config(3, 1));
    for _ in 0..5 {
        fail_read(&backend, &inner).await;
        fail_read(&backend, &inner).await;
        read(&backend).await.unwrap();
    }
    assert_eq!(states(&backend).0, CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn reads_are_served_while_writes_are_refused() {
    let (backend, inner) = breaking(config(2, 1));
    inner.then(Step::Fail(broken(Operation::Write)));
    inner.then(Step::Fail(broken(Operation::Sync)));
    backend.write("f", 0, b"x").await.unwrap_err();
    backend.sync("f").await.unwrap_err();
    assert_eq!(states(&backend), (CircuitState::Closed, CircuitState::Open));
    assert!(is_rejected(&backend.write("f", 0, b"x").await));
    assert!(is_rejected(&backend.delete("f").await));
    assert!(is_rejected(&backend.rename("f", "g").await));
    assert!(is_rejected(&backend.truncate("f", 0).await));
    assert!(is_rejected(&backend.sync("f").await));
    assert!(is_rejected(&backend.seal("f").await));
    assert_eq!(inner.count(), 2);
    read(&backend).await.unwrap();
    backend.len("f").await.unwrap();
    backend.list("").await.unwrap();
    assert!(backend.exists("f").await.unwrap());
    assert_eq!(inner.count(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_succeeds_closes_it() {
    let (backend, inner) = breaking(config(1, 1));
    fail_read(&backend, &inner).await;
    advance(OPEN_FOR - Duration::from_nanos(1)).await;
    assert_eq!(retry_after(read(&backend).await), Duration::from_nanos(1));
    advance(Duration::from_nanos(1)).await;
    read(&backend).await.unwrap();
    assert_eq!(states(&backend).0, CircuitState::Closed);
    fail_read(&backend, &inner).await;
    assert_eq!(states(&backend).0, CircuitState::Open);
    assert_eq!(backend.stats().breaker_opened, 2);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_opens_it_for_the_whole_time_again() {
    let (backend, inner) = breaking(config(3, 2));
    for _ in 0..3 {
        fail_read(&backend, &inner).await;
    }
    for opened in 2..4 {
        advance(OPEN_FOR).await;
        read(&backend).await.unwrap();
        assert_eq!(states(&backend).0, CircuitState::HalfOpen, "one of two has succeeded");
        fail_read(&backend, &inner).await;
        assert_eq!(backend.stats().breaker_opened, opened);
        assert_eq!(retry_after(read(&backend).await), OPEN_FOR);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_probes_at_once_than_configured() {
    let (backend, inner) = breaking(config(1, 2));
    fail_read(&backend, &inner).await;
    advance(OPEN_FOR).await;
    for _ in 0..2 {
        inner.then(Step::SucceedAfter(Duration::from_secs(2)));
    }
    let (mut first, mut second) = (pin!(read(&backend)), pin!(read(&backend)));
    assert!(poll_once(&mut first).await.is_none());
    advance(Duration::from_secs(1)).await;
    assert!(poll_once(&mut second).await.is_none());
    assert_eq!(retry_after(read(&backend).await), OPEN_FOR, "counted from the latest probe");
    assert_eq!(inner.count(), 3);
    first.await.unwrap();
    assert_eq!(states(&backend).0, CircuitState::HalfOpen);
    assert!(is_rejected(&read(&backend).await), "one succeeded and one is under way");
    second.await.unwrap();
    assert_eq!(states(&backend).0, CircuitState::Closed);
    read(&backend).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_probe_gives_its_place_back() {
    let (backend, inner) = breaking(config(1, 1));
    fail_read(&backend, &inner).await;
    advance(OPEN_FOR).await;
    inner.then(Step::Hang);
    {
        let mut probe = pin!(read(&backend));
        assert!(poll_once(&mut probe).await.is_none());
        assert!(is_rejected(&read(&backend).await));
    }
    assert_eq!(states(&backend).0, CircuitState::HalfOpen);
    read(&backend).await.unwrap();
    assert_eq!(states(&backend).0, CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_does_not_keep_it_half_open_for_good() {
    let (backend, inner) = breaking(config(1, 1));
    fail_read(&backend, &inner).await;
    advance(OPEN_FOR).await;
    inner.then(Step::Hang);
    let mut hanging = pin!(read(&backend));
    assert!(poll_once(&mut hanging).await.is_none());
    advance(OPEN_FOR - Duration::from_secs(1)).await;
    assert_eq!(retry_after(read(&backend).await), Duration::from_secs(1));
    advance(Duration::from_secs(1)).await;
    read(&backend).await.unwrap();
    assert_eq!(states(&backend).0, CircuitState::Closed);
}

/// Two probes are under way when one fails; what the other one says comes too late.
#[tokio::test(start_paused = true)]
async fn a_late_probe_of_an_earlier_round_counts_no_more() {
    let (backend, inner) = breaking(config(1, 2));
    fail_read(&backend, &inner).await;
    advance(OPEN_FOR).await;
    inner.then(Step::SucceedAfter(OPEN_FOR + Duration::from_secs(1)));
    let mut late = pin!(read(&backend));
    assert!(poll_once(&mut late).await.is_none());
    fail_read(&backend, &inner).await;
    advance(OPEN_FOR).await;
    inner.then(Step::Hang);
    inner.then(Step::Hang);
    let (mut third, mut fourth) = (pin!(read(&backend)), pin!(read(&backend)));
    assert!(poll_once(&mut third).await.is_none());
    assert!(poll_once(&mut fourth).await.is_none());
    sleep(Duration::from_secs(1)).await;
    late.await.unwrap();
    assert_eq!(states(&backend).0, CircuitState::HalfOpen);
    assert!(is_rejected(&read(&backend).await), "both places of this round are still taken");
}

/// Operations that were let through before it opened fail after that.
#[tokio::test(start_paused = true)]
async fn late_failures_do_not_open_it_twice() {
    let (backend, inner) = breaking(config(2, 1));
    for _ in 0..4 {
        inner.then(Step::FailAfter(Duration::from_secs(1), broken(Operation::Read)));
    }
    let all = [read(&backend), read(&backend), read(&backend), read(&backend)];
    for result in futures_util::future::join_all(all).await {
        assert!(!is_rejected(&result));
    }
    assert_eq!((backend.stats().breaker_opened, backend.stats().rejected), (1, 0));
    assert_eq!(retry_after(read(&backend).await), OPEN_FOR);
}

fn tell(error: StorageError) -> (CircuitState, CircuitState) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let text = error.to_string();
        // As one of two failures in a row, after one that counts: opens, stays, or begins anew.
        let (backend, inner) = breaking(config(2, 1));
        fail_read(&backend, &inner).await;
        inner.then(Step::Fail(error));
        assert_eq!(read(&backend).await.unwrap_err().to_string(), text);
        let after_one = states(&backend).0;
        if after_one == CircuitState::Closed {
            fail_read(&backend, &inner).await;
        }
        (after_one, states(&backend).0)
    })
}

const FAILS: (CircuitState, CircuitState) = (CircuitState::Open, CircuitState::Open);
const SILENT: (CircuitState, CircuitState) = (CircuitState::Closed, CircuitState::Open);
const ANSWERS: (CircuitState, CircuitState) = (CircuitState::Closed, CircuitState::Closed);

#[test]
fn only_what_tells_about_the_medium_counts() {
    let (operation, path) = (Operation::Read, || "f".to_owned());
    let boxed = || Box::new(std::io::Error::other("x"));
    let foreign = |error: std::io::Error| StorageError::backend(operation, "f")(error);
    let io = |kind| io_error(operation, kind);
    let of_the_page_store = pagestore::Error::AlreadyExists { path: "f".into() };
    let page_store_io = pagestore::Error::Io {
        operation: "read",
        path: "f".into(),
        source: std::io::Error::from_raw_os_error(5),
    };
    let table = [
        (broken(operation), FAILS),
        (io(ErrorKind::TimedOut), FAILS),
        (io(ErrorKind::ReadOnlyFilesystem), FAILS),
        (foreign(std::io::Error::other("x")), FAILS),
        (StorageError::backend(operation, "f")(page_store_io), FAILS),
        (StorageError::backend(operation, "f")(of_the_page_store), SILENT),
        (io(ErrorKind::StorageFull), SILENT),
        (io(ErrorKind::QuotaExceeded), SILENT),
        (io(ErrorKind::PermissionDenied), SILENT),
        (io(ErrorKind::IsADirectory), SILENT),
        (foreign(ErrorKind::StorageFull.into()), SILENT),
        (StorageError::Poisoned { operation, path: path(), source: boxed() }, SILENT),
        (StorageError::Corrupt { operation, path: path(), offset: 0, reason: "x".into() }, SILENT),
        (StorageError::Path { path: path(), reason: "x" }, SILENT),
        (StorageError::Unsupported { operation, path: path(), reason: "x".into() }, SILENT),
        (
            StorageError::BudgetExceeded {
                operation,
                path: path(),
                needed_bytes: 1,
                used_bytes: 0,
                budget_bytes: 0,
            },
            SILENT,
        ),
        (
            StorageError::BuffersInUse {
                operation,
                path: path(),
                budget_bytes: 0,
                waited: OPEN_FOR,
            },
            SILENT,
        ),
        (io(ErrorKind::NotFound), ANSWERS),
        (StorageError::PastEnd { path: path(), offset: 0, length: 1, file_len: 0 }, ANSWERS),
        (StorageError::Sealed { operation, path: path() }, ANSWERS),
        (StorageError::Locked { operation, path: path(), holder: "x".into() }, ANSWERS),
    ];
    for (error, expected) in table {
        let text = format!("{error:?}");
        assert_eq!(tell(error), expected, "{text}");
    }
}

/// A probe that says nothing of the medium makes room for one that does.
#[tokio::test(start_paused = true)]
async fn a_probe_that_tells_nothing_leaves_it_half_open() {
    let (backend, inner) = breaking(config(1, 1));
    fail_read(&backend, &inner).await;
    advance(OPEN_FOR).await;
    inner.then(Step::Fail(io_error(Operation::Read, ErrorKind::PermissionDenied)));
    assert!(!is_rejected(&read(&backend).await));
    assert_eq!(states(&backend).0, CircuitState::HalfOpen);
    inner.then(Step::Fail(io_error(Operation::Read, ErrorKind::NotFound)));
    assert!(!is_rejected(&read(&backend).await));
    assert_eq!(states(&backend).0, CircuitState::Closed, "the medium answered");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_refused_as_a_whole_and_counts_by_request() {
    let (backend, inner) = breaking(config(3, 1));
    let request = |offset| ReadRequest { path: "f", offset, length: 1 };
    for _ in 0..3 {
        inner.then(Step::Fail(broken(Operation::Read)));
    }
    let results = backend.read_many(&[request(0), request(1), request(2)]).await;
    assert!(results.iter().all(|result| !is_rejected(result)));
    assert_eq!(states(&backend).0, CircuitState::Open);
    let results = backend.read_many(&[request(0), request(1)]).await;
    assert!(results.len() == 2 && results.iter().all(is_rejected));
    assert_eq!(inner.count(), 3);

    let write = WriteRequest { path: "f", offset: 0, data: Bytes::from_static(b"x") };
    assert!(backend.write_many(&[write]).await[0].is_ok(), "writes have a circuit of their own");

    // As a probe, a batch fails with the first of its results.
    advance(OPEN_FOR).await;
    inner.then(Step::Fail(broken(Operation::Read)));
    let results = backend.read_many(&[request(0), request(1)]).await;
    assert!(results[0].is_err() && results[1].is_ok());
    assert_eq!(states(&backend).0, CircuitState::Open);
    advance(OPEN_FOR).await;
    assert!(backend.read_many(&[]).await.is_empty());
    assert_eq!(states(&backend).0, CircuitState::Open, "an empty batch is no probe");
    assert!(backend.read_many(&[request(0)]).await[0].is_ok());
    assert_eq!(states(&backend).0, CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_largest_number_turns_it_off() {
    let (backend, inner) = breaking(config(u32::MAX, 1));
    for _ in 0..1000 {
        fail_read(&backend, &inner).await;
    }
    assert_eq!(states(&backend).0, CircuitState::Closed);
}

#[test]
fn impossible_values_are_refused() {
    let error = Breaker::new(config(0, 1)).unwrap_err();
    assert!(matches!(error, StorageError::Config { field: "breaker.failures_max", .. }), "{error}");
}
