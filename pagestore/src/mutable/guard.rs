//! Borrowed pages of a mutable mapping, under their latches.

use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

use bytemuck::Pod;
use layout::{ByteOffset, PageRange};

use crate::{
    error::Result,
    map::mapping::Mapping,
    mutable::states::{ExclusiveHold, SharedHold},
    typed,
};

/// Adjacent pages, borrowed to read. Dereferences to their bytes, straight in the mapping.
///
/// As long as the guard lives, nobody writes to the pages through this store: their latches are
/// held shared. The guard stays on the thread that took it.
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{PageCount, PageFile, PageId, PageSize};
///
/// let file = PageFile::anonymous(PageSize::DEFAULT)?;
/// file.grow(PageCount::new(2))?;
/// let pages = file.pages(..)?;
/// assert_eq!(pages.len(), 8192);
/// assert_eq!(pages.as_slice_of::<u64>()?, [0; 1024]);
/// # Ok::<(), pagestore::Error>(())
/// ```
///
/// Borrowed bytes cannot outlive the guard:
///
/// ```compile_fail,E0505
/// # extern crate pagestore as storage;
/// # use storage::{PageCount, PageFile, PageId, PageSize};
/// # let file = PageFile::anonymous(PageSize::DEFAULT)?;
/// # file.grow(PageCount::new(1))?;
/// let page = file.page(PageId::new(0))?;
/// let bytes: &[u8] = &page;
/// drop(page);
/// assert_eq!(bytes[0], 0);
/// # Ok::<(), pagestore::Error>(())
/// ```
///
/// nor can the guard outlive the file:
///
/// ```compile_fail,E0505
/// # extern crate pagestore as storage;
/// # use storage::{PageCount, PageFile, PageId, PageSize};
/// # let file = PageFile::anonymous(PageSize::DEFAULT)?;
/// # file.grow(PageCount::new(1))?;
/// let page = file.page(PageId::new(0))?;
/// drop(file);
/// assert_eq!(page[0], 0);
/// # Ok::<(), pagestore::Error>(())
/// ```
///
/// nor be written to:
///
/// ```compile_fail,E0594
/// # extern crate pagestore as storage;
/// # use storage::{PageCount, PageFile, PageId, PageSize};
/// # let file = PageFile::anonymous(PageSize::DEFAULT)?;
/// # file.grow(PageCount::new(1))?;
/// let mut page = file.page(PageId::new(0))?;
/// page[0] = 1;
/// # Ok::<(), pagestore::Error>(())
/// ```
///
/// nor move to another thread, since its latch must be given back where it was taken:
///
/// ```compile_fail,E0277
/// # extern crate pagestore as storage;
/// # use storage::{PageCount, PageFile, PageId, PageSize};
/// # let file = PageFile::anonymous(PageSize::DEFAULT)?;
/// # file.grow(PageCount::new(1))?;
/// let page = file.page(PageId::new(0))?;
/// std::thread::scope(|scope| {
///     scope.spawn(move || page[0]);
/// });
/// # Ok::<(), pagestore::Error>(())
/// ```
#[must_use = "the pages are latched only as long as the guard lives"]
pub struct PageRef<'file> {
    // A pointer and not a slice: the latch is given back inside the guard's own drop, after which
    // a writer may come, while a reference in a function's argument must stay valid to its end.
    start: NonNull<u8>,
    len: usize,
    range: PageRange,
    _hold: SharedHold<'file>,
    _borrows: PhantomData<&'file [u8]>,
}

// SAFETY: through a shared `PageRef` one can only read bytes, from any thread; that nobody writes
// them is ensured by the latch, not by a thread. The hold is only used by `drop`, which has the
// guard to itself on the thread that owns it (`SharedHold` is not `Send`, so `PageRef` is not).
unsafe impl Sync for PageRef<'_> {}

