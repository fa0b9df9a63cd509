//! The mutable page file.

use std::{
    fmt,
    fs::File,
    ops::{Range, RangeBounds},
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use layout::{Geometry, Header, PageCount, PageId, PageRange, PageSize, Slot, Superblock};
use uuid::Uuid;

use crate::{
    Access, Error, Existing, FlushReport, FlushTarget, PageFileOptions, PageMut, PageRef, Populate,
    RecoverReport, Residency, Result,
    budget::{Budgeted, Left, Pass},
    claim::{Claim, Purpose, Trust, open_to_look},
    disk, folios, header,
    latched::{self, LatchedPages},
    mapping::Mapping,
    pending::PendingFile,
    poison,
    read_ahead::{self, Part, ReadAhead},
    residency,
    sync::Mutex,
    write_back::{self, WriteBack},
};

/// Pages of a file, or of anonymous memory, that are read and written in place.
///
/// Pages are borrowed straight from the mapping: [`page`](Self::page) to read, under a latch that
/// many readers share, [`page_mut`](Self::page_mut) to write, alone. [`grow`](Self::grow) adds
/// pages, and no page ever moves, so what is borrowed stays valid. [`flush`](Self::flush) makes
/// durable what was written.
///
/// All methods take `&self`; share the file between threads by reference or in an `Arc`.
///
/// # Deadlock
/// Latches are waited for. A thread that holds a guard and asks for another that conflicts with it
/// would wait for itself, as would one that asks twice to *read* a page while another thread waits to
/// write it. Where the crate is built with debug assertions, it panics then, and says which page and where
/// the guard was taken; otherwise it waits for ever. Threads that each hold a guard and wait for the other's deadlock too: take ranges with
/// one call, which latches in ascending order, or use the `try_` forms.
///
/// # What survives what
/// Dropping the file without a flush, or the death of the process, loses nothing that was written:
/// the kernel has it and writes it in its own time. A crash of the machine keeps what was flushed;
/// of pages changed since, any may be there in any state (there is no write-ahead log).
pub struct PageFile {
    /// Shared with the budget, where there is one, which evicts pages when others need room.
    shared: Arc<Shared>,
}

/// The pages, and what writes them back.
struct Shared {
    pages: LatchedPages,
    /// `None` for anonymous memory.
    write_back: Option<WriteBack>,
    growing: Mutex<()>,
}

impl PageFile {
    /// How to make or open a file otherwise than by default.
    pub const fn options() -> PageFileOptions {
        PageFileOptions::new()
    }

    /// Makes a new file by default options; see [`PageFileOptions::create`].
    ///
    /// # Errors
    /// As [`PageFileOptions::create`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().create(path)
    }

    /// Opens a file by default options; see [`PageFileOptions::open`].
    ///
    /// # Errors
    /// As [`PageFileOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().open(path)
    }

    /// Makes pages of anonymous memory; see [`PageFileOptions::anonymous`].
    ///
    /// # Errors
    /// As [`PageFileOptions::anonymous`].
    pub fn anonymous(page_size: PageSize) -> Result<Self> {
        Self::options().page_size(page_size).anonymous()
    }

    pub(crate) fn create_with(options: &PageFileOptions, path: &Path) -> Result<Self> {
        PageFileOptions::check_page_size(options.page_size)?;
        let (mut pending, file) = PendingFile::create(path, Existing::Refuse)?;
        let claim = Claim::new(file, path, Purpose::Write, Trust::Evidence)?;
        let superblock = Superblock::new_mutable(Uuid::new_v4(), options.page_size);
        disk::extend(&claim, 0, superblock.geometry().data_end())?;
        header::write(&claim, 0, &Header::encode([Some(&superblock), None]))?;
        claim.file().sync_all().map_err(Error::io("make durable", path))?;
        let made = Self::map(options, claim, superblock, Slot::First, PageCount::ZERO)?;
        pending.publish()?;
        Ok(made)
    }

    pub(crate) fn open_with(options: &PageFileOptions, path: &Path, trust: Trust) -> Result<Self> {
        // Asked before the claim, so that a sealed file is called so also while readers lock it, and
        // after it, when nobody else can change the answer.
        let mutable_header = |file: &File| match header::read(file, path)? {
            header if header.superblock().is_sealed() => Err(Error::Sealed { path: path.into() }),
            header => Ok(header),
        };
        mutable_header(&open_to_look(path)?.0)?;
        let claim = Claim::open(path, Purpose::Write, trust)?;
        let header = mutable_header(claim.file())?;
        let superblock = *header.superblock();
        // The header counts the pages of the last flush. A file that has more grew since, and the
        // process then ended without one; a last piece of a page is what a grow left half done. It
        // is cut off, so that whatever stands in it does not show in a page that a grow adds.
        let file_len = claim.len_bytes()?;
        write_back::check_len(&superblock, file_len).map_err(Error::format(path))?;
        let page_size = superblock.page_size();
        let data_len = file_len - Geometry::data_start(page_size);
        let page_count = PageCount::new(data_len / page_size.get());
        let piece_len = data_len % page_size.get();
        if piece_len > 0 {
            disk::truncate(&claim, file_len - piece_len)?;
        }
        Self::map(options, claim, superblock, header.slot(), page_count)
    }

    pub(crate) fn anonymous_with(options: &PageFileOptions) -> Result<Self> {
        PageFileOptions::check_page_size(options.page_size)?;
        let mapping = Mapping::anonymous(options.reserve(0))?;
        let (page_size, page_count) = (options.page_size, PageCount::ZERO);
        // SAFETY: the mapping was just made, to read and write, and this is its one owner; it has
        // no page yet.
        let pages =
            unsafe { LatchedPages::new(mapping, Populate::OnTouch, page_size, page_count, None) };
        Ok(Self { shared: Arc::new(Shared { pages, write_back: None, growing: Mutex::new(()) }) })
    }

    fn map(
        options: &PageFileOptions,
        claim: Claim,
        superblock: Superblock,
        slot: Slot,
        page_count: PageCount,
    ) -> Result<Self> {
        let page_size = superblock.page_size();
        PageFileOptions::check_page_size(page_size)?;
        if options.access == Access::Random && page_count > PageCount::ZERO {
            // Only clean pages are split.
            claim.file().sync_data().map_err(Error::io("make durable", claim.path()))?;
        }
        // Under a budget, nothing is read ahead but by ourselves.
        let access = options.budget.as_ref().map_or(options.access, |_| Access::Random);
        disk::advise(&claim, access);
        let data_start = Geometry::data_start(page_size);
        let claim = Arc::new(claim);
        let data_bytes = page_count.bytes(page_size).unwrap_or(u64::MAX);
        let reserve = options.reserve(data_bytes);
        let mapping = Mapping::writable(Arc::clone(&claim), options.guard, data_start, reserve)?;
        mapping.advise(access);
        mapping.make_room(data_bytes)?;
        if options.access == Access::Random {
            let (_, len) = latched::place(PageRange::resolve(.., page_count)?, page_size);
            folios::split(&mapping, len);
        }
        let join = |shared: &Weak<Shared>| {
            let budget = options.budget.as_ref()?;
            let member = budget.join(&claim, shared.clone());
            Some(ReadAhead::new(member, options.access, budget.window_bytes()))
        };
        let shared = Arc::new_cyclic(|shared| {
            let (populate, budgeted) = (options.populate, join(shared));
            // SAFETY: the mapping was just made, to read and write, and this is its one owner; it
            // begins where page 0 does. The file has `page_count` pages (its length was looked at
            // under the exclusive lock) and `make_room` found them inside the mapping.
            let pages =
                unsafe { LatchedPages::new(mapping, populate, page_size, page_count, budgeted) };
            let write_back = Some(WriteBack::new(superblock, slot));
            Shared { pages, write_back, growing: Mutex::new(()) }
        });
        if let Some(budgeted) = shared.pages.budgeted() {
            budgeted.member().settle_in(claim.file())?;
        }
        Ok(Self { shared })
    }

    /// The size of a page.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.shared.pages.page_size()
    }

    /// How many pages there are.
    #[must_use]
    pub fn page_count(&self) -> PageCount {
        self.shared.pages.page_count()
    }

    /// The file's path when it was opened; `None` for anonymous memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.shared.pages.mapping().claim().map(Claim::path)
    }

    /// Adds `count` pages of zeros at the end and returns them.
    ///
    /// Their disk space is reserved first, so writing to them cannot find the disk full. They are
    /// durable after the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`Error::DiskFull`], with the file as long as before and holding as many blocks (but for one
    /// block of its extent index, which ext4 keeps where the disk is badly fragmented);
    /// [`Error::AddressSpaceFull`]; [`Error::Io`], for instance where the filesystem cannot
    /// reserve; [`Error::Poisoned`].
    pub fn grow(&self, count: PageCount) -> Result<PageRange> {
        let _one_at_a_time = self.shared.growing.lock();
        self.check_writable()?;
        let old = self.page_count();
        let new = self.make_room_for(old, count)?;
        if let Some(claim) = self.shared.pages.mapping().claim() {
            let end = |pages| Geometry::new(self.page_size(), pages).map(|g| g.data_end());
            let old_len = end(old).map_err(Error::format(claim.path()))?;
            let new_len = end(new).map_err(Error::format(claim.path()))?;
            if new_len > old_len {
                if let Some(budgeted) = self.shared.pages.budgeted() {
                    budgeted.member().charge_space(old_len..new_len)?;
                }
                disk::extend(claim, old_len, new_len)?;
            }
        }
        // SAFETY: `make_room` found the pages inside the mapping; `extend` put them into the
        // file (anonymous memory has them by itself); the lock makes this the only grow.
        unsafe { self.shared.pages.publish(new) };
        Ok(PageRange::resolve(PageId::new(old.get()).., new)?)
    }

    /// The page count after `more` pages, if addresses for them can be had. The caller holds the lock
    /// of growth.
    fn make_room_for(&self, page_count: PageCount, more: PageCount) -> Result<PageCount> {
        let mapping = self.shared.pages.mapping();
        let sum = page_count.checked_add(more);
        let needed_bytes = sum.and_then(|sum| sum.bytes(self.page_size())).unwrap_or(u64::MAX);
        mapping.make_room(needed_bytes)?;
        sum.ok_or(Error::AddressSpaceFull {
            needed_bytes,
            reserved_bytes: mapping.len_bytes() as u64,
        })
    }

    /// Borrows one page to read, waiting while a writer has it.
    ///
    /// # Errors
    /// [`Error::Range`] where the file has no such page; [`Error::Fault`] where the page cannot be
    /// brought into memory; [`Error::Poisoned`] where another one could not be reached earlier.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn page(&self, page: PageId) -> Result<PageRef<'_>> {
        self.shared.pages.read(self.shared.pages.single(page)?)
    }

    /// Borrows adjacent pages to read, as one slice, waiting while a writer has one of them.
    ///
    /// # Errors
    /// [`Error::Range`] where the file does not have them all; [`Error::Fault`];
    /// [`Error::Poisoned`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn pages(&self, range: impl RangeBounds<PageId>) -> Result<PageRef<'_>> {
        self.shared.pages.read(self.shared.pages.resolve(range)?)
    }

    /// Borrows one page to write, waiting while anybody has it.
    ///
    /// # Errors
    /// As [`page`](Self::page); [`Error::Poisoned`] also where a flush failed.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn page_mut(&self, page: PageId) -> Result<PageMut<'_>> {
        self.check_writable()?;
        self.shared.pages.write(self.shared.pages.single(page)?)
    }

    /// Borrows adjacent pages to write, as one slice, waiting while anybody has one of them.
    ///
    /// # Errors
    /// As [`pages`](Self::pages); [`Error::Poisoned`] also where a flush failed.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn pages_mut(&self, range: impl RangeBounds<PageId>) -> Result<PageMut<'_>> {
        self.check_writable()?;
        self.shared.pages.write(self.shared.pages.resolve(range)?)
    }

    /// Lets `read` work on adjacent pages and gives back what it made of them, unless a page could
    /// not be reached meanwhile: a result that comes from such a page is never returned.
    ///
    /// A guard alone cannot promise that. It is given only when the pages can be reached, but a
    /// file can be cut short, or a disk fail, while one reads from it; the fault handler then shows
    /// zeros. Whoever computes something from borrowed bytes and hands it on does it in here, or
    /// asks [`still_valid`](Self::still_valid) afterwards.
    ///
    /// # Errors
    /// [`Error::Poisoned`]; otherwise as [`pages`](Self::pages).
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn with_pages<R>(
        &self,
        range: impl RangeBounds<PageId>,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<R> {
        let pages = self.pages(range)?;
        let result = read(&pages);
        self.still_valid()?;
        Ok(result)
    }

    /// Says whether all that was read from borrowed pages so far came from the file.
    ///
    /// That is so unless a page fault could not be answered, or the file is shorter than its pages:
    /// where it was cut in the middle of a page, the rest of that page shows zeros without a fault.
    /// The look at the length is one system call (0.3 us). A file that was cut and extended again
    /// before anybody looked cannot be told from one whose pages somebody overwrote with zeros.
    ///
    /// # Errors
    /// [`Error::Poisoned`] where a page could not be reached, or the file was cut short.
    pub fn still_valid(&self) -> Result<()> {
        match self.file() {
            None => poison::check(self.shared.pages.mapping(), self.page_size()),
            Some((write_back, claim)) => {
                write_back.check_whole(&self.shared.pages, claim, self.page_count())
            }
        }
    }

    /// Like [`page`](Self::page), but fails where it would wait.
    ///
    /// # Errors
    /// [`Error::Latched`]; otherwise as [`page`](Self::page).
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_page(&self, page: PageId) -> Result<PageRef<'_>> {
        self.shared.pages.try_read(self.shared.pages.single(page)?)
    }

    /// Like [`pages`](Self::pages), but fails where it would wait.
    ///
    /// # Errors
    /// [`Error::Latched`]; otherwise as [`pages`](Self::pages).
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_pages(&self, range: impl RangeBounds<PageId>) -> Result<PageRef<'_>> {
        self.shared.pages.try_read(self.shared.pages.resolve(range)?)
    }

    /// Like [`page_mut`](Self::page_mut), but fails where it would wait.
    ///
    /// # Errors
    /// [`Error::Latched`]; otherwise as [`page_mut`](Self::page_mut).
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_page_mut(&self, page: PageId) -> Result<PageMut<'_>> {
        self.check_writable()?;
        self.shared.pages.try_write(self.shared.pages.single(page)?)
    }

    /// Like [`pages_mut`](Self::pages_mut), but fails where it would wait.
    ///
    /// # Errors
    /// [`Error::Latched`]; otherwise as [`pages_mut`](Self::pages_mut).
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_pages_mut(&self, range: impl RangeBounds<PageId>) -> Result<PageMut<'_>> {
        self.check_writable()?;
        self.shared.pages.try_write(self.shared.pages.resolve(range)?)
    }

    /// Whether the page was written to since it was last flushed. `false` for pages that the file
    /// does not have.
    #[must_use]
    pub fn is_dirty(&self, page: PageId) -> bool {
        self.shared.pages.states().is_dirty(page)
    }

    /// How many pages were written to since they were last flushed.
    #[must_use]
    pub fn dirty_count(&self) -> PageCount {
        self.shared.pages.states().dirty_count(self.page_count())
    }

    /// Makes durable everything that was written through guards dropped before this call, and the
    /// pages that [`grow`](Self::grow) added.
    ///
    /// One msync(2) covers the dirty pages from the first to the last; the kernel writes those that
    /// it knows to be dirty. One call for each run of pages would be durable no sooner and takes
    /// many times as long, since each is an fsync(2). Where nothing is dirty and the file has not
    /// grown, no system call is made.
    ///
    /// Pages under guards that are open now are written as they stand, and again by the next flush;
    /// see [`PageMut`]. A flush that another thread has under way is waited for.
    ///
    /// # Errors
    /// [`Error::FlushFailed`]: the kernel could not write. What is on disk is unknown, and the file
    /// is poisoned: this and all that writes fails with [`Error::Poisoned`] from then on. It is
    /// never tried again, because the kernel reports a failure once, then counts the pages as clean
    /// and would let a second try succeed without having written them.
    pub fn flush(&self) -> Result<FlushReport> {
        self.shared.flush()
    }

    /// Flushes and closes the file. Dropping it instead also closes it, without a flush.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn close(self) -> Result<FlushReport> {
        self.flush()
    }

    /// Writes all pages, as they are in memory, to a new file at `path`, and makes that durable. This
    /// is the way out after a failed [`flush`](Self::flush), whose pages are kept in memory for it;
    /// it also copies a healthy file. Pages are latched one by one, so what is written to them
    /// meanwhile may be in the copy or not.
    ///
    /// # Errors
    /// [`Error::Poisoned`] where a page fault could not be answered, so that memory is not to be
    /// trusted; otherwise as [`PageFileOptions::create`], [`grow`](Self::grow) and
    /// [`flush`](Self::flush) of the new file. A new file that could not be finished is removed.
    pub fn recover_into(&self, path: impl AsRef<Path>) -> Result<RecoverReport> {
        let path = path.as_ref();
        let pages_unprotected = match self.file() {
            None => PageCount::ZERO,
            Some((write_back, claim)) => write_back.unprotected(claim)?,
        };
        let copy = Self::options().page_size(self.page_size()).create(path)?;
        let copied = self.copy_into(&copy);
        if copied.is_err() {
            drop(copy);
            // What went wrong first is what to tell.
            let _removed = std::fs::remove_file(path);
        }
        copied.map(|pages| RecoverReport { pages, pages_unprotected })
    }

    fn copy_into(&self, copy: &Self) -> Result<PageCount> {
        let pages = self.page_count();
        for page in copy.grow(pages)?.iter() {
            let own = self.shared.pages.rescue(self.shared.pages.single(page)?)?;
            copy.page_mut(page)?.copy_from_slice(&own);
        }
        self.shared.pages.still_in_memory()?;
        if let Some((write_back, claim)) = self.file() {
            write_back.check_len(&self.shared.pages, claim, pages)?;
        }
        copy.flush()?;
        Ok(pages)
    }

    fn file(&self) -> Option<(&WriteBack, &Claim)> {
        self.shared.file()
    }

    #[inline]
    fn check_writable(&self) -> Result<()> {
        self.shared.check_writable()
    }

    /// Tells how pages are going to be used; `..` is the whole file, with what it grows by. See
    /// [`SealedFile::advise`](crate::SealedFile::advise) and [`PageFileOptions::access`]. It splits no
    /// folios. Of anonymous memory there is nothing to say.
    ///
    /// # Errors
    /// [`Error::Range`]; [`Error::Io`].
    pub fn advise(&self, range: impl RangeBounds<PageId>, access: Access) -> Result<()> {
        let pages = &self.shared.pages;
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        let span = latched::span(pages.resolve(bounds)?, self.page_size());
        let mapped = (pages.mapping(), Geometry::data_start(self.page_size()));
        read_ahead::advise(pages.budgeted(), mapped, Part::of(&range, span), access);
        Ok(())
    }

    /// Has the kernel begin to read all of these pages at once, and does not wait for it; see
    /// [`SealedFile::prefetch`](crate::SealedFile::prefetch). Anonymous memory is not read.
    ///
    /// # Errors
    /// [`Error::Range`]; [`Error::Io`]; under a budget, what hinders the eviction of others.
    pub fn prefetch<R: RangeBounds<PageId>>(
        &self,
        ranges: impl IntoIterator<Item = R>,
    ) -> Result<()> {
        let pages = &self.shared.pages;
        let mut spans = ranges
            .into_iter()
            .map(|range| Ok(latched::span(pages.resolve(range)?, self.page_size())));
        match self.file() {
            Some((_, claim)) => read_ahead::prefetch(pages.budgeted(), claim, spans),
            None => spans.try_for_each(|span| span.map(drop)),
        }
    }

    /// Whether all of these pages are in memory now, so that borrowing them waits for no disk; see
    /// [`SealedFile::is_resident`](crate::SealedFile::is_resident). Anonymous memory always is, as
    /// far as it is not swapped out.
    ///
    /// # Errors
    /// [`Error::Range`]; [`Error::Io`] where the kernel does not tell.
    pub fn is_resident(&self, range: impl RangeBounds<PageId>) -> Result<bool> {
        let pages = &self.shared.pages;
        let span = latched::span(pages.resolve(range)?, self.page_size());
        let mapped = (pages.mapping(), Geometry::data_start(self.page_size()));
        self.file().map_or(Ok(true), |(_, claim)| residency::covers(claim, mapped, span))
    }

    /// What the page cache holds of the whole file; `None` where the kernel does not tell, and for
    /// anonymous memory. One system call (0.4 us).
    #[must_use]
    pub fn residency(&self) -> Option<Residency> {
        residency::of_file(self.file()?.1.file())
    }

    /// Tells the kernel that these pages will not be used soon; see
    /// [`SealedFile::cool`](crate::SealedFile::cool).
    ///
    /// # Errors
    /// [`Error::Range`].
    pub fn cool(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        let pages = &self.shared.pages;
        let range = pages.resolve(range)?;
        if range.is_empty() {
            return Ok(());
        }
        if let Some(budgeted) = pages.budgeted() {
            budgeted.member().unreference(latched::span(range, self.page_size()));
        }
        let (offset, len) = pages.place(range);
        pages.mapping().advise_cold(offset, len);
        Ok(())
    }

    /// Drops pages from memory, after a [`flush`](Self::flush) where some of them are dirty. Guards
    /// that are open stay valid; touching their pages brings them back from the disk, and what is
    /// stored through them while this runs stays in memory. Anonymous memory has no disk to go to,
    /// so nothing happens to it.
    ///
    /// Under a budget, whole extents of 256 KiB go, and what was charged for them is given back.
    ///
    /// # Errors
    /// [`Error::Range`]; those of [`flush`](Self::flush); [`Error::Io`].
    pub fn evict(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        let pages = &self.shared.pages;
        let range = pages.resolve(range)?;
        let span = latched::span(range, self.page_size());
        match (self.file(), pages.budgeted()) {
            _ if range.is_empty() => Ok(()),
            (None, _) => Ok(()),
            (Some(_), Some(budgeted)) => budgeted.member().evict(span),
            (Some((_, claim)), None) => self.shared.evict_pages(claim, span).map(drop),
        }
    }
}

