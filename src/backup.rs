//! Backups of versioned files: whole ones, and increments on top of them.
//!
//! A backup is made of a [`Snapshot`], so it is consistent, and commits go on meanwhile: the process that has
//! the file open to write makes it. (Another one can where nobody writes, by
//! [`VersionedFile::open_read_only`](crate::VersionedFile::open_read_only).) It is a sealed file, with a checksum for each page, and
//! appears under its name only when it is whole and durable. An increment has the pages that changed since an
//! earlier backup. A [`Chain`] of a whole backup and increments is restored to a versioned file at the last
//! one's commit.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use storage::{PageCount, VersionedFile, backup::{Backup, BackupOptions, Chain}};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let folder = folder.path();
//! let file = VersionedFile::create(folder.join("accounts"))?;
//! file.update(|transaction| transaction.grow(PageCount::new(100)).map(drop))?;
//! file.update(|transaction| transaction.pages_mut(..).map(|pages| pages.fill(1)))?;
//! let go_on = |_| ControlFlow::Continue(());
//! let whole = BackupOptions::new().create(&file.snapshot()?, folder.join("monday"), go_on)?;
//! assert_eq!(whole.page_count().get(), 100);
//!
//! file.update(|transaction| transaction.page_mut(7).map(|page| page.fill(2)))?;
//! let since = BackupOptions::new().since(&whole);
//! let increment = since.create(&file.snapshot()?, folder.join("tuesday"), go_on)?;
//! assert_eq!(increment.held_count().get(), 1);
//!
//! let chain = Chain::open([folder.join("monday"), folder.join("tuesday")])?;
//! chain.restore(folder.join("restored"), storage::Existing::Refuse, go_on)?;
//! let restored = VersionedFile::open(folder.join("restored"))?;
//! assert_eq!(restored.commit_id(), file.commit_id());
//! assert_eq!(restored.snapshot()?.pages(..)?, file.snapshot()?.pages(..)?);
//! # Ok::<(), storage::backup::BackupError>(())
//! ```

use std::path::Path;

use layout::{ColumnsKind, CommitId, PageChecksum, PageCount, PageRange, PageSize, PageStamp};
use uuid::Uuid;

use crate::{Columns, Snapshot};

mod chain;
mod create;
mod error;
mod head;

pub use chain::Chain;
pub use create::BackupOptions;
pub use error::{BackupError, Result};

use head::{Head, PAGES, STAMPS};

/// The kind of the columns of a backup.
const KIND: ColumnsKind = ColumnsKind::new(*b"backup\0\0");

/// What is copied at once, and between two reports of progress.
const WINDOW_BYTES: u64 = 1 << 20;

/// How far a backup or a restoration has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BackupProgress {
    /// Bytes of pages that were copied so far.
    pub bytes_done: u64,
    /// Bytes of all pages that are to be copied.
    pub bytes: u64,
}

/// A backup of a versioned file, opened: a whole one, or an increment.
///
/// Cloning is cheap and shares the mapping.
#[derive(Clone, Debug)]
pub struct Backup {
    columns: Columns,
    head: Head,
    runs: Vec<PageRange>,
}

impl Backup {
    /// Opens a backup. The pages in it are verified when they are read.
    ///
    /// # Errors
    /// [`BackupError::Columns`] where it is no sealed file of columns, or is damaged, or others could write to
    /// it; [`BackupError::NotABackup`] where the columns are not those of a backup, or contradict.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::of(Columns::open(path)?)
    }

    fn of(columns: Columns) -> Result<Self> {
        columns.expect_kind(KIND)?;
        let head = Head::read(&columns)?;
        let runs = head.read_runs(&columns)?;
        Ok(Self { columns, head, runs })
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.columns.file().path()
    }

    /// The uuid of the file that it is a backup of.
    #[must_use]
    pub const fn file_uuid(&self) -> Uuid {
        self.head.file_uuid
    }

    /// The commit that it is of.
    #[must_use]
    pub const fn commit(&self) -> CommitId {
        self.head.commit
    }

    /// The commit of the backup that it is an increment to; `None` of a whole one.
    #[must_use]
    pub fn since(&self) -> Option<CommitId> {
        (self.head.since > CommitId::ZERO).then_some(self.head.since)
    }

    /// The size of the file's pages.
    #[must_use]
    pub const fn page_size(&self) -> PageSize {
        self.head.page_size
    }

    /// How many pages the file had.
    #[must_use]
    pub const fn page_count(&self) -> PageCount {
        self.head.page_count
    }

    /// How many pages the backup holds: of a whole one, all that were ever written.
    #[must_use]
    pub fn held_count(&self) -> PageCount {
        PageCount::new(self.runs.iter().map(|run| run.count().get()).sum())
    }

    /// The pages that the backup holds.
    #[must_use]
    pub fn runs(&self) -> &[PageRange] {
        &self.runs
    }

    /// The stamps of pages, by their places in the backup.
    fn stamps(&self, first: u64, count: u64) -> Result<Vec<PageStamp>> {
        let stamps =
            self.columns.column_range::<[u64; 2]>(STAMPS, index(first)..index(first + count))?;
        let read = stamps.iter().map(|&[commit, checksum]| {
            let commit = CommitId::new(commit);
            let narrow = u32::try_from(checksum);
            let is_possible = commit > self.head.since && commit <= self.head.commit;
            match narrow {
                Ok(narrow) if is_possible => {
                    let checksum = PageChecksum::from_le_bytes(narrow.to_le_bytes());
                    Ok(PageStamp { commit, checksum })
                }
                _ => Err(head::contradicts(&self.columns, "the stamp of a page")),
            }
        });
        read.collect()
    }

    /// The bytes of pages, by their places in the backup; verified.
    fn pages(&self, first: u64, count: u64) -> Result<&[u8]> {
        let page_bytes = self.head.page_size.get();
        let (start, end) = (first * page_bytes, (first + count) * page_bytes);
        Ok(self.columns.column_range::<u8>(PAGES, index(start)..index(end))?)
    }

    /// Fails where it is no earlier state of what a snapshot shows, as far as can be told without a look at its
    /// pages.
    fn check_is_before(&self, snapshot: &Snapshot) -> Result<()> {
        let path = || self.path().into();
        let (found, expected) = (self.file_uuid(), snapshot.file_uuid());
        if found != expected {
            return Err(BackupError::OtherFile { path: path(), found, expected });
        }
        if self.page_size() != snapshot.page_size() {
            return Err(head::contradicts(&self.columns, "the page size"));
        }
        let (found, newest) = (self.commit(), snapshot.commit());
        if found > newest {
            return Err(BackupError::Ahead { path: path(), found, newest });
        }
        Ok(())
    }
}

/// A length or index inside what is mapped.
fn index(number: u64) -> usize {
    usize::try_from(number).expect("what is mapped fits a usize")
}
