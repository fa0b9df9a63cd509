//! What happened, as structured events.

use std::{future::Future, time::Duration};

use backends::{Operation, Result, StorageError};
use pagestore::WithCauses;
use tracing::{Instrument, Level, Span, debug, debug_span, enabled, error, trace};

use super::{
    layer::{Call, Picked, Policy},
    timed::timed,
};

/// Tells of each operation by an event of [`tracing`], with the fields `operation`, `path`,
/// `offset`, `length`, `elapsed` and `error`.
///
/// | level | events |
/// |---|---|
/// | error | operations that failed, the error being the medium's or the machine's |
/// | debug | operations that failed since they were not possible as asked (no such file, past its end, sealed...) or since the circuit breaker is open; those that succeeded after some waiting |
/// | trace | operations that were answered at once |
///
/// [`Retry`](super::Retry) and [`Breaker`](super::Breaker) warn on their own, with the fields
/// `attempt` and `delay`, or `circuit`, `from` and `to`. All events have the target `storage`.
///
/// Each operation is a span too, at the level debug: its name is that of the operation (`read`,
/// `write`, `seal`...; `read_many` and `write_many` for batches), its fields are `path`, `offset` and
/// `length`, or for batches the `path` of the first and the `count`. What is logged meanwhile, by the
/// layers inside and by the medium on other threads, is logged within it.
///
/// `elapsed` is counted from when the operation had to wait for the first time; it is zero for one
/// that was answered at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Log;

impl Policy for Log {
    async fn around<T, F, Fut>(&self, call: Call<'_>, mut attempt: F) -> Result<T>
    where
        T: Send,
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        let span = span(call);
        let (result, waits_since) = timed(attempt().instrument(span.clone())).await;
        span.in_scope(|| match &result {
            Ok(_) if !enabled!(target: "storage", Level::DEBUG) => {}
            Ok(_) => tell_success(call, waits_since.map(|since| since.elapsed())),
            Err(error) => {
                tell_failure(call, error, waits_since.map(|since| since.elapsed()));
            }
        });
        result
    }

    /// Each failure has its event; what succeeded has one event together, unless the batch was
    /// answered at once.
    async fn around_many<T, F, Fut>(&self, calls: &[Call<'_>], mut attempt: F) -> Vec<Result<T>>
    where
        T: Send,
        F: FnMut(Picked) -> Fut + Send,
        Fut: Future<Output = Vec<Result<T>>> + Send,
    {
        let span = span_of_many(calls);
        let (results, waits_since) = timed(attempt(Picked::All).instrument(span.clone())).await;
        let _within = span.enter();
        let elapsed = waits_since.map(|since| since.elapsed());
        for (call, result) in calls.iter().zip(&results) {
            match result {
                Ok(_) if !enabled!(target: "storage", Level::DEBUG) => {}
                Ok(_) => tell_success(*call, elapsed),
                Err(error) => tell_failure(*call, error, elapsed),
            }
        }
        results
    }
}

/// The span of an operation. A span's name is fixed where it is made, so each has a place of its own.
fn span(call: Call<'_>) -> Span {
    let Call { operation, path, offset, length } = call;
    macro_rules! named {
        ($name:literal) => {
            debug_span!(target: "storage", $name, path, offset, length)
        };
    }
    match operation {
        Operation::Open => named!("open"),
        Operation::Read => named!("read"),
        Operation::Write => named!("write"),
        Operation::Delete => named!("delete"),
        Operation::Examine => named!("examine"),
        Operation::List => named!("list"),
        Operation::Sync => named!("sync"),
        Operation::Rename => named!("rename"),
        Operation::Truncate => named!("truncate"),
        Operation::Seal => named!("seal"),
        Operation::Prefetch => named!("prefetch"),
        _ => named!("operation"),
    }
}

fn span_of_many(calls: &[Call<'_>]) -> Span {
    let Some(Call { operation, path, .. }) = calls.first() else { return Span::none() };
    let count = calls.len();
    match operation {
        Operation::Read => debug_span!(target: "storage", "read_many", path, count),
        _ => debug_span!(target: "storage", "write_many", path, count),
    }
}

#[cold]
fn tell_success(call: Call<'_>, elapsed: Option<Duration>) {
    let Call { operation, path, offset, length } = call;
    match elapsed {
        Some(elapsed) => {
            debug!(target: "storage", ?operation, path, offset, length, ?elapsed, "done");
        }
        None => trace!(target: "storage", ?operation, path, offset, length, "done at once"),
    }
}

#[cold]
fn tell_failure(call: Call<'_>, error: &StorageError, elapsed: Option<Duration>) {
    let Call { operation, path, offset, length } = call;
    let elapsed = elapsed.unwrap_or_default();
    if is_answer(error) {
        debug!(
            target: "storage", ?operation, path, offset, length, ?elapsed, error = %WithCauses(error), "not possible"
        );
    } else {
        error!(target: "storage", ?operation, path, offset, length, ?elapsed, error = %WithCauses(error), "failed");
    }
}

/// Whether an error answers what was asked, rather than telling of something broken. Programs ask
/// such things all the time, and whoever reads the log has nothing to do.
fn is_answer(error: &StorageError) -> bool {
    matches!(
        error,
        StorageError::NotFound { .. }
            | StorageError::PastEnd { .. }
            | StorageError::Path { .. }
            | StorageError::Sealed { .. }
            | StorageError::Locked { .. }
            | StorageError::BudgetExceeded { .. }
            | StorageError::Unsupported { .. }
            // The breaker warned when it opened; one event for each rejection would bury that.
            | StorageError::CircuitOpen { .. }
    )
}
