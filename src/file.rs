//! One file of a backend.

use std::{error::Error as StdError, fmt, sync::Arc};

use bytes::Bytes;

use crate::{
    DynBackend, Operation, ReadRequest, StorageBackend, StorageError, StoragePath, WriteRequest,
};

/// One file of a backend, read and written at byte offsets by many tasks.
///
/// It is a name and a way to reach the backend, nothing is held open: making one does not look for
/// the file, and the first write makes a file that is not there yet. What the methods promise is
/// said at those of the same name of [`StorageBackend`]. Nothing blocks: what the backend answers
/// at once is answered in the same poll.
///
/// ```
/// # use storage::{AsyncFile, DynBackend, StorageError};
/// async fn append_line(backend: DynBackend, line: &[u8]) -> Result<(), StorageError> {
///     let log = AsyncFile::new(backend, "logs/today")?;
///     log.write_at(log.len().await?, line).await?;
///     log.sync().await
/// }
/// ```
pub struct AsyncFile<B = DynBackend> {
    backend: B,
    path: Arc<str>,
}

impl<B: StorageBackend> AsyncFile<B> {
    /// Names a file of a backend.
    ///
    /// # Errors
    /// [`StorageError::Path`] where no file can have that path.
    pub fn new(backend: B, path: impl Into<String>) -> Result<Self, StorageError> {
        let path = path.into();
        StoragePath::new(&path)?;
        Ok(Self { backend, path: path.into() })
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Reads exactly `length` bytes from byte `offset` on.
    ///
    /// # Errors
    /// Where there is no such file, or it ends before `offset + length`.
    pub async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StorageError> {
        let read = self.backend.read(&self.path, offset, length).await;
        read.map_err(|error| self.erase(Operation::Read, error))
    }

    /// Reads many ranges, each given as its first byte and how many there are. Each has its own
    /// result, in the same order.
    pub async fn read_many_at(&self, ranges: &[(u64, usize)]) -> Vec<Result<Bytes, StorageError>> {
        let path = &*self.path;
        let ranges = ranges.iter();
        let requests: Vec<_> =
            ranges.map(|&(offset, length)| ReadRequest { path, offset, length }).collect();
        let results = self.backend.read_many(&requests).await.into_iter();
        results.map(|read| read.map_err(|error| self.erase(Operation::Read, error))).collect()
    }

    /// Has the medium begin to read ranges, each given as its first byte and how many there are, and
    /// does not wait for the bytes. A hint; see [`StorageBackend::prefetch`].
    ///
    /// # Errors
    /// Where there is no such file, or the medium refuses.
    pub async fn prefetch(&self, ranges: &[(u64, usize)]) -> Result<(), StorageError> {
        let begun = self.backend.prefetch(&self.path, ranges).await;
        begun.map_err(|error| self.erase(Operation::Prefetch, error))
    }

    /// Writes all of `data` from byte `offset` on.
    ///
    /// # Errors
    /// Where the file is sealed, or there is no room. Part of `data` may then be written.
    pub async fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let written = self.backend.write(&self.path, offset, data).await;
        written.map_err(|error| self.erase(Operation::Write, error))
    }

    /// Writes many parts, each given with the byte where it begins. Each has its own result, in the
    /// same order. Parts that follow one another without a gap may go to the medium by one call.
    pub async fn write_many_at(&self, parts: Vec<(u64, Bytes)>) -> Vec<Result<(), StorageError>> {
        let path = &*self.path;
        let parts = parts.into_iter();
        let requests: Vec<_> =
            parts.map(|(offset, data)| WriteRequest { path, offset, data }).collect();
        let results = self.backend.write_many(&requests).await.into_iter();
        results.map(|done| done.map_err(|error| self.erase(Operation::Write, error))).collect()
    }

    /// Makes durable what was written before, the file's length, and its name.
    ///
    /// # Errors
    /// Where the medium cannot; the file is poisoned then.
    pub async fn sync(&self) -> Result<(), StorageError> {
        let synced = self.backend.sync(&self.path).await;
        synced.map_err(|error| self.erase(Operation::Sync, error))
    }

    /// How many bytes the file has.
    ///
    /// # Errors
    /// Where there is no such file.
    #[expect(clippy::len_without_is_empty, reason = "this asks a medium, and 0 is a rare answer")]
    pub async fn len(&self) -> Result<u64, StorageError> {
        let len = self.backend.len(&self.path).await;
        len.map_err(|error| self.erase(Operation::Examine, error))
    }

    /// Sets the length: cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// Where there is no such file, it is sealed, or there is no room.
    pub async fn set_len(&self, len: u64) -> Result<(), StorageError> {
        let set = self.backend.truncate(&self.path, len).await;
        set.map_err(|error| self.erase(Operation::Truncate, error))
    }

    /// A backend's error as [`StorageError`]: itself where it is one already.
    fn erase(&self, operation: Operation, error: B::Error) -> StorageError {
        let error: Box<dyn StdError + Send + Sync> = Box::new(error);
        match error.downcast::<StorageError>() {
            Ok(same) => *same,
            Err(source) => StorageError::Backend { operation, path: self.path.to_string(), source },
        }
    }
}

impl<B: Clone> Clone for AsyncFile<B> {
    fn clone(&self) -> Self {
        Self { backend: self.backend.clone(), path: Arc::clone(&self.path) }
    }
}

impl<B> fmt::Debug for AsyncFile<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFile").field("path", &self.path).finish_non_exhaustive()
    }
}
