//! How sealed files are opened.

use std::{path::Path, time::Duration};

use crate::{
    Access, Guard, ResidencyBudget, Result, SealedFile, Writers,
    file::{
        claim::Claim,
        purpose::{Purpose, Trust},
    },
};

/// How long `open` waits for somebody to close a sealed file that is open for writing.
const LEASE_PATIENCE: Duration = Duration::from_millis(100);

/// How to open a [`SealedFile`].
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{Access, PageWriter, SealedFile};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("batch");
/// # PageWriter::create(&path)?.seal()?;
/// let sealed = SealedFile::options().access(Access::Sequential).open(&path)?;
/// # Ok::<(), pagestore::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct SealedFileOptions {
    pub(crate) access: Access,
    pub(crate) guard: Guard,
    pub(crate) writers: Writers,
    pub(crate) budget: Option<ResidencyBudget>,
}

impl SealedFileOptions {
    /// The default options: [`Access::Normal`], [`Guard::Installed`], [`Writers::HeldUp`].
    pub const fn new() -> Self {
        let (guard, writers) = (Guard::Installed, Writers::HeldUp);
        Self { access: Access::Normal, guard, writers, budget: None }
    }

    /// How the pages are going to be read. Default: [`Access::Normal`].
    pub const fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Whether page faults that cannot be answered are caught. Default: [`Guard::Installed`].
    pub const fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// What becomes of a program that asks to write to the file while it is open here. Default:
    /// [`Writers::HeldUp`], for up to 45 s; [`Writers::LetIn`] where strangers must not wait.
    pub const fn writers(mut self, writers: Writers) -> Self {
        self.writers = writers;
        self
    }

    /// The budget that the pages in memory count against.
    ///
    /// Default: none.
    pub fn budget(mut self, budget: &ResidencyBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// Opens a sealed file that nobody but this user and root can write to ([`Evidence`](crate::Evidence)
    /// says what shows that), under a lock that it shares with other readers, and, where the filesystem
    /// has such a thing, under a lease, by which the kernel keeps writers out; see
    /// [`SealedFile::lease`] and [`writers`](Self::writers).
    ///
    /// # Errors
    /// * [`Error::Io`](crate::Error::Io): it is not there, or may not be opened.
    /// * [`Error::NotAFile`](crate::Error::NotAFile): it is a folder, a symlink, a device...
    /// * [`Error::Locked`](crate::Error::Locked): a writer has it open. Where the kernel keeps leases of the file (see
    ///   [`Lease`](crate::Lease)) that is anybody who has it open or mapped for writing, with or
    ///   without a lock, and who waits to open it so; after 0.1 s, in which they may close it.
    /// * [`Error::OthersCanWrite`](crate::Error::OthersCanWrite): its owner or mode lets others write to it, and nothing else shows that
    ///   they cannot.
    /// * [`Error::NotSealed`](crate::Error::NotSealed): it is a mutable page file.
    /// * [`Error::Format`](crate::Error::Format): it is not a page file, is damaged, cut short or extended, or is of a
    ///   version or has features that this build does not know.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<SealedFile> {
        let mut claim = Claim::open(path.as_ref(), Purpose::Read, Trust::Evidence)?;
        claim.keep_out(self.writers, LEASE_PATIENCE)?;
        SealedFile::map(self, claim, || None)
    }

    /// Opens a sealed file that other users could write to, under the lock, without a lease.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for [`Error::OthersCanWrite`](crate::Error::OthersCanWrite); [`Error::Locked`](crate::Error::Locked) only where a
    /// writer holds the lock.
    ///
    /// # Safety
    /// As long as the returned value, its clones and whatever was borrowed from them live, nobody
    /// writes to the file or changes its length, by whatever path or descriptor: a `&[u8]` whose
    /// bytes change is undefined behaviour.
    #[expect(unsafe_code, reason = "the caller vouches for what owner and mode cannot show")]
    pub unsafe fn open_shared(&self, path: impl AsRef<Path>) -> Result<SealedFile> {
        SealedFile::map(self, Claim::open(path.as_ref(), Purpose::Read, Trust::Caller)?, || None)
    }
}
