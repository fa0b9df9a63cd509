//! Finishing a file: the table and the records behind its pages, its name, and the way to its reader.

use std::{fs::File, io, sync::Arc, time::Duration};

use layout::{Geometry, Header, SEAL_BLOCK_LEN_BYTES, SealRecord, Superblock, TableHasher};

use super::{PageWriter, TempWriter, index};
use crate::{
    error::{Error, FaultCause, PoisonCause, Result},
    file::{
        claim::Claim,
        disk,
        durable::sync_file,
        header,
        purpose::{Purpose, Trust},
    },
    residency::write_behind::WriteBehind,
    sealed::{file::SealedFile, unsealed::Unsealed},
};

/// How long sealing waits for copies of the writing descriptor to be gone. Nobody else opens a file
/// that has just got its first name; but each child that another thread is starting has a copy of
/// all descriptors until it calls exec(2), which a busy machine can put off.
const LEASE_PATIENCE: Duration = Duration::from_secs(1);

impl PageWriter {
    /// Finishes the file: writes the checksum table, the seal record and the header, makes all of
    /// it durable, gives the file its name, and opens it. From then on it never changes.
    ///
    /// # Errors
    /// A step that fails takes away nothing that an earlier one made durable. What can be tried again can be,
    /// with the writer that the error holds:
    /// * [`Error::DiskFull`], [`Error::Io`]: the file is not finished, and nothing has changed;
    ///   [`Error::AlreadyExists`] where somebody else took the name meanwhile. Without the writer, the file
    ///   is removed.
    /// * [`Error::NotNamed`]: the file is whole and durable, and stays under the temporary name that the
    ///   error tells.
    /// * [`Error::SealedNotOpened`]: it is whole and durable under its name, but cannot be mapped, or
    ///   somebody, like a forked child, has it open for writing.
    /// * [`Error::SealFailed`] where the disk could not write it, [`Error::Poisoned`] where a write failed
    ///   before: the file is removed.
    ///
    /// Where the last step fails, making the *name* durable, the whole file is there ([`Error::Io`]).
    ///
    /// A process that is killed in here, while the last bytes go to the disk, can leave a file
    /// `.*.tmp` behind: the whole of it must be durable before it gets its name by a rename.
    pub fn seal(mut self) -> Result<SealedFile, Unsealed<Self>> {
        match self.publish() {
            Ok(reader) => self.open_sealed(reader).map_err(|error| Unsealed::new(error, None)),
            Err(error) => Err(self.unsealed(error)),
        }
    }

    /// Like [`seal`](Self::seal), but does not open the file. So it needs no descriptor and no address space,
    /// and does not wait for child processes that have a copy of the writer's descriptor.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn seal_and_close(mut self) -> Result<(), Unsealed<Self>> {
        match self.publish() {
            Ok(_reader) => Ok(()),
            Err(error) => Err(self.unsealed(error)),
        }
    }

    /// Finishes the file and gives it its name. Gives a description to read it by, if there was one to
    /// be had.
    fn publish(&mut self) -> Result<Option<File>> {
        let superblock = self.write_rest()?;
        let path = self.path().to_path_buf();
        self.target.pending.give_temporary_name(self.claim.file())?;
        if !self.target.is_durable {
            if let Err(source) = self.claim.note_lost(|file| sync_file(file)) {
                // The kernel tells it once, so it must not be tried again.
                self.failed = Some(source.to_string());
                return Err(Error::SealFailed { path, source });
            }
            self.check_len(superblock.geometry())?;
            self.check_frame(&superblock)?;
            self.target.is_durable = true;
        }
        // A second description, to read: the sealed file keeps nothing that could write. It is opened
        // while the file has a name that is nobody else's. Where none is free now, it is opened by its
        // final name, when the first one is closed.
        let reader = self.target.pending.reopen().ok();
        let pending = &mut self.target.pending;
        pending.publish().map_err(|error| pending.keep(error))?;
        Ok(reader)
    }

    /// Opens the file that was just published.
    fn open_sealed(self, reader: Option<File>) -> Result<SealedFile> {
        let path = self.path().to_path_buf();
        let failed = |error| Error::SealedNotOpened { path: path.clone(), source: Box::new(error) };
        let written = rustix::fs::fstat(self.claim.file()).map_err(Error::io("examine", &path));
        let written = written.map_err(failed)?;
        // What is written behind has the first description too.
        let member = self.behind.map(WriteBehind::into_member);
        // Whoever opens it by its name needs the room that these take.
        drop((self.claim, self.target));
        let open = || {
            let mut claim = match reader {
                Some(file) => Claim::new(file, &path, Purpose::Read, Trust::Evidence)?,
                None => Claim::open(&path, Purpose::Read, Trust::Evidence)?,
            };
            if !claim.is_same_file(&written)? {
                let replaced = io::Error::other("somebody has replaced it since");
                return Err(Error::io("open", &path)(replaced));
            }
            claim.keep_out(self.options.writers, LEASE_PATIENCE)?;
            SealedFile::map(&self.options, claim, || member)
        };
        open().map_err(failed)
    }

    fn unsealed(self, error: Error) -> Unsealed<Self> {
        let can_go_on = self.failed.is_none() && !self.target.pending.is_published();
        let can_go_on = can_go_on && !matches!(error, Error::Poisoned { .. });
        Unsealed::new(error, can_go_on.then_some(self))
    }
}

