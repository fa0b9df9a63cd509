//! The sealed page file.

use std::{
    fmt,
    fs::File,
    ops::{ControlFlow, Range, RangeBounds},
    path::Path,
    sync::{Arc, Weak},
};

use bytemuck::Pod;
use bytes::Bytes;
use layout::{
    ByteOffset, FormatError, Geometry, PageChecksum, PageCount, PageHasher, PageId, PageRange,
    PageSize, SEAL_BLOCK_LEN_BYTES, SealRecord, Superblock,
};
use uuid::Uuid;

use crate::{
    Access, Error, FaultCause, Lease, PageFileOptions, PoisonCause, Residency, Result,
    SealedFileOptions,
    advised::Advised,
    bits::{Word, locate, words_of},
    budget::{Budgeted, Charged, Left, Member, Pass},
    claim::Claim,
    disk, folios, header, latched,
    mapping::Mapping,
    poison,
    read_ahead::{self, Part, ReadAhead},
    residency,
    stream::{self, Stream},
    typed,
    verified::Verified,
    verify::{self, VerifyProgress, VerifyReport},
};

/// How much is brought into memory by one system call, ahead of its checksums. Measured over a
/// file in the page cache: 12.0 GB/s with it, 9.3 GB/s by page faults.
const POPULATE_WINDOW_BYTES: u64 = 2 << 20;

/// A file that never changes: its pages are borrowed as plain slices, with no latch.
///
/// Opening reads the header and the seal record, whatever the file's size. A page's checksum is
/// verified when the page is first borrowed, and remembered in a bitmap, so that borrowing it again
/// costs the look at one bit.
///
/// Cloning is cheap and shares the mapping and what was verified. [`bytes`](Self::bytes) gives
/// owned views that keep the mapping alive.
#[derive(Clone)]
pub struct SealedFile {
    shared: Arc<Shared>,
}

/// The mapping and what is known of it.
///
/// Invariant: the mapping covers the file from page 0 to the file's end, and the claim in it keeps
/// everybody from writing to the file.
struct Shared {
    mapping: Mapping,
    page_size: PageSize,
    page_count: PageCount,
    superblock: Superblock,
    seal: SealRecord,
    hasher: PageHasher,
    /// The pages whose checksums were found right. Under a budget, such a page is charged too,
    /// unless it is being evicted.
    verified: Verified,
    /// The bytes of a page, where the mapping is indexed.
    page_len: usize,
    /// What brings pages in under a budget. Behind the mapping: pages that are mapped cannot be
    /// given back.
    budgeted: Option<ReadAhead>,
    /// What the kernel was told about how pages are read, where no budget reads ahead.
    advised: Advised,
    /// How far the kernel has read ahead, where no budget does.
    stream: Stream,
}

impl SealedFile {
    /// How to open a file otherwise than by default.
    pub const fn options() -> SealedFileOptions {
        SealedFileOptions::new()
    }

