//! What a verification of a versioned file found.

use std::{fmt, time::Duration};

use layout::{CommitId, FormatError, LogState, PageChecksum, PageCount, PageId};

/// A page that is not as its stamp says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BadVersionedPage {
    /// The page.
    pub page: PageId,
    /// Its first byte, counted from the beginning of the file.
    pub offset: u64,
    /// What is wrong.
    pub damage: PageDamage,
}

/// What is wrong with a page or its stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PageDamage {
    /// The page's bytes do not match the checksum.
    Bytes {
        /// The commit that is said to have changed the page last.
        commit: CommitId,
        /// What the bytes give.
        found: PageChecksum,
        /// What the stamp says, or the log.
        expected: PageChecksum,
    },
    /// The stamp is wrong, or there is none where the page is not zero.
    Stamp(FormatError),
}

impl fmt::Display for PageDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes { commit, found, expected } => write!(
                f,
                "expected checksum {expected}, actual {found}; commit {commit} changed it last"
            ),
            Self::Stamp(error) => error.fmt(f),
        }
    }
}

/// What [`VersionedFile::verify`](crate::VersionedFile::verify) found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VersionedReport {
    /// The last commit, as an open would find it.
    pub commit: CommitId,
    /// Whether the log is needed: the file was not closed.
    pub log_state: LogState,
    /// The commits that only the log has: an open would put them into the pages.
    pub log_commits: u64,
    /// The pages that these change.
    pub log_pages: PageCount,
    /// Pages checked: all of the last commit, unless it was stopped, or the log is damaged.
    pub pages: PageCount,
    /// Pages of the last commit.
    pub page_count: PageCount,
    /// Pages that are damaged.
    pub bad_pages: Vec<BadVersionedPage>,
    /// Damage outside the pages: in the header, the mark or the log.
    pub damage: Vec<FormatError>,
    /// How long it took.
    pub elapsed: Duration,
}

impl VersionedReport {
    /// Whether everything that the last commit left is there. `false` where the verification was stopped
    /// before all pages were checked.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.is_complete() && self.bad_pages.is_empty() && self.damage.is_empty()
    }

    /// Whether all pages were checked.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pages == self.page_count
    }
}
