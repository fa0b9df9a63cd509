//! Appending bytes, page after page, to a new file.

mod options;
mod sealing;

use std::{fmt, fs::File, io, num::NonZeroU64, ops::RangeInclusive, path::Path, sync::Arc};

use layout::{ByteOffset, Geometry, Metadata, PageHasher, PageRange, PageSize, Superblock};
use uuid::Uuid;

use crate::{
    error::{Error, PoisonCause, Result},
    file::{
        claim::Claim,
        disk, header,
        pending::{PendingFile, create_temporary},
        purpose::{Purpose, Trust},
    },
    map::place,
    residency::{
        budget::{Reservation, ResidencyBudget},
        write_behind::WriteBehind,
    },
    sealed::options::SealedFileOptions,
};
pub use options::PageWriterOptions;

/// How much disk space is reserved at a time: as much as there is already, within these.
const RESERVE_BYTES: RangeInclusive<u64> = 1 << 20..=64 << 20;

impl PageWriterOptions {
    /// Begins a new file, mode 0600. It gets its name when it is sealed. If the writer is dropped before that,
    /// or the process ends, nothing is left. The file is written in the same folder without a name, so it takes
    /// up space that no listing shows. Where the filesystem has no nameless files (NFS and most FUSE
    /// filesystems), it has a temporary name, `.*.tmp`, which stays behind if the process is killed.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Io`]; [`Error::DiskFull`];
    /// [`Error::PageSizeUnsupported`].
    pub fn create(&self, path: impl AsRef<Path>) -> Result<PageWriter> {
        let path = path.as_ref();
        place::check_page_size(self.page_size)?;
        let (pending, file) = PendingFile::create_nameless(path, self.existing)?;
        let target = Named { pending, is_durable: false };
        PageWriter::begin(self, Some(self.start_bytes()), (file, path), target)
    }

    /// Begins a file in `folder` that never has a name, for bytes that nobody needs after this process. Its
    /// space is free again when the writer and the finished file are dropped, or the process ends in whatever
    /// way. It is not made durable, so what fits into memory need not reach the disk.
    ///
    /// Where the filesystem has no nameless files (NFS and most FUSE filesystems), its name is removed at once;
    /// a process that is killed between the two calls leaves an empty file `.*.tmp`.
    /// [`existing`](Self::existing) has no effect here.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::DiskFull`]; [`Error::PageSizeUnsupported`].
    pub fn create_temporary(&self, folder: impl AsRef<Path>) -> Result<TempWriter> {
        let folder = folder.as_ref();
        place::check_page_size(self.page_size)?;
        let file = create_temporary(folder)?;
        // Without a budget nothing of it need ever reach the disk.
        let start_bytes = self.budget.as_ref().map(|_| self.start_bytes());
        PageWriter::begin(self, start_bytes, (file, folder), Nameless { _private: () })
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

/// The file of a [`PageWriter`]: sealing makes it durable and gives it its name.
#[derive(Debug)]
pub struct Named {
    pending: PendingFile,
    /// Whether the finished file is on the disk, under its temporary name.
    is_durable: bool,
}

/// The file of a [`TempWriter`]: it is gone with the last handle.
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
}

impl TempWriter {
    /// Begins a temporary file by default options; see [`PageWriterOptions::create_temporary`].
    ///
    /// # Errors
    /// As [`PageWriterOptions::create_temporary`].
    pub fn create_in(folder: impl AsRef<Path>) -> Result<Self> {
        PageWriter::options().create_temporary(folder)
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
        disk::extend(&claim, 0, Geometry::data_start(page_size))?;
        let chunk_bytes = options.chunk_bytes();
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
            options: options.sealed_options(),
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

    /// Sets your own bytes in the file's header, instead of those in the options.
    pub fn set_metadata(&mut self, metadata: Metadata) {
        self.metadata = metadata;
    }

    /// The budget that counts the file's bytes in memory, if there is one.
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
    /// * [`Error::Io`]: where space could not be reserved for another reason, nothing is appended and the
    ///   writer can go on too. Where a write failed, the file cannot be finished: every later call fails with
    ///   [`Error::Poisoned`], and dropping the writer removes the file.
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

    /// Reserves the disk space that `more_bytes` more bytes need, so that appending them cannot find the disk
    /// full.
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
        written.inspect_err(|error| self.failed = Some(crate::error::WithCauses(error).to_string()))
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
        self.check_written()
    }

    /// Fails where a write did, or a write-back by whoever needed the room.
    fn check_written(&self) -> Result<()> {
        let failed = self.failed.as_deref().or_else(|| self.claim.known_lost());
        failed.map_or(Ok(()), |message| {
            let cause = PoisonCause::Write(message.into());
            Err(Error::Poisoned { path: self.path().into(), pages: self.pages(), cause })
        })
    }

    /// The pages written so far.
    fn pages(&self) -> PageRange {
        let count = self.page_size.pages_for(self.written_len);
        PageRange::resolve(.., count).unwrap_or(PageRange::EMPTY)
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
