//! Files in a folder, read through mappings.

use std::{fs::File, io::IoSlice, path::Path};

use bytes::Bytes;
use pagestore::{Error, RawFile, ResidencyBudget};

use crate::{
    BlockingBackend, BufferPool, FBuf, Operation, Result, StorageError, StoragePath,
    folder::{FolderFile, folder_medium},
};

folder_medium! {
    /// The medium of [`MmapBackend`].
    MmapMedium over MappedFile
}

/// Files in a folder, read through mappings.
///
/// * A **sealed** file is read *without a copy*: what a read returns is a view of the mapped file.
///   Pages that are in memory are answered at once, by what was found out about them within the last
///   milliseconds ([`RawFile::try_view`] says what remains). A view never changes, and keeps the file's
///   memory alive after the file was deleted or the backend dropped.
/// * A **mutable** file is read as a *copy* in a pooled buffer, taken under latches that keep
///   writers of the same bytes out. It may be written the next moment, so there can be no view of
///   it. One of up to 64 KiB that is in memory and that nobody is writing is answered at once.
///
/// With [`Limits::residency_budget`](crate::Limits::residency_budget) the files have no more in memory
/// than that, whatever is read and written; only views that are kept and read again can be above it
/// for a while. `docs/memory.md` says what is counted.
///
/// Writing is done by system calls, so a full disk is an error. A file that somebody cuts short, or
/// that the disk cannot read, is an error too and never the end of the process; it is
/// [`StorageError::Poisoned`] from then on where bytes are lost.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let root = folder.path().join("files");
/// # extern crate backends as storage;
/// use storage::{Limits, MmapBackend, StorageBackend};
///
/// let backend = MmapBackend::open(&root, Limits::default())?;
/// backend.write("batches/7", 0, b"hello").await?;
/// backend.seal("batches/7").await?;
/// let view = backend.read("batches/7", 1, 3).await?;
/// let again = backend.read("batches/7", 1, 3).await?;
/// assert_eq!(view.as_ptr(), again.as_ptr(), "both are the file in memory");
/// backend.delete("batches/7").await?;
/// assert_eq!(view, b"ell"[..]);
/// # Ok(())
/// # }
/// ```
pub type MmapBackend = BlockingBackend<MmapMedium>;

impl MmapMedium {
    /// Looks whether there are files beneath the root that may not be mapped, since their owner or mode
    /// lets others write to them: what is read of a mapped file must not change. Gives the error of the
    /// first one. It takes a look at each file's owner and mode (2 us a file).
    ///
    /// # Errors
    /// [`StorageError::Io`] where the folder cannot be read; what stands in the way of the first such
    /// file.
    pub fn check_files(&self) -> Result<()> {
        self.0.check_files()
    }
}

/// The longest copy that is made on the caller's own thread: it takes about as long as it would
/// take to hand the read to another thread, which is some microseconds.
const COPY_AT_ONCE_LEN_MAX: usize = 64 << 10;

/// An open file.
pub(crate) struct MappedFile(RawFile);

impl MappedFile {
    /// Makes the function that turns an error of the page store into ours. Under a budget it may be
    /// another file that could not be evicted: then this one is not the one that is poisoned.
    fn told(
        &self,
        operation: Operation,
        path: StoragePath<'_>,
    ) -> impl FnOnce(Error) -> StorageError {
        let of_another = |error: &Error| match error {
            Error::SyncFailed { path, .. }
            | Error::RawPoisoned { path, .. }
            | Error::FlushFailed { path, .. }
            | Error::Poisoned { path, .. } => **path != *self.0.path(),
            _ => false,
        };
        move |error| match of_another(&error) {
            true => {
                let path = path.as_str().to_owned();
                StorageError::Backend { operation, path, source: Box::new(error) }
            }
            false => pages(operation, path)(error),
        }
    }