impl<'file> PageRef<'file> {
    /// Pairs the latches of some pages with their bytes.
    ///
    /// # Safety
    /// `hold` holds the latches of exactly the pages `range`; the `len` bytes of `mapping` from
    /// `offset` on are those of the same pages; they are usable; and all who write to them hold
    /// their latches exclusively.
    #[inline]
    pub(crate) unsafe fn new(
        hold: SharedHold<'file>,
        range: PageRange,
        mapping: &'file Mapping,
        offset: usize,
        len: usize,
    ) -> Self {
        let start = mapping.pointer(offset, len);
        let start = NonNull::new(start).expect("a mapping does not begin at address 0");
        Self { start, len, range, _hold: hold, _borrows: PhantomData }
    }

    /// Which pages these are.
    #[must_use]
    pub fn range(&self) -> PageRange {
        self.range
    }

    /// All the bytes as items of plain data. The payload is contiguous, so items may lie across
    /// page boundaries.
    ///
    /// # Errors
    /// [`ViewError`](crate::ViewError) where the bytes are no whole number of items, or items have
    /// no size.
    pub fn as_slice_of<T: Pod>(&self) -> Result<&[T]> {
        Ok(typed::as_slice_of(self)?)
    }

    /// `count` items of plain data, the first at byte `offset` of these pages.
    ///
    /// # Errors
    /// [`ViewError`](crate::ViewError) where the first item would not be aligned, the items reach
    /// past the pages' end, or have no size.
    pub fn as_slice_of_at<T: Pod>(&self, offset: ByteOffset, count: usize) -> Result<&[T]> {
        let window = typed::window::<T>(offset, count, self.len as u64)?;
        Ok(typed::cast_window(&self[window], offset)?)
    }
}

impl Deref for PageRef<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: by the contract of `new`, the bytes are usable memory of the mapping, which lives
        // as long as `'file`, and whoever writes to them holds their latches exclusively, which
        // nobody can while `_hold` holds them shared; it does so as long as `self`, which outlives
        // the slice. Any byte is a valid `u8`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl fmt::Debug for PageRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageRef").field("range", &self.range).finish_non_exhaustive()
    }
}

/// Adjacent pages, borrowed to read and write. Dereferences to their bytes, straight in the
/// mapping.
///
/// As long as the guard lives, nobody else reads or writes the pages through this store: their
/// latches are held exclusively. The first use of the bytes for writing marks all pages of the
/// guard dirty, so ask for no more pages than you are going to write. The guard stays on the thread
/// that took it.
///
/// # Flushing while a guard is open
/// [`PageFile::flush`](crate::PageFile::flush) does not wait for open guards. It writes their pages
/// as they stand and keeps them dirty, so that the next flush writes them again: what is stored
/// before the guard is dropped is in every flush that begins afterwards. A guard leaked by
/// [`std::mem::forget`] keeps its pages latched, and dirty, for ever.
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{PageCount, PageFile, PageId, PageSize};
///
/// let file = PageFile::anonymous(PageSize::DEFAULT)?;
/// file.grow(PageCount::new(1))?;
/// let mut page = file.page_mut(PageId::new(0))?;
/// page.as_slice_of_mut::<u32>()?[3] = 7;
/// assert_eq!(page[12..16], [7, 0, 0, 0]);
/// # Ok::<(), pagestore::Error>(())
/// ```
///
/// Two borrows of the bytes to write to are one too many:
///
/// ```compile_fail,E0499
/// # extern crate pagestore as storage;
/// # use storage::{PageCount, PageFile, PageId, PageSize};
/// # let file = PageFile::anonymous(PageSize::DEFAULT)?;
/// # file.grow(PageCount::new(1))?;
/// let mut page = file.page_mut(PageId::new(0))?;
/// let first = page.as_slice_of_mut::<u8>()?;
/// let second = page.as_slice_of_mut::<u8>()?;
/// first[0] = second[0];
/// # Ok::<(), pagestore::Error>(())
/// ```
#[must_use = "the pages are latched only as long as the guard lives"]
pub struct PageMut<'file> {
    // A pointer, for the reason given in `PageRef`.
    start: NonNull<u8>,
    len: usize,
    range: PageRange,
    marked: bool,
    hold: ExclusiveHold<'file>,
    _borrows: PhantomData<&'file mut [u8]>,
}

