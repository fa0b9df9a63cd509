//! Views of a sealed raw file, and whether what they showed came from the file.

use bytes::Bytes;

use crate::{
    error::{Error, Result},
    raw::{file::RawFile, sealed::Sealed},
};

impl RawFile {
    /// The bytes of a sealed file as they lie in memory, without a copy. Brings them in, from the
    /// disk if need be.
    ///
    /// The view keeps the mapping and the file's lock alive; cloning or slicing it copies nothing.
    /// It stays as it is whatever happens to this value or to the file's name.
    ///
    /// That the bytes came from the file was made sure of when they were brought in. The kernel may
    /// take pages back and fetch them again later, when the file may have been cut short from
    /// outside or the disk may fail: a view shows zeros then, and from then on
    /// [`still_valid`](Self::still_valid) fails.
    ///
    /// # Errors
    /// [`Error::NotSealed`]; [`Error::PastEnd`] where the file has not all of the bytes;
    /// [`Error::Io`] where the disk cannot read them; [`Error::RawPoisoned`].
    pub fn view(&self, offset: u64, len: usize) -> Result<Bytes> {
        let sealed = self.sealed()?;
        sealed.view(offset, len, |file_len| self.past_end(offset, len as u64, file_len))
    }

    /// Does what [`view`](Self::view) does, and has all pages of the view in memory when it returns:
    /// what the kernel took back since they were first brought in is brought in again. For who
    /// touches the view where nothing may wait. One system call more (0.5 us).
    ///
    /// # Errors
    /// As [`view`](Self::view).
    pub fn view_in_memory(&self, offset: u64, len: usize) -> Result<Bytes> {
        let sealed = self.sealed()?;
        sealed.view_in_memory(offset, len, |file_len| self.past_end(offset, len as u64, file_len))
    }

    /// Does what [`view_in_memory`](Self::view_in_memory) does if it takes no waiting: the pages
    /// were brought in before and are still in memory, or they are few and the page cache has them.
    ///
    /// Asking the kernel each time (mincore(2), 1.2 us) would cost many times the view (20 ns), so
    /// an answer counts for 8 ms, and for what lies around the pages too. What the kernel takes back
    /// within those 8 ms and one tick of its clock (1 to 10 ms), or after this returned, is waited
    /// for by who touches the view. That is what remains; `docs/async-reads.md` says more.
    ///
    /// mincore(2) tells the truth only to the file's owner and to root. For everybody else each page
    /// is asked for by a read that must not wait (preadv2(2), `RWF_NOWAIT`, 1 us a page), for at
    /// most eight pages; where that is refused too, nothing is ever answered at once.
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

    /// Says whether all views of this file so far showed bytes that came from the file.
    ///
    /// That is so unless a page fault could not be answered, or the file is shorter than it was:
    /// where it was cut in the middle of a page, the rest of that page shows zeros without a fault.
    /// The look at the length is one system call (0.3 us). Of a mutable file it says whether the
    /// file is as long as it should be; copies that were read need no such question.
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
