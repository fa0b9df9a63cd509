//! Runs of adjacent pages.

use std::{
    fmt,
    ops::{Bound, RangeBounds},
};

use crate::{PageCount, PageId, RangeError};

/// A run of adjacent pages.
///
/// Public functions take any `impl RangeBounds<PageId>` (`..`, `a..b`, `a..=b`, `a..`) and resolve
/// it once, against the page count of that moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageRange {
    /// Invariant: not behind `end`.
    start: PageId,
    end: PageId,
}

impl PageRange {
    /// No page.
    pub const EMPTY: Self = Self { start: PageId::new(0), end: PageId::new(0) };

    /// Resolves `range` against a file of `page_count` pages. An open end means the file's end.
    ///
    /// # Errors
    /// [`RangeError`] where the range ends before it starts, or past the file's end.
    ///
    /// ```
    /// # extern crate layout as storage;
    /// use storage::{PageCount, PageId, PageRange};
    /// let range = PageRange::resolve(PageId::new(2).., PageCount::new(5))?;
    /// assert_eq!((range.start().get(), range.count().get()), (2, 3));
    /// # Ok::<(), layout::RangeError>(())
    /// ```
    #[inline]
    pub fn resolve(
        range: impl RangeBounds<PageId>,
        page_count: PageCount,
    ) -> Result<Self, RangeError> {
        // A bound past 2^64 saturates: it is past the end of every file, so the check below meets it.
        let start = match range.start_bound() {
            Bound::Included(page) => page.get(),
            Bound::Excluded(page) => page.get().saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(page) => page.get().saturating_add(1),
            Bound::Excluded(page) => page.get(),
            Bound::Unbounded => page_count.get(),
        };
        if start > end || end > page_count.get() {
            return Err(RangeError { start, end, page_count });
        }
        Ok(Self { start: PageId::new(start), end: PageId::new(end) })
    }

    /// The run of the one page `page`.
    ///
    /// # Errors
    /// [`RangeError`] where `page` is not below `page_count`.
    #[inline]
    pub const fn single(page: PageId, page_count: PageCount) -> Result<Self, RangeError> {
        if page.get() < page_count.get() {
            // No overflow: the count is larger.
            Ok(Self { start: page, end: PageId::new(page.get() + 1) })
        } else {
            let start = page.get();
            Err(RangeError { start, end: start.saturating_add(1), page_count })
        }
    }

    /// The first page.
    #[inline]
    #[must_use]
    pub const fn start(self) -> PageId {
        self.start
    }

    /// How many pages.
    #[inline]
    #[must_use]
    pub const fn count(self) -> PageCount {
        PageCount::new(self.end.get() - self.start.get())
    }

    /// The page after the last one.
    #[inline]
    #[must_use]
    pub const fn end(self) -> PageId {
        self.end
    }

    /// Whether the run has no page.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start.get() == self.end.get()
    }

    /// The run of no page that begins where this one does.
    #[inline]
    #[must_use]
    pub const fn empty_start(self) -> Self {
        Self { start: self.start, end: self.start }
    }

    /// This run and the page behind it. The run of all pages up to the last number stays as it is.
    #[inline]
    #[must_use]
    pub const fn with_next(self) -> Self {
        Self { start: self.start, end: PageId::new(self.end.get().saturating_add(1)) }
    }

    /// The smallest run that contains both, with what lies between them.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return if self.is_empty() { other } else { self };
        }
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The pages of the run, in ascending order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = PageId> + use<> {
        (self.start.get()..self.end.get()).map(PageId::new)
    }
}

/// So that a range that was given out, as by growth, can be asked for.
impl RangeBounds<PageId> for PageRange {
    fn start_bound(&self) -> Bound<&PageId> {
        Bound::Included(&self.start)
    }

    fn end_bound(&self) -> Bound<&PageId> {
        Bound::Excluded(&self.end)
    }
}

impl From<PageId> for PageRange {
    /// The run of the one page. The last page that a `u64` can number gives the empty run, since
    /// no page follows it.
    #[inline]
    fn from(page: PageId) -> Self {
        Self { start: page, end: PageId::new(page.get().saturating_add(1)) }
    }
}

impl fmt::Display for PageRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end())
    }
}
