//! The sealed page file.

mod pinned;
mod shared;

use std::{
    fmt,
    ops::{ControlFlow, RangeBounds},
    path::Path,
    sync::Arc,
};

use bytemuck::Pod;
use bytes::Bytes;
use layout::{
    ByteOffset, Metadata, PageCount, PageId, PageRange, PageSize, SealRecord, Superblock,
};
use uuid::Uuid;

use crate::{
    Access, Evidence, Lease, Residency, Result, SealedFileOptions,
    file::{claim::Claim, header},
    map::place,
    residency::{
        budget::{Held, Member},
        cache,
        read_ahead::{self, Part},
    },
    sealed::verify::{self, VerifyProgress, VerifyReport},
    typed,
};
pub use pinned::PinnedPages;
use shared::{Shared, index};

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
    shared: Held<Shared>,
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

    /// `writer` gives the membership in the budget of who wrote the file just now. It is asked when the
    /// file is mapped.
    pub(crate) fn map(
        options: &SealedFileOptions,
        claim: impl Into<Arc<Claim>>,
        writer: impl FnOnce() -> Option<Member>,
    ) -> Result<Self> {
        Ok(Self { shared: Shared::map(options, &claim.into(), writer)? })
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

    /// The bytes of the user's own in the file's header.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        self.shared.superblock.metadata()
    }

    /// The file's path when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.claim().path()
    }

    /// Borrows one page; verifies it the first time.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range) where the file has no such page; [`Error::Checksum`](crate::Error::Checksum) where it is damaged;
    /// [`Error::Poisoned`](crate::Error::Poisoned) where it, or another one earlier, could not be reached.
    #[inline]
    pub fn page(&self, page: impl Into<PageId>) -> Result<&[u8]> {
        let page = page.into();
        let shared = &*self.shared;
        // As little as it takes, and inlined where it is called: the fewer instructions a page
        // takes, the more pages the processor fetches at a time.
        // There are never more free pages than the file has.
        if page.get() < shared.mapping.free_pages() {
            return Ok(shared.bytes_of(page));
        }
        if shared.verified.is_free(page) && shared.mapping.fault_offset().is_none() {
            return Ok(shared.bytes_of(page));
        }
        shared.page_with_care(page)
    }

    /// Borrows adjacent pages as one slice; verifies those that were not yet.
    ///
    /// # Errors
    /// As [`page`](Self::page); [`Error::Checksum`](crate::Error::Checksum) names the first one that is damaged.
    pub fn pages(&self, range: impl RangeBounds<PageId>) -> Result<&[u8]> {
        let shared = &*self.shared;
        let range = shared.resolve(range)?;
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
    /// As [`pages`](Self::pages); [`Error::Poisoned`](crate::Error::Poisoned).
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
    /// [`Error::Poisoned`](crate::Error::Poisoned) where a page could not be reached, or the file was cut short.
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

    /// What shows that nobody else writes to the file.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.shared.claim().evidence()
    }

    /// Borrows adjacent pages without verifying anything, for a caller that has verified the file
    /// or does not care. What is borrowed so does not count as verified.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range) where the file does not have them all; [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn pages_unverified(&self, range: impl RangeBounds<PageId>) -> Result<&[u8]> {
        let shared = &*self.shared;
        shared.check()?;
        let range = shared.resolve(range)?;
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
    /// past the payload's end, or have no size; [`Error::Checksum`](crate::Error::Checksum).
    ///
    /// ```
    /// # extern crate pagestore as storage;
    /// use storage::{ByteOffset, PageWriter};
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
        let range = shared.resolve(first..=last)?;
        shared.verify_pages(range)?;
        let skipped = window.start - place::place(range, shared.page_size).0;
        let bytes = &shared.bytes(range)[skipped..skipped + window.len()];
        Ok(typed::cast_window(bytes, offset)?)
    }

    /// Adjacent pages as an owned view: it keeps the mapping and the file's lock alive, and cloning
    /// or slicing it copies nothing.
    ///
    /// # Errors
    /// As [`pages`](Self::pages).
    pub fn bytes(&self, range: impl RangeBounds<PageId>) -> Result<Bytes> {
        let range = self.shared.resolve(range)?;
        self.shared.verify_pages(range)?;
        Ok(Bytes::from_owner(View { shared: self.shared.clone(), range }))
    }

    /// Tells how pages are going to be read; `..` is the whole file. What is said last of a page
    /// counts. Under a budget it is this store that reads ahead, and otherwise the kernel, to which
    /// each run of pages with an advice of its own is a mapping of its own, of which a process may have
    /// 65,530 (`vm.max_map_count`).
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range).
    pub fn advise(&self, range: impl RangeBounds<PageId>, access: Access) -> Result<()> {
        let shared = &*self.shared;
        let pages = (range.start_bound().cloned(), range.end_bound().cloned());
        let span = shared.span(shared.resolve(pages)?);
        let part = Part::of(&range, span);
        match &part {
            Part::Whole => shared.advised.set(access),
            Part::Span(span) => shared.advised.set_part(span.clone(), access),
        }
        read_ahead::advise(shared.budgeted.as_ref(), shared.mapped(), part, access);
        Ok(())
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
    /// [`Error::Range`](crate::Error::Range); under a budget, what hinders the eviction of others.
    pub fn prefetch<R: RangeBounds<PageId>>(
        &self,
        ranges: impl IntoIterator<Item = R>,
    ) -> Result<()> {
        let shared = &*self.shared;
        let spans = ranges.into_iter().map(|range| {
            let range = shared.resolve(range)?;
            Ok(shared.span(range))
        });
        read_ahead::prefetch(shared.budgeted.as_ref(), shared.claim(), spans)
    }

    /// Reads these pages into memory and waits for them. What is missing is read by blocks of 2 MiB, where the
    /// filesystem has large folios (ext4, xfs, btrfs of a recent kernel): each is read by one request, mapped by one
    /// entry of the page table, and dropped at once, which costs a fraction of what single pages do, now and
    /// when pages are read at random later. Elsewhere it is as good as [`prefetch`](Self::prefetch) and
    /// borrowing them. Pages that leave memory again come back by such blocks too, also where a single one is
    /// borrowed: load what is going to stay.
    ///
    /// Under a budget of at least 16 MiB, the whole blocks that the pages lie in are charged and read. They may
    /// leave again before they are borrowed, so load no more than a fraction of the budget at a time; single
    /// ones come back alone. With [`Access::Sequential`](crate::Access::Sequential), borrows under such a budget
    /// do so by themselves.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range); [`Error::Fault`](crate::Error::Fault) where pages cannot be read;
    /// [`Error::Poisoned`](crate::Error::Poisoned); under a budget, what hinders the eviction of others.
    pub fn load(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        let range = self.shared.resolve(range)?;
        if range.is_empty() { Ok(()) } else { self.shared.load(range) }
    }

    /// The size of the blocks that a file under a budget is loaded by: 2 MiB. `None` where the budget is too small
    /// for them, pages of the operating system have not 4 KiB, or there is no budget.
    #[must_use]
    pub fn budget_block_bytes(&self) -> Option<u64> {
        self.shared.budgeted.as_ref()?.block_bytes()
    }

    /// Whether all of these pages are in the page cache now, so that borrowing them waits for no
    /// disk; one system call. Where the kernel does not tell (see
    /// [`Residency`](crate::Residency)), each page is looked for in the mapping.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range); [`Error::Io`](crate::Error::Io) where the kernel tells in neither way.
    pub fn is_resident(&self, range: impl RangeBounds<PageId>) -> Result<bool> {
        let shared = &*self.shared;
        let range = shared.resolve(range)?;
        cache::covers(shared.claim(), shared.mapped(), shared.span(range))
    }

    /// What the page cache holds of the whole file; `None` where the kernel does not tell. One
    /// system call (0.4 us).
    #[must_use]
    pub fn residency(&self) -> Option<Residency> {
        cache::of_file(self.shared.claim().file())
    }

    /// Tells the kernel that these pages will not be used soon (`MADV_COLD`): they are the first to
    /// go when memory is short, and stay until then. Under a budget, too, they are among the next.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range).
    pub fn cool(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        let shared = &*self.shared;
        let range = shared.resolve(range)?;
        if range.is_empty() {
            return Ok(());
        }
        if let Some(budgeted) = &shared.budgeted {
            budgeted.member().unreference(shared.span(range));
        }
        let (offset, len) = place::place(range, shared.page_size);
        shared.mapping.advise_cold(offset, len);
        Ok(())
    }

    /// Drops pages from memory: from this mapping, and from the page cache where nobody else maps
    /// them. Slices borrowed before stay valid; touching them brings the pages back from the disk.
    /// Their checksums will be verified again when they are next borrowed. With all pages (`..`), what
    /// the file has around them goes too: its header and the table of checksums.
    ///
    /// Under a budget, whole extents of 256 KiB go, and what was charged for them is given back.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range); [`Error::Io`](crate::Error::Io).
    pub fn evict(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        let shared = &*self.shared;
        let range = shared.resolve(range)?;
        if range.is_empty() {
            return Ok(());
        }
        let is_whole = range.count() == shared.page_count;
        let span = if is_whole {
            0..shared.superblock.geometry().file_len_sealed()
        } else {
            shared.span(range)
        };
        if let Some(budgeted) = &shared.budgeted {
            return budgeted.member().evict(span);
        }
        shared.drop_pages(span);
        // After the drop, whatever came of it: another thread may verify a page before it goes.
        shared.forget_verified(range);
        if is_whole {
            shared.forget_checksums();
        }
        Ok(())
    }

    /// Checks every byte of the file: each page against its checksum, the checksum table, the seal
    /// record, both superblock slots, and that what must be zero is. `progress` is called after each
    /// 4 MiB and at the end, and may stop it: the report is then of the pages up to there.
    ///
    /// Takes nothing for granted that was verified before, and remembers what it finds.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) where the file cannot be read. Damage is no error but what is asked for: it is
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
        self.shared.forget_verified(PageRange::from(page));
        self.shared.verify_page(page)
    }

    /// Pages by their numbers.
    pub(crate) fn resolve(&self, range: impl RangeBounds<PageId>) -> Result<PageRange> {
        self.shared.resolve(range)
    }

    /// Brings pages into memory ahead of their use, in one system call.
    pub(crate) fn populate(&self, range: PageRange) -> Result<()> {
        self.shared.populate(range)
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

/// What a [`Bytes`] view of some pages owns.
struct View {
    shared: Held<Shared>,
    range: PageRange,
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        self.shared.bytes(self.range)
    }
}
