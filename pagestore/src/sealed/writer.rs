//! Appending pages, and sealing what was appended.

use std::{
    fmt, fs::File, io, num::NonZeroU64, ops::RangeInclusive, path::Path, sync::Arc, time::Duration,
};

use layout::{
    ByteOffset, Geometry, Header, Metadata, PageHasher, PageRange, PageSize, SEAL_BLOCK_LEN_BYTES,
    SealRecord, Superblock, TableHasher,
};
use uuid::Uuid;

use crate::{
    Error, FaultCause, Guard, PageFileOptions, PoisonCause, Reservation, ResidencyBudget, Result,
    SealedFile, SealedFileOptions, Unsealed, Writers,
    file::{
        claim::Claim,
        disk, header,
        pending::{Existing, PendingFile, create_temporary},
        purpose::{Purpose, Trust},
    },
    residency::write_behind::WriteBehind,
};

/// How much is written to the file by one system call, up to a multiple of it in the file. Measured for a
/// new file of 1 GiB: chunks of 1 MiB are as fast as any, and writing beats storing into a mapping about
/// two to one, since each page of a shared mapping costs a fault and is filled with zeros first.
const CHUNK_BYTES: u64 = 1 << 20;

/// The same for huge pages: what is written by one call from one multiple of 2 MiB in the file to the next is
/// one folio of the page cache, which one entry of the page table maps (`docs/facts.md`, *Large folios*).
const HUGE_CHUNK_BYTES: u64 = 2 << 20;

/// The same under a budget, which counts the buffer: at most what is evicted at once, and a small part.
const BUDGET_CHUNK_BYTES_MAX: u64 = 256 << 10;
const BUDGET_CHUNK_PART: u64 = 64;

/// How much disk space is reserved at a time: as much as there is already, within these.
const RESERVE_BYTES: RangeInclusive<u64> = 1 << 20..=64 << 20;

/// How much is written before the kernel is told to begin writing it to the disk. Measured for a
/// new file of 1 GiB that is made durable: 1.4 times as fast as leaving all of it to the end.
const WRITE_BACK_BYTES: u64 = 8 << 20;

/// How long sealing waits for copies of the writing descriptor to be gone. Nobody else opens a file
/// that has just got its first name; but each child that another thread is starting has a copy of
/// all descriptors until it calls exec(2), which a busy machine can put off.
const LEASE_PATIENCE: Duration = Duration::from_secs(1);

/// How to make a [`PageWriter`].
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{Existing, PageWriter};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("batch");
/// let writer = PageWriter::options().existing(Existing::Replace).create(&path)?;
/// writer.seal()?;
/// # Ok::<(), pagestore::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct PageWriterOptions {
    page_size: PageSize,
    existing: Existing,
    huge_pages: bool,
    guard: Guard,
    writers: Writers,
    metadata: Metadata,
    budget: Option<ResidencyBudget>,
}

impl PageWriterOptions {
    /// The default options: pages of 4 KiB, no file replaced, no huge pages,
    /// [`Guard::Installed`], [`Writers::HeldUp`].
    pub const fn new() -> Self {
        Self {
            page_size: PageSize::DEFAULT,
            existing: Existing::Refuse,
            huge_pages: false,
            guard: Guard::Installed,
            writers: Writers::HeldUp,
            metadata: Metadata::EMPTY,
            budget: None,
        }
    }

    /// The size of a page. Default: 4 KiB.
    pub const fn page_size(mut self, page_size: PageSize) -> Self {
        self.page_size = page_size;
        self
    }

    /// What to do where the name is taken. Default: [`Existing::Refuse`].
    pub const fn existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// Whether to write so that the page cache keeps the file in huge pages (2 MiB), as long as it stays in
    /// memory: for files of many megabytes that are read at random.
    ///
    /// The processor then finds a page's address at once, where it otherwise looks it up in a table that does
    /// not fit its caches. Random pages of 512 MiB in memory were read up to 1.5 times as fast, the first
    /// words of those of 2 GiB 1.8 times; reading in order is the same. Writing is as fast, unless the system has its free
    /// blocks of 2 MiB to get from elsewhere first (a virtual machine whose host takes free memory back: 2 to 5
    /// times as slow). Under a [`budget`](Self::budget), and where the filesystem keeps no large folios (ext4
    /// does from Linux 6.16 on, XFS from 5.18 on), this does nothing. `docs/facts.md` says how it was measured.
    ///
    /// Default: no.
    pub const fn huge_pages(mut self, are_wanted: bool) -> Self {
        self.huge_pages = are_wanted;
        self
    }