    /// A buffer for a copy, if the file is fit for it and long enough.
    fn buffer(
        &self,
        path: StoragePath<'_>,
        offset: u64,
        length: usize,
        buffers: &BufferPool,
    ) -> Result<FBuf> {
        let file_len = self.0.len().map_err(pages(Operation::Read, path))?;
        let end = offset.checked_add(length as u64);
        if end.is_none_or(|end| end > file_len) {
            let path = path.as_str().to_owned();
            return Err(StorageError::PastEnd { path, offset, length, file_len });
        }
        buffers.take(length).ok_or_else(|| StorageError::BudgetExceeded {
            operation: Operation::Read,
            path: path.as_str().to_owned(),
            needed_bytes: length as u64,
            used_bytes: buffers.used_bytes(),
            budget_bytes: buffers.limit_bytes(),
        })
    }
}

/// Makes the function that turns an error of the page store into ours, for `map_err`.
fn pages(operation: Operation, path: StoragePath<'_>) -> impl FnOnce(Error) -> StorageError {
    StorageError::pages(operation, path.as_str())
}

impl FolderFile for MappedFile {
    const NAME: &'static str = "mmap";
    const SEALED_READS_ARE_VIEWS: bool = true;

    fn adopt(file: File, path: StoragePath<'_>, budget: Option<&ResidencyBudget>) -> Result<Self> {
        let options = RawFile::options();
        let options = budget.map_or(options.clone(), |budget| options.budget(budget));
        options.open(file, Path::new(path.as_str())).map(Self).map_err(pages(Operation::Open, path))
    }

    fn is_sealed(&self) -> bool {
        self.0.is_sealed()
    }

    fn len(&self, path: StoragePath<'_>) -> Result<u64> {
        self.0.len().map_err(pages(Operation::Examine, path))
    }

    #[inline]
    fn try_read(
        &self,
        path: StoragePath<'_>,
        offset: u64,
        length: usize,
        buffers: &BufferPool,
    ) -> Option<Result<Bytes>> {
        if self.0.is_sealed() {
            let view = self.0.try_view(offset, length)?;
            return Some(view.map_err(|error| self.told(Operation::Read, path)(error)));
        }
        if length > COPY_AT_ONCE_LEN_MAX {
            return None;
        }
        let mut buffer = match self.buffer(path, offset, length, buffers) {
            Ok(buffer) => buffer,
            Err(error) => return Some(Err(error)),
        };
        let copied = self.0.try_read_at(offset, &mut buffer)?;
        Some(copied.map(|()| buffer.freeze()).map_err(self.told(Operation::Read, path)))
    }

    fn read(
        &self,
        path: StoragePath<'_>,
        offset: u64,
        length: usize,
        buffers: &BufferPool,
    ) -> Result<Bytes> {
        if self.0.is_sealed() {
            // What the kernel took back since the pages were first brought in must not be waited for
            // by the thread that the view goes to.
            let view = self.0.view_in_memory(offset, length);
            return view.map_err(self.told(Operation::Read, path));
        }
        let mut buffer = self.buffer(path, offset, length, buffers)?;
        self.0.read_at(offset, &mut buffer).map_err(self.told(Operation::Read, path))?;
        Ok(buffer.freeze())
    }

    fn prefetch(&self, path: StoragePath<'_>, ranges: &[(u64, usize)]) -> Result<()> {
        self.0.prefetch(ranges).map_err(self.told(Operation::Prefetch, path))
    }

    fn write(&self, path: StoragePath<'_>, offset: u64, parts: &[Bytes]) -> Result<()> {
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        self.0.write_at(offset, &slices).map_err(self.told(Operation::Write, path))
    }

    fn truncate(&self, path: StoragePath<'_>, len: u64) -> Result<()> {
        self.0.set_len(len).map_err(self.told(Operation::Truncate, path))
    }

    fn sync(&self, path: StoragePath<'_>) -> Result<()> {
        self.0.sync().map_err(pages(Operation::Sync, path))
    }

    fn seal(&self, path: StoragePath<'_>) -> Result<()> {
        self.0.seal().map_err(pages(Operation::Seal, path))
    }

    fn unsynced_bytes(&self) -> u64 {
        self.0.unsynced_bytes()
    }

    fn resident_bytes(&self) -> Option<u64> {
        self.0.residency().map(|residency| residency.resident_bytes)
    }

    fn is_poisoned(&self) -> bool {
        self.0.is_poisoned()
    }
}