    /// Opens a file by default options; see [`SealedFileOptions::open`].
    ///
    /// # Errors
    /// As [`SealedFileOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().open(path)
    }

    /// `writer` is the membership in the budget of who wrote the file just now.
    pub(crate) fn map(
        options: &SealedFileOptions,
        claim: impl Into<Arc<Claim>>,
        writer: Option<Member>,
    ) -> Result<Self> {
        let claim: Arc<Claim> = claim.into();
        let path = claim.path();
        let header = header::read(claim.file(), path)?;
        let superblock = *header.superblock();
        if !superblock.is_sealed() {
            return Err(Error::NotSealed { path: path.into() });
        }
        let (page_size, page_count) = (superblock.page_size(), superblock.page_count());
        PageFileOptions::check_page_size(page_size)?;
        let geometry = *superblock.geometry();
        let (found, expected) = (claim.len_bytes()?, geometry.file_len_sealed());
        if found != expected {
            return Err(Error::format(path)(FormatError::Length { found, expected }));
        }
        let block =
            header::read_at(claim.file(), path, geometry.seal_start(), SEAL_BLOCK_LEN_BYTES)?;
        let seal = SealRecord::parse(&block, &superblock).map_err(Error::format(path))?;
        let data_start = Geometry::data_start(page_size);
        let mapped_len = expected - data_start;
        let mapping =
            Mapping::read_only(Arc::clone(&claim), options.guard, data_start, mapped_len)?;
        let join = |shared: &Weak<Shared>| {
            let budget = options.budget.as_ref()?;
            let member = match writer {
                None => budget.join(&claim, shared.clone()),
                Some(writer) => writer.passed_to(&claim, shared.clone()),
            };
            Some(ReadAhead::new(member, options.access, budget.window_bytes()))
        };
        let shared = Arc::new_cyclic(|shared| Shared {
            mapping,
            page_size,
            page_count,
            superblock,
            seal,
            hasher: PageHasher::new(superblock.file_uuid()),
            verified: Verified::none_of(page_count, options.budget.is_some()),
            page_len: index(page_size.get()),
            budgeted: join(shared),
            advised: Advised::new(options.access),
            stream: Stream::new(),
        });
        let sealed = Self { shared };
        // Under a budget, nothing is read ahead but by ourselves.
        let access = options.budget.as_ref().map_or(options.access, |_| Access::Random);
        if access != Access::Normal {
            sealed.advise_kernel(access)?;
        }
        if let Some(budget) = &options.budget {
            budget.check_newcomer(sealed.shared.claim().file())?;
        }
        Ok(sealed)
    }

    /// The size of a page.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.shared.page_size
    }

    /// How many pages there are.
    #[must_use]
    pub fn page_count(&self) -> PageCount {
        self.shared.page_count
    }

    /// The bytes that were appended before the file was sealed. The last page is zero behind them.
    #[must_use]
    pub fn payload_len(&self) -> u64 {
        self.shared.seal.payload_len()
    }

    /// The uuid that the file got when it was made.
    #[must_use]
    pub fn file_uuid(&self) -> Uuid {
        self.shared.superblock.file_uuid()
    }

    /// The file's path when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.claim().path()
    }

    /// Borrows one page; verifies it the first time.
    ///
    /// # Errors
    /// [`Error::Range`] where the file has no such page; [`Error::Checksum`] where it is damaged;
    /// [`Error::Poisoned`] where it, or another one earlier, could not be reached.
    #[inline]
    pub fn page(&self, page: PageId) -> Result<&[u8]> {
        let shared = &*self.shared;
        // As little as it takes, and inlined where it is called: the fewer instructions a page
        // takes, the more pages the processor fetches at a time.
        if shared.verified.is_free(page) && shared.mapping.fault_offset().is_none() {
            return Ok(shared.bytes_of(page));
        }
        shared.page_with_care(page)
    }

    /// Borrows adjacent pages as one slice; verifies those that were not yet.
    ///
    /// # Errors
    /// As [`page`](Self::page); [`Error::Checksum`] names the first one that is damaged.
    pub fn pages(&self, range: impl RangeBounds<PageId>) -> Result<&[u8]> {
        let shared = &*self.shared;
        let range = PageRange::resolve(range, shared.page_count)?;
        shared.verify_pages(range)?;
        Ok(shared.bytes(range))
    }

    /// Lets `read` work on adjacent pages and gives back what it made of them, unless a page could
    /// not be reached meanwhile: a result that comes from such a page is never returned.
    ///
    /// A slice alone cannot promise that. It is given only when all its bytes were read and found
    /// right, but the kernel may take pages back and fetch them again later, when the file may have
    /// been cut short or the disk may fail; the fault handler then shows zeros. Whoever computes
    /// something from borrowed bytes and hands it on does it in here, or asks
    /// [`still_valid`](Self::still_valid) afterwards.
    ///
    /// # Errors
    /// As [`pages`](Self::pages); [`Error::Poisoned`].
    pub fn with_pages<R>(
        &self,
        range: impl RangeBounds<PageId>,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<R> {
        let result = read(self.pages(range)?);
        self.still_valid()?;
        Ok(result)
    }

    /// Says whether all that was read so far, by whatever slice or [`Bytes`] view of this file,
    /// came from the file.
    ///
    /// That is so unless a page fault could not be answered, or the file is shorter than it was:
    /// where it was cut in the middle of a page, the rest of that page shows zeros without a fault.
    /// The look at the length is one system call (0.3 us).
    ///
    /// # Errors
    /// [`Error::Poisoned`] where a page could not be reached, or the file was cut short.
    pub fn still_valid(&self) -> Result<()> {
        self.shared.check()?;
        self.shared.check_len()
    }

    /// What the kernel does now about somebody who wants to write to the file; one system call
    /// (0.2 us).
    ///
    /// A program that reads one file for long can ask this now and then, and where the answer is
    /// [`Lease::WriterWaits`] drop the handle, its clones and its views. What was borrowed stays
    /// right until they have waited for `/proc/sys/fs/lease-break-time` seconds, so this is no
    /// failure of [`still_valid`](Self::still_valid).
    ///
    /// In this process too, whoever opens the file for writing while it is open here waits.
    /// Renaming another file over it, removing it and changing its mode need no wait, and neither
    /// does [`Existing::Replace`](crate::Existing::Replace): the handle keeps the old file.
    ///
    /// After a fork(2), parent and child share one lease. It ends when the parent drops its last
    /// handle, whatever the child still has.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.shared.claim().lease()
    }

    /// Borrows adjacent pages without verifying anything, for a caller that has verified the file
    /// or does not care. What is borrowed so does not count as verified.
    ///
    /// # Errors
    /// [`Error::Range`] where the file does not have them all; [`Error::Poisoned`].
    pub fn pages_unverified(&self, range: impl RangeBounds<PageId>) -> Result<&[u8]> {
        let shared = &*self.shared;
        shared.check()?;
        let range = PageRange::resolve(range, shared.page_count)?;
        if let Some(budgeted) = &shared.budgeted
            && !range.is_empty()
            && !budgeted.member().is_charged(shared.span(range))
        {
            shared.populate(range)?;
        }
        Ok(shared.bytes(range))
    }

    /// Borrows adjacent pages as items of plain data, across page boundaries.
    ///
    /// # Errors
    /// As [`pages`](Self::pages); [`ViewError`](crate::ViewError) where the pages are no whole
    /// number of items, or items have no size.
    pub fn as_slice_of<T: Pod>(&self, range: impl RangeBounds<PageId>) -> Result<&[T]> {
        Ok(typed::as_slice_of(self.pages(range)?)?)
    }

    /// Borrows `count` items of plain data, the first at byte `offset` of the payload; verifies the
    /// pages they lie in. With `u8` items, this borrows any range of bytes.
    ///
    /// # Errors
    /// [`ViewError`](crate::ViewError) where the first item would not be aligned, the items reach
    /// past the payload's end, or have no size; [`Error::Checksum`].
    ///
    /// ```
    /// use pagestore::{ByteOffset, PageWriter};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("batch");
    /// let mut writer = PageWriter::create(&path)?;
    /// let at = writer.append(&[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0])?;
    /// let sealed = writer.seal()?;
    /// assert_eq!(sealed.as_slice_of_at::<u32>(at, 3)?, [1, 2, 3]);
    /// assert!(sealed.as_slice_of_at::<u32>(ByteOffset::new(4), 3).is_err());
    /// # Ok::<(), pagestore::Error>(())
    /// ```
    pub fn as_slice_of_at<T: Pod>(&self, offset: ByteOffset, count: usize) -> Result<&[T]> {
        let shared = &*self.shared;
        let window = typed::window::<T>(offset, count, self.payload_len())?;
        if window.is_empty() {
            return Ok(&[]);
        }
        let first = shared.page_size.page_of(offset);
        let last = shared.page_size.page_of(ByteOffset::new(window.end as u64 - 1));
        let range = PageRange::resolve(first..=last, shared.page_count)?;
        shared.verify_pages(range)?;
        let skipped = window.start - latched::place(range, shared.page_size).0;
        let bytes = &shared.bytes(range)[skipped..skipped + window.len()];
        Ok(typed::cast_window(bytes, offset)?)
    }

    /// Adjacent pages as an owned view: it keeps the mapping and the file's lock alive, and cloning
    /// or slicing it copies nothing.
    ///
    /// # Errors
    /// As [`pages`](Self::pages).
    pub fn bytes(&self, range: impl RangeBounds<PageId>) -> Result<Bytes> {
        let range = PageRange::resolve(range, self.shared.page_count)?;
        self.shared.verify_pages(range)?;
        Ok(Bytes::from_owner(View { shared: Arc::clone(&self.shared), range }))
    }

    /// Tells how pages are going to be read; `..` is the whole file. What is said last of a page
    /// counts. Under a budget it is this store that reads ahead, and otherwise the kernel, to which
    /// each run of pages with an advice of its own is a mapping of its own, of which a process may have
    /// 65,530 (`vm.max_map_count`).
    ///
    /// # Errors
    /// [`Error::Range`]; [`Error::Io`].
    pub fn advise(&self, range: impl RangeBounds<PageId>, access: Access) -> Result<()> {
        let shared = &*self.shared;
        let pages = (range.start_bound().cloned(), range.end_bound().cloned());
        let span = shared.span(PageRange::resolve(pages, shared.page_count)?);
        let part = Part::of(&range, span);
        match &part {
            Part::Whole => shared.advised.set(access),
            Part::Span(span) => shared.advised.set_part(span.clone(), access),
        }
        read_ahead::advise(shared.budgeted.as_ref(), shared.mapped(), part, access)
    }

    fn advise_kernel(&self, access: Access) -> Result<()> {
        let advised = self.shared.mapping.advise(access);
        advised.map_err(Error::io("advise the kernel about", self.path()))?;
        disk::advise(self.shared.claim(), access)
    }

    /// Has the kernel begin to read all of these pages at once, and does not wait for it: the disk
    /// gets as many requests together as it takes. Borrowing a page then waits for that page alone.
    /// This is the advice "will need" of madvise(2), without the limit at which the kernel silently
    /// cuts that off.
    ///
    /// Under a budget the pages are charged now. More than half of the budget at a time would evict
    /// what is used before what was asked for first, so what goes beyond that is left out.
    ///
    /// # Errors
    /// [`Error::Range`]; [`Error::Io`]; under a budget, what hinders the eviction of others.
    pub fn prefetch<R: RangeBounds<PageId>>(
        &self,
        ranges: impl IntoIterator<Item = R>,
    ) -> Result<()> {
        let shared = &*self.shared;
        let spans = ranges.into_iter().map(|range| {
            let range = PageRange::resolve(range, shared.page_count)?;
            Ok(shared.span(range))
        });
        read_ahead::prefetch(shared.budgeted.as_ref(), shared.claim(), spans)
    }

    /// Whether all of these pages are in the page cache now, so that borrowing them waits for no
    /// disk; one system call. Where the kernel does not tell (see
    /// [`Residency`](crate::Residency)), each page is looked for in the mapping.
    ///
    /// # Errors
    /// [`Error::Range`]; [`Error::Io`] where the kernel tells in neither way.
    pub fn is_resident(&self, range: impl RangeBounds<PageId>) -> Result<bool> {
        let shared = &*self.shared;
        let range = PageRange::resolve(range, shared.page_count)?;
        residency::covers(shared.claim(), shared.mapped(), shared.span(range))
    }

    /// What the page cache holds of the whole file; `None` where the kernel does not tell. One
    /// system call (0.4 us).
    #[must_use]
    pub fn residency(&self) -> Option<Residency> {
        residency::of_file(self.shared.claim().file())
    }

    /// Tells the kernel that these pages will not be used soon (`MADV_COLD`): they are the first to
    /// go when memory is short, and stay until then. Under a budget, too, they are among the next.
    ///
    /// # Errors
    /// [`Error::Range`]; [`Error::Io`].
    pub fn cool(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        let shared = &*self.shared;
        let range = PageRange::resolve(range, shared.page_count)?;
        if range.is_empty() {
            return Ok(());
        }
        if let Some(budgeted) = &shared.budgeted {
            budgeted.member().unreference(shared.span(range));
        }
        let (offset, len) = latched::place(range, shared.page_size);
        let cooled = shared.mapping.advise_cold(offset, len);
        cooled.map_err(Error::io("advise the kernel about", self.path()))
    }

    /// Drops pages from memory: from this mapping, and from the page cache where nobody else maps
    /// them. Slices borrowed before stay valid; touching them brings the pages back from the disk.
    /// Their checksums will be verified again when they are next borrowed. With all pages (`..`), what
    /// the file has around them goes too: its header and the table of checksums.
    ///
    /// Under a budget, whole extents of 256 KiB go, and what was charged for them is given back.
    ///
    /// # Errors
    /// [`Error::Range`]; [`Error::Io`].
    pub fn evict(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        let shared = &*self.shared;
        let range = PageRange::resolve(range, shared.page_count)?;
        if range.is_empty() {
            return Ok(());
        }
        let span = if range.count() == shared.page_count {
            0..shared.superblock.geometry().file_len_sealed()
        } else {
            shared.span(range)
        };
        if let Some(budgeted) = &shared.budgeted {
            return budgeted.member().evict(span);
        }
        let dropped = shared.drop_pages(span);
        // After the drop, whatever came of it: another thread may verify a page before it goes.
        shared.verified.remove(range);
        dropped.map_err(Error::io("evict pages of", self.path()))
    }

    /// Checks every byte of the file: each page against its checksum, the checksum table, the seal
    /// record, both superblock slots, and that what must be zero is. `progress` is called after each
    /// 4 MiB and at the end, and may stop it: the report is then of the pages up to there.
    ///
    /// Takes nothing for granted that was verified before, and remembers what it finds.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read. Damage is no error but what is asked for: it is
    /// in the report.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let sealed = pagestore::PageWriter::create(folder.path().join("batch"))?.seal()?;
    /// let report = sealed.verify(|_| ControlFlow::Continue(()))?;
    /// assert!(report.is_ok());
    /// # Ok::<(), pagestore::Error>(())
    /// ```
    pub fn verify(
        &self,
        mut progress: impl FnMut(VerifyProgress) -> ControlFlow<()>,
    ) -> Result<VerifyReport> {
        verify::verify(self, &mut progress)
    }

    pub(crate) fn superblock(&self) -> &Superblock {
        &self.shared.superblock
    }

    pub(crate) fn seal(&self) -> &SealRecord {
        &self.shared.seal
    }

    /// Reads part of the file with system calls, past the mapping.
    pub(crate) fn read_at(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        header::read_at(self.shared.claim().file(), self.path(), offset, len)
    }

    /// The checksum table and the zeros behind it.
    pub(crate) fn table(&self) -> (&[u8], &[u8]) {
        let geometry = self.shared.superblock.geometry();
        let len = index(geometry.seal_start() - geometry.data_end());
        let table = &self.shared.trailer()[..len];
        table.split_at(index(geometry.table_len()))
    }

    /// Verifies one page, whatever is remembered of it, and remembers the outcome.
    pub(crate) fn reverify_page(&self, page: PageId) -> Result<()> {
        self.shared.verified.remove(PageRange::from(page));
        self.shared.verify_page(page)
    }

    /// Brings pages into memory ahead of their use, in one system call.
    pub(crate) fn populate(&self, range: PageRange) -> Result<()> {
        self.shared.populate(range)
    }
}

