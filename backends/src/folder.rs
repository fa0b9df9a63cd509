//! A folder on disk as a medium, whatever its files are read and written with.
//!
//! [`FolderMedium`] joins the [`Root`], which keeps every name beneath it, with the table of open
//! files; a [`FolderFile`] is how the bytes of one open file are reached.
//!
//! A file stays open after its first use, so that a read costs one look into the table. The table
//! is the reason why a folder is for one backend at a time: what others do to names in it is seen
//! only for files that are not open here.

use std::{fs::File, sync::OnceLock};

use bytes::Bytes;
use pagestore::ResidencyBudget;
use rustix::io::Errno;

use crate::{
    BufferPool, Operation, Result, Stats, StorageError, StoragePath,
    root::{Missing, Root},
};

mod medium;
mod table;

pub(crate) use medium::folder_medium;
use table::{Held, Table};

/// One open file of a folder: how its bytes are reached.
///
/// Names are none of its business: the path that each method gets is for error messages only, since
/// a rename gives an open file another one. A method may run on several threads at once.
pub(crate) trait FolderFile: Sized + Send + Sync + 'static {
    /// The medium's name in messages and logs.
    const NAME: &'static str;
    /// Whether reads of a sealed file are views; see
    /// [`StorageBackend::reads_are_views`](crate::StorageBackend::reads_are_views).
    const SEALED_READS_ARE_VIEWS: bool;

    /// Adopts an opened regular file and locks it: exclusively where it can still be changed, and
    /// shared where it is [sealed](pagestore::has_seal). A sealed file comes opened for reading only, any
    /// other for both. What it has mapped counts against the budget.
    fn adopt(file: File, path: StoragePath<'_>, budget: Option<&ResidencyBudget>) -> Result<Self>;

    /// Whether the file never changes any more.
    fn is_sealed(&self) -> bool;

    /// How many bytes the file has.
    fn len(&self, path: StoragePath<'_>) -> Result<u64>;

    /// Reads at once, or gives `None`; see [`Medium::try_read`](crate::Medium::try_read). A part of
    /// the table of open files is locked meanwhile, so this must be short.
    fn try_read(
        &self,
        path: StoragePath<'_>,
        offset: u64,
        length: usize,
        buffers: &BufferPool,
    ) -> Option<Result<Bytes>>;

    /// Reads exactly `length` bytes from `offset` on.
    fn read(
        &self,
        path: StoragePath<'_>,
        offset: u64,
        length: usize,
        buffers: &BufferPool,
    ) -> Result<Bytes>;

    /// Begins to read ranges, without waiting for them.
    fn prefetch(&self, path: StoragePath<'_>, ranges: &[(u64, usize)]) -> Result<()>;

    /// Writes all of `parts`, one behind the other, from `offset` on.
    fn write(&self, path: StoragePath<'_>, offset: u64, parts: &[Bytes]) -> Result<()>;

    /// Sets the file's length.
    fn truncate(&self, path: StoragePath<'_>, len: u64) -> Result<()>;

    /// Makes content and length durable; the name is the folder's business. After a failure each
    /// method fails with [`StorageError::Poisoned`](crate::StorageError::Poisoned), for good.
    fn sync(&self, path: StoragePath<'_>) -> Result<()>;

    /// Makes content, length and the [seal](pagestore::put_seal) of a file durable, and refuses changes
    /// from then on. Does nothing to a sealed file.
    fn seal(&self, path: StoragePath<'_>) -> Result<()>;

    /// The bytes that were written since the last sync. Zero means that nothing is to be synced and
    /// the file may be closed.
    fn unsynced_bytes(&self) -> u64;

    /// The bytes that are in memory, where that is known.
    fn resident_bytes(&self) -> Option<u64>;

    /// Whether an earlier failure made the file unusable.
    fn is_poisoned(&self) -> bool;
}

/// How many reads of a batch go to one thread: as many as keep the queue of a disk filled.
pub(crate) const READS_BEGUN_TOGETHER: usize = 64;

/// How often an open is tried again after a file was closed to make room for it.
const CLOSE_TRIES_MAX: usize = 16;

/// Files in a folder, of which those used last are open.
pub(crate) struct FolderMedium<F> {
    root: Root,
    files: Table<F>,
    buffers: BufferPool,
    budget: Option<ResidencyBudget>,
    /// Set when a folder could not be made durable. No name can be vouched for from then on, since
    /// the kernel tells such a failure once.
    names_lost: OnceLock<String>,
}

impl<F: FolderFile> FolderMedium<F> {
    /// The files of an opened root.
    pub(crate) fn new(root: Root, buffers: &BufferPool, budget: Option<ResidencyBudget>) -> Self {
        let buffers = buffers.clone();
        Self { root, files: Table::new(), buffers, budget, names_lost: OnceLock::new() }
    }

    #[inline]
    pub(crate) fn try_read(
        &self,
        path: StoragePath<'_>,
        offset: u64,
        length: usize,
    ) -> Option<Result<Bytes>> {
        self.files.with(path, |open| match open.check(Operation::Read, path) {
            Ok(()) => open.file.try_read(path, offset, length, &self.buffers),
            Err(error) => Some(Err(error)),
        })?
    }

    pub(crate) fn read(&self, path: StoragePath<'_>, offset: u64, length: usize) -> Result<Bytes> {
        let held = self.hold(Operation::Read, path, Missing::Fail)?;
        held.file.read(path, offset, length, &self.buffers)
    }

    pub(crate) fn prefetch(&self, path: StoragePath<'_>, ranges: &[(u64, usize)]) -> Result<()> {
        self.hold(Operation::Prefetch, path, Missing::Fail)?.file.prefetch(path, ranges)
    }

    pub(crate) fn len(&self, path: StoragePath<'_>) -> Result<u64> {
        let held = match self.files.get(path) {
            Some(held) => held,
            None => {
                // Nobody can open it, and then make it longer, while its names are locked.
                let names = self.files.lock(path);
                match names.get(path) {
                    Some(held) => held,
                    None => return self.root.len(path),
                }
            }
        };
        held.check(Operation::Examine, path)?;
        held.file.len(path)
    }

    /// Opens each file that somebody else could write to by its owner and mode, and gives the error of
    /// the first one that may not be used for that.
    pub(crate) fn check_files(&self) -> Result<()> {
        self.root.writable_by_others()?.iter().try_for_each(|name| {
            let path = StoragePath::new(name)?;
            match self.hold(Operation::Open, path, Missing::Fail) {
                // Somebody is using or removing it.
                Err(StorageError::Locked { .. } | StorageError::NotFound { .. }) => Ok(()),
                held => held.map(drop),
            }
        })
    }

    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.root.list(prefix)
    }

    pub(crate) fn write(&self, path: StoragePath<'_>, offset: u64, parts: &[Bytes]) -> Result<()> {
        self.hold(Operation::Write, path, Missing::Make)?.file.write(path, offset, parts)
    }

    pub(crate) fn truncate(&self, path: StoragePath<'_>, len: u64) -> Result<()> {
        self.hold(Operation::Truncate, path, Missing::Fail)?.file.truncate(path, len)
    }

    pub(crate) fn delete(&self, path: StoragePath<'_>) -> Result<()> {
        let names = self.files.lock(path);
        self.root.delete(path)?;
        let removed = names.remove(path);
        // Closing may take long, and no name depends on it any more.
        drop(names);
        drop(removed);
        Ok(())
    }

    pub(crate) fn sync(&self, path: StoragePath<'_>) -> Result<()> {
        let held = self.hold(Operation::Sync, path, Missing::Fail)?;
        held.file.sync(path)?;
        self.sync_name(Operation::Sync, path, &held)
    }

    pub(crate) fn seal(&self, path: StoragePath<'_>) -> Result<()> {
        let held = self.hold(Operation::Seal, path, Missing::Fail)?;
        held.file.seal(path)?;
        self.sync_name(Operation::Seal, path, &held)
    }

    pub(crate) fn rename(&self, from: StoragePath<'_>, to: StoragePath<'_>) -> Result<()> {
        self.check_names(Operation::Rename, from)?;
        let names = self.files.lock_two(from, to);
        if let Some(held) = names.get(from) {
            held.check_renamable(from)?;
        }
        self.root.rename(from, to)?;
        let moved = names.rename(from, to);
        drop(names);
        drop(moved.replaced);
        if let Err(error) = self.root.settle(from, to) {
            return Err(self.lose_names(error, moved.held.as_ref()));
        }
        if let Some(held) = moved.held {
            held.name_is_durable();
        }
        Ok(())
    }

    pub(crate) fn reads_are_views(&self, path: StoragePath<'_>) -> bool {
        F::SEALED_READS_ARE_VIEWS
            && self.files.with(path, |open| open.file.is_sealed()).unwrap_or(false)
    }

    pub(crate) fn fill_stats(&self, stats: &mut Stats) {
        let all = self.files.all();
        stats.open_files = all.len() as u64;
        stats.dirty_bytes = Some(all.iter().map(|open| open.file.unsynced_bytes()).sum());
        let resident = all.iter().filter_map(|open| open.file.resident_bytes());
        stats.resident_bytes = resident.fold(None, |sum, bytes| Some(sum.unwrap_or(0) + bytes));
        if let Some(budget) = &self.budget {
            let residency = budget.stats();
            stats.used_bytes = residency.used_bytes;
            stats.budget_bytes = Some(residency.limit_bytes);
            stats.written_back_bytes = residency.written_back_bytes;
            stats.evicted_bytes = residency.evicted_bytes;
            stats.faults = residency.faults;
        }
    }

    /// The open file at `path`, fit for use; opens it where it is not.
    fn hold(
        &self,
        operation: Operation,
        path: StoragePath<'_>,
        missing: Missing,
    ) -> Result<Held<F>> {
        let held = match self.files.get(path) {
            Some(held) => held,
            None => self.open_file(operation, path, missing)?,
        };
        held.check(operation, path)?;
        Ok(held)
    }

    fn open_file(
        &self,
        operation: Operation,
        path: StoragePath<'_>,
        missing: Missing,
    ) -> Result<Held<F>> {
        self.files.make_room();
        let names = self.files.lock(path);
        if let Some(held) = names.get(path) {
            return Ok(held);
        }
        let mut tries = 0..CLOSE_TRIES_MAX;
        let file = loop {
            match self.root.open_file(operation, path, missing) {
                Err(StorageError::Io { source, .. })
                    if is_out_of_descriptors(&source)
                        && tries.next().is_some()
                        && self.files.close_one() => {}
                result => break result?,
            }
        };
        Ok(names.insert(path, F::adopt(file, path, self.budget.as_ref())?))
    }

    /// Makes the name of a file durable, if it is new since that was last done.
    fn sync_name(&self, operation: Operation, path: StoragePath<'_>, held: &Held<F>) -> Result<()> {
        if held.has_durable_name() {
            return Ok(());
        }
        self.check_names(operation, path)?;
        self.root
            .sync_names(operation, path)
            .map_err(|error| self.lose_names(error, Some(held)))?;
        held.name_is_durable();
        Ok(())
    }

    fn check_names(&self, operation: Operation, path: StoragePath<'_>) -> Result<()> {
        match self.names_lost.get() {
            None => Ok(()),
            Some(reason) => Err(StorageError::Poisoned {
                operation,
                path: path.as_str().to_owned(),
                source: reason.as_str().into(),
            }),
        }
    }

    /// Notes that a folder could not be made durable.
    fn lose_names(&self, error: StorageError, held: Option<&Held<F>>) -> StorageError {
        let error_told = pagestore::WithCauses(&error).to_string();
        let reason = format!("a folder could not be made durable earlier ({error_told})");
        tracing::error!(error = %error_told, "a folder could not be made durable; no new name can be from now on");
        if let Some(held) = held {
            held.poison(reason.clone());
        }
        // The first reason stays.
        let _set_before = self.names_lost.set(reason);
        error
    }
}

fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE]
        .into_iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
