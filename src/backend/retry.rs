//! Trying again what may pass by itself.

use std::{
    future::Future,
    io::ErrorKind,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use backends::{Operation, Result, Stats, StorageError};
use pagestore::WithCauses;
use tokio::{runtime::Handle, time::Instant};
use tracing::warn;

use super::{
    layer::{Call, Picked, Policy},
    timed::timed,
};
use crate::config::RetryConfig;

/// Tries operations again that failed for a reason which passes by itself, after growing random
/// delays.
///
/// The delay before attempt *n + 1* is drawn from zero to `delay_base * 2^(n - 1)`, or to
/// `delay_max` where that is less: exponential backoff with full jitter, as in Marc Brooker's
/// [Exponential Backoff And Jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)
/// on the AWS architecture blog. Drawing from zero on spreads the callers of one outage evenly, so
/// they do not come back all at once.
///
/// When it gives up, the last error is returned as it is. [`RetryConfig`] has the bounds.
///
/// # What is not tried again
/// * Errors that are not [transient](StorageError::is_transient).
/// * `sync` and `seal`, whatever the error: the kernel reports a failed write-back once, and the
///   next sync would succeed without having written.
/// * A `rename` whose outcome is unknown, as after a timeout: it may have been done, and another
///   file may have got the old name since, which a second one would move too.
///
/// Reading, writing at an offset and setting a length give the same result however often they are
/// done. So does deleting: where a later attempt finds no such file, the file is gone as asked,
/// most likely by an earlier attempt, and the delete succeeded. Where a later attempt at renaming
/// finds no such file, an earlier one may have had its effect; its error is returned, since what it
/// said of the new name's durability stands.
///
/// # Many at once
/// Of a batch, only what failed is tried again, and writes that succeeded but overlap an earlier
/// one that is tried again, so that later bytes win as if the batch had been written in order.
///
/// # Panics
/// A delay needs the timer of the tokio runtime, which [`tokio::runtime::Builder::enable_time`]
/// turns on; the runtime panics without. Outside of a runtime nothing is tried again.
#[derive(Debug)]
pub struct Retry {
    config: RetryConfig,
    retries: AtomicU64,
}

impl Retry {
    /// Makes the policy.
    ///
    /// # Errors
    /// [`StorageError::Config`] where a value is not possible.
    pub fn new(config: RetryConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config, retries: AtomicU64::new(0) })
    }

    /// Whether the error of a call is one to try again after.
    fn is_worth_it(&self, operation: Operation, error: &StorageError) -> bool {
        let repeatable = match operation {
            Operation::Sync | Operation::Seal => false,
            Operation::Rename => !leaves_outcome_open(error),
            _ => true,
        };
        self.config.attempts_max > 1
            && repeatable
            && error.is_transient()
            && Handle::try_current().is_ok()
    }

    /// Waits before the next attempt. False where there is to be none.
    async fn wait(
        &self,
        call: Call<'_>,
        error: &StorageError,
        attempt: u32,
        began: Instant,
    ) -> bool {
        let Call { operation, path, offset, length } = call;
        let delay = self.delay_after(attempt);
        let elapsed = began.elapsed();
        if attempt >= self.config.attempts_max || elapsed + delay > self.config.total_max {
            warn!(
                target: "storage", ?operation, path, offset, length, attempt, ?elapsed, error = %WithCauses(error),
                "giving up"
            );
            return false;
        }
        warn!(
            target: "storage", ?operation, path, offset, length, attempt, ?elapsed, ?delay, error = %WithCauses(error),
            "trying again"
        );
        tokio::time::sleep(delay).await;
        true
    }

    /// A delay to follow the given attempt, of which the first is 1.
    fn delay_after(&self, attempt: u32) -> Duration {
        let doubled = 1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
        let bound = self.config.delay_base.saturating_mul(doubled).min(self.config.delay_max);
        let bound_nanos = u64::try_from(bound.as_nanos()).expect("validated: at most an hour");
        Duration::from_nanos(fastrand::u64(0..=bound_nanos))
    }

    /// The attempts after the first, which failed with `error`.
    async fn again<T, F, Fut>(
        &self,
        call: Call<'_>,
        mut error: StorageError,
        began: Instant,
        mut attempt: F,
    ) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let mut attempts = 1;
        while self.is_worth_it(call.operation, &error)
            && self.wait(call, &error, attempts, began).await
        {
            attempts += 1;
            self.retries.fetch_add(1, Ordering::Relaxed);
            match attempt().await {
                Err(StorageError::NotFound { .. }) if call.operation == Operation::Rename => break,
                Err(next) => error = next,
                done => return done,
            }
        }
        Err(error)
    }

    /// The attempts after the first one at a batch, which gave `results`.
    async fn again_many<T, F, Fut>(
        &self,
        calls: &[Call<'_>],
        mut results: Vec<Result<T>>,
        began: Instant,
        mut attempt: F,
    ) -> Vec<Result<T>>
    where
        F: FnMut(Picked) -> Fut,
        Fut: Future<Output = Vec<Result<T>>>,
    {
        for attempts in 1.. {
            let failed = self.worth_it(calls, &results);
            let Some(&first) = failed.first() else { break };
            let Err(error) = &results[first] else { break };
            if !self.wait(calls[first], error, attempts, began).await {
                break;
            }
            let picked = with_overtaken(calls, &results, failed);
            self.retries.fetch_add(picked.len() as u64, Ordering::Relaxed);
            let next = attempt(Picked::Only(picked.clone())).await;
            for (index, result) in picked.into_iter().zip(next) {
                results[index] = result;
            }
        }
        results
    }

    /// The indices of results that are worth another try.
    fn worth_it<T>(&self, calls: &[Call<'_>], results: &[Result<T>]) -> Vec<usize> {
        let both = calls.iter().zip(results).enumerate();
        both.filter_map(|(index, (call, result))| match result {
            Err(error) if self.is_worth_it(call.operation, error) => Some(index),
            _ => None,
        })
        .collect()
    }
}

impl Policy for Retry {
    async fn around<T, F, Fut>(&self, call: Call<'_>, mut attempt: F) -> Result<T>
    where
        T: Send,
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        let (result, waits_since) = timed(attempt()).await;
        match result {
            Err(error) if self.is_worth_it(call.operation, &error) => {
                let began = waits_since.unwrap_or_else(Instant::now);
                // Boxed, so that a call that succeeds carries no room for this.
                Box::pin(self.again(call, error, began, attempt)).await
            }
            result => result,
        }
    }

    async fn around_many<T, F, Fut>(&self, calls: &[Call<'_>], mut attempt: F) -> Vec<Result<T>>
    where
        T: Send,
        F: FnMut(Picked) -> Fut + Send,
        Fut: Future<Output = Vec<Result<T>>> + Send,
    {
        let (results, waits_since) = timed(attempt(Picked::All)).await;
        if results.iter().all(Result::is_ok) {
            return results;
        }
        let began = waits_since.unwrap_or_else(Instant::now);
        Box::pin(self.again_many(calls, results, began, attempt)).await
    }

    fn fill_stats(&self, stats: &mut Stats) {
        stats.retries += self.retries.load(Ordering::Relaxed);
    }
}

/// Whether the operation may have had its effect all the same. Only errors by which the system
/// refuses to begin are sure to mean that it had none.
fn leaves_outcome_open(error: &StorageError) -> bool {
    !matches!(
        error.io_kind(),
        ErrorKind::WouldBlock | ErrorKind::ResourceBusy | ErrorKind::OutOfMemory
    )
}

/// The failed calls, and each write that succeeded but overlaps an earlier one among these: writing
/// the earlier one again would leave its bytes over the later ones.
fn with_overtaken<T>(calls: &[Call<'_>], results: &[Result<T>], failed: Vec<usize>) -> Vec<usize> {
    if calls[failed[0]].operation != Operation::Write {
        return failed;
    }
    let mut picked: Vec<usize> = Vec::with_capacity(failed.len());
    for index in failed[0]..calls.len() {
        let overtaken = || {
            results[index].is_ok() && picked.iter().any(|&one| overlap(&calls[one], &calls[index]))
        };
        if failed.binary_search(&index).is_ok() || overtaken() {
            picked.push(index);
        }
    }
    picked
}

fn overlap(one: &Call<'_>, other: &Call<'_>) -> bool {
    one.path == other.path
        && one.offset < other.offset.saturating_add(other.length)
        && other.offset < one.offset.saturating_add(one.length)
}
