//! What happened, as structured events.

use std::{future::Future, time::Duration};

use backends::{Result, StorageError};
use pagestore::WithCauses;
use tracing::{Level, debug, enabled, error, trace};

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
        let (result, waits_since) = timed(attempt()).await;
        match &result {
            Ok(_) if !enabled!(target: "storage", Level::DEBUG) => {}
            Ok(_) => tell_success(call, waits_since.map(|since| since.elapsed())),
            Err(error) => {
                tell_failure(call, error, waits_since.map(|since| since.elapsed()));
            }
        }
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
        let (results, waits_since) = timed(attempt(Picked::All)).await;
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