impl Shared {
    fn claim(&self) -> &Claim {
        self.mapping.claim().expect("a sealed file's mapping is of a file")
    }

    /// The bytes of pages that the file has.
    #[inline]
    fn bytes(&self, range: PageRange) -> &[u8] {
        let (offset, len) = latched::place(range, self.page_size);
        // SAFETY: the mapping covers all pages of the file and `range` was resolved against them, so
        // the bytes lie inside it; and it ends where the file did when it was opened, so they are
        // usable. Nobody writes to them: the file is sealed, which this crate never writes to, and
        // the claim in the mapping vouches for everyone else.
        unsafe { self.mapping.bytes(offset, len) }
    }

    /// The bytes of a page that the file has: [`bytes`](Self::bytes) in fewer instructions.
    #[inline]
    fn bytes_of(&self, page: PageId) -> &[u8] {
        let (offset, len) = (index(page.get()) * self.page_len, self.page_len);
        // SAFETY: as in `bytes`.
        unsafe { self.mapping.bytes(offset, len) }
    }

    /// The bytes behind the pages: the checksum table and the seal record.
    fn trailer(&self) -> &[u8] {
        let data_len = index(self.superblock.geometry().data_len());
        let len = self.mapping.len_bytes() - data_len;
        // SAFETY: as in `bytes`; these bytes end where the mapping does.
        unsafe { self.mapping.bytes(data_len, len) }
    }

