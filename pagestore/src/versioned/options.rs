//! How to make and open a versioned file.

use std::{fmt, sync::Arc};

use layout::PageSize;

use super::{
    backing::Backing,
    medium::{FileMedium, Medium, WrapMedium},
};
use crate::{map::fault::Guard, residency::budget::ResidencyBudget};

/// Who makes checkpoints, by which the log becomes free again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Checkpoints {
    /// A thread of the file's own, when half of the log is full, while commits go on into the other half.
    #[default]
    InBackground,
    /// The commit that finds no room in the log, which then takes as long as that takes; and
    /// [`VersionedFile::checkpoint`](crate::VersionedFile::checkpoint).
    WhenFull,
}

/// How to make or open a [`VersionedFile`](crate::VersionedFile).
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::VersionedFile;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("accounts");
/// let file = VersionedFile::options().log_bytes(8 << 20).create(&path)?;
/// # Ok::<(), pagestore::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct VersionedFileOptions {
    pub(super) page_size: PageSize,
    pub(super) log_bytes: u64,
    pub(super) guard: Guard,
    pub(super) kept_bytes_max: u64,
    pub(super) budget: Option<ResidencyBudget>,
    pub(super) checkpoints: Checkpoints,
    pub(super) wrap_medium: Option<WrapMedium>,
}

impl VersionedFileOptions {
    /// The log of a new file, unless another length is asked for: 64 MiB.
    pub const LOG_BYTES_DEFAULT: u64 = 64 << 20;

    /// The default options.
    pub const fn new() -> Self {
        Self {
            page_size: PageSize::DEFAULT,
            log_bytes: Self::LOG_BYTES_DEFAULT,
            guard: Guard::Installed,
            kept_bytes_max: u64::MAX,
            budget: None,
            checkpoints: Checkpoints::InBackground,
            wrap_medium: None,
        }
    }

    /// The size of the pages of a new file; one that is opened has its own. Default: 4 KiB.
    pub const fn page_size(mut self, page_size: PageSize) -> Self {
        self.page_size = page_size;
        self
    }

    /// The bytes of a new file's log; one that is opened has its own. They are reserved on the disk at once.
    /// A multiple of 128 KiB, from 128 KiB to 1 TiB. Default: [`LOG_BYTES_DEFAULT`](Self::LOG_BYTES_DEFAULT).
    ///
    /// A commit takes at most half of it, but for pages that are new. A recovery reads it once. The longer it
    /// is, the more often a page is written to the log for once that it is written to its place.
    pub const fn log_bytes(mut self, bytes: u64) -> Self {
        self.log_bytes = bytes;
        self
    }

    /// Whether page faults that cannot be answered are caught. Default: [`Guard::Installed`].
    pub const fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// The most bytes that a transaction and snapshots may keep beside the file: pages that were borrowed to
    /// be written, and pages as old snapshots show them. They are memory that the kernel cannot evict, so
    /// beyond what the machine has it would end a process. Where the limit is met, borrowing a page to write,
    /// or a commit, fails with [`Error::KeptExceeded`](crate::Error::KeptExceeded), which says who has them.
    ///
    /// Default: no limit.
    pub const fn kept_bytes_max(mut self, bytes: u64) -> Self {
        self.kept_bytes_max = bytes;
        self
    }

    /// A budget that [kept bytes](Self::kept_bytes_max) count against. The pages of the file itself do not:
    /// they are the page cache's, which the kernel can evict.
    ///
    /// Default: none.
    pub fn budget(mut self, budget: &ResidencyBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// Who makes checkpoints. Default: [`Checkpoints::InBackground`].
    pub const fn checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = checkpoints;
        self
    }

    /// Has everything that is written go through another medium, made of the real one.
    #[cfg(feature = "testing")]
    pub fn medium(
        mut self,
        wrap: impl Fn(Arc<dyn Medium>) -> Arc<dyn Medium> + Send + Sync + 'static,
    ) -> Self {
        self.wrap_medium = Some(Arc::new(wrap));
        self
    }

    /// The medium that a file is written through.
    pub(super) fn medium_of(&self, backing: &Arc<Backing>) -> Arc<dyn Medium> {
        let real: Arc<dyn Medium> = Arc::new(FileMedium(Arc::clone(backing)));
        match &self.wrap_medium {
            None => real,
            Some(wrap) => wrap(real),
        }
    }
}

impl Default for VersionedFileOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for VersionedFileOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionedFileOptions")
            .field("page_size", &self.page_size)
            .field("log_bytes", &self.log_bytes)
            .field("kept_bytes_max", &self.kept_bytes_max)
            .field("checkpoints", &self.checkpoints)
            .finish_non_exhaustive()
    }
}
