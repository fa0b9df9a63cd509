//! Files in anonymous memory.

mod names;

use std::{io, sync::Arc};

use bytes::Bytes;
use pagestore::{MemoryBudget, RawMemory};
use rustix::io::Errno;

use self::names::Names;
use crate::{
    BlockingBackend, BufferPool, Limits, Medium, Operation, Result, Stats, StorageError,
    StoragePath,
};

/// Copies up to this size are made on the caller's thread: less than what handing them to another
/// one and back takes (about 8 us).
const AT_ONCE_BYTES_MAX: usize = 64 << 10;

/// Files in anonymous memory, within a hard budget of bytes. All are gone when the backend and all
/// views are dropped, or the process ends.
pub type MemoryBackend = BlockingBackend<MemoryMedium>;

impl MemoryBackend {
    /// A backend without files, whose files may never take more than `budget_bytes` together.
    ///
    /// What is beyond the budget fails with [`StorageError::BudgetExceeded`] before anything
    /// changes. The budget does not look at the machine: choose one that fits its free memory, or
    /// the kernel may still have to end a process.
    ///
    /// # Errors
    /// [`StorageError::Config`] where the budget is below 4 KiB or above 64 TiB, or a limit is not
    /// possible.
    pub fn with_budget(budget_bytes: u64, limits: Limits) -> Result<Self> {
        Self::new(limits, |buffers| MemoryMedium::new(budget_bytes, buffers.clone()))
    }
}

/// The medium of a [`MemoryBackend`].
///
/// * Memory is taken by the pages that are written to, and counted before it is taken; see
///   [`RawMemory`]. What was never written, as the gap before a far offset, takes none. Names and
///   the bookkeeping of pages do not count.
/// * A file that is not sealed is read by copying into pooled buffers, a sealed one by views. A
///   file that is deleted or replaced stays charged until its last view is dropped.
/// * `sync` has nothing to do, and `seal` makes nothing durable: nothing outlives the process.
/// * Names follow the rules of folders on a disk, so a program that works here works there: where
///   `a` is a file there is no `a/b`, and the other way round. The errors are the kernel's
///   (`ENOTDIR`, `EISDIR`).
#[derive(Debug)]
pub struct MemoryMedium {
    budget: Arc<MemoryBudget>,
    buffers: BufferPool,
    names: Names,
}

impl MemoryMedium {
    /// The least budget: a page.
    const BUDGET_BYTES_MIN: u64 = 4 << 10;
    /// The largest budget: far more than machines have.
    const BUDGET_BYTES_MAX: u64 = 64 << 40;

    /// A medium without files. Copies of what is read come from `buffers`.
    ///
    /// # Errors
    /// [`StorageError::Config`] where the budget is below 4 KiB or above 64 TiB.
    pub fn new(budget_bytes: u64, buffers: BufferPool) -> Result<Self> {
        if !(Self::BUDGET_BYTES_MIN..=Self::BUDGET_BYTES_MAX).contains(&budget_bytes) {
            return Err(StorageError::Config {
                field: "budget_bytes",
                value: budget_bytes.to_string(),
                allowed: "pass what all files may take together, from 4096 (4 KiB) to \
                          70368744177664 (64 TiB)"
                    .to_owned(),
            });
        }
        let budget = Arc::new(MemoryBudget::new(budget_bytes));
        Ok(Self { budget, buffers, names: Names::default() })
    }

    /// Runs a call on a file that exists.
    fn with<T>(
        &self,
        operation: Operation,
        path: StoragePath<'_>,
        call: impl FnOnce(&RawMemory) -> Result<T, pagestore::Error>,
    ) -> Result<T> {
        let file = self.names.get(path.as_str()).ok_or_else(|| not_found(operation, path))?;
        call(&file).map_err(failed(operation, path))
    }

    /// A copy of a range of a file that is not sealed.
    fn copy(
        &self,
        path: StoragePath<'_>,
        length: usize,
        read: impl FnOnce(&mut [u8]) -> Result<(), pagestore::Error>,
    ) -> Result<Bytes> {
        let buffer = self.buffers.take(length);
        let mut buffer = buffer.ok_or_else(|| StorageError::BudgetExceeded {
            operation: Operation::Read,
            path: path.as_str().to_owned(),
            needed_bytes: length as u64,
            used_bytes: self.buffers.used_bytes(),
            budget_bytes: self.buffers.limit_bytes(),
        })?;
        read(&mut buffer).map_err(failed(Operation::Read, path))?;
        Ok(buffer.freeze())
    }

    /// Makes a file with a first content. It appears with that content or not at all, so a budget
    /// that is exceeded leaves no empty file behind.
    fn make(&self, path: StoragePath<'_>, offset: u64, parts: &[Bytes]) -> Result<()> {
        self.names.check(Operation::Write, path)?;
        let made = RawMemory::new(Arc::clone(&self.budget)).and_then(|file| {
            file.write_at(offset, parts)?;
            Ok(file)
        });
        let file = Arc::new(made.map_err(failed(Operation::Write, path))?);
        match self.names.insert(path, file)? {
            None => Ok(()),
            // Somebody made it meanwhile.
            Some(theirs) => theirs.write_at(offset, parts).map_err(failed(Operation::Write, path)),
        }
    }
}

