//! How raw files are opened.

use crate::{file::access::Access, residency::budget::ResidencyBudget};

/// How to open a [`RawFile`](crate::RawFile).
///
/// ```
/// use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt};
/// # extern crate pagestore as storage;
/// use storage::{RawFile, ResidencyBudget};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("bytes");
/// let budget = ResidencyBudget::new(4 << 20)?;
/// let mut options = OpenOptions::new();
/// let opened = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
/// let file = RawFile::options().budget(&budget).open(opened, &path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct RawFileOptions {
    pub(super) access: Access,
    pub(super) budget: Option<ResidencyBudget>,
}

impl RawFileOptions {
    /// The default options: [`Access::Normal`], no budget.
    pub const fn new() -> Self {
        Self { access: Access::Normal, budget: None }
    }

    /// How the file is going to be read. Default: [`Access::Normal`].
    pub const fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// The budget that the pages in memory count against: those that are read, and those that are
    /// written until they leave for the disk. A file under a budget can be of 16 TiB at the most.
    ///
    /// Default: none.
    pub fn budget(mut self, budget: &ResidencyBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }
}