    /// Whether page faults of the sealed file that cannot be answered are caught. Default: [`Guard::Installed`].
    pub const fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// What becomes of a program that asks to write to the sealed file while it is open here. Default:
    /// [`Writers::HeldUp`].
    pub const fn writers(mut self, writers: Writers) -> Self {
        self.writers = writers;
        self
    }

    /// Bytes of the user's own in the header of the file, up to 1 KiB; see
    /// [`SealedFile::metadata`]. Those that are known only at the end go to
    /// [`PageWriter::set_metadata`].
    ///
    /// Default: none.
    pub const fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// The budget that counts what the file has in memory, while it is written and afterwards. Where
    /// others need the room, what was written goes to the disk and leaves memory.
    ///
    /// Default: none.
    pub fn budget(mut self, budget: &ResidencyBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// Begins a new file, mode 0600. It gets its name when it is sealed; a writer that is dropped
    /// instead, or whose process ends before that, leaves nothing. It is written in the same
    /// folder, without a name, so it takes up space that no listing shows. Where the filesystem has
    /// no such files (NFS and most FUSE filesystems), it has a temporary name, `.*.tmp`, which
    /// stays behind where the process is killed.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Io`]; [`Error::DiskFull`];
    /// [`Error::PageSizeUnsupported`].
    pub fn create(&self, path: impl AsRef<Path>) -> Result<PageWriter> {
        let path = path.as_ref();
        PageFileOptions::check_page_size(self.page_size)?;
        let (pending, file) = PendingFile::create_nameless(path, self.existing)?;
        let target = Named { pending, is_durable: false };
        PageWriter::begin(self, Some(self.start_bytes()), (file, path), target)
    }

    /// Begins a file in `folder` that never has a name, for bytes that nobody needs when this
    /// process is gone: its space is free again as soon as the writer, and what was made of it,
    /// is dropped, or the process ends in whatever way. It is not made durable, so what fits into
    /// memory need not reach the disk.
    ///
    /// Where the filesystem has no such files (NFS and most FUSE filesystems), its name is removed
    /// at once; a process that is killed between these two calls leaves an empty file `.*.tmp`.
    /// [`existing`](Self::existing) means nothing here.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::DiskFull`]; [`Error::PageSizeUnsupported`].
    pub fn create_temporary(&self, folder: impl AsRef<Path>) -> Result<TempWriter> {
        let folder = folder.as_ref();
        PageFileOptions::check_page_size(self.page_size)?;
        let file = create_temporary(folder)?;
        // Without a budget nothing of it need ever reach the disk.
        let start_bytes = self.budget.as_ref().map(|_| self.start_bytes());
        PageWriter::begin(self, start_bytes, (file, folder), Nameless { _private: () })
    }
}

impl PageWriterOptions {
    /// How much is written before the kernel is told to begin writing it to the disk.
    fn start_bytes(&self) -> u64 {
        let window = self.budget.as_ref().map_or(u64::MAX, ResidencyBudget::window_bytes);
        WRITE_BACK_BYTES.min(window)
    }
}

impl Default for PageWriterOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Appends bytes, page after page, to a new file, and seals it.
///
/// Bytes are written in large chunks, and each page's checksum is computed while the page is still
/// in the processor's cache. Disk space is reserved before bytes are taken, so a full disk is an
/// error of [`append`](Self::append) that leaves the writer as it was.
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{PageId, PageWriter};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("batch");
/// let mut writer = PageWriter::create(&path)?;
/// writer.append(b"hello, ")?;
/// writer.append(b"pages")?;
/// let sealed = writer.seal()?;
/// assert_eq!(sealed.payload_len(), 12);
/// assert_eq!(sealed.page(PageId::new(0))?[..12], *b"hello, pages");
/// # Ok::<(), pagestore::Error>(())
/// ```
pub struct PageWriter<T = Named> {
    // Before `target`, so that the file is closed before its temporary name is removed.
    claim: Arc<Claim>,
    behind: Option<WriteBehind>,
    target: T,
    uuid: Uuid,
    metadata: Metadata,
    hasher: PageHasher,
    options: SealedFileOptions,
    page_size: PageSize,
    /// How much is written by one system call.
    chunk_bytes: u64,
    /// How much is written before the kernel is told to begin writing it to the disk; `None` where
    /// that is left to the kernel.
    start_bytes: Option<u64>,
    /// The data bytes that have their place on the disk.
    reserved_len: u64,
    /// The data bytes in the file: whole pages.
    written_len: u64,
    /// The data bytes that the kernel was told to write to the disk.
    started_len: u64,
    /// The bytes behind those in the file; less than a chunk.
    buffer: Vec<u8>,
    /// What the buffer takes of the budget.
    _buffer_room: Option<Reservation>,
    /// The checksums of the pages in the file, as they will stand there.
    table: Vec<u8>,
    /// Set when all bytes of the file are written: its superblock, and how many were appended.
    finished: Option<(Superblock, u64)>,
    /// The message of a write that failed. What is in the file is unknown from then on.
    failed: Option<String>,
}

/// A writer of a temporary file: [`PageWriterOptions::create_temporary`].
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{PageId, TempWriter};
///
/// # let folder = tempfile::tempdir().unwrap();
/// let mut writer = TempWriter::create_in(folder.path())?;
/// writer.append(b"not needed any more tomorrow")?;
/// let sealed = writer.finish()?;
/// assert_eq!(sealed.page(PageId::new(0))?[..10], *b"not needed");
/// assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
/// # Ok::<(), pagestore::Error>(())
/// ```
pub type TempWriter = PageWriter<Nameless>;

/// What becomes of a [`PageWriter`]'s file: sealing it makes it durable and gives it its name.
#[derive(Debug)]
pub struct Named {
    pending: PendingFile,
    /// Whether the finished file is on the disk, under its temporary name.
    is_durable: bool,
}

/// What becomes of a [`TempWriter`]'s file: it is gone with the last handle.
#[derive(Debug)]
pub struct Nameless {
    _private: (),
}

impl PageWriter {
    /// How to make a writer otherwise than by default.
    pub const fn options() -> PageWriterOptions {
        PageWriterOptions::new()
    }