impl Shared {
    /// What belongs to a file, where the pages are of one.
    #[inline]
    fn file(&self) -> Option<(&WriteBack, &Claim)> {
        self.write_back.as_ref().zip(self.pages.mapping().claim())
    }

    /// Fails where nothing may be written any more.
    #[inline]
    fn check_writable(&self) -> Result<()> {
        poison::check(self.pages.mapping(), self.pages.page_size())?;
        match self.file() {
            None => Ok(()),
            Some((write_back, claim)) => write_back.check(claim),
        }
    }

    /// See [`PageFile::flush`].
    fn flush(&self) -> Result<FlushReport> {
        self.check_writable()?;
        let page_count = self.pages.page_count();
        let mut elapsed = Duration::ZERO;
        let flushed = self.pages.states().flush(page_count, |dirty| {
            if let Some((write_back, claim)) = self.file() {
                elapsed = write_back.run(&self.pages, claim, dirty, page_count)?;
            }
            Ok::<_, Error>(())
        })?;
        Ok(FlushReport {
            pages: PageCount::new(flushed.pages),
            runs: flushed.runs,
            bytes: flushed.pages * self.pages.page_size().get(),
            pages_still_open: PageCount::new(flushed.open),
            elapsed,
            target: match self.write_back {
                None => FlushTarget::Memory,
                Some(_) => FlushTarget::File,
            },
        })
    }

