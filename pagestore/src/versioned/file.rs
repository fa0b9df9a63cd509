//! The versioned file, its statistics, and the way out of one that failed.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use layout::{CommitId, LogState, PageCount, PageSize};
use uuid::Uuid;

use super::{
    core::Core, log::Log, options::VersionedFileOptions, recovery::RecoveryReport,
    snapshot::Snapshot, transaction::Transaction, writing::VersionedContent,
};
use crate::{
    error::{Error, Result},
    file::pending::Existing,
};

/// A file of pages that change by transactions: all of a transaction's changes are there, or none,
/// whenever a process or the machine crashes.
///
/// One [`Transaction`] at a time changes pages; [`commit`](Transaction::commit) makes it durable by one wait
/// for the disk. Any number of [`Snapshot`]s show the pages as a commit left them, as plain slices with no
/// latch. Neither waits for the other. Every page has a checksum, which is verified when it is first read.
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{PageCount, PageId, VersionedFile};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("accounts");
/// let file = VersionedFile::create(&path)?;
/// let mut transaction = file.begin()?;
/// transaction.grow(PageCount::new(2))?;
/// transaction.as_slice_of_mut::<u64>(..)?[..2].copy_from_slice(&[70, 30]);
/// transaction.commit()?;
///
/// let before = file.snapshot()?;
/// let mut transaction = file.begin()?;
/// let accounts = transaction.as_slice_of_mut::<u64>(PageId::new(0)..PageId::new(1))?;
/// accounts[0] -= 20;
/// accounts[1] += 20;
/// transaction.commit()?;
/// assert_eq!(before.as_slice_of::<u64>(..)?[..2], [70, 30]);
/// assert_eq!(file.snapshot()?.as_slice_of::<u64>(..)?[..2], [50, 50]);
/// # Ok::<(), pagestore::Error>(())
/// ```
pub struct VersionedFile {
    pub(super) core: Arc<Core>,
    pub(super) recovered: Option<RecoveryReport>,
}

/// What a versioned file keeps and has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VersionedStats {
    /// The last commit.
    pub commit: CommitId,
    /// How many pages it left.
    pub page_count: PageCount,
    /// The last commit that is durable in the pages themselves; a recovery would begin behind it.
    pub checkpoint: CommitId,
    /// What of the log is in use, at most.
    pub log_used_bytes: u64,
    /// The bytes of pages that transactions and snapshots keep in memory beside the file.
    pub kept_bytes: u64,
    /// How many commits somebody has a snapshot of.
    pub snapshots: usize,
    /// The oldest of them, and for how long it was there.
    pub oldest: Option<(CommitId, Duration)>,
}

impl VersionedFile {
    /// How to make or open a file otherwise than by default.
    pub const fn options() -> VersionedFileOptions {
        VersionedFileOptions::new()
    }

