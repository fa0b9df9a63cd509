//! Opening sealed files.

use std::{path::Path, sync::Arc, time::Duration};

use super::SealedFile;
use crate::{
    error::Result,
    file::{
        claim::Claim,
        purpose::{Purpose, Trust},
    },
    residency::budget::Member,
    sealed::{options::SealedFileOptions, shared::Shared},
};

/// How long `open` waits for somebody to close a sealed file that is open for writing.
const LEASE_PATIENCE: Duration = Duration::from_millis(100);

impl SealedFileOptions {
    /// Opens a sealed file that nobody but this user and root can write to ([`Evidence`](crate::Evidence) says
    /// what shows that). It takes a lock that it shares with other readers, and, where the filesystem has
    /// leases, a lease by which the kernel keeps writers out; see [`SealedFile::lease`] and
    /// [`writers`](Self::writers).
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

impl SealedFile {
    /// `writer` gives the membership in the budget of who wrote the file just now. It is asked when the
    /// file is mapped.
    pub(crate) fn map(
        options: &SealedFileOptions,
        claim: impl Into<Arc<Claim>>,
        writer: impl FnOnce() -> Option<Member>,
    ) -> Result<Self> {
        Ok(Self { shared: Shared::map(options, &claim.into(), writer)? })
    }
}