    /// Begins a new file by default options; see [`PageWriterOptions::create`].
    ///
    /// # Errors
    /// As [`PageWriterOptions::create`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().create(path)
    }

    /// Finishes the file: writes the checksum table, the seal record and the header, makes all of
    /// it durable, gives the file its name, and opens it. From then on it never changes.
    ///
    /// # Errors
    /// Nothing that is durable is taken away by a step that fails later, and what can be tried again can
    /// be, with the writer that the error holds:
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

    /// Does what [`seal`](Self::seal) does but open the file, so it needs no descriptor and no address
    /// space, and waits for nobody who has a copy of the writer's descriptor.
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
            if let Err(source) = self.claim.file().sync_all() {
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
    /// Begins a temporary file by default options; see [`PageWriterOptions::create_temporary`].
    ///
    /// # Errors
    /// As [`PageWriterOptions::create_temporary`].
    pub fn create_in(folder: impl AsRef<Path>) -> Result<Self> {
        PageWriter::options().create_temporary(folder)
    }

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
        let (options, claim) = (&self.options, Arc::clone(&self.claim));
        SealedFile::map(options, claim, || self.behind.take().map(WriteBehind::into_member))
    }
}

impl<T> PageWriter<T> {
    fn begin(
        options: &PageWriterOptions,
        start_bytes: Option<u64>,
        (file, path): (File, &Path),
        target: T,
    ) -> Result<Self> {
        let page_size = options.page_size;
        let claim = Arc::new(Claim::new(file, path, Purpose::Write, Trust::Evidence)?);
        let mut sealed_options =
            SealedFile::options().guard(options.guard).writers(options.writers);
        if let Some(budget) = &options.budget {
            sealed_options = sealed_options.budget(budget);
        }
        disk::extend(&claim, 0, Geometry::data_start(page_size))?;
        let chunk_bytes = match &options.budget {
            Some(budget) => (budget.limit_bytes() / BUDGET_CHUNK_PART).min(BUDGET_CHUNK_BYTES_MAX),
            None if options.huge_pages => HUGE_CHUNK_BYTES,
            None => CHUNK_BYTES,
        };
        let chunk_bytes = chunk_bytes.max(page_size.get());
        // A page's worth of bytes comes on top where what is appended is no whole number of pages.
        let buffer_bytes = chunk_bytes + page_size.get();
        let buffer_room = options.budget.as_ref().map(|budget| budget.reserve(buffer_bytes));
        let uuid = Uuid::new_v4();
        Ok(Self {
            behind: options.budget.as_ref().map(|budget| WriteBehind::new(budget, &claim)),
            claim,
            target,
            uuid,
            metadata: options.metadata,
            hasher: PageHasher::new(uuid),
            options: sealed_options,
            page_size,
            // Rounded so that chunks end where pages do.
            chunk_bytes: chunk_bytes - chunk_bytes % page_size.get(),
            _buffer_room: buffer_room.transpose()?,
            start_bytes,
            reserved_len: 0,
            written_len: 0,
            started_len: 0,
            buffer: Vec::new(),
            table: Vec::new(),
            finished: None,
            failed: None,
        })
    }

