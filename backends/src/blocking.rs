//! From the synchronous contract of a medium to the asynchronous interface.

use std::{fmt, sync::Arc, time::Instant};

use bytes::Bytes;
use pagestore::ResidencyBudget;
use tokio::{runtime::Handle, sync::Semaphore};

use crate::{
    BufferPool, Medium, Operation, ReadRequest, Result, Stats, StorageBackend, StorageError,
    StoragePath, WriteRequest, metrics::Metrics,
};

/// What a backend may use at once.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// How many operations may be on threads that block at the same time; more wait in the order of
    /// their coming. Default 64.
    pub max_concurrent_ops: usize,
    /// The bytes of all buffers together that data passes through: those that hold what was read,
    /// until the last view of it is dropped, and those for data on its way to a medium. Default
    /// 1 GiB.
    pub buffer_bytes: u64,
    /// What mapped files may have in memory. Only [`MmapBackend`](crate::MmapBackend) looks at it.
    /// Backends and page files can share one. Default: none, and the kernel alone decides.
    pub residency_budget: Option<ResidencyBudget>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_concurrent_ops: 64, buffer_bytes: 1 << 30, residency_budget: None }
    }
}

impl Limits {
    /// The same with another number of operations at once.
    #[must_use]
    pub const fn max_concurrent_ops(mut self, count: usize) -> Self {
        self.max_concurrent_ops = count;
        self
    }

    /// The same with another limit of all buffers together.
    #[must_use]
    pub const fn buffer_bytes(mut self, bytes: u64) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// The same with a budget for what mapped files have in memory.
    #[must_use]
    pub fn residency_budget(mut self, budget: &ResidencyBudget) -> Self {
        self.residency_budget = Some(budget.clone());
        self
    }
}

/// A backend made of a [`Medium`]: what the medium can answer at once is answered in the same poll,
/// everything else goes to tokio's threads for blocking calls, a bounded number at a time.
///
/// Cloning shares the backend.
pub struct BlockingBackend<M> {
    shared: Arc<Shared<M>>,
}

struct Shared<M> {
    medium: M,
    /// Permits are held by the blocking calls themselves, so the bound holds even where the futures
    /// that wait for them are dropped.
    permits: Arc<Semaphore>,
    limits: Limits,
    buffers: BufferPool,
    metrics: Metrics,
}

impl<M: Medium> BlockingBackend<M> {
    /// Makes a backend of a medium. `make` gets the pool of buffers that the medium's reads are to
    /// come from.
    ///
    /// # Errors
    /// [`StorageError::Config`] where a limit is zero; what `make` returns.
    pub fn new(limits: Limits, make: impl FnOnce(&BufferPool) -> Result<M>) -> Result<Self> {
        if limits.max_concurrent_ops == 0 || limits.max_concurrent_ops > Semaphore::MAX_PERMITS {
            return Err(StorageError::Config {
                field: "max_concurrent_ops",
                value: limits.max_concurrent_ops.to_string(),
                allowed: format!("pass a number from 1 to {}", Semaphore::MAX_PERMITS),
            });
        }
        let buffers = BufferPool::new(limits.buffer_bytes);
        let medium = make(&buffers)?;
        let permits = Arc::new(Semaphore::new(limits.max_concurrent_ops));
        let metrics = Metrics::new();
        let shared = Shared { medium, permits, limits, buffers, metrics };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The medium.
    #[must_use]
    pub fn medium(&self) -> &M {
        &self.shared.medium
    }

    /// Runs a call on a thread that may block.
    async fn block<T: Send + 'static>(
        &self,
        operation: Operation,
        path: &str,
        bytes: impl Fn(&T) -> u64 + Send,
        call: impl FnOnce(&M) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let started = Instant::now();
        let result = self.block_uncounted(operation, path, call).await;
        let moved = result.as_ref().ok().map(bytes);
        self.shared.metrics.waited(operation, moved, started.elapsed());
        result
    }

    async fn block_uncounted<T: Send + 'static>(
        &self,
        operation: Operation,
        path: &str,
        call: impl FnOnce(&M) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let no_runtime = || StorageError::NoRuntime { operation, path: path.to_owned() };
        let runtime = Handle::try_current().map_err(|_| no_runtime())?;
        let permit = Arc::clone(&self.shared.permits).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let shared = Arc::clone(&self.shared);
        let span = tracing::Span::current();
        let joined = runtime.spawn_blocking(move || {
            let result = span.in_scope(|| call(&shared.medium));
            drop(permit);
            result
        });
        match joined.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime shuts down before the call began.
            Err(_) => Err(no_runtime()),
        }
    }

    /// `data` in a buffer of its own, to take to another thread.
    fn buffered(&self, path: &str, data: &[u8]) -> Result<Bytes> {
        let buffer = self.shared.buffers.take(data.len());
        let mut buffer = buffer.ok_or_else(|| StorageError::BudgetExceeded {
            operation: Operation::Write,
            path: path.to_owned(),
            needed_bytes: data.len() as u64,
            used_bytes: self.shared.buffers.used_bytes(),
            budget_bytes: self.shared.buffers.limit_bytes(),
        })?;
        buffer.copy_from_slice(data);
        Ok(buffer.freeze())
    }

    fn try_read(&self, path: StoragePath<'_>, offset: u64, length: usize) -> Option<Result<Bytes>> {
        let begun = self.shared.metrics.begin(Operation::Read);
        let result = self.shared.medium.try_read(path, offset, length)?;
        let bytes = result.as_ref().ok().map(|bytes| bytes.len() as u64);
        self.shared.metrics.at_once(Operation::Read, &begun, bytes);
        Some(result)
    }
}