impl TempWriter {
    /// Finishes the file: from then on it never changes and can be read. Nothing is made durable.
    ///
    /// # Errors
    /// * [`Error::DiskFull`], [`Error::AddressSpace`], [`Error::Io`]: can be tried again with the writer
    ///   that the error holds.
    /// * [`Error::Poisoned`] where a write failed before, or somebody cut the file short: it is gone.
    pub fn finish(mut self) -> Result<SealedFile, Unsealed<Self>> {
        match self.finish_and_map() {
            Ok(sealed) => Ok(sealed),
            Err(error) => {
                let is_lost = self.failed.is_some() || matches!(error, Error::Poisoned { .. });
                Err(Unsealed::new(error, (!is_lost).then_some(self)))
            }
        }
    }

    fn finish_and_map(&mut self) -> Result<SealedFile> {
        let superblock = self.write_rest()?;
        self.check_len(superblock.geometry())?;
        self.check_written()?;
        let (options, claim) = (&self.options, Arc::clone(&self.claim));
        SealedFile::map(options, claim, || self.behind.take().map(WriteBehind::into_member))
    }
}

impl<T> PageWriter<T> {
    /// Writes what is left of the data, the checksum table, the seal record and the header. Once that is
    /// begun, nothing can be appended any more; before, all disk space that it needs is reserved.
    fn write_rest(&mut self) -> Result<Superblock> {
        if let Some((superblock, _)) = self.finished {
            return Ok(superblock);
        }
        self.check()?;
        let payload_len = self.payload_len();
        let page_count = self.page_size.pages_for(payload_len);
        let superblock = Superblock::new_sealed(self.uuid, self.page_size, page_count)
            .map_err(Error::format(self.path()))?
            .with_metadata(self.metadata);
        self.reserve_trailer(superblock.geometry())?;
        self.buffer.resize(self.buffer.len().next_multiple_of(self.page_size.get_usize()), 0);
        self.write_with_buffer(&[])?;
        let written = self.write_trailer(&superblock, payload_len);
        written.inspect_err(|error| self.failed = Some(error.to_string()))?;
        self.finished = Some((superblock, payload_len));
        Ok(superblock)
    }

    /// Gives the checksum table and the seal record their place on the disk.
    fn reserve_trailer(&mut self, geometry: &Geometry) -> Result<()> {
        let data_start = Geometry::data_start(self.page_size);
        let (reserved_end, end) = (data_start + self.reserved_len, geometry.file_len_sealed());
        if end > reserved_end {
            self.behind.iter().try_for_each(|behind| behind.charge_space(reserved_end..end))?;
            disk::extend(&self.claim, reserved_end, end)?;
            self.reserved_len = end - data_start;
        }
        Ok(())
    }

    /// Writes the checksum table and the seal record behind the data, then the header, and cuts off
    /// what was reserved beyond.
    fn write_trailer(&mut self, superblock: &Superblock, payload_len: u64) -> Result<()> {
        let geometry = superblock.geometry();
        debug_assert_eq!(self.table.len() as u64, geometry.table_len());
        let mut table_hasher = TableHasher::new();
        table_hasher.update(&self.table);
        let seal = SealRecord::new(superblock, payload_len, table_hasher.finish())
            .map_err(Error::format(self.path()))?;
        let mut trailer = std::mem::take(&mut self.table);
        trailer.resize(index(geometry.seal_start() - geometry.data_end()), 0);
        trailer.extend(seal.encode_block(superblock));
        header::write(&self.claim, geometry.data_end(), &trailer)?;
        disk::truncate(&self.claim, geometry.file_len_sealed())?;
        header::write(&self.claim, 0, &Header::encode([Some(superblock), Some(superblock)]))
    }

    /// Reads once more what whoever opens the file looks at first, before it can take the place of another:
    /// somebody could have cut the file and made it long again.
    fn check_frame(&self, superblock: &Superblock) -> Result<()> {
        let (file, path) = (self.claim.file(), self.path());
        header::read(file, path)?;
        let start = superblock.geometry().seal_start();
        let block = header::read_at(file, path, start, SEAL_BLOCK_LEN_BYTES)?;
        SealRecord::parse(&block, superblock).map_err(Error::format(path)).map(drop)
    }

    /// Checks that nobody cut the file short while it was written.
    fn check_len(&self, geometry: &Geometry) -> Result<()> {
        let file_len = self.claim.len_bytes()?;
        if file_len == geometry.file_len_sealed() {
            return Ok(());
        }
        let path = self.path().into();
        let cause = PoisonCause::Fault(FaultCause::CutShort { file_len });
        Err(Error::Poisoned { path, pages: self.pages(), cause })
    }
}