    /// The size of a page.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Sets the bytes of the user's own in the file's header, in the place of those of the options.
    pub fn set_metadata(&mut self, metadata: Metadata) {
        self.metadata = metadata;
    }

    /// The budget that counts what the file has in memory, where there is one.
    #[must_use]
    pub fn budget(&self) -> Option<ResidencyBudget> {
        Some(self.behind.as_ref()?.budget())
    }

    /// The bytes appended so far.
    #[must_use]
    pub fn payload_len(&self) -> u64 {
        match self.finished {
            Some((_, payload_len)) => payload_len,
            None => self.written_len + self.buffer.len() as u64,
        }
    }

    /// Appends `bytes` and returns where the first of them stands in the payload.
    ///
    /// # Errors
    /// * [`Error::DiskFull`]: nothing is appended, and the writer can go on after space was freed.
    /// * [`Error::BudgetExceeded`] where reservations leave no room in the budget: the file cannot
    ///   be finished.
    /// * [`Error::Io`]: where space could not be reserved for another reason, nothing is appended
    ///   and the writer can go on too. Where the disk failed to write, the file cannot be finished:
    ///   all that follows fails with [`Error::Poisoned`], and dropping the writer removes the file.
    pub fn append(&mut self, bytes: &[u8]) -> Result<ByteOffset> {
        let start = self.payload_len();
        self.reserve_to(start.saturating_add(bytes.len() as u64))?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some((now, later)) = rest.split_at_checked(self.room()) else {
                self.buffer.extend_from_slice(rest);
                break;
            };
            self.write_with_buffer(now)?;
            rest = later;
        }
        Ok(ByteOffset::new(start))
    }

    /// Takes the disk space that `more_bytes` will need, so that appending them does not find the
    /// disk full.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn reserve(&mut self, more_bytes: u64) -> Result<()> {
        self.reserve_to(self.payload_len().saturating_add(more_bytes))
    }

    /// Appends zeros up to the next multiple of `align_bytes`, where an array can begin, and
    /// returns that place.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn align_to(&mut self, align_bytes: NonZeroU64) -> Result<ByteOffset> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let end = self.payload_len().checked_next_multiple_of(align_bytes.get());
        let end = end.unwrap_or(u64::MAX);
        self.reserve_to(end)?;
        while self.payload_len() < end {
            let missing = usize::try_from(end - self.payload_len()).unwrap_or(usize::MAX);
            self.append(&ZEROS[..missing.min(ZEROS.len())])?;
        }
        Ok(ByteOffset::new(end))
    }

    /// What messages call the file.
    fn path(&self) -> &Path {
        self.claim.path()
    }

    /// The bytes that the chunk that is being filled still takes. All that it has then are whole pages.
    fn room(&self) -> usize {
        let chunk_bytes = self.chunk_bytes;
        let end = Geometry::data_start(self.page_size) + self.payload_len();
        index(chunk_bytes - end % chunk_bytes)
    }

    /// Gives the first `len` bytes of the data their place on the disk.
    fn reserve_to(&mut self, len: u64) -> Result<()> {
        self.check()?;
        if len <= self.reserved_len {
            return Ok(());
        }
        let data_start = Geometry::data_start(self.page_size);
        if Geometry::new(self.page_size, self.page_size.pages_for(len)).is_err() {
            let too_long = io::Error::from(io::ErrorKind::FileTooLarge);
            return Err(Error::io("reserve disk space for", self.path())(too_long));
        }
        // No overflow: a file of so many pages has less than 2^63 bytes.
        let least = len.next_multiple_of(self.page_size.get());
        let step = self.reserved_len.clamp(*RESERVE_BYTES.start(), *RESERVE_BYTES.end());
        let window = len.next_multiple_of(step);
        let extend = |end| {
            let (from, to) = (data_start + self.reserved_len, data_start + end);
            self.behind.iter().try_for_each(|behind| behind.charge_space(from..to))?;
            disk::extend(&self.claim, from, to).map(|()| end)
        };
        self.reserved_len = match extend(window) {
            // Where there is no room for a whole window, or no file may be so long, these bytes may
            // still do.
            Err(_) if least < window => extend(least)?,
            extended => extended?,
        };
        Ok(())
    }

    /// Writes the buffer and what follows it, whole pages together, behind those in the file.
    fn write_with_buffer(&mut self, bytes: &[u8]) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        // A page that stands in both is made whole in the buffer.
        let torn = buffer.len().next_multiple_of(self.page_size.get_usize()) - buffer.len();
        let (torn, whole) = bytes.split_at(torn.min(bytes.len()));
        buffer.extend_from_slice(torn);
        let written = self.write([&buffer, whole]);
        buffer.clear();
        self.buffer = buffer;
        written.inspect_err(|error| self.failed = Some(crate::WithCauses(error).to_string()))
    }

    /// Writes whole pages behind those in the file, and computes their checksums.
    fn write(&mut self, parts: [&[u8]; 2]) -> Result<()> {
        let Some(behind) = &self.behind else {
            header::write_both(&self.claim, self.end_bytes(), parts)?;
            return parts.into_iter().try_for_each(|pages| self.note_written(pages));
        };
        let window = index(behind.window_bytes().max(self.page_size.get()));
        for pages in parts.into_iter().flat_map(|pages| pages.chunks(window)) {
            if let Some(behind) = &self.behind {
                behind.write(self.end_bytes(), pages)?;
            }
            self.note_written(pages)?;
        }
        Ok(())
    }

    /// Where in the file the pages end that are in it.
    fn end_bytes(&self) -> u64 {
        Geometry::data_start(self.page_size) + self.written_len
    }

    /// Computes the checksums of pages that were written, which are still in the processor's cache.
    fn note_written(&mut self, pages: &[u8]) -> Result<()> {
        let first = self.page_size.page_of(ByteOffset::new(self.written_len));
        let page_len = self.page_size.get_usize();
        for (number, page) in (first.get()..).zip(pages.chunks_exact(page_len)) {
            let checksum = self.hasher.checksum(layout::PageId::new(number), page);
            self.table.extend(checksum.to_le_bytes());
        }
        self.written_len += pages.len() as u64;
        self.start_write_back()
    }

    /// Has the kernel begin to write to the disk what has come together.
    fn start_write_back(&mut self) -> Result<()> {
        let len = self.written_len - self.started_len;
        if self.start_bytes.is_none_or(|start_bytes| len < start_bytes) {
            return Ok(());
        }
        let offset = Geometry::data_start(self.page_size) + self.started_len;
        self.started_len = self.written_len;
        disk::start_write_back(&self.claim, offset, len)
    }

    /// Fails where an earlier write did.
    fn check(&self) -> Result<()> {
        if self.finished.is_some() {
            return Err(Error::Sealed { path: self.path().into() });
        }
        let behind = || self.behind.as_ref().and_then(WriteBehind::failed);
        match self.failed.clone().or_else(behind) {
            None => Ok(()),
            Some(message) => {
                let cause = PoisonCause::Write(message);
                Err(Error::Poisoned { path: self.path().into(), pages: self.pages(), cause })
            }
        }
    }

    /// The pages written so far.
    fn pages(&self) -> PageRange {
        let count = self.page_size.pages_for(self.written_len);
        PageRange::resolve(.., count).unwrap_or(PageRange::EMPTY)
    }

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

/// Appends; see [`PageWriter::append`]. `flush` does nothing: only [`PageWriter::seal`] makes
/// bytes durable.
impl<T> io::Write for PageWriter<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T> fmt::Debug for PageWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageWriter")
            .field("path", &self.path())
            .field("page_size", &self.page_size)
            .field("payload_len", &self.payload_len())
            .finish_non_exhaustive()
    }
}

/// A length of something in memory.
fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("it is in memory, so it fits a usize")
}