/// No bytes are moved.
fn none<T>(_: &T) -> u64 {
    0
}

impl<M: Medium> StorageBackend for BlockingBackend<M> {
    type Error = StorageError;

    async fn read(&self, path: &str, offset: u64, length: usize) -> Result<Bytes> {
        let checked = StoragePath::new(path)?;
        if let Some(result) = self.try_read(checked, offset, length) {
            return result;
        }
        let owned = path.to_owned();
        let len = |bytes: &Bytes| bytes.len() as u64;
        self.block(Operation::Read, path, len, move |medium| {
            medium.read(StoragePath::new(&owned)?, offset, length)
        })
        .await
    }

    async fn write(&self, path: &str, offset: u64, data: &[u8]) -> Result<()> {
        let checked = StoragePath::new(path)?;
        let begun = self.shared.metrics.begin(Operation::Write);
        if let Some(result) = self.shared.medium.try_write(checked, offset, data) {
            let bytes = result.is_ok().then_some(data.len() as u64);
            self.shared.metrics.at_once(Operation::Write, &begun, bytes);
            return result;
        }
        let (owned, data) = (path.to_owned(), self.buffered(path, data)?);
        let len = data.len() as u64;
        self.block(
            Operation::Write,
            path,
            move |&()| len,
            move |medium| medium.write(StoragePath::new(&owned)?, offset, &[data]),
        )
        .await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let owned = StoragePath::new(path)?.as_str().to_owned();
        self.block(Operation::Delete, path, none, move |m| m.delete(StoragePath::new(&owned)?))
            .await
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        let owned = StoragePath::new(path)?.as_str().to_owned();
        self.block(Operation::Examine, path, none, move |medium| {
            match medium.len(StoragePath::new(&owned)?) {
                Ok(_) => Ok(true),
                Err(StorageError::NotFound { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn len(&self, path: &str) -> Result<u64> {
        let owned = StoragePath::new(path)?.as_str().to_owned();
        self.block(Operation::Examine, path, none, move |m| m.len(StoragePath::new(&owned)?)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let owned = prefix.to_owned();
        self.block(Operation::List, prefix, none, move |medium| {
            let mut paths = medium.list(&owned)?;
            paths.sort_unstable();
            Ok(paths)
        })
        .await
    }

    async fn sync(&self, path: &str) -> Result<()> {
        let owned = StoragePath::new(path)?.as_str().to_owned();
        self.block(Operation::Sync, path, none, move |m| m.sync(StoragePath::new(&owned)?)).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let old = StoragePath::new(from)?.as_str().to_owned();
        let new = StoragePath::new(to)?.as_str().to_owned();
        self.block(Operation::Rename, from, none, move |medium| {
            medium.rename(StoragePath::new(&old)?, StoragePath::new(&new)?)
        })
        .await
    }

    async fn truncate(&self, path: &str, len: u64) -> Result<()> {
        let owned = StoragePath::new(path)?.as_str().to_owned();
        self.block(Operation::Truncate, path, none, move |medium| {
            medium.truncate(StoragePath::new(&owned)?, len)
        })
        .await
    }

    async fn seal(&self, path: &str) -> Result<()> {
        let owned = StoragePath::new(path)?.as_str().to_owned();
        self.block(Operation::Seal, path, none, move |m| m.seal(StoragePath::new(&owned)?)).await
    }

    async fn read_many(&self, requests: &[ReadRequest<'_>]) -> Vec<Result<Bytes>> {
        many::read(self, requests).await
    }

    async fn write_many(&self, requests: &[WriteRequest<'_>]) -> Vec<Result<()>> {
        many::write(self, requests).await
    }

    async fn prefetch(&self, path: &str, ranges: &[(u64, usize)]) -> Result<()> {
        let owned = StoragePath::new(path)?.as_str().to_owned();
        let mut ranges = ranges.to_vec();
        ranges.sort_unstable();
        self.block(Operation::Prefetch, path, none, move |medium| {
            medium.prefetch(StoragePath::new(&owned)?, &ranges)
        })
        .await
    }

    fn stats(&self) -> Stats {
        let mut stats = self.shared.metrics.snapshot();
        self.shared.medium.fill_stats(&mut stats);
        stats
    }

    fn reads_are_views(&self) -> bool {
        self.shared.medium.reads_are_views()
    }
}

mod many;

impl<M> Clone for BlockingBackend<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M: Medium> fmt::Debug for BlockingBackend<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingBackend")
            .field("medium", &self.shared.medium.name())
            .finish_non_exhaustive()
    }
}
