//! Views of a sealed raw file, and whether what they showed came from the file.

use bytes::Bytes;

use crate::{
    error::{Error, Result},
    raw::{file::RawFile, sealed::Sealed},
};

impl RawFile {
    /// The bytes of a sealed file as they lie in memory, without a copy. Reads them from the disk if need be.
    ///
    /// The view keeps the mapping and the file's lock alive; cloning or slicing it copies nothing. It stays
    /// valid when this value is dropped, and when the file is renamed or removed.
    ///
    /// When the bytes were brought in, they came from the file. The kernel may evict pages and read them again
    /// later, when the file was cut short or the disk fails. The view then shows zeros, and
    /// [`still_valid`](Self::still_valid) fails from then on.
    ///
    /// # Errors
    /// [`Error::NotSealed`]; [`Error::PastEnd`] where the file has not all of the bytes;
    /// [`Error::Io`] where the disk cannot read them; [`Error::RawPoisoned`].
    pub fn view(&self, offset: u64, len: usize) -> Result<Bytes> {
        let sealed = self.sealed()?;
        sealed.view(offset, len, |file_len| self.past_end(offset, len as u64, file_len))
    }

    /// Like [`view`](Self::view), but all pages of the view are in memory when it returns, also those that the
    /// kernel evicted since they were first brought in. For a view that is read where nothing may wait. One
    /// more system call (0.5 us).
    ///
    /// # Errors
    /// As [`view`](Self::view).
    pub fn view_in_memory(&self, offset: u64, len: usize) -> Result<Bytes> {
        let sealed = self.sealed()?;
        sealed.view_in_memory(offset, len, |file_len| self.past_end(offset, len as u64, file_len))
    }

    /// Like [`view_in_memory`](Self::view_in_memory), if that needs no wait: the pages were brought in before
    /// and are still in memory, or they are few and in the page cache.
    ///
    /// Asking the kernel each time (mincore(2), 1.2 us) would take many times as long as the view (20 ns). So
    /// an answer counts for 8 ms, and for the pages around too. If the kernel evicts a page within those 8 ms
    /// and one tick of its clock (1 to 10 ms), or after the call returned, whoever reads the view waits for it.
    /// `docs/async-reads.md` says more.
    ///
    /// mincore(2) tells the truth only to the file's owner and to root. For everybody else each page is tried
    /// by a read that does not wait (preadv2(2), `RWF_NOWAIT`, 1 us a page), for at most eight pages. Where
    /// that is refused too, the answer is always `None`.
    ///
    /// # Errors
    /// As [`view`](Self::view).
    #[inline]
    pub fn try_view(&self, offset: u64, len: usize) -> Option<Result<Bytes>> {
        match self.sealed() {
            Ok(sealed) => {
                sealed.try_view(offset, len, |file_len| self.past_end(offset, len as u64, file_len))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Checks that all views of this file so far showed bytes of the file.
    ///
    /// They did unless a page fault could not be served, or the file is shorter than it was: cut in the middle
    /// of a page, it shows zeros in the rest of that page without a fault. The check of the length is one
    /// system call (0.3 us). For a mutable file only the length is checked; copies need no check.
    ///
    /// # Errors
    /// [`Error::RawPoisoned`] where bytes could not be reached, or the file was cut short.
    pub fn still_valid(&self) -> Result<()> {
        self.check()?;
        if let Some(sealed) = self.sealed.get() {
            return sealed.check_whole();
        }
        self.check_mutable()
    }

    #[inline]
    fn sealed(&self) -> Result<&Sealed> {
        self.sealed.get().ok_or_else(|| self.not_sealed())
    }

    #[cold]
    fn not_sealed(&self) -> Error {
        let poisoned = self.check().err();
        poisoned.unwrap_or_else(|| Error::NotSealed { path: self.path().into() })
    }
}