    /// Makes a new file by default options; see [`VersionedFileOptions::create`].
    ///
    /// # Errors
    /// As [`VersionedFileOptions::create`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().create(path)
    }

    /// Opens a file by default options; see [`VersionedFileOptions::open`].
    ///
    /// # Errors
    /// As [`VersionedFileOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().open(path)
    }

    /// Opens the last commit to read, under a lock that readers share: as many processes as like to can, as
    /// long as none has the file open to write. See [`VersionedFileOptions::open_read_only`].
    ///
    /// # Errors
    /// As [`VersionedFileOptions::open_read_only`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Snapshot> {
        Self::options().open_read_only(path)
    }

    /// Makes pages in memory by default options; see [`VersionedFileOptions::in_memory`].
    ///
    /// # Errors
    /// As [`VersionedFileOptions::in_memory`].
    pub fn in_memory() -> Result<Self> {
        Self::options().in_memory()
    }

    /// The size of a page.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.core.page_size()
    }

    /// The uuid that the file got when it was made.
    #[must_use]
    pub fn file_uuid(&self) -> Uuid {
        self.core.file_uuid
    }

    /// The last commit.
    #[must_use]
    pub fn commit_id(&self) -> CommitId {
        self.core.views.version().commit
    }

    /// What was found in the log when the file was opened; `None` where it had been closed.
    #[must_use]
    pub fn recovered(&self) -> Option<RecoveryReport> {
        self.recovered
    }

    /// Begins a transaction, after the one that is under way, if there is one, has ended.
    ///
    /// # Deadlock
    /// A thread that has a transaction and begins another waits for itself.
    ///
    /// # Errors
    /// [`Error::Poisoned`] after a commit or a checkpoint has failed; [`Error::AddressSpace`].
    pub fn begin(&self) -> Result<Transaction<'_>> {
        self.core.check()?;
        Transaction::begin(&self.core, self.core.turn.take())
    }

    /// Begins a transaction, unless there is one under way: then it is `None`.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn try_begin(&self) -> Result<Option<Transaction<'_>>> {
        self.core.check()?;
        let turn = self.core.turn.try_take();
        turn.map(|writer| Transaction::begin(&self.core, writer)).transpose()
    }

    /// Makes a change and commits it, together with those of other threads that call this at the same time:
    /// they share one wait for the disk. When it has returned, the change is durable.
    ///
    /// The change sees those of others that are committed with it. Where it fails, or panics, it alone is
    /// taken back.
    ///
    /// It is made by whichever of these threads commits for all, so it and its result must be `Send`, and it must
    /// not count on what belongs to a thread (thread-locals, locks that the caller holds).
    ///
    /// # Deadlock
    /// As [`begin`](Self::begin). A change must wait for nobody who updates or begins, nor for a lock that
    /// somebody holds while he does.
    ///
    /// # Errors
    /// What `change` returns; [`Error::Io`] (`InvalidInput`) where it put another transaction in the place of its own,
    /// which gives up the changes of all that were to share the commit; [`Error::GroupFailed`] where the commit failed
    /// that others had a part in; otherwise as [`begin`](Self::begin) and [`Transaction::commit`].
    ///
    /// ```
    /// # extern crate pagestore as storage;
    /// use storage::{PageCount, PageId, VersionedFile};
    ///
    /// let file = VersionedFile::in_memory()?;
    /// file.update(|transaction| transaction.grow(PageCount::new(1)).map(drop))?;
    /// std::thread::scope(|scope| {
    ///     for _ in 0..4 {
    ///         scope.spawn(|| {
    ///             file.update(|transaction| {
    ///                 transaction.as_slice_of_mut::<u64>(..)?[0] += 1;
    ///                 Ok::<_, pagestore::Error>(())
    ///             })
    ///         });
    ///     }
    /// });
    /// assert_eq!(file.snapshot()?.as_slice_of::<u64>(..)?[0], 4);
    /// # Ok::<(), pagestore::Error>(())
    /// ```
    pub fn update<R: Send, E: From<Error> + Send>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>) -> Result<R, E> + Send,
    ) -> Result<R, E> {
        self.core.update(change)
    }

    /// The pages as the last commit left them. Where nothing was committed since the last snapshot, this
    /// is the clone of an `Arc`.
    ///
    /// # Errors
    /// [`Error::AddressSpace`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(self.core.views.read()?))
    }

    /// Makes durable in the pages what was committed so far, so that a recovery has nothing to do for it. A
    /// commit is durable without this.
    ///
    /// # Errors
    /// [`Error::SyncFailed`], after which the file takes no more commits; [`Error::Poisoned`].
    pub fn checkpoint(&self) -> Result<()> {
        self.core.checkpoint(LogState::Needed)
    }

    /// Closes the file: after a checkpoint, opening it does not have to look at the log. Dropping it tries
    /// the same and says nothing of how it went: the log is there.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint).
    pub fn close(self) -> Result<()> {
        self.core.end_threads();
        self.core.checkpoint(LogState::Clean)
    }

    /// Writes the pages of the last commit to a new versioned file at `path`, with the uuid and the stamps that
    /// they have here, and gives the commit. This is the way out after a commit or a checkpoint has failed; it
    /// also copies a healthy file.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot), [`Snapshot::pages`] and [`VersionedFileOptions::write`]. [`Error::Io`]
    /// (`InvalidData`) where pages that the disk did not take have left memory: the log has them, so open the file
    /// anew. After a failure, that of the log where it cannot be read: what a [`snapshot`](Self::snapshot) shows cannot be
    /// vouched for then. A new file that could not be finished leaves nothing behind.
    pub fn recover_into(&self, path: impl AsRef<Path>) -> Result<CommitId> {
        let snapshot = self.snapshot()?;
        let (file_uuid, commit) = (snapshot.file_uuid(), snapshot.commit());
        let content = VersionedContent { file_uuid, commit, page_count: snapshot.page_count() };
        let options = Self::options().page_size(self.page_size()).log_bytes(snapshot.log_bytes());
        self.core.check_with_log(&snapshot)?;
        let mut writer = options.write(path, Existing::Refuse, &content)?;
        snapshot.copy_to(&mut writer)?;
        // Nothing that was lost is given for what was committed.
        snapshot.still_valid()?;
        self.core.check_with_log(&snapshot)?;
        writer.publish()?;
        Ok(commit)
    }

    /// What the file keeps and has done.
    #[must_use]
    pub fn stats(&self) -> VersionedStats {
        let version = self.core.views.version();
        let (oldest, snapshots) = self.core.views.oldest();
        let log = self.core.log.as_ref();
        VersionedStats {
            commit: version.commit,
            page_count: version.page_count,
            checkpoint: log.map_or(version.commit, |log| log.checkpointed().0),
            log_used_bytes: log.map_or(0, Log::used_bytes),
            kept_bytes: self.core.views.kept.bytes(),
            snapshots,
            oldest: oldest.map(|(commit, made)| (commit, made.elapsed())),
        }
    }
}

impl Drop for VersionedFile {
    fn drop(&mut self) {
        self.core.end_threads();
        // A failed one loses nothing: the log has what is missing, and the next open puts it in place.
        let _closed = self.core.checkpoint(LogState::Clean);
    }
}

impl fmt::Debug for VersionedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionedFile")
            .field("path", &self.core.backing.path())
            .field("page_size", &self.page_size())
            .field("commit", &self.commit_id())
            .finish_non_exhaustive()
    }
}
