//! Appending pages, and sealing what was appended.

use std::{fmt, io, path::Path};

use layout::{
    ByteOffset, Geometry, Header, PageHasher, PageId, PageRange, PageSize, SealRecord, Superblock,
    TableHasher,
};
use uuid::Uuid;

use crate::{
    Error, FaultCause, Guard, PageFileOptions, PoisonCause, Result, SealedFile,
    claim::{Claim, Purpose, Trust},
    disk, header,
    mapping::Mapping,
    pending::{Existing, PendingFile},
    poison,
};

/// How far ahead of the writer the mapping is made present, in bytes. One `MADV_POPULATE_WRITE`
/// replaces a page fault for each page.
const WINDOW_BYTES: u64 = 16 << 20;

/// How to make a [`PageWriter`].
///
/// ```
/// use pagestore::{Existing, PageWriter};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("batch");
/// let writer = PageWriter::options().existing(Existing::Replace).create(&path)?;
/// writer.seal()?;
/// # Ok::<(), pagestore::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct PageWriterOptions {
    page_size: PageSize,
    address_space_bytes: u64,
    existing: Existing,
    guard: Guard,
}

impl PageWriterOptions {
    /// The default options: pages of 4 KiB, 1 TiB of address space, no file replaced.
    pub const fn new() -> Self {
        Self {
            page_size: PageSize::DEFAULT,
            address_space_bytes: PageFileOptions::ADDRESS_SPACE_BYTES_DEFAULT,
            existing: Existing::Refuse,
            guard: Guard::Installed,
        }
    }

    /// The size of a page. Default: 4 KiB.
    pub const fn page_size(mut self, page_size: PageSize) -> Self {
        self.page_size = page_size;
        self
    }

    /// How many bytes of address space to reserve: the most that can be appended. Default:
    /// [`PageFileOptions::ADDRESS_SPACE_BYTES_DEFAULT`].
    pub const fn address_space_bytes(mut self, bytes: u64) -> Self {
        self.address_space_bytes = bytes;
        self
    }

    /// What to do where the name is taken. Default: [`Existing::Refuse`].
    pub const fn existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// Whether page faults that cannot be answered are caught. Default: [`Guard::Installed`].
    pub const fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// Begins a new file, mode 0600. It is written under a temporary name in the same folder and
    /// gets its name when it is sealed; a writer that is dropped instead removes it.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Io`]; [`Error::AddressSpace`];
    /// [`Error::PageSizeUnsupported`].
    pub fn create(&self, path: impl AsRef<Path>) -> Result<PageWriter> {
        PageWriter::create_with(self, path.as_ref())
    }
}

impl Default for PageWriterOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Appends bytes, page after page, to a new file, and seals it.
///
/// The bytes go straight into the mapping, which is made present in windows ahead of them, and each
/// page's checksum is computed while the page is still in the processor's cache. Disk space is
/// reserved before bytes are taken, so a full disk is an error of [`append`](Self::append), never a
/// signal.
///
/// ```
/// use pagestore::{PageId, PageWriter};
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
pub struct PageWriter {
    // Before `pending`, so that the file is closed before it is removed.
    mapping: Mapping,
    pending: PendingFile,
    uuid: Uuid,
    hasher: PageHasher,
    guard: Guard,
    page_size: PageSize,
    payload_len: u64,
    /// The data bytes that have their place on the disk.
    reserved_len: u64,
    /// The data bytes that the mapping has present.
    present_len: u64,
    /// The checksums of all full pages, as they will stand in the file.
    table: Vec<u8>,
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

    fn create_with(options: &PageWriterOptions, path: &Path) -> Result<Self> {
        let page_size = options.page_size;
        PageFileOptions::check_page_size(page_size)?;
        let (pending, file) = PendingFile::create(path, options.existing)?;
        let claim = Claim::new(file, path, Purpose::Write, Trust::OwnerAndMode)?;
        let data_start = Geometry::data_start(page_size);
        disk::extend(&claim, 0, data_start)?;
        let mapping = Mapping::writable(claim, options.guard, data_start, options.address_space_bytes)?;
        let uuid = Uuid::new_v4();
        Ok(Self {
            mapping,
            pending,
            uuid,
            hasher: PageHasher::new(uuid),
            guard: options.guard,
            page_size,
            payload_len: 0,
            reserved_len: 0,
            present_len: 0,
            table: Vec::new(),
        })
    }

    /// The size of a page.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// The bytes appended so far.
    #[must_use]
    pub fn payload_len(&self) -> u64 {
        self.payload_len
    }

    /// Appends `bytes` and returns where the first of them stands in the payload.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::AddressSpaceFull`] or [`Error::Io`]. Nothing is appended then,
    /// and the writer can go on, for instance after space was freed.
    pub fn append(&mut self, bytes: &[u8]) -> Result<ByteOffset> {
        let (start, checksums) = (self.payload_len, self.table.len());
        let appended = self.append_windows(bytes);
        if appended.is_err() {
            // What was copied already stays in the file behind the payload's end, to be overwritten
            // by the next append or by the zeros of the last page.
            self.payload_len = start;
            self.table.truncate(checksums);
        }
        appended.map(|()| ByteOffset::new(start))
    }