// SAFETY: through a shared `PageMut` one can only read bytes, from any thread, and nobody can write
// them meanwhile: writing takes `&mut PageMut`. The hold is used by `deref_mut` and `drop` only,
// which have the guard to themselves, on the thread that owns it (`ExclusiveHold` is not `Send`).
unsafe impl Sync for PageMut<'_> {}

impl<'file> PageMut<'file> {
    /// Pairs the exclusive latches of some pages with their bytes.
    ///
    /// # Safety
    /// `hold` holds the latches of exactly the pages `range`; the `len` bytes of `mapping`, which
    /// is writable, from `offset` on are those of the same pages; they are usable; and all who
    /// read or write them hold their latches.
    #[inline]
    pub(crate) unsafe fn new(
        hold: ExclusiveHold<'file>,
        range: PageRange,
        mapping: &'file Mapping,
        offset: usize,
        len: usize,
    ) -> Self {
        let start = mapping.pointer(offset, len);
        let start = NonNull::new(start).expect("a mapping does not begin at address 0");
        Self { start, len, range, marked: false, hold, _borrows: PhantomData }
    }

    /// Which pages these are.
    #[must_use]
    pub fn range(&self) -> PageRange {
        self.range
    }

    /// All the bytes as items of plain data; see [`PageRef::as_slice_of`].
    ///
    /// # Errors
    /// As [`PageRef::as_slice_of`].
    pub fn as_slice_of<T: Pod>(&self) -> Result<&[T]> {
        Ok(typed::as_slice_of(self)?)
    }

    /// `count` items of plain data, the first at byte `offset`; see [`PageRef::as_slice_of_at`].
    ///
    /// # Errors
    /// As [`PageRef::as_slice_of_at`].
    pub fn as_slice_of_at<T: Pod>(&self, offset: ByteOffset, count: usize) -> Result<&[T]> {
        let window = typed::window::<T>(offset, count, self.len as u64)?;
        Ok(typed::cast_window(&self[window], offset)?)
    }

    /// All the bytes as items of plain data to write to.
    ///
    /// # Errors
    /// As [`PageRef::as_slice_of`].
    pub fn as_slice_of_mut<T: Pod>(&mut self) -> Result<&mut [T]> {
        Ok(typed::as_slice_of_mut(self)?)
    }

    /// `count` items of plain data to write to, the first at byte `offset` of these pages.
    ///
    /// # Errors
    /// As [`PageRef::as_slice_of_at`].
    pub fn as_slice_of_mut_at<T: Pod>(
        &mut self,
        offset: ByteOffset,
        count: usize,
    ) -> Result<&mut [T]> {
        let window = typed::window::<T>(offset, count, self.len as u64)?;
        Ok(typed::cast_window_mut(&mut self[window], offset)?)
    }
}

impl Deref for PageMut<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: by the contract of `new`, the bytes are usable memory of the mapping, which lives
        // as long as `'file`, and whoever reads or writes them holds their latches, which nobody
        // else can while `hold` holds them exclusively; it does so as long as `self`. A mutable
        // slice from `deref_mut` borrows `self` mutably, so none lives beside this one.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for PageMut<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // Rule 1 of `states.rs`: the mark comes before the first store.
        if !self.marked {
            self.hold.mark_dirty();
            self.marked = true;
        }
        // SAFETY: as in `deref`; the mapping is writable, by the contract of `new`, and `&mut self`
        // leaves no other slice of these bytes alive.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl fmt::Debug for PageMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageMut").field("range", &self.range).finish_non_exhaustive()
    }
}
