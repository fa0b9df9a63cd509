//! How raw files are opened.

use std::{fs::File, path::Path};

use crate::{Access, RawFile, ResidencyBudget, Result, file::purpose::Trust};

/// How to open a [`RawFile`].
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

    /// Adopts an opened regular file that nobody but this user and root can write to. `path` is
    /// only for messages. A [sealed](crate::has_seal) file needs to be open for reading only; any other
    /// one has to be open for both reading and writing.
    ///
    /// # Errors
    /// * [`Error::NotAFile`](crate::Error::NotAFile): it is something else than a regular file.
    /// * [`Error::Locked`](crate::Error::Locked): it is open elsewhere, in this process or in
    ///   another.
    /// * [`Error::OthersCanWrite`](crate::Error::OthersCanWrite): its owner or mode lets others
    ///   write to it.
    /// * [`Error::AddressSpace`](crate::Error::AddressSpace): a sealed file cannot be mapped.
    /// * [`Error::Io`](crate::Error::Io): the descriptor is not opened as it must be, or the system
    ///   refuses something.
    pub fn open(&self, file: File, path: &Path) -> Result<RawFile> {
        RawFile::adopt(self, file, path, Trust::Evidence)
    }

    /// Adopts an opened file that other users could write to.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for [`Error::OthersCanWrite`](crate::Error::OthersCanWrite).
    ///
    /// # Safety
    /// As long as the returned value and the views of it live, nobody else writes to the file or
    /// changes its length, by whatever path or descriptor: a `&[u8]` whose bytes change is undefined
    /// behaviour. The lock that is taken here keeps out only those who ask for it.
    #[expect(unsafe_code, reason = "the caller vouches for what owner and mode cannot show")]
    pub unsafe fn open_shared(&self, file: File, path: &Path) -> Result<RawFile> {
        RawFile::adopt(self, file, path, Trust::Caller)
    }
}