    /// Appends zeros up to the next multiple of `align_bytes`, where an array can begin, and
    /// returns that place.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn align_to(&mut self, align_bytes: std::num::NonZeroU64) -> Result<ByteOffset> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let too_far = || Error::AddressSpaceFull {
            needed_bytes: u64::MAX,
            reserved_bytes: self.mapping.len_bytes() as u64,
        };
        let end =
            self.payload_len.checked_next_multiple_of(align_bytes.get()).ok_or_else(too_far)?;
        self.reserve(end)?;
        while self.payload_len < end {
            let missing = usize::try_from(end - self.payload_len).unwrap_or(usize::MAX);
            self.append(&ZEROS[..missing.min(ZEROS.len())])?;
        }
        Ok(ByteOffset::new(end))
    }

    fn append_windows(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.payload_len.saturating_add(bytes.len() as u64);
        poison::check(&self.mapping, self.page_size)?;
        self.reserve(end)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            self.make_present()?;
            let room = usize::try_from(self.present_len - self.payload_len).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(rest.len().min(room));
            self.copy(now);
            rest = later;
        }
        Ok(())
    }

    /// Gives the first `len` bytes of the data their place on the disk.
    fn reserve(&mut self, len: u64) -> Result<()> {
        if len <= self.reserved_len {
            return Ok(());
        }
        let page_size = self.page_size.get();
        let mapped_bytes = self.mapping.len_bytes() as u64;
        // Only whole pages can be used.
        let reserved_bytes = mapped_bytes - mapped_bytes % page_size;
        if len > reserved_bytes {
            return Err(Error::AddressSpaceFull { needed_bytes: len, reserved_bytes });
        }
        let least = len.next_multiple_of(page_size);
        let window = len.next_multiple_of(WINDOW_BYTES.max(page_size)).min(reserved_bytes);
        self.reserved_len = match self.extend_data(window) {
            Ok(()) => window,
            // A disk without room for a whole window may have room for these bytes.
            Err(Error::DiskFull { .. }) if least < window => {
                self.extend_data(least)?;
                least
            }
            Err(error) => return Err(error),
        };
        Ok(())
    }

    /// Gives the data its place on the disk up to `len` bytes.
    fn extend_data(&self, len: u64) -> Result<()> {
        let data_start = Geometry::data_start(self.page_size);
        disk::extend(self.claim(), data_start + self.reserved_len, data_start + len)
    }

    /// Makes the next window present, where all that is present has been written.
    fn make_present(&mut self) -> Result<()> {
        if self.payload_len < self.present_len {
            return Ok(());
        }
        let end = self.reserved_len.min(self.present_len + WINDOW_BYTES);
        let (offset, len) = (index(self.present_len), index(end - self.present_len));
        self.mapping.populate_write(offset, len).map_err(|source| {
            let first = self.page_size.page_of(ByteOffset::new(self.present_len));
            poison::unreachable(&self.mapping, self.page_size, PageRange::from(first), source)
        })?;
        self.present_len = end;
        Ok(())
    }

    /// Copies bytes behind the payload, into pages that are reserved and present, and computes the
    /// checksum of each page that gets full.
    fn copy(&mut self, mut bytes: &[u8]) {
        let page_len = self.page_size.get_usize();
        while !bytes.is_empty() {
            let page = self.page_size.page_of(ByteOffset::new(self.payload_len));
            let filled = index(self.payload_len % self.page_size.get());
            let (now, later) = bytes.split_at(bytes.len().min(page_len - filled));
            let whole = self.page_mut(page);
            whole[filled..filled + now.len()].copy_from_slice(now);
            if filled + now.len() == page_len {
                let checksum = self.hasher.checksum(page, self.page(page));
                self.table.extend(checksum.to_le_bytes());
            }
            self.payload_len += now.len() as u64;
            bytes = later;
        }
    }

    /// Finishes the file: writes the checksum table, the seal record and the header, makes all of
    /// it durable, and gives the file its name. From then on it never changes.
    ///
    /// # Errors
    /// [`Error::DiskFull`]; [`Error::FlushFailed`]; [`Error::AlreadyExists`] where somebody else
    /// took the name meanwhile; [`Error::Io`]. The file is removed then, and what had the name
    /// keeps it; only where the last step fails, making the *name* durable, is the whole file there.
    pub fn seal(mut self) -> Result<SealedFile> {
        let path = self.pending.path().to_path_buf();
        let page_count = self.page_size.pages_for(self.payload_len);
        let superblock = Superblock::new_sealed(self.uuid, self.page_size, page_count)
            .map_err(Error::format(&path))?;
        self.finish_last_page();
        self.write_trailer(&superblock)?;
        let header = Header::encode([Some(&superblock), Some(&superblock)]);
        header::write(self.claim(), 0, &header)?;
        self.claim().file().sync_all().map_err(|source| {
            let pages = PageRange::resolve(.., page_count).unwrap_or(PageRange::EMPTY);
            Error::FlushFailed { path: path.clone(), pages, source }
        })?;
        self.check_whole(superblock.geometry().file_len_sealed())?;
        // A second description, to read: the sealed file keeps nothing that could write. It is
        // opened before the first is closed, so it is the same file.
        let file = self.pending.reopen()?;
        let guard = self.guard;
        drop(self.mapping);
        let claim = Claim::new(file, &path, Purpose::Read, Trust::OwnerAndMode)?;
        let sealed = SealedFile::map(&SealedFile::options().guard(guard), claim)?;
        self.pending.publish()?;
        Ok(sealed)
    }

    /// Fills the last page with zeros, where it is only partly written.
    fn finish_last_page(&mut self) {
        let filled = index(self.payload_len % self.page_size.get());
        if filled > 0 {
            let page = self.page_size.page_of(ByteOffset::new(self.payload_len));
            self.page_mut(page)[filled..].fill(0);
            let checksum = self.hasher.checksum(page, self.page(page));
            self.table.extend(checksum.to_le_bytes());
        }
    }

    /// Checks that everything that was written is in the file: no page was replaced by the fault
    /// handler, and nobody cut the file short.
    fn check_whole(&self, expected_len: u64) -> Result<()> {
        poison::check(&self.mapping, self.page_size)?;
        let file_len = self.claim().len_bytes()?;
        if file_len >= expected_len {
            return Ok(());
        }
        let path = self.pending.path().into();
        let cause = PoisonCause::Fault(FaultCause::CutShort { file_len });
        Err(Error::Poisoned { path, pages: PageRange::EMPTY, cause })
    }

    /// Writes the checksum table and the seal record behind the data, and cuts off what was
    /// reserved beyond.
    fn write_trailer(&mut self, superblock: &Superblock) -> Result<()> {
        let geometry = superblock.geometry();
        debug_assert_eq!(self.table.len() as u64, geometry.table_len());
        let mut table_hasher = TableHasher::new();
        table_hasher.update(&self.table);
        let seal = SealRecord::new(superblock, self.payload_len, table_hasher.finish())
            .map_err(Error::format(self.pending.path()))?;
        let data_start = Geometry::data_start(self.page_size);
        let (reserved_end, end) = (data_start + self.reserved_len, geometry.file_len_sealed());
        if end > reserved_end {
            disk::extend(self.claim(), reserved_end, end)?;
        }
        let mut trailer = std::mem::take(&mut self.table);
        trailer.resize(index(geometry.seal_start() - geometry.data_end()), 0);
        trailer.extend(seal.encode_block(superblock));
        header::write(self.claim(), geometry.data_end(), &trailer)?;
        disk::truncate(self.claim(), end)
    }

    fn claim(&self) -> &Claim {
        self.mapping.claim().expect("a writer's mapping is of a file")
    }

    /// A page that is reserved, to read.
    fn page(&self, page: PageId) -> &[u8] {
        let (offset, len) = self.place(page);
        // SAFETY: `place` checked that the page lies before `reserved_len`, which bytes the file
        // has. Nobody writes them while the slice lives: the claim keeps others out, and in here
        // writing takes `&mut self`.
        unsafe { self.mapping.bytes(offset, len) }
    }

    /// A page that is reserved, to write.
    fn page_mut(&mut self, page: PageId) -> &mut [u8] {
        let (offset, len) = self.place(page);
        // SAFETY: the mapping is writable; `place` checked that the page lies before
        // `reserved_len`, which bytes the file has. Nobody else reads or writes them while the
        // slice lives: the claim keeps others out, and the slice borrows `self` mutably.
        unsafe { self.mapping.bytes_mut(offset, len) }
    }

    /// Where a page lies in the mapping: offset and length in bytes.
    ///
    /// # Panics
    /// Where the page is not reserved: a bug in this module.
    fn place(&self, page: PageId) -> (usize, usize) {
        let offset = page.offset(self.page_size).expect("a reserved page has an offset").get();
        assert!(offset + self.page_size.get() <= self.reserved_len, "page {page} is not reserved");
        (index(offset), self.page_size.get_usize())
    }
}

/// Appends; see [`PageWriter::append`]. `flush` does nothing: only [`PageWriter::seal`] makes
/// bytes durable.
impl io::Write for PageWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for PageWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageWriter")
            .field("path", &self.pending.path())
            .field("page_size", &self.page_size)
            .field("payload_len", &self.payload_len)
            .finish_non_exhaustive()
    }
}

/// A length or offset inside the mapping.
fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("what is mapped fits a usize")
}