    /// Fails where a page could not be reached.
    #[inline]
    fn check(&self) -> Result<()> {
        poison::check(&self.mapping, self.page_size)
    }

    /// Fails where somebody cut the file short.
    fn check_len(&self) -> Result<()> {
        let file_len = self.claim().len_bytes()?;
        if file_len >= self.superblock.geometry().file_len_sealed() {
            return Ok(());
        }
        let path = self.claim().path().into();
        let pages = poison::lost(self.page_size, self.page_count, file_len);
        self.mapping.note_fault(latched::place(pages, self.page_size).0);
        let cause = PoisonCause::Fault(FaultCause::CutShort { file_len });
        Err(Error::Poisoned { path, pages, cause })
    }

    /// The bytes of the file that pages lie in.
    #[inline]
    fn span(&self, range: PageRange) -> Range<u64> {
        latched::span(range, self.page_size)
    }

    /// The bytes of the file that the checksums of pages lie in.
    fn checksums_of(&self, range: PageRange) -> Range<u64> {
        const LEN: u64 = PageChecksum::LEN_BYTES as u64;
        let start = self.superblock.geometry().data_end();
        start + range.start().get() * LEN..start + range.end().get() * LEN
    }

    /// A page that lies under a budget, was not verified yet, is not there, or cannot be reached.
    fn page_with_care(&self, page: PageId) -> Result<&[u8]> {
        let range = PageRange::single(page, self.page_count)?;
        self.check()?;
        match &self.budgeted {
            Some(budgeted) if self.verified.has(page) => {
                budgeted.member().reference(self.span(range));
            }
            _ => self.verify_page(page)?,
        }
        Ok(self.bytes(range))
    }

