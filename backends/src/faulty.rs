//! A backend that fails on purpose.

mod plan;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt, io,
};

use bytes::Bytes;
use parking_lot::Mutex;

use self::plan::Fate;
pub use self::plan::{Fault, FaultPlan};
use crate::{BackendId, Operation, Result, Stats, StorageBackend, StorageError};

/// A backend around another one, whose operations meet the faults of a [`FaultPlan`].
///
/// For tests of what stands above a backend: that it tries again what can be tried again, gives up
/// where it must, and never takes an operation for done that was not. Errors carry the operation
/// and the path, as those of a real medium.
///
/// * A read that fails returns no bytes, and one that succeeds returns all of them: a real medium
///   gives no short reads either.
/// * A `sync` or `seal` that meets a failing fault poisons the file, as [`StorageBackend::sync`]
///   says: each later operation on it fails, but deleting it and renaming another file over it.
/// * `exists` and `len` both count as [`Operation::Examine`]; each request of `read_many` and
///   `write_many` counts as an operation of its own and goes to the inner backend by itself.
///
/// The plan decides by counts, and tests can take over at any moment: [`fail_next`](Self::fail_next)
/// for the next operation of a kind, [`begin_outage`](Self::begin_outage) for everything until
/// [`end_outage`](Self::end_outage). These come before the plan.
pub struct FaultyBackend<B> {
    inner: B,
    plan: FaultPlan,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: HashMap<Operation, u64>,
    next: HashMap<Operation, VecDeque<Fault>>,
    outage: Option<Fault>,
    outages: HashMap<Operation, Fault>,
    poisoned: HashSet<String>,
    injected: InjectedFaults,
}

/// How often which fault was injected into which operation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InjectedFaults {
    counts: HashMap<(Operation, Fault), u64>,
}

impl InjectedFaults {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Those in operations of a kind.
    #[must_use]
    pub fn of(&self, operation: Operation) -> u64 {
        let of_kind = self.counts.iter().filter(|((kind, _), _)| *kind == operation);
        of_kind.map(|(_, count)| count).sum()
    }

    /// Those of one fault in operations of a kind.
    #[must_use]
    pub fn count(&self, operation: Operation, fault: Fault) -> u64 {
        self.counts.get(&(operation, fault)).copied().unwrap_or(0)
    }

    /// Each operation and fault that occurred, with its count, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Operation, Fault, u64)> {
        self.counts.iter().map(|(&(operation, fault), &count)| (operation, fault, count))
    }
}

impl<B> FaultyBackend<B> {
    /// Puts a plan around a backend.
    #[must_use]
    pub fn new(inner: B, plan: FaultPlan) -> Self {
        Self { inner, plan, state: Mutex::default() }
    }

    /// The backend inside, on which nothing fails.
    #[must_use]
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// Has the next operation of a kind meet a fault; called several times, the next several, in
    /// that order.
    pub fn fail_next(&self, operation: Operation, fault: Fault) {
        self.state.lock().next.entry(operation).or_default().push_back(fault);
    }

    /// Has every operation meet a fault from now on.
    pub fn begin_outage(&self, fault: Fault) {
        self.state.lock().outage = Some(fault);
    }

    /// Has every operation of a kind meet a fault from now on.
    pub fn begin_outage_of(&self, operation: Operation, fault: Fault) {
        self.state.lock().outages.insert(operation, fault);
    }

    /// Ends what [`begin_outage`](Self::begin_outage) and
    /// [`begin_outage_of`](Self::begin_outage_of) began.
    pub fn end_outage(&self) {
        let mut state = self.state.lock();
        state.outage = None;
        state.outages.clear();
    }

    /// The faults that were injected so far, delays included.
    #[must_use]
    pub fn injected(&self) -> InjectedFaults {
        self.state.lock().injected.clone()
    }

