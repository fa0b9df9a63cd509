//! Not trying for a while what failed too often.

use std::{
    fmt,
    future::Future,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use backends::{CircuitState, Operation, Result, Stats, StorageError};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use tracing::warn;

use super::{
    layer::{Call, Picked, Policy},
    outcome::{Outcome, outcome},
};
use crate::config::BreakerConfig;

/// Stops trying for a while when the medium failed several times in a row, so that callers get an
/// error at once ([`StorageError::CircuitOpen`]) instead of waiting, and the medium gets a rest.
///
/// There are two circuits: one for what reads (`read`, `len`, `exists`, `list`), and one for what
/// changes something. While writes fail, as on a volume that became read-only, reads go on.
///
/// * *Closed*: everything is let through. `failures_max` failures with no success between them open
///   the circuit.
/// * *Open*: nothing is let through. The first operation after `open_for` finds it half open.
/// * *Half open*: `half_open_probes` operations are let through. When as many have succeeded, the
///   circuit closes; when one fails, it opens again. A probe whose future is dropped before it is
///   done gives its place back; for one that hangs, another is let through after `open_for`.
///
/// Each change is logged as a warning, and [`Stats`] tells the state.
///
/// # What counts
/// Only what tells about the medium. An error of the operating system or of a foreign backend is a
/// failure, unless it comes from the request or the file: no permission, not a folder, disk or quota
/// full (deleting must stay possible then) and the like. That there is no such file, or that it is
/// too short, sealed or locked, is an answer, and as good as a success. Everything else counts
/// neither way: a path that is none, a budget that is used up, or a file that is poisoned or
/// corrupt, since that one stays so while the medium may be well.
///
/// A batch is let through or refused as a whole. Each of its results counts; as a probe it fails
/// with the first of them.
#[derive(Debug)]
pub struct Breaker {
    reads: Circuit,
    writes: Circuit,
}

impl Breaker {
    /// Makes the policy, closed.
    ///
    /// # Errors
    /// [`StorageError::Config`] where a value is not possible.
    pub fn new(config: BreakerConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { reads: Circuit::new("reads", config), writes: Circuit::new("writes", config) })
    }

    fn circuit(&self, operation: Operation) -> &Circuit {
        match operation {
            Operation::Open
            | Operation::Read
            | Operation::Prefetch
            | Operation::Examine
            | Operation::List => &self.reads,
            _ => &self.writes,
        }
    }
}

impl Policy for Breaker {
    async fn around<T, F, Fut>(&self, call: Call<'_>, mut attempt: F) -> Result<T>
    where
        T: Send,
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        let permit = self.circuit(call.operation).admit().map_err(|wait| wait.refuse(call))?;
        let result = attempt().await;
        permit.settle(std::iter::once(outcome(&result)));
        result
    }

