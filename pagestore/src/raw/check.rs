//! When a raw file is not to be trusted any more.

use crate::{
    error::{Error, FaultCause, RawPoisonCause, Result},
    raw::{file::RawFile, poison::poisoned, stripes::Stripes, window::Window},
};

impl RawFile {
    /// Whether an earlier failure made the file unusable for good.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.check().is_err()
    }

    /// Fails where the file is known to be poisoned.
    #[inline]
    pub(super) fn check(&self) -> Result<()> {
        if let Some(cause) = self.backing.poison().get() {
            return Err(poisoned(self.claim(), cause.clone()));
        }
        self.sealed.get().map_or(Ok(()), |sealed| sealed.check())
    }

    /// Fails where a page fault was caught in the mapping of a mutable file, or the file is shorter
    /// than it was, and poisons it. At least one latch is held.
    ///
    /// The look at the length is one system call (0.2 us) on most filesystems. It comes after the bytes were
    /// copied: whoever copied zeros from behind the new end finds a shorter file (see
    /// [`Claim::len_bytes`](crate::file::claim::Claim::len_bytes)).
    pub(super) fn check_whole(&self, window: Option<&Window>) -> Result<()> {
        // Before the look at the file, which grows first and falls last.
        let len = self.current_len();
        let file_len = self.claim().len_bytes()?;
        let offset = window.and_then(Window::fault_offset);
        if file_len < len {
            let offset = offset.map_or(file_len, |offset| offset.min(file_len));
            let cause = FaultCause::CutShort { file_len };
            return Err(self.poison(RawPoisonCause::Fault { offset, cause }));
        }
        match offset {
            None => Ok(()),
            Some(offset) => {
                let cause = FaultCause::Disk;
                Err(self.poison(RawPoisonCause::Fault { offset, cause }))
            }
        }
    }

    /// The same, where no latch is held yet. One is taken, so that nobody is just cutting the file.
    pub(super) fn check_mutable(&self) -> Result<()> {
        let window = self.window.shared(Stripes::FIRST);
        self.check_whole(window.as_deref())
    }

    /// Poisons the file; the first cause stays. Gives the error that says so.
    #[cold]
    pub(super) fn poison(&self, cause: RawPoisonCause) -> Error {
        poisoned(self.claim(), self.backing.poison().get_or_init(|| cause).clone())
    }
}
