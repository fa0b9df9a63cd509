//! From the synchronous contract of a medium to the asynchronous interface.

use std::{fmt, sync::Arc, time::Instant};

use bytes::Bytes;
use pagestore::ResidencyBudget;

use crate::{
    BackendId, BufferPool, Medium, Operation, ReadRequest, Result, Stats, StorageBackend,
    StorageError, StoragePath, WriteRequest,
    jobs::{Changes, Jobs, concerns},
    metrics::Metrics,
};

/// The most operations at once that can be asked for.
const CONCURRENT_OPS_MAX: usize = usize::MAX >> 3;

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
/// everything else goes to threads of the backend's own, a bounded number at a time.
///
/// Those threads are started as they are needed, and end when they had nothing to do for some
/// seconds or the backend is gone. So operations need no runtime: any executor can poll them, and
/// one that stops polling, or is shut down, holds up nobody else.
///
/// Cloning shares the backend.
pub struct BlockingBackend<M> {
    shared: Arc<Shared<M>>,
}

struct Shared<M> {
    id: BackendId,
    medium: M,
    jobs: Jobs,
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
        if limits.max_concurrent_ops == 0 || limits.max_concurrent_ops > CONCURRENT_OPS_MAX {
            return Err(StorageError::Config {
                field: "max_concurrent_ops",
                value: limits.max_concurrent_ops.to_string(),
                allowed: format!("pass a number from 1 to {CONCURRENT_OPS_MAX}"),
            });
        }
        let buffers = BufferPool::new(limits.buffer_bytes);
        let medium = make(&buffers)?;
        let (jobs, metrics) = (Jobs::new(limits.max_concurrent_ops), Metrics::new());
        let id = BackendId::unique();
        let shared = Shared { id, medium, jobs, limits, buffers, metrics };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The medium.
    #[must_use]
    pub fn medium(&self) -> &M {
        &self.shared.medium
    }

    /// Waits until what was given up and may still change `path` has ended.
    #[inline]
    async fn settle(&self, path: &str) {
        if !self.shared.jobs.are_settled() {
            Box::pin(self.shared.jobs.settle(|changed| concerns(path, changed))).await;
        }
    }

    /// Runs a call on a thread that may block, after what was given up and concerns the same path.
    async fn block<T: Send + 'static>(
        &self,
        operation: Operation,
        path: &str,
        bytes: impl Fn(&T) -> u64 + Send,
        changes: Changes,
        call: impl FnOnce(&M) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.settle(path).await;
        let started = Instant::now();
        let result = self.block_uncounted(operation, path, changes, call).await;
        let moved = result.as_ref().ok().map(bytes);
        self.shared.metrics.waited(operation, moved, started.elapsed());
        result
    }

    async fn block_uncounted<T: Send + 'static>(
        &self,
        operation: Operation,
        path: &str,
        changes: Changes,
        call: impl FnOnce(&M) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let span = tracing::Span::current();
        let run = move || span.in_scope(|| call(&shared.medium));
        let done = self.shared.jobs.run(changes, run).await;
        done.map_err(StorageError::io(operation, path))?
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
        self.settle(path).await;
        if let Some(result) = self.try_read(checked, offset, length) {
            return result;
        }
        let owned = path.to_owned();
        let len = |bytes: &Bytes| bytes.len() as u64;
        self.block(Operation::Read, path, len, Changes::nothing(), move |medium| {
            medium.read(StoragePath::new(&owned)?, offset, length)
        })
        .await
    }

    async fn write(&self, path: &str, offset: u64, data: &[u8]) -> Result<()> {
        let checked = StoragePath::new(path)?;
        let begun = self.shared.metrics.begin(Operation::Write);
        self.settle(path).await;
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
            Changes::of(path),
            move |medium| medium.write(StoragePath::new(&owned)?, offset, &[data]),
        )
        .await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let owned = StoragePath::new(path)?.as_str().to_owned();
        let changes = Changes::of(path);
        self.block(Operation::Delete, path, none, changes, move |medium| {
            medium.delete(StoragePath::new(&owned)?)
        })
        .await
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        let owned = StoragePath::new(path)?.as_str().to_owned();
        self.block(Operation::Examine, path, none, Changes::nothing(), move |medium| {
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
        self.block(Operation::Examine, path, none, Changes::nothing(), move |medium| {
            medium.len(StoragePath::new(&owned)?)
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        if !self.shared.jobs.are_settled() {
            self.shared.jobs.settle(|changed| changed.starts_with(prefix)).await;
        }
        let owned = prefix.to_owned();
        self.block(Operation::List, prefix, none, Changes::nothing(), move |medium| {
            let mut paths = medium.list(&owned)?;
            paths.sort_unstable();
            Ok(paths)
        })
        .await
    }

    async fn sync(&self, path: &str) -> Result<()> {
        let owned = StoragePath::new(path)?.as_str().to_owned();
        let changes = Changes::of(path);
        self.block(Operation::Sync, path, none, changes, move |medium| {
            medium.sync(StoragePath::new(&owned)?)
        })
        .await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let old = StoragePath::new(from)?.as_str().to_owned();
        let new = StoragePath::new(to)?.as_str().to_owned();
        self.settle(to).await;
        let changes = Changes::renaming(from, to);
        self.block(Operation::Rename, from, none, changes, move |medium| {
            medium.rename(StoragePath::new(&old)?, StoragePath::new(&new)?)
        })
        .await
    }

    async fn truncate(&self, path: &str, len: u64) -> Result<()> {
        let owned = StoragePath::new(path)?.as_str().to_owned();
        self.block(Operation::Truncate, path, none, Changes::of(path), move |medium| {
            medium.truncate(StoragePath::new(&owned)?, len)
        })
        .await
    }

    async fn seal(&self, path: &str) -> Result<()> {
        let owned = StoragePath::new(path)?.as_str().to_owned();
        let changes = Changes::of(path);
        self.block(Operation::Seal, path, none, changes, move |medium| {
            medium.seal(StoragePath::new(&owned)?)
        })
        .await
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
        self.block(Operation::Prefetch, path, none, Changes::nothing(), move |medium| {
            medium.prefetch(StoragePath::new(&owned)?, &ranges)
        })
        .await
    }

    fn id(&self) -> BackendId {
        self.shared.id
    }

    fn stats(&self) -> Stats {
        let mut stats = self.shared.metrics.snapshot();
        self.shared.medium.fill_stats(&mut stats);
        stats
    }

    fn reads_are_views(&self, path: &str) -> bool {
        StoragePath::new(path).is_ok_and(|path| self.shared.medium.reads_are_views(path))
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