impl Medium for MemoryMedium {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn read(&self, path: StoragePath<'_>, offset: u64, length: usize) -> Result<Bytes> {
        let file = self.names.get(path.as_str());
        let file = file.ok_or_else(|| not_found(Operation::Read, path))?;
        if file.is_sealed() {
            return file.view(offset, length).map_err(failed(Operation::Read, path));
        }
        let file_len = file.len();
        if offset.checked_add(length as u64).is_none_or(|end| end > file_len) {
            let path = path.as_str().to_owned();
            return Err(StorageError::PastEnd { path, offset, length, file_len });
        }
        self.copy(path, length, |buffer| file.read_at(offset, buffer))
    }

    fn len(&self, path: StoragePath<'_>) -> Result<u64> {
        self.with(Operation::Examine, path, |file| Ok(file.len()))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(self.names.list(prefix))
    }

    #[inline]
    fn try_read(&self, path: StoragePath<'_>, offset: u64, length: usize) -> Option<Result<Bytes>> {
        self.names.try_with(path.as_str(), |file| {
            let Some(file) = file else { return Some(Err(not_found(Operation::Read, path))) };
            match file.try_view(offset, length) {
                Some(view) => Some(view.map_err(failed(Operation::Read, path))),
                None if length > AT_ONCE_BYTES_MAX => None,
                None => {
                    let mut waits = false;
                    let copy = self.copy(path, length, |buffer| {
                        file.try_read_at(offset, buffer).unwrap_or_else(|| {
                            waits = true;
                            Ok(())
                        })
                    });
                    (!waits).then_some(copy)
                }
            }
        })
    }

    #[inline]
    fn try_write(&self, path: StoragePath<'_>, offset: u64, data: &[u8]) -> Option<Result<()>> {
        if data.len() > AT_ONCE_BYTES_MAX {
            return None;
        }
        self.names.try_with(path.as_str(), |file| {
            let written = file?.try_write_at(offset, &[data])?;
            Some(written.map_err(failed(Operation::Write, path)))
        })
    }

    fn write(&self, path: StoragePath<'_>, offset: u64, parts: &[Bytes]) -> Result<()> {
        match self.names.get(path.as_str()) {
            Some(file) => file.write_at(offset, parts).map_err(failed(Operation::Write, path)),
            None => self.make(path, offset, parts),
        }
    }

    fn delete(&self, path: StoragePath<'_>) -> Result<()> {
        self.names.remove(path)
    }

    fn sync(&self, path: StoragePath<'_>) -> Result<()> {
        self.with(Operation::Sync, path, |_| Ok(()))
    }

    fn rename(&self, from: StoragePath<'_>, to: StoragePath<'_>) -> Result<()> {
        self.names.rename(from, to)
    }

    fn truncate(&self, path: StoragePath<'_>, len: u64) -> Result<()> {
        self.with(Operation::Truncate, path, |file| file.set_len(len))
    }

    fn seal(&self, path: StoragePath<'_>) -> Result<()> {
        self.with(Operation::Seal, path, |file| {
            file.seal();
            Ok(())
        })
    }

    fn reads_are_views(&self, path: StoragePath<'_>) -> bool {
        let sealed = self.names.try_with(path.as_str(), |file| file.map(RawMemory::is_sealed));
        sealed.unwrap_or(false)
    }

    fn fill_stats(&self, stats: &mut Stats) {
        stats.used_bytes = self.budget.used_bytes();
        stats.budget_bytes = Some(self.budget.limit_bytes());
        stats.resident_bytes = Some(stats.used_bytes);
        stats.open_files = self.names.count();
    }
}

/// Makes the function that turns an error of a memory into the one that says the same of a file.
fn failed(
    operation: Operation,
    path: StoragePath<'_>,
) -> impl FnOnce(pagestore::Error) -> StorageError {
    use pagestore::Error;
    let path = path.as_str();
    move |error| match error {
        Error::BudgetExceeded { needed_bytes, used_bytes, budget_bytes } => {
            let path = path.to_owned();
            StorageError::BudgetExceeded { operation, path, needed_bytes, used_bytes, budget_bytes }
        }
        Error::PastEnd { offset, len, file_len, .. } => {
            let length = usize::try_from(len).expect("the length of a read is a usize");
            StorageError::PastEnd { path: path.to_owned(), offset, length, file_len }
        }
        // What no address space holds is, seen from here, a file that would be too large.
        Error::AddressSpace { source, .. } => StorageError::io(operation, path)(source),
        error => StorageError::pages(operation, path)(error),
    }
}

fn not_found(operation: Operation, path: StoragePath<'_>) -> StorageError {
    StorageError::NotFound { operation, path: path.as_str().to_owned() }
}

/// The error that the kernel gives for what breaks the rules of names.
fn refused(operation: Operation, path: StoragePath<'_>, errno: Errno) -> StorageError {
    StorageError::io(operation, path.as_str())(io::Error::from(errno))
}