    /// Verifies the pages of `range` that were not verified yet.
    fn verify_pages(&self, range: PageRange) -> Result<()> {
        self.check()?;
        match &self.budgeted {
            None => self.verify_words(range, Bringing::Populates),
            Some(budgeted) => self.windows(range, budgeted.window_bytes()).try_for_each(|window| {
                if self.verified.has_all(window) {
                    budgeted.member().reference(self.span(window));
                    return Ok(());
                }
                let _charged = self.charge(budgeted, window)?;
                self.verify_words(window, Bringing::Done)
            }),
        }
    }

    /// Charges pages and what of the checksum table is about them, and brings the pages in.
    ///
    /// They cannot be evicted as long as what is returned lives.
    fn charge<'shared>(
        &self,
        budgeted: &'shared ReadAhead,
        window: PageRange,
    ) -> Result<Charged<'shared>> {
        let table = self.checksums_of(window);
        // One after the other, since nothing is to be held while room is waited for.
        if budgeted.member().is_charged(table.clone()) {
            budgeted.member().reference(table);
        } else {
            drop(budgeted.member().charge(table)?);
        }
        let data_end = self.superblock.geometry().data_end();
        let charged = budgeted.bring_in(self.claim(), self.span(window), data_end)?;
        if window.count() > PageCount::new(1) {
            self.populate_now(window)?;
        }
        Ok(charged)
    }

    /// Adjacent pages in pieces of about so many bytes.
    fn windows(&self, range: PageRange, bytes: u64) -> impl Iterator<Item = PageRange> + use<> {
        latched::windows(range, self.page_size, bytes)
    }

    /// Writes what is dirty in a range of the file to the disk, so that it can leave memory: of a
    /// temporary file nothing was made durable. Says how many bytes that were.
    fn write_dirty(&self, span: Range<u64>) -> Result<u64> {
        let dirty_bytes = residency::of_range(self.claim().file(), span.clone())
            .map_or(0, |residency| residency.dirty_bytes);
        if dirty_bytes > 0 {
            disk::write_back(self.claim(), span.start, span.end - span.start)?;
        }
        Ok(dirty_bytes)
    }

    /// Gives the pages of a range of the file back to the kernel.
    fn drop_pages(&self, span: Range<u64>) -> std::io::Result<()> {
        folios::drop_pages(self.mapped(), span)
    }

    /// The mapping, and where in the file it begins.
    fn mapped(&self) -> (&Mapping, u64) {
        (&self.mapping, Geometry::data_start(self.page_size))
    }

    /// Verifies the pages of `range` that were not verified yet.
    fn verify_words(&self, range: PageRange, bringing: Bringing) -> Result<()> {
        let mut present_end = range.start();
        for word in words_of(range) {
            let missing = Word { bits: self.verified.missing(word), ..word };
            if missing.bits == 0 {
                continue;
            }
            // Noted once a word: a locked instruction after each page would keep the processor
            // from fetching the next one meanwhile.
            let mut verified = Word { bits: 0, ..word };
            let outcome: Result<()> = missing.pages().try_for_each(|page| {
                if bringing == Bringing::Populates && page >= present_end {
                    present_end = self.populate_window(page, range.end())?;
                }
                self.check_page(page)?;
                verified.bits |= 1 << locate(page.get()).1;
                Ok(())
            });
            self.verified.add(verified);
            outcome?;
        }
        Ok(())
    }

    /// Brings the pages of the window from `first` on into memory, up to `end`; returns where the
    /// window ends. A single page is left to its page fault.
    fn populate_window(&self, first: PageId, end: PageId) -> Result<PageId> {
        let window_pages = self.page_size.pages_for(POPULATE_WINDOW_BYTES);
        let window_end = first.checked_add(window_pages).map_or(end, |window| window.min(end));
        let window = PageRange::resolve(first..window_end, self.page_count)?;
        if window.count() > PageCount::new(1) {
            self.populate(window)?;
        }
        Ok(window_end)
    }

    /// Verifies one page and notes it.
    #[cold]
    fn verify_page(&self, page: PageId) -> Result<()> {
        let _charged = match &self.budgeted {
            Some(budgeted) => Some(self.charge(budgeted, PageRange::from(page))?),
            None => {
                // What is one page to the kernel too is left to its page fault.
                if self.page_size.get() > rustix::param::page_size() as u64 {
                    self.populate_now(PageRange::from(page))?;
                }
                None
            }
        };
        self.check_page(page)?;
        words_of(PageRange::from(page)).for_each(|word| self.verified.add(word));
        Ok(())
    }

    /// Computes a page's checksum and compares it with the table's.
    fn check_page(&self, page: PageId) -> Result<()> {
        let found = self.hasher.checksum(page, self.bytes(PageRange::from(page)));
        let expected = self.expected_checksum(page);
        // Every byte was touched by now. Where one could not be reached, zeros were summed.
        self.check()?;
        if found == expected {
            return Ok(());
        }
        let path = self.claim().path().into();
        Err(Error::Checksum { path, page, found, expected })
    }

    /// What the checksum table says of a page.
    fn expected_checksum(&self, page: PageId) -> PageChecksum {
        const LEN: usize = PageChecksum::LEN_BYTES;
        let entry = index(page.get()) * LEN;
        let bytes = self.trailer()[entry..entry + LEN].try_into();
        let bytes = bytes.expect("the slice has that length");
        PageChecksum::from_le_bytes(bytes)
    }

    /// Brings pages in, under a budget window by window.
    fn populate(&self, range: PageRange) -> Result<()> {
        match &self.budgeted {
            None => self.populate_now(range),
            Some(budgeted) => self
                .windows(range, budgeted.window_bytes())
                .try_for_each(|window| self.charge(budgeted, window).map(drop)),
        }
    }

    /// Brings pages in, and has the kernel go on with those behind them where they are read in order.
    fn populate_now(&self, range: PageRange) -> Result<()> {
        if self.budgeted.is_some() {
            return self.wait_for(range);
        }
        let (span, file) = (self.span(range), self.claim().file());
        self.begin_checksums(range)?;
        if self.advised.at(span.start).0 == Access::Random {
            // The kernel would read them one after the other, each when it is asked for.
            let begun = disk::will_need(file, span.start, span.end - span.start);
            begun.map_err(Error::io("begin to read", self.claim().path()))?;
            return self.wait_for(range);
        }
        self.wait_for(range)?;
        self.stream.has_read(file, span, self.superblock.geometry().data_end());
        Ok(())
    }

    /// Has the kernel begin to read the checksums of pages and of those that may be read ahead. Later, they
    /// would wait for the disk behind those pages.
    fn begin_checksums(&self, range: PageRange) -> Result<()> {
        let ahead = self.page_size.pages_for(stream::AHEAD_BYTES_MAX);
        let last = PageId::new(self.page_count.get());
        let end = range.end().checked_add(ahead).map_or(last, |end| end.min(last));
        let span = self.checksums_of(PageRange::resolve(range.start()..end, self.page_count)?);
        let begun = disk::will_need(self.claim().file(), span.start, span.end - span.start);
        begun.map_err(Error::io("begin to read the checksums of", self.claim().path()))
    }

    /// Has pages in memory and mapped when it returns.
    fn wait_for(&self, range: PageRange) -> Result<()> {
        let (offset, len) = latched::place(range, self.page_size);
        let populated = self.mapping.populate_read(offset, len);
        populated
            .map_err(|source| poison::unreachable(&self.mapping, self.page_size, range, source))
    }
}