    /// Flushes where something of a range of the file is dirty, and gives its pages back to the
    /// kernel. Gives the bytes that the flush wrote.
    fn evict_pages(&self, claim: &Claim, span: Range<u64>) -> Result<u64> {
        let page_count = self.pages.page_count();
        let pages = latched::pages_in(self.pages.page_size(), page_count, &span);
        let states = self.pages.states();
        let mut is_dirty = pages.iter().any(|page| states.is_dirty(page));
        // Populating to write makes pages dirty for the kernel that nobody stored to.
        if !is_dirty && Left::look(claim.file(), self.span_of_pages(span.clone())) == Left::Dirty {
            states.mark_dirty(pages);
            is_dirty = true;
        }
        let written_bytes = if is_dirty { self.flush()?.bytes } else { 0 };
        self.pages.drop_pages(span);
        Ok(written_bytes)
    }
}

impl Shared {
    /// A range of the file without the header, which no flush of pages writes.
    fn span_of_pages(&self, span: Range<u64>) -> Range<u64> {
        let start = span.start.max(Geometry::data_start(self.pages.page_size()));
        start..span.end.max(start)
    }
}

impl Budgeted for Shared {
    fn file(&self) -> &File {
        self.pages.mapping().claim().expect("anonymous memory has no budget").file()
    }

    fn mincore_bytes(&self, span: Range<u64>) -> Option<u64> {
        let start = Geometry::data_start(self.pages.page_size());
        residency::by_mincore((self.pages.mapping(), start), span)
    }

    fn evict(&self, pass: &Pass<'_>, span: Range<u64>) -> Result<Left> {
        let claim = self.pages.mapping().claim().expect("anonymous memory has no budget");
        pass.note_written_back(self.evict_pages(claim, span.clone())?);
        Ok(Left::look_mapped(self, self.span_of_pages(span)))
    }
}

impl fmt::Debug for PageFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageFile")
            .field("path", &self.path())
            .field("page_size", &self.page_size())
            .field("page_count", &self.page_count())
            .finish_non_exhaustive()
    }
}
