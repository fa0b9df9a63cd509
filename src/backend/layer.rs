//! A backend with a policy around each call.

use std::future::Future;

use backends::{
    BackendId, Operation, ReadRequest, Result, Stats, StorageBackend, StorageError, WriteRequest,
};
use bytes::Bytes;

/// What is being called: enough to decide about it and to tell of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// What is being done.
    pub operation: Operation,
    /// The path it is done to; of a rename the old one, of a list the prefix.
    pub path: &'a str,
    /// The first byte, or 0 where there are no bytes.
    pub offset: u64,
    /// How many bytes; for a truncate the length to come, or 0 where there are none.
    pub length: u64,
}

impl<'a> Call<'a> {
    const fn to(operation: Operation, path: &'a str) -> Self {
        Self { operation, path, offset: 0, length: 0 }
    }

    const fn of_bytes(operation: Operation, path: &'a str, offset: u64, length: usize) -> Self {
        Self { operation, path, offset, length: length as u64 }
    }
}

/// The calls of a batch that an attempt is made at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Picked {
    /// All of them.
    All,
    /// Those of these indices, which ascend.
    Only(Vec<usize>),
}

/// What happens around each call of a [`Layered`] backend: trying again, refusing, telling.
pub trait Policy: Send + Sync {
    /// Runs a call. `attempt` makes it; a policy may do so never, once or several times.
    fn around<T, F, Fut>(
        &self,
        call: Call<'_>,
        attempt: F,
    ) -> impl Future<Output = Result<T>> + Send
    where
        T: Send,
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send;

    /// Runs a batch of calls of the same operation. `attempt` makes those that are picked, and
    /// returns as many results, in the same order; so does this, for all.
    fn around_many<T, F, Fut>(
        &self,
        calls: &[Call<'_>],
        attempt: F,
    ) -> impl Future<Output = Vec<Result<T>>> + Send
    where
        T: Send,
        F: FnMut(Picked) -> Fut + Send,
        Fut: Future<Output = Vec<Result<T>>> + Send;

    /// Adds what the policy counted to the backend's counts.
    fn fill_stats(&self, _stats: &mut Stats) {}
}

/// A backend with a policy around each of its calls.
#[derive(Clone, Debug)]
pub struct Layered<P, B> {
    policy: P,
    inner: B,
}

impl<P: Policy, B: StorageBackend<Error = StorageError>> Layered<P, B> {
    /// Puts `policy` around `inner`.
    pub const fn new(policy: P, inner: B) -> Self {
        Self { policy, inner }
    }

    /// The backend inside.
    pub const fn inner(&self) -> &B {
        &self.inner
    }
}

impl<P: Policy, B: StorageBackend<Error = StorageError>> StorageBackend for Layered<P, B> {
    type Error = StorageError;

    async fn read(&self, path: &str, offset: u64, length: usize) -> Result<Bytes> {
        let call = Call::of_bytes(Operation::Read, path, offset, length);
        self.policy.around(call, || self.inner.read(path, offset, length)).await
    }

    async fn write(&self, path: &str, offset: u64, data: &[u8]) -> Result<()> {
        let call = Call::of_bytes(Operation::Write, path, offset, data.len());
        self.policy.around(call, || self.inner.write(path, offset, data)).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let call = Call::to(Operation::Delete, path);
        let mut tried = false;
        let attempt = || {
            let tried_before = std::mem::replace(&mut tried, true);
            async move {
                match self.inner.delete(path).await {
                    // Gone, as asked: most likely by the attempt before, whatever it reported.
                    Err(StorageError::NotFound { .. }) if tried_before => Ok(()),
                    result => result,
                }
            }
        };
        self.policy.around(call, attempt).await
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        let call = Call::to(Operation::Examine, path);
        self.policy.around(call, || self.inner.exists(path)).await
    }

    async fn len(&self, path: &str) -> Result<u64> {
        let call = Call::to(Operation::Examine, path);
        self.policy.around(call, || self.inner.len(path)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let call = Call::to(Operation::List, prefix);
        self.policy.around(call, || self.inner.list(prefix)).await
    }

    async fn sync(&self, path: &str) -> Result<()> {
        let call = Call::to(Operation::Sync, path);
        self.policy.around(call, || self.inner.sync(path)).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let call = Call::to(Operation::Rename, from);
        self.policy.around(call, || self.inner.rename(from, to)).await
    }

    async fn truncate(&self, path: &str, len: u64) -> Result<()> {
        let call = Call { length: len, ..Call::to(Operation::Truncate, path) };
        self.policy.around(call, || self.inner.truncate(path, len)).await
    }

    async fn seal(&self, path: &str) -> Result<()> {
        let call = Call::to(Operation::Seal, path);
        self.policy.around(call, || self.inner.seal(path)).await
    }

    /// A hint: there is nothing to try again, to refuse or to tell.
    async fn prefetch(&self, path: &str, ranges: &[(u64, usize)]) -> Result<()> {
        self.inner.prefetch(path, ranges).await
    }

    async fn read_many(&self, requests: &[ReadRequest<'_>]) -> Vec<Result<Bytes>> {
        let calls: Vec<Call<'_>> = requests
            .iter()
            .map(|one| Call::of_bytes(Operation::Read, one.path, one.offset, one.length))
            .collect();
        let attempt = |picked| async move {
            match picked {
                Picked::All => self.inner.read_many(requests).await,
                Picked::Only(indices) => {
                    let some: Vec<_> = indices.into_iter().map(|index| requests[index]).collect();
                    self.inner.read_many(&some).await
                }
            }
        };
        self.policy.around_many(&calls, attempt).await
    }

    async fn write_many(&self, requests: &[WriteRequest<'_>]) -> Vec<Result<()>> {
        let calls: Vec<Call<'_>> = requests
            .iter()
            .map(|one| Call::of_bytes(Operation::Write, one.path, one.offset, one.data.len()))
            .collect();
        let attempt = |picked| async move {
            match picked {
                Picked::All => self.inner.write_many(requests).await,
                Picked::Only(indices) => {
                    let some: Vec<_> =
                        indices.into_iter().map(|index| requests[index].clone()).collect();
                    self.inner.write_many(&some).await
                }
            }
        };
        self.policy.around_many(&calls, attempt).await
    }

    fn id(&self) -> BackendId {
        self.inner.id()
    }

    fn stats(&self) -> Stats {
        let mut stats = self.inner.stats();
        self.policy.fill_stats(&mut stats);
        stats
    }

    fn reads_are_views(&self, path: &str) -> bool {
        self.inner.reads_are_views(path)
    }
}
