//! The contract of a medium: what a new one implements.

use bytes::Bytes;

use crate::{Operation, Result, Stats, StorageError, StoragePath};

/// A place that holds files, seen through plain synchronous calls.
///
/// Implement this and [`BlockingBackend`](crate::BlockingBackend) makes a
/// [`StorageBackend`](crate::StorageBackend) of it: it checks paths, runs the calls on a bounded
/// number of threads that may block, counts and times them. `docs/adding-a-backend.md` walks through
/// an example.
///
/// Calls come from many threads at once. What each one promises is said at the method of the same
/// name of [`StorageBackend`](crate::StorageBackend); here stands only what an implementer needs to
/// know besides. Paths were checked; still, a medium over a real file system has to keep symlinks
/// from leading out of its root.
///
/// Only [`read`](Self::read), [`len`](Self::len) and [`list`](Self::list) are required: a medium
/// that does not write leaves the others, which fail with [`StorageError::Unsupported`].
pub trait Medium: Send + Sync + 'static {
    /// The medium's name in messages and logs, as `posixio`.
    fn name(&self) -> &'static str;

    /// Reads exactly `length` bytes from `offset` on.
    ///
    /// Compare the range with the file's length *before* allocating: `length` may be any number.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::PastEnd`], or what the medium says.
    fn read(&self, path: StoragePath<'_>, offset: u64, length: usize) -> Result<Bytes>;

    /// How many bytes the file has.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], or what the medium says.
    fn len(&self, path: StoragePath<'_>) -> Result<u64>;

    /// The paths of all files that begin with `prefix`, in any order.
    ///
    /// # Errors
    /// What the medium says.
    fn list(&self, prefix: &str) -> Result<Vec<String>>;

    /// Reads at once, if that takes no waiting: no disk, no lock that is held. `None` sends the
    /// call to a thread that may block. Called on the caller's own thread.
    #[inline]
    fn try_read(
        &self,
        _path: StoragePath<'_>,
        _offset: u64,
        _length: usize,
    ) -> Option<Result<Bytes>> {
        None
    }

    /// Writes at once, if that takes no waiting; see [`try_read`](Self::try_read).
    #[inline]
    fn try_write(&self, _path: StoragePath<'_>, _offset: u64, _data: &[u8]) -> Option<Result<()>> {
        None
    }

    /// Writes all of `parts`, one behind the other, from `offset` on.
    ///
    /// # Errors
    /// What the medium says.
    fn write(&self, path: StoragePath<'_>, _offset: u64, _parts: &[Bytes]) -> Result<()> {
        Err(self.unsupported(Operation::Write, path))
    }

    /// Removes a file.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], or what the medium says.
    fn delete(&self, path: StoragePath<'_>) -> Result<()> {
        Err(self.unsupported(Operation::Delete, path))
    }

    /// Makes the file durable.
    ///
    /// # Errors
    /// What the medium says; the file is poisoned then.
    fn sync(&self, path: StoragePath<'_>) -> Result<()> {
        Err(self.unsupported(Operation::Sync, path))
    }

    /// Gives a file another path, replacing what is there.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], or what the medium says.
    fn rename(&self, from: StoragePath<'_>, _to: StoragePath<'_>) -> Result<()> {
        Err(self.unsupported(Operation::Rename, from))
    }

    /// Sets the file's length.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], or what the medium says.
    fn truncate(&self, path: StoragePath<'_>, _len: u64) -> Result<()> {
        Err(self.unsupported(Operation::Truncate, path))
    }

    /// Makes the file durable and unchangeable.
    ///
    /// # Errors
    /// What the medium says.
    fn seal(&self, path: StoragePath<'_>) -> Result<()> {
        Err(self.unsupported(Operation::Seal, path))
    }

    /// Begins to read ranges of a file, in ascending order, without waiting for the bytes.
    ///
    /// # Errors
    /// What the medium says. Whoever is going to read the ranges goes on to do so.
    fn prefetch(&self, _path: StoragePath<'_>, _ranges: &[(u64, usize)]) -> Result<()> {
        Ok(())
    }

    /// How many reads of a batch should go to one thread, all of them [begun](Self::prefetch) before
    /// the first is waited for, rather than to as many threads.
    fn reads_begun_together(&self) -> usize {
        1
    }

    /// Adds what the medium knows (bytes in memory, used, of a budget) to the counts that are kept
    /// for it.
    fn fill_stats(&self, _stats: &mut Stats) {}

    /// Whether reads of a file are views; see
    /// [`StorageBackend::reads_are_views`](crate::StorageBackend::reads_are_views). Called on the
    /// caller's own thread, so it must not wait.
    fn reads_are_views(&self, _path: StoragePath<'_>) -> bool {
        false
    }

    /// The error for what this medium cannot do.
    fn unsupported(&self, operation: Operation, path: StoragePath<'_>) -> StorageError {
        let reason = format!("a {} backend cannot do that; choose another backend", self.name());
        StorageError::Unsupported { operation, path: path.as_str().to_owned(), reason }
    }
}
