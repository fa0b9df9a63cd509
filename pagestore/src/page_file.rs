//! The mutable page file.

use std::{
    fmt,
    ops::RangeBounds,
    path::Path,
    sync::OnceLock,
    time::{Duration, Instant},
};

use layout::{
    FormatError, Geometry, Header, PageCount, PageId, PageRange, PageSize, Slot, Superblock,
};
use uuid::Uuid;

use crate::{
    Error, FlushReport, FlushTarget, PageFileOptions, PageMut, PageRef, Result,
    claim::{Claim, Purpose, Trust},
    disk, header,
    latched::LatchedPages,
    mapping::Mapping,
    pending::{Existing, PendingFile},
    sync::Mutex,
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
/// waits for itself, as does one that asks twice to *read* a page while another thread waits to
/// write it. Threads that each hold a guard and wait for the other's deadlock too: take ranges with
/// one call, which latches in ascending order, or use the `try_` forms.
///
/// # What survives what
/// Dropping the file without a flush, or the death of the process, loses nothing that was written:
/// the kernel has it and writes it in its own time. A crash of the machine keeps what was flushed;
/// of pages changed since, any may be there in any state (there is no write-ahead log).
pub struct PageFile {
    pages: LatchedPages,
    backing: Backing,
    growing: Mutex<()>,
    poison: OnceLock<Poison>,
}

/// What the pages are of.
enum Backing {
    Memory,
    File(Mutex<Recorded>),
}

/// What the header on disk says.
struct Recorded {
    superblock: Superblock,
    slot: Slot,
}

/// The flush that failed.
struct Poison {
    pages: PageRange,
    cause: String,
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
        let (pending, file) = PendingFile::create(path, Existing::Refuse)?;
        let claim = Claim::new(file, path, Purpose::Write, Trust::OwnerAndMode)?;
        let superblock = Superblock::new_mutable(Uuid::new_v4(), options.page_size);
        disk::extend(&claim, 0, superblock.geometry().data_end())?;
        header::write(&claim, 0, &Header::encode([Some(&superblock), None]))?;
        claim.file().sync_all().map_err(Error::io("make durable", path))?;
        let made = Self::map(options, claim, superblock, Slot::First, PageCount::ZERO)?;
        pending.publish()?;
        Ok(made)
    }

    pub(crate) fn open_with(options: &PageFileOptions, path: &Path, trust: Trust) -> Result<Self> {
        let claim = Claim::open(path, Purpose::Write, trust)?;
        let header = header::read(claim.file(), path)?;
        let superblock = *header.superblock();
        if superblock.is_sealed() {
            return Err(Error::Sealed { path: path.into() });
        }
        // The header counts the pages of the last flush. A file that has more grew since, and the
        // process then ended without one; a last piece of a page is what a grow left half done.
        let (found, expected) = (claim.len_bytes()?, superblock.geometry().data_end());
        if found < expected {
            return Err(Error::format(path)(FormatError::Length { found, expected }));
        }
        let page_size = superblock.page_size();
        let data_len = found - Geometry::data_start(page_size);
        let page_count = PageCount::new(data_len / page_size.get());
        Self::map(options, claim, superblock, header.slot(), page_count)
    }

    pub(crate) fn anonymous_with(options: &PageFileOptions) -> Result<Self> {
        PageFileOptions::check_page_size(options.page_size)?;
        let mapping = Mapping::anonymous(options.address_space_bytes)?;
        // SAFETY: the mapping was just made, to read and write, and this is its one owner; it has
        // no page yet.
        let pages = unsafe { LatchedPages::new(mapping, options.page_size, PageCount::ZERO) };
        Ok(Self::new(pages, Backing::Memory))
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
        disk::advise(&claim, options.access)?;
        let data_start = Geometry::data_start(page_size);
        let mapping = Mapping::writable(claim, data_start, options.address_space_bytes)?;
        let advised = mapping.advise(options.access);
        advised.map_err(Error::io("advise the kernel about", claim_path(&mapping)))?;
        check_room(&mapping, page_size, page_count)?;
        // SAFETY: the mapping was just made, to read and write, and this is its one owner; it
        // begins where page 0 does. The file has `page_count` pages (its length was looked at under
        // the exclusive lock) and `check_room` found them inside the mapping.
        let pages = unsafe { LatchedPages::new(mapping, page_size, page_count) };
        Ok(Self::new(pages, Backing::File(Mutex::new(Recorded { superblock, slot }))))
    }

    fn new(pages: LatchedPages, backing: Backing) -> Self {
        Self { pages, backing, growing: Mutex::new(()), poison: OnceLock::new() }
    }

    /// The size of a page.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.pages.page_size()
    }

    /// How many pages there are.
    #[must_use]
    pub fn page_count(&self) -> PageCount {
        self.pages.page_count()
    }

    /// The file's path when it was opened; `None` for anonymous memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.pages.mapping().claim().map(Claim::path)
    }

    /// Adds `count` pages of zeros at the end and returns them.
    ///
    /// Their disk space is reserved first, so writing to them cannot find the disk full. They are
    /// durable after the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`Error::DiskFull`], with the file as long as before and holding as many blocks;
    /// [`Error::AddressSpaceFull`]; [`Error::Io`], for instance where the filesystem cannot
    /// reserve; [`Error::Poisoned`].
    pub fn grow(&self, count: PageCount) -> Result<PageRange> {
        let _one_at_a_time = self.growing.lock();
        self.check_poison()?;
        let old = self.page_count();
        let new = check_room_for(self.pages.mapping(), self.page_size(), old, count)?;
        if let Some(claim) = self.pages.mapping().claim() {
            let end = |pages| Geometry::new(self.page_size(), pages).map(|g| g.data_end());
            let old_len = end(old).map_err(Error::format(claim.path()))?;
            let new_len = end(new).map_err(Error::format(claim.path()))?;
            if new_len > old_len {
                disk::extend(claim, old_len, new_len)?;
            }
        }
        // SAFETY: `check_room_for` found the pages inside the mapping; `extend` put them into the
        // file (anonymous memory has them by itself); the lock makes this the only grow.
        unsafe { self.pages.publish(new) };
        Ok(PageRange::resolve(PageId::new(old.get()).., new)?)
    }

    /// Borrows one page to read, waiting while a writer has it.
    ///
    /// # Errors
    /// [`Error::Range`] where the file has no such page.
    #[inline]
    pub fn page(&self, page: PageId) -> Result<PageRef<'_>> {
        Ok(self.pages.read(self.pages.single(page)?))
    }

    /// Borrows adjacent pages to read, as one slice, waiting while a writer has one of them.
    ///
    /// # Errors
    /// [`Error::Range`] where the file does not have them all.
    pub fn pages(&self, range: impl RangeBounds<PageId>) -> Result<PageRef<'_>> {
        Ok(self.pages.read(self.pages.resolve(range)?))
    }

    /// Borrows one page to write, waiting while anybody has it.
    ///
    /// # Errors
    /// [`Error::Range`] where the file has no such page; [`Error::Poisoned`].
    #[inline]
    pub fn page_mut(&self, page: PageId) -> Result<PageMut<'_>> {
        self.check_poison()?;
        Ok(self.pages.write(self.pages.single(page)?))
    }

    /// Borrows adjacent pages to write, as one slice, waiting while anybody has one of them.
    ///
    /// # Errors
    /// [`Error::Range`] where the file does not have them all; [`Error::Poisoned`].
    pub fn pages_mut(&self, range: impl RangeBounds<PageId>) -> Result<PageMut<'_>> {
        self.check_poison()?;
        Ok(self.pages.write(self.pages.resolve(range)?))
    }

    /// Like [`page`](Self::page), but fails where it would wait.
    ///
    /// # Errors
    /// [`Error::Latched`]; otherwise as [`page`](Self::page).
    pub fn try_page(&self, page: PageId) -> Result<PageRef<'_>> {
        self.pages.try_read(self.pages.single(page)?)
    }

    /// Like [`pages`](Self::pages), but fails where it would wait.
    ///
    /// # Errors
    /// [`Error::Latched`]; otherwise as [`pages`](Self::pages).
    pub fn try_pages(&self, range: impl RangeBounds<PageId>) -> Result<PageRef<'_>> {
        self.pages.try_read(self.pages.resolve(range)?)
    }

    /// Like [`page_mut`](Self::page_mut), but fails where it would wait.
    ///
    /// # Errors
    /// [`Error::Latched`]; otherwise as [`page_mut`](Self::page_mut).
    pub fn try_page_mut(&self, page: PageId) -> Result<PageMut<'_>> {
        self.check_poison()?;
        self.pages.try_write(self.pages.single(page)?)
    }

    /// Like [`pages_mut`](Self::pages_mut), but fails where it would wait.
    ///
    /// # Errors
    /// [`Error::Latched`]; otherwise as [`pages_mut`](Self::pages_mut).
    pub fn try_pages_mut(&self, range: impl RangeBounds<PageId>) -> Result<PageMut<'_>> {
        self.check_poison()?;
        self.pages.try_write(self.pages.resolve(range)?)
    }

    /// Whether the page was written to since it was last flushed. `false` for pages that the file
    /// does not have.
    #[must_use]
    pub fn is_dirty(&self, page: PageId) -> bool {
        self.pages.states().is_dirty(page)
    }

    /// How many pages were written to since they were last flushed.
    #[must_use]
    pub fn dirty_count(&self) -> PageCount {
        self.pages.states().dirty_count(self.page_count())
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
        self.check_poison()?;
        let page_count = self.page_count();
        let mut elapsed = Duration::ZERO;
        let flushed = self.pages.states().flush(page_count, |dirty| {
            elapsed = self.write_back(dirty, page_count)?;
            Ok::<_, Error>(())
        })?;
        Ok(FlushReport {
            pages: PageCount::new(flushed.pages),
            runs: flushed.runs,
            bytes: flushed.pages * self.page_size().get(),
            pages_still_open: PageCount::new(flushed.open),
            elapsed,
            target: match self.backing {
                Backing::Memory => FlushTarget::Memory,
                Backing::File(_) => FlushTarget::File,
            },
        })
    }

    /// Flushes and closes the file. Dropping it instead also closes it, without a flush.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn close(self) -> Result<FlushReport> {
        self.flush()
    }

    /// Makes the pages of `dirty` durable, and the page count where it changed. Gives the time that
    /// it took, zero where there was nothing to do.
    fn write_back(&self, dirty: PageRange, page_count: PageCount) -> Result<Duration> {
        let Backing::File(recorded) = &self.backing else { return Ok(Duration::ZERO) };
        // Asked again: this flush may have waited for one that failed.
        self.check_poison()?;
        let mut recorded = recorded.lock();
        let grown = recorded.superblock.page_count() != page_count;
        if dirty.is_empty() && !grown {
            return Ok(Duration::ZERO);
        }
        let started = Instant::now();
        self.sync(dirty)?;
        if grown {
            self.record(&mut recorded, page_count)?;
        }
        Ok(started.elapsed())
    }

    /// Has the kernel write the pages from the first to the last of `hull`, and the file's length.
    fn sync(&self, hull: PageRange) -> Result<()> {
        let synced = if hull.is_empty() {
            // Only the file's length changed.
            self.pages.mapping().claim().map_or(Ok(()), |claim| claim.file().sync_data())
        } else {
            let (offset, len) = self.pages.place(hull);
            self.pages.mapping().sync(offset, len)
        };
        synced.map_err(|source| {
            let path = claim_path(self.pages.mapping()).into();
            let cause = source.to_string();
            self.poison.get_or_init(|| Poison { pages: hull, cause });
            Error::FlushFailed { path, pages: hull, source }
        })
    }

    /// Writes the page count into the header, in the slot that is not in use.
    ///
    /// It needs no sync of its own: the count is a lower bound, and the file's length, which is
    /// durable by now, says how many pages there are. The header is durable with the next flush.
    fn record(&self, recorded: &mut Recorded, page_count: PageCount) -> Result<()> {
        let Some(claim) = self.pages.mapping().claim() else { return Ok(()) };
        let superblock = recorded.superblock.next_generation(page_count);
        let superblock = superblock.map_err(Error::format(claim.path()))?;
        let slot = recorded.slot.other();
        header::write(claim, slot.offset_bytes(), &Header::encode_slot(&superblock))?;
        *recorded = Recorded { superblock, slot };
        Ok(())
    }

    #[inline]
    fn check_poison(&self) -> Result<()> {
        match self.poison.get() {
            None => Ok(()),
            Some(poison) => Err(self.poisoned(poison)),
        }
    }

    #[cold]
    fn poisoned(&self, poison: &Poison) -> Error {
        let path = claim_path(self.pages.mapping()).into();
        Error::Poisoned { path, pages: poison.pages, cause: poison.cause.clone() }
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

/// Checks that `page_count` pages fit the reserved addresses.
fn check_room(mapping: &Mapping, page_size: PageSize, page_count: PageCount) -> Result<()> {
    check_room_for(mapping, page_size, page_count, PageCount::ZERO).map(drop)
}

/// The page count after `more` pages, if they fit the reserved addresses.
fn check_room_for(
    mapping: &Mapping,
    page_size: PageSize,
    page_count: PageCount,
    more: PageCount,
) -> Result<PageCount> {
    let reserved_bytes = mapping.len_bytes() as u64;
    let sum = page_count.checked_add(more);
    let needed_bytes = sum.and_then(|sum| sum.bytes(page_size)).unwrap_or(u64::MAX);
    match sum {
        Some(sum) if needed_bytes <= reserved_bytes => Ok(sum),
        _ => Err(Error::AddressSpaceFull { needed_bytes, reserved_bytes }),
    }
}

fn claim_path(mapping: &Mapping) -> &Path {
    mapping.claim().map_or(Path::new("anonymous memory"), Claim::path)
}