    async fn around_many<T, F, Fut>(&self, calls: &[Call<'_>], mut attempt: F) -> Vec<Result<T>>
    where
        T: Send,
        F: FnMut(Picked) -> Fut + Send,
        Fut: Future<Output = Vec<Result<T>>> + Send,
    {
        let Some(first) = calls.first() else { return attempt(Picked::All).await };
        match self.circuit(first.operation).admit() {
            Ok(permit) => {
                let results = attempt(Picked::All).await;
                permit.settle(results.iter().map(outcome));
                results
            }
            Err(wait) => calls.iter().map(|call| Err(wait.refuse(*call))).collect(),
        }
    }

    fn fill_stats(&self, stats: &mut Stats) {
        for circuit in [&self.reads, &self.writes] {
            stats.rejected += circuit.rejected.load(Ordering::Relaxed);
            stats.breaker_opened += circuit.opened.load(Ordering::Relaxed);
        }
        stats.reads_circuit = self.reads.state.lock().name();
        stats.writes_circuit = self.writes.state.lock().name();
    }
}

/// One of the two circuits.
struct Circuit {
    name: &'static str,
    config: BreakerConfig,
    /// Whether the circuit is closed and no failure is counted: then nobody needs the lock.
    quiet: AtomicBool,
    state: Mutex<State>,
    rejected: AtomicU64,
    opened: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Closed {
        /// Failures since the last success.
        failures: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        /// Tells the probes of one half-open time from those of another.
        round: u64,
        in_flight: u32,
        succeeded: u32,
        /// When another probe is let through though all places are taken.
        next_at: Instant,
    },
}

impl State {
    const fn name(&self) -> CircuitState {
        match self {
            Self::Closed { .. } => CircuitState::Closed,
            Self::Open { .. } => CircuitState::Open,
            Self::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }
}

/// How long until the next probe.
struct Refused(Duration);

impl Refused {
    fn refuse(&self, call: Call<'_>) -> StorageError {
        let (operation, path) = (call.operation, call.path.to_owned());
        StorageError::CircuitOpen { operation, path, retry_after: self.0 }
    }
}

impl Circuit {
    const fn new(name: &'static str, config: BreakerConfig) -> Self {
        Self {
            name,
            config,
            quiet: AtomicBool::new(true),
            state: Mutex::new(State::Closed { failures: 0 }),
            rejected: AtomicU64::new(0),
            opened: AtomicU64::new(0),
        }
    }

    /// Lets an operation through, or says how long it has to stay away.
    #[inline]
    fn admit(&self) -> Result<Permit<'_>, Refused> {
        if self.quiet.load(Ordering::Relaxed) {
            return Ok(Permit { circuit: self, probe_of: None });
        }
        self.admit_with_care()
    }

    #[cold]
    fn admit_with_care(&self) -> Result<Permit<'_>, Refused> {
        let mut state = self.state.lock();
        let probe_of = match *state {
            State::Closed { .. } => None,
            State::Open { until } => {
                let now = Instant::now();
                if now < until {
                    drop(state);
                    return Err(self.reject(until - now));
                }
                // Each opening is a round of its own.
                let round = self.opened.load(Ordering::Relaxed);
                let next_at = now + self.config.open_for;
                let half_open = State::HalfOpen { round, in_flight: 1, succeeded: 0, next_at };
                self.change(state, half_open, "letting probes through");
                Some(round)
            }
            State::HalfOpen { round, ref mut in_flight, succeeded, ref mut next_at } => {
                let now = Instant::now();
                if *in_flight + succeeded >= self.config.half_open_probes && now < *next_at {
                    let wait = *next_at - now;
                    drop(state);
                    return Err(self.reject(wait));
                }
                *in_flight += 1;
                *next_at = now + self.config.open_for;
                Some(round)
            }
        };
        Ok(Permit { circuit: self, probe_of })
    }

    fn reject(&self, wait: Duration) -> Refused {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        Refused(wait)
    }

    /// Counts an outcome while the circuit is closed. Late ones, of operations that were let through
    /// before it opened, tell nothing new.
    fn count(&self, outcome: Outcome) {
        let mut state = self.state.lock();
        let State::Closed { failures } = &mut *state else { return };
        match outcome {
            Outcome::Healthy => {
                *failures = 0;
                self.quiet.store(true, Ordering::Relaxed);
            }
            Outcome::Failed => {
                *failures = failures.saturating_add(1);
                self.quiet.store(false, Ordering::Relaxed);
                if *failures >= self.config.failures_max && self.config.failures_max != u32::MAX {
                    self.open(state, "too many failures in a row");
                }
            }
            Outcome::Silent => {}
        }
    }

    /// Takes the outcome of a probe, if its round still goes on.
    fn count_probe(&self, probe_of: u64, outcome: Outcome) {
        let mut state = self.state.lock();
        let State::HalfOpen { round, in_flight, succeeded, .. } = &mut *state else { return };
        if *round != probe_of {
            return;
        }
        *in_flight -= 1;
        match outcome {
            Outcome::Healthy => {
                *succeeded += 1;
                if *succeeded >= self.config.half_open_probes {
                    self.quiet.store(true, Ordering::Relaxed);
                    self.change(state, State::Closed { failures: 0 }, "the probes succeeded");
                }
            }
            Outcome::Failed => self.open(state, "a probe failed"),
            Outcome::Silent => {}
        }
    }

    fn open(&self, state: MutexGuard<'_, State>, reason: &'static str) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.change(state, State::Open { until: Instant::now() + self.config.open_for }, reason);
    }

    /// Changes the state and tells of it, with the lock given back before.
    fn change(&self, mut state: MutexGuard<'_, State>, to: State, reason: &'static str) {
        let from = std::mem::replace(&mut *state, to);
        drop(state);
        let (from, to) = (from.name(), to.name());
        warn!(target: "storage", circuit = self.name, ?from, ?to, reason, "circuit breaker changed");
    }
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuit").field("state", &*self.state.lock()).finish_non_exhaustive()
    }
}

/// An operation that was let through.
struct Permit<'a> {
    circuit: &'a Circuit,
    /// The round, if it is a probe. Taken out once it has settled.
    probe_of: Option<u64>,
}

impl Permit<'_> {
    /// Tells how it went.
    #[inline]
    fn settle(mut self, outcomes: impl Iterator<Item = Outcome>) {
        match self.probe_of.take() {
            None => {
                for outcome in outcomes {
                    let known =
                        outcome == Outcome::Healthy && self.circuit.quiet.load(Ordering::Relaxed);
                    if !known {
                        self.circuit.count(outcome);
                    }
                }
            }
            Some(round) => {
                let worst = outcomes.max().unwrap_or(Outcome::Silent);
                self.circuit.count_probe(round, worst);
            }
        }
    }
}

impl Drop for Permit<'_> {
    /// A probe that was given up tells nothing, and makes room for another.
    fn drop(&mut self) {
        if let Some(round) = self.probe_of.take() {
            self.circuit.count_probe(round, Outcome::Silent);
        }
    }
}
