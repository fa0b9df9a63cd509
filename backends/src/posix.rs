//! Files in a folder, read and written by positioned system calls.

use std::{
    fs::{File, TryLockError},
    io::{self, IoSlice, IoSliceMut},
    os::unix::fs::FileExt,
    process,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use pagestore::{ResidencyBudget, file_len_max, start_reading};
use parking_lot::{Mutex, RwLock};
use rustix::io::{Errno, ReadWriteFlags};

use crate::{
    BlockingBackend, BufferPool, FBuf, Operation, Result, StorageError, StoragePath,
    folder::{FolderFile, folder_medium},
};

folder_medium! {
    /// The medium of [`PosixBackend`].
    PosixMedium over PosixFile
}

/// Files in a folder, read and written by positioned system calls, through the page cache.
///
/// Every read is a copy in a pooled buffer. One of up to 64 KiB that the page cache can answer is
/// answered at once.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let root = folder.path().join("files");
/// # extern crate backends as storage;
/// use storage::{Limits, PosixBackend, StorageBackend};
///
/// let backend = PosixBackend::open(&root, Limits::default())?;
/// backend.write("logs/today", 0, b"hello").await?;
/// assert_eq!(backend.read("logs/today", 1, 3).await?, b"ell"[..]);
/// # Ok(())
/// # }
/// ```
pub type PosixBackend = BlockingBackend<PosixMedium>;

/// The longest read that is answered on the caller's own thread: copying it takes about as long as
/// it would take to hand the read to another thread, which is some microseconds.
const AT_ONCE_LEN_MAX: usize = 64 << 10;

/// How many pieces one call writes; the kernel takes no more.
const IOV_MAX: usize = 1024;

/// An open file.
pub(crate) struct PosixFile {
    file: File,
    /// The process that took the lock.
    process: u32,
    /// The length in bytes. Reading holds it shared and writing exclusively, since the kernel
    /// makes one call see another's bytes partly.
    len: RwLock<u64>,
    sealed: AtomicBool,
    unsynced_bytes: AtomicU64,
    /// Whether a sync through this descriptor was done yet. Before, another process may have left
    /// something to sync.
    ever_synced: AtomicBool,
    /// Held during a sync: of two at the same time the kernel would tell only one of a failure.
    syncing: Mutex<()>,
    /// What a sync failed with.
    poison: OnceLock<io::Error>,
}

impl PosixFile {
    fn check(&self, operation: Operation, path: StoragePath<'_>) -> Result<()> {
        let Some(error) = self.poison.get() else { return Ok(()) };
        let path = path.as_str().to_owned();
        let source = format!("an earlier operation failed ({error}); write a new file").into();
        Err(StorageError::Poisoned { operation, path, source })
    }

    fn check_writable(&self, operation: Operation, path: StoragePath<'_>) -> Result<()> {
        self.check(operation, path)?;
        if self.is_sealed() {
            return Err(StorageError::Sealed { operation, path: path.as_str().to_owned() });
        }
        Ok(())
    }

    /// Writes all parts; at most `IOV_MAX` in one call.
    fn write_all(&self, mut offset: u64, parts: &[Bytes]) -> rustix::io::Result<()> {
        for batch in parts.chunks(IOV_MAX) {
            let mut slices: Vec<IoSlice<'_>> =
                batch.iter().map(|part| IoSlice::new(part)).collect();
            let mut rest = &mut slices[..];
            // Skips empty parts at the front.
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                match rustix::io::pwritev(&self.file, rest, offset) {
                    Ok(0) => return Err(Errno::IO),
                    Ok(written) => {
                        offset += written as u64;
                        IoSlice::advance_slices(&mut rest, written);
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(())
    }

    /// After a write that failed: takes back what the file grew by, or learns its length. Where the
    /// disk does neither, a later write behind the end could show what this one left there in the
    /// place of zeros, so the file is poisoned.
    fn restore_len(&self, len: &mut u64, end: u64) {
        if end <= *len || self.file.set_len(*len).is_ok() {
            return;
        }
        match len_of(&self.file) {
            Ok(now) => *len = now,
            Err(error) => {
                let reason = format!("a write that failed could not be taken back ({error})");
                // The first reason stays.
                let _set_before = self.poison.set(io::Error::new(error.kind(), reason));
            }
        }
    }

    /// The file's fsync, once for everybody who waits for it; poisons the file where it fails.
    fn fsync(&self, operation: Operation, path: StoragePath<'_>) -> Result<()> {
        let _syncing = self.syncing.lock();
        self.check(operation, path)?;
        let bytes = self.unsynced_bytes.load(Ordering::Acquire);
        if bytes == 0 && self.ever_synced.load(Ordering::Acquire) {
            return Ok(());
        }
        self.sync_all(operation, path)?;
        self.ever_synced.store(true, Ordering::Release);
        // Those that came meanwhile stay.
        self.unsynced_bytes.fetch_sub(bytes, Ordering::AcqRel);
        Ok(())
    }

    fn sync_all(&self, operation: Operation, path: StoragePath<'_>) -> Result<()> {
        pagestore::sync_file(&self.file).map_err(|source| {
            let reason = io::Error::new(source.kind(), source.to_string());
            // The first reason stays.
            let _set_before = self.poison.set(reason);
            StorageError::Io { operation, path: path.as_str().to_owned(), source }
        })
    }
}

impl FolderFile for PosixFile {
    const NAME: &'static str = "posixio";
    const SEALED_READS_ARE_VIEWS: bool = false;

    fn adopt(
        file: File,
        path: StoragePath<'_>,
        _nothing_is_mapped: Option<&ResidencyBudget>,
    ) -> Result<Self> {
        let io = || StorageError::io(Operation::Open, path.as_str());
        let has_seal = || pagestore::has_seal(&file).map_err(io());
        let sealed = has_seal()?;
        lock(&file, path, sealed)?;
        // Again, under the lock: a writer may have had it until now.
        if has_seal()? != sealed {
            let path = path.as_str().to_owned();
            let holder = "its seal is just being put on".to_owned();
            return Err(StorageError::Locked { operation: Operation::Open, path, holder });
        }
        let len = len_of(&file).map_err(io())?;
        Ok(Self {
            file,
            process: process::id(),
            len: RwLock::new(len),
            sealed: AtomicBool::new(sealed),
            unsynced_bytes: AtomicU64::new(0),
            ever_synced: AtomicBool::new(false),
            syncing: Mutex::new(()),
            poison: OnceLock::new(),
        })
    }

    fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    fn len(&self, path: StoragePath<'_>) -> Result<u64> {
        self.check(Operation::Examine, path)?;
        Ok(*self.len.read())
    }

    fn try_read(
        &self,
        path: StoragePath<'_>,
        offset: u64,
        length: usize,
        buffers: &BufferPool,
    ) -> Option<Result<Bytes>> {
        if length > AT_ONCE_LEN_MAX {
            return None;
        }
        let len = self.len.try_read()?;
        let mut buffer = match self.buffer(path, offset, length, *len, buffers) {
            Ok(buffer) => buffer,
            Err(error) => return Some(Err(error)),
        };
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let read =
            rustix::io::preadv2(&self.file, &mut slices, offset, ReadWriteFlags::NOWAIT).ok()?;
        // Less is in the page cache, or the call is not known here: another thread has to wait.
        (read == length).then(|| Ok(buffer.freeze()))
    }

    fn read(
        &self,
        path: StoragePath<'_>,
        offset: u64,
        length: usize,
        buffers: &BufferPool,
    ) -> Result<Bytes> {
        let len = self.len.read();
        let mut buffer = self.buffer(path, offset, length, *len, buffers)?;
        match self.file.read_exact_at(&mut buffer, offset) {
            Ok(()) => Ok(buffer.freeze()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                // Somebody who does not ask for locks cut it.
                let file_len = len_of(&self.file).unwrap_or(0);
                Err(past_end(path, offset, length, file_len))
            }
            Err(error) => Err(StorageError::io(Operation::Read, path.as_str())(error)),
        }
    }

    fn prefetch(&self, path: StoragePath<'_>, ranges: &[(u64, usize)]) -> Result<()> {
        self.check(Operation::Prefetch, path)?;
        let file_len = *self.len.read();
        for &(offset, length) in ranges {
            let end = offset.saturating_add(length as u64).min(file_len);
            start_reading(&self.file, offset.min(end)..end);
        }
        Ok(())
    }

    fn write(&self, path: StoragePath<'_>, offset: u64, parts: &[Bytes]) -> Result<()> {
        let mut len = self.len.write();
        self.check_writable(Operation::Write, path)?;
        let io = StorageError::io(Operation::Write, path.as_str());
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if bytes == 0 {
            return Ok(());
        }
        let end = offset.checked_add(bytes).filter(|end| *end <= file_len_max());
        let Some(end) = end else { return Err(io(Errno::FBIG)) };
        let written = self.write_all(offset, parts);
        // Counted after the last byte: a sync that runs meanwhile takes back what it found counted
        // when it began, and that has to be on the disk then. Where it failed, part was written.
        self.unsynced_bytes.fetch_add(bytes, Ordering::AcqRel);
        match written {
            Ok(()) => {
                *len = end.max(*len);
                Ok(())
            }
            Err(errno) => {
                self.restore_len(&mut len, end);
                Err(io(errno))
            }
        }
    }

    fn truncate(&self, path: StoragePath<'_>, new_len: u64) -> Result<()> {
        let mut len = self.len.write();
        self.check_writable(Operation::Truncate, path)?;
        if new_len > file_len_max() && new_len > *len {
            return Err(StorageError::io(Operation::Truncate, path.as_str())(Errno::FBIG));
        }
        self.file.set_len(new_len).map_err(StorageError::io(Operation::Truncate, path.as_str()))?;
        *len = new_len;
        // A length counts as a byte.
        self.unsynced_bytes.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn sync(&self, path: StoragePath<'_>) -> Result<()> {
        self.fsync(Operation::Sync, path)
    }

    fn seal(&self, path: StoragePath<'_>) -> Result<()> {
        // Nobody writes between the sync and the seal.
        let _len = self.len.write();
        self.check(Operation::Seal, path)?;
        if self.is_sealed() {
            return Ok(());
        }
        self.fsync(Operation::Seal, path)?;
        pagestore::put_seal(&self.file, std::path::Path::new(path.as_str()))
            .map_err(StorageError::pages(Operation::Seal, path.as_str()))?;
        // From here on: the seal says so to everybody who opens it.
        self.sealed.store(true, Ordering::Release);
        let _syncing = self.syncing.lock();
        self.sync_all(Operation::Seal, path)?;
        lock(&self.file, path, true)
    }

    fn unsynced_bytes(&self) -> u64 {
        self.unsynced_bytes.load(Ordering::Acquire)
    }

    fn resident_bytes(&self) -> Option<u64> {
        None
    }

    fn is_poisoned(&self) -> bool {
        self.poison.get().is_some()
    }
}

impl PosixFile {
    /// A buffer for a read, if the file is fit for it and long enough.
    fn buffer(
        &self,
        path: StoragePath<'_>,
        offset: u64,
        length: usize,
        file_len: u64,
        buffers: &BufferPool,
    ) -> Result<FBuf> {
        self.check(Operation::Read, path)?;
        let end = offset.checked_add(length as u64);
        if end.is_none_or(|end| end > file_len) {
            return Err(past_end(path, offset, length, file_len));
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

/// The length of an open file. The standard library asks statx(2), and does not do without where that is
/// forbidden.
fn len_of(file: &File) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}

#[cold]
fn past_end(path: StoragePath<'_>, offset: u64, length: usize, file_len: u64) -> StorageError {
    StorageError::PastEnd { path: path.as_str().to_owned(), offset, length, file_len }
}

/// Locks a file: for readers where it is sealed, for one writer otherwise. A lock that is held is
/// changed from one into the other.
fn lock(file: &File, path: StoragePath<'_>, sealed: bool) -> Result<()> {
    let (locked, holder) = match sealed {
        true => (file.try_lock_shared(), "a writer has it open"),
        false => (file.try_lock(), "another backend or process has it open"),
    };
    match locked {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StorageError::Locked {
            operation: Operation::Open,
            path: path.as_str().to_owned(),
            holder: holder.to_owned(),
        }),
        Err(TryLockError::Error(error)) => {
            Err(StorageError::io(Operation::Open, path.as_str())(error))
        }
    }
}

impl Drop for PosixFile {
    /// Gives the lock back by name. Closing the descriptor would do it only when no other process
    /// has a copy, and every child that another thread is just starting has one until it has
    /// called exec(2). A child that runs on after a fork must not give its parent's lock away.
    fn drop(&mut self) {
        if self.process == process::id() {
            // A lock that cannot be given back ends with the descriptor, a moment later.
            let _unlocked = self.file.unlock();
        }
    }
}
