//! Making a raw file durable, and sealing it.

use crate::{
    error::{RawPoisonCause, Result},
    file::{durable, seal::put_seal},
    raw::{file::RawFile, sealed::Sealed},
    sync::atomic::Ordering,
};

impl RawFile {
    /// Makes all completed writes and the length durable. Makes no system call if nothing was written since the
    /// last sync; the first call after `open` always makes one, since somebody else may have written the file
    /// before.
    ///
    /// It does not make the file's name durable, which is in its folder.
    ///
    /// # Errors
    /// [`Error::SyncFailed`](crate::Error::SyncFailed). From then on every call fails with
    /// [`Error::RawPoisoned`](crate::Error::RawPoisoned). The kernel reports a failed write once, then counts
    /// the pages as clean and may drop them, so neither the disk nor memory can be relied on. Do not try again.
    pub fn sync(&self) -> Result<()> {
        let _one_at_a_time = self.syncing.lock();
        self.check()?;
        if self.is_sealed() || !self.sync_noted()? {
            return Ok(());
        }
        self.check_mutable()
    }

    /// At most how many bytes were written since the last sync: bytes that were written twice count twice, and
    /// a change of the length counts as one. If it is zero, a sync has nothing to do for writes through this
    /// value.
    #[must_use]
    pub fn unsynced_bytes(&self) -> u64 {
        self.unsynced.bytes.load(Ordering::Acquire)
    }

    /// Makes the file durable and unchangeable, for good and for everybody: its mode loses all write bits, and
    /// an attribute marks it ([`put_seal`]). The call waits for reads and writes that are under way; later
    /// writes fail. From then on the file can be [viewed](Self::view), and others can open it too. Does nothing
    /// to a sealed file.
    ///
    /// # Errors
    /// [`Error::SyncFailed`](crate::Error::SyncFailed), as [`sync`](Self::sync); [`Error::AddressSpace`](crate::Error::AddressSpace),
    /// [`Error::SealNotKept`](crate::Error::SealNotKept) or [`Error::Io`](crate::Error::Io) before anything was done, and then the file is as mutable
    /// as before;
    /// [`Error::RawPoisoned`](crate::Error::RawPoisoned).
    pub fn seal(&self) -> Result<()> {
        // Most of the work, while others can go on.
        self.sync()?;
        let _one_at_a_time = self.syncing.lock();
        let _alone = self.growth.lock();
        let mut window = self.window.all();
        self.check()?;
        if self.is_sealed() {
            return Ok(());
        }
        self.check_whole(window.as_deref())?;
        let sealed = Sealed::new(&self.backing, self.current_len())?;
        self.sync_noted()?;
        self.check_whole(window.as_deref())?;
        self.record_seal()?;
        sealed.read_through(window.as_deref());
        *window = None;
        self.sealed.get_or_init(|| sealed);
        Ok(())
    }

    /// Makes durable what is noted; says whether there was anything. The caller holds `syncing`.
    fn sync_noted(&self) -> Result<bool> {
        let bytes = self.unsynced.bytes.load(Ordering::Acquire);
        let length = self.unsynced.length.swap(false, Ordering::AcqRel);
        match (bytes, length) {
            (0, false) => return Ok(false),
            (_, false) => self.backing.write_back(durable::sync_data)?,
            (_, true) => self.backing.write_back(|file| durable::sync_file(file))?,
        }
        self.unsynced.bytes.fetch_sub(bytes, Ordering::AcqRel);
        Ok(true)
    }

    /// Seals the file, durably, and lets others have it.
    fn record_seal(&self) -> Result<()> {
        put_seal(self.claim().file(), self.path())?;
        self.backing.write_back(|file| durable::sync_file(file))?;
        // Locked for one who writes, but sealed: neither a writer nor readers would get it.
        self.claim().share().map_err(|error| {
            self.poison(RawPoisonCause::Write(crate::error::WithCauses(&error).to_string()))
        })
    }
}