    /// How many operations of a kind came so far, whatever became of them.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.state.lock().calls.get(&operation).copied().unwrap_or(0)
    }

    /// Counts an operation, and finds out what happens to it.
    fn begin(&self, operation: Operation) -> Fate {
        let mut state = self.state.lock();
        let calls = state.calls.entry(operation).or_default();
        *calls += 1;
        let mut fate = self.plan.fate(operation, *calls);
        let outage = state.outages.get(&operation).copied().or(state.outage);
        let told = outage.or_else(|| state.next.get_mut(&operation)?.pop_front());
        fate.fault = told.or(fate.fault);
        let delay = fate.delay.map(Fault::Delay);
        for fault in delay.into_iter().chain(fate.fault) {
            *state.injected.counts.entry((operation, fault)).or_default() += 1;
        }
        fate
    }

    /// Runs an operation as its fate is. `partial` does a part of it, where it has parts.
    async fn run<T, P: Future<Output = Result<()>>>(
        &self,
        operation: Operation,
        path: &str,
        call: impl Future<Output = Result<T>>,
        partial: impl FnOnce(f64) -> P,
    ) -> Result<T> {
        let fate = self.begin(operation);
        if let Some(delay) = fate.delay {
            tokio::time::sleep(delay).await;
        }
        self.check_poison(operation, path)?;
        match fate.fault {
            None => return call.await,
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                return call.await;
            }
            Some(Fault::AnswerLost) => drop(call.await?),
            Some(Fault::PartialWrite) => partial(fate.done_share).await?,
            Some(_) => {}
        }
        if matches!(operation, Operation::Sync | Operation::Seal) {
            self.state.lock().poisoned.insert(path.to_owned());
        }
        let error = fate.fault.and_then(Fault::error).expect("delays returned above");
        Err(StorageError::io(operation, path)(error))
    }

    fn check_poison(&self, operation: Operation, path: &str) -> Result<()> {
        let exempt = matches!(operation, Operation::Delete | Operation::List);
        if !exempt && self.state.lock().poisoned.contains(path) {
            let source = io::Error::other("an earlier sync met an injected fault").into();
            return Err(StorageError::Poisoned { operation, path: path.to_owned(), source });
        }
        Ok(())
    }

    fn forget_poison(&self, path: &str) {
        self.state.lock().poisoned.remove(path);
    }
}

/// An operation without parts.
async fn nothing(_: f64) -> Result<()> {
    Ok(())
}

impl<B: StorageBackend<Error = StorageError>> StorageBackend for FaultyBackend<B> {
    type Error = StorageError;

    async fn read(&self, path: &str, offset: u64, length: usize) -> Result<Bytes> {
        let call = self.inner.read(path, offset, length);
        self.run(Operation::Read, path, call, nothing).await
    }

    async fn write(&self, path: &str, offset: u64, data: &[u8]) -> Result<()> {
        let call = self.inner.write(path, offset, data);
        let partial = |share: f64| self.inner.write(path, offset, &data[..part(data.len(), share)]);
        self.run(Operation::Write, path, call, partial).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let call = async {
            self.inner.delete(path).await?;
            self.forget_poison(path);
            Ok(())
        };
        self.run(Operation::Delete, path, call, nothing).await
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        self.run(Operation::Examine, path, self.inner.exists(path), nothing).await
    }

    async fn len(&self, path: &str) -> Result<u64> {
        self.run(Operation::Examine, path, self.inner.len(path), nothing).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.run(Operation::List, prefix, self.inner.list(prefix), nothing).await
    }

    async fn sync(&self, path: &str) -> Result<()> {
        self.run(Operation::Sync, path, self.inner.sync(path), nothing).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let call = async {
            self.inner.rename(from, to).await?;
            self.forget_poison(to);
            Ok(())
        };
        self.run(Operation::Rename, from, call, nothing).await
    }

    async fn truncate(&self, path: &str, len: u64) -> Result<()> {
        self.run(Operation::Truncate, path, self.inner.truncate(path, len), nothing).await
    }

    async fn seal(&self, path: &str) -> Result<()> {
        self.run(Operation::Seal, path, self.inner.seal(path), nothing).await
    }

    async fn prefetch(&self, path: &str, ranges: &[(u64, usize)]) -> Result<()> {
        self.run(Operation::Prefetch, path, self.inner.prefetch(path, ranges), nothing).await
    }

    fn id(&self) -> BackendId {
        self.inner.id()
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

/// A share of a length, less than all of it.
fn part(len: usize, share: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "any part will do"
    )]
    let part = (len as f64 * share) as usize;
    part.min(len.saturating_sub(1))
}

impl<B: fmt::Debug> fmt::Debug for FaultyBackend<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyBackend")
            .field("seed", &self.plan.seed())
            .field("plan", &self.plan)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
