//! The mutable page file.

mod durable;
mod give_back;
mod memory;
mod opening;

use std::{fmt, ops::RangeBounds, path::Path};

use layout::{Geometry, Metadata, PageCount, PageId, PageRange, PageSize};

use crate::{
    error::{Error, Result},
    file::{claim::Claim, disk},
    map::poison,
    mutable::{
        guard::{PageMut, PageRef},
        latched::LatchedPages,
        options::PageFileOptions,
        write_back::WriteBack,
    },
    residency::budget::{Held, Member},
    sync::Mutex,
};

/// Pages of a file, or of anonymous memory, that are read and written in place.
///
/// Pages are borrowed straight from the mapping: by [`page`](Self::page) to read, under a latch that many
/// readers share, or by [`page_mut`](Self::page_mut) to write, alone. [`grow`](Self::grow) adds pages. No page
/// ever moves, so borrowed pages stay valid. [`flush`](Self::flush) makes changes durable.
///
/// All methods take `&self`; share the file between threads by reference or in an `Arc`.
///
/// # Deadlock
/// A borrow waits for its latches. A thread that holds a guard and asks for a conflicting one waits for itself.
/// So does a thread that asks twice to *read* a page while another one waits to write it. With debug assertions
/// the second call panics, and says which page it is and where the guard was taken; without, it waits for ever.
/// Two threads that each hold a guard and wait for the other's deadlock too. To avoid that, take a range with
/// one call, which latches in ascending order, or use the `try_` forms.
///
/// # What survives what
/// Nothing is lost when the file is dropped without a flush, or the process dies: the kernel has the changes
/// and writes them in its own time. After a crash of the machine, flushed pages are there. A page that was
/// changed since may be there in any state, as there is no write-ahead log.
pub struct PageFile {
    /// Shared with the budget, where there is one, which evicts pages when others need room.
    shared: Held<Shared>,
}

impl Shared {
    /// The file's part of a budget.
    fn member(&self) -> Option<&Member> {
        Some(self.pages.budgeted()?.member())
    }
}

/// The pages, and what writes them back.
struct Shared {
    pages: LatchedPages,
    /// `None` for anonymous memory.
    write_back: Option<WriteBack>,
    /// The user's own bytes in the header.
    metadata: Mutex<Metadata>,
    /// Held by who changes the number of pages.
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
    pub fn grow(&self, count: impl Into<PageCount>) -> Result<PageRange> {
        let count = count.into();
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
        self.shared.pages.resolve(PageId::new(old.get())..PageId::new(new.get()))
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
    pub fn page(&self, page: impl Into<PageId>) -> Result<PageRef<'_>> {
        self.shared.pages.read(self.shared.pages.single(page.into())?)
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
    pub fn page_mut(&self, page: impl Into<PageId>) -> Result<PageMut<'_>> {
        self.check_writable()?;
        self.shared.pages.write(self.shared.pages.single(page.into())?)
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

    /// Calls `read` with adjacent pages and returns its result, unless a page could not be reached meanwhile.
    ///
    /// A guard alone cannot promise that. The pages can be reached when it is made, but the file may be cut
    /// short, or the disk may fail, while it is read; the fault handler then shows zeros. Compute in here what
    /// depends on the bytes being right, or ask [`still_valid`](Self::still_valid) afterwards.
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

    /// Checks that all bytes read from borrowed pages so far came from the file.
    ///
    /// They did unless a page fault could not be served, or the file is shorter than its pages: cut in the
    /// middle of a page, it shows zeros in the rest of that page without a fault. The check of the length is
    /// one system call (0.3 us). A file that was cut and extended again before the check cannot be told from
    /// one that somebody overwrote with zeros.
    ///
    /// # Errors
    /// [`Error::Poisoned`] where a page could not be reached, or the file was cut short.
    pub fn still_valid(&self) -> Result<()> {
        match self.file() {
            None => poison::check(self.shared.pages.mapping(), self.page_size()),
            Some((write_back, claim)) => {
                let pages = &self.shared.pages;
                poison::check(pages.mapping(), self.page_size())?;
                if write_back.too_short(pages, claim, pages.page_count())?.is_none() {
                    return Ok(());
                }
                // So it is, unless pages are just being removed, which no flush and no look under its lock
                // meets.
                let check = || write_back.check_whole(pages, claim, pages.page_count());
                pages.states().without_flush(check)
            }
        }
    }

    /// Like [`page`](Self::page), but fails where it would wait.
    ///
    /// # Errors
    /// [`Error::Latched`]; otherwise as [`page`](Self::page).
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_page(&self, page: impl Into<PageId>) -> Result<PageRef<'_>> {
        self.shared.pages.try_read(self.shared.pages.single(page.into())?)
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
    pub fn try_page_mut(&self, page: impl Into<PageId>) -> Result<PageMut<'_>> {
        self.check_writable()?;
        self.shared.pages.try_write(self.shared.pages.single(page.into())?)
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
    pub fn is_dirty(&self, page: impl Into<PageId>) -> bool {
        self.shared.pages.states().is_dirty(page.into())
    }

    /// How many pages were written to since they were last flushed.
    #[must_use]
    pub fn dirty_count(&self) -> PageCount {
        self.shared.pages.states().dirty_count(self.page_count())
    }

    fn file(&self) -> Option<(&WriteBack, &Claim)> {
        self.shared.file()
    }

    #[inline]
    fn check_writable(&self) -> Result<()> {
        self.shared.check_writable()
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
