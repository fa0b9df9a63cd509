//! What can go wrong with backups, and what to do about it.

use std::path::PathBuf;

use layout::{CommitId, PageId};
use pagestore::Unsealed;
use thiserror::Error;
use uuid::Uuid;

use crate::ColumnsError;

/// The result of what works on backups.
pub type Result<T, E = BackupError> = std::result::Result<T, E>;

/// Any failure of a backup or of a restoration. The message says what was found, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The versioned file below failed.
    #[error(transparent)]
    Store(#[from] pagestore::Error),
    /// The sealed file of a backup failed, or is none.
    #[error(transparent)]
    Columns(#[from] ColumnsError),
    /// What is in a backup contradicts itself.
    #[error("{} is no backup: {what} in it is not possible; use another copy of it", path.display())]
    NotABackup {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        what: &'static str,
    },
    /// A backup is of another file than the rest.
    #[error(
        "{} is a backup of the file {found}, not of {expected}: name backups of one file",
        path.display()
    )]
    OtherFile {
        /// The backup.
        path: PathBuf,
        /// The uuid of the file that it is of.
        found: Uuid,
        /// The uuid of the file that the others are of.
        expected: Uuid,
    },
    /// An increment was asked for since a backup that is newer than the file.
    #[error(
        "{} is of commit {found}, but the file ends with commit {newest}: the file is an older copy; make a \
         whole backup of it", path.display()
    )]
    Ahead {
        /// The backup.
        path: PathBuf,
        /// Its commit.
        found: CommitId,
        /// The last commit of the file.
        newest: CommitId,
    },
    /// The file and the backup come from two copies of one file that were changed differently.
    #[error(
        "page {page} was changed by other commits than {} knows: it was made of another copy of the file; \
         make a whole backup", path.display()
    )]
    OtherHistory {
        /// The backup.
        path: PathBuf,
        /// The first page that shows it.
        page: PageId,
    },
    /// There is nothing to restore from.
    #[error("there is no backup to restore from: name a whole one, and increments to it")]
    Empty,
    /// The oldest backup of a chain is an increment.
    #[error(
        "{} is an increment since commit {since}, and none of the others is of that commit: name the whole backup that it \
         builds on, and all between", path.display()
    )]
    NoWhole {
        /// The oldest backup.
        path: PathBuf,
        /// What it is an increment to.
        since: CommitId,
    },
    /// Two backups do not follow one another.
    #[error(
        "a backup is missing, or one is too many: {} is an increment since commit {since}, but the one before \
         it, {}, is of commit {found}; name a whole backup and each increment after it, once",
        path.display(), before.display()
    )]
    MissingLink {
        /// The later one.
        path: PathBuf,
        /// What it is an increment to.
        since: CommitId,
        /// The one before it.
        before: PathBuf,
        /// What that is of.
        found: CommitId,
    },
    /// There is more than one whole backup.
    #[error(
        "{} and {} are both whole backups: name the one to begin with, and the increments to it",
        path.display(), other.display()
    )]
    TwoWhole {
        /// One.
        path: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// The backups fit each other by their numbers, but do not add up to the file that the last one was made
    /// of.
    #[error(
        "the backups up to {} do not add up to the file that it was made of: one is of another copy of the \
         file; restore from another chain", path.display()
    )]
    NotOneHistory {
        /// The last one.
        path: PathBuf,
    },
    /// The callback for progress stopped the work. Nothing was left behind.
    #[error("the work was stopped; nothing was left behind")]
    Stopped,
}

/// From the error of a page writer that could not finish the file. Drops the writer.
impl<W> From<Unsealed<W>> for BackupError {
    fn from(unsealed: Unsealed<W>) -> Self {
        unsealed.into_error().into()
    }
}