impl Budgeted for Shared {
    fn file(&self) -> &File {
        self.claim().file()
    }

    fn mincore_bytes(&self, span: Range<u64>) -> Option<u64> {
        residency::by_mincore(self.mapped(), span)
    }

    fn evict(&self, pass: &Pass<'_>, span: Range<u64>) -> Result<Left> {
        let pages = latched::pages_in(self.page_size, self.page_count, &span);
        // Before the drop: nobody verifies a page of the extent meanwhile, and whoever borrows one
        // from now on charges it first.
        self.verified.remove(pages);
        pass.note_written_back(self.write_dirty(span.clone())?);
        let dropped = self.drop_pages(span.clone());
        dropped.map_err(Error::io("evict pages of", self.claim().path()))?;
        Ok(Left::look_mapped(self, span.start.max(self.mapped().1)..span.end))
    }
}

/// Who brings in the pages that are to be verified.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bringing {
    Populates,
    Done,
}

/// What a [`Bytes`] view of some pages owns.
struct View {
    shared: Arc<Shared>,
    range: PageRange,
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        self.shared.bytes(self.range)
    }
}

impl fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedFile")
            .field("path", &self.path())
            .field("page_size", &self.page_size())
            .field("page_count", &self.page_count())
            .field("payload_len", &self.payload_len())
            .finish_non_exhaustive()
    }
}

/// A length or index inside what is mapped.
#[inline]
fn index(number: u64) -> usize {
    usize::try_from(number).expect("what is mapped fits a usize")
}
