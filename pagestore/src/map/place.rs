//! Where the pages of a file lie, in the file and in a mapping of it.

use std::ops::Range;

use layout::{Geometry, PageCount, PageId, PageRange, PageSize};

use crate::error::{Error, Result};

/// Where the pages of `range` lie in a mapping that begins with page 0: offset and length in bytes.
///
/// The range was resolved against pages that are mapped, so what it spans fits an address space and
/// no shift loses a bit.
#[inline]
pub(crate) fn place(range: PageRange, page_size: PageSize) -> (usize, usize) {
    debug_assert!(range.end().get().leading_zeros() >= page_size.log2(), "pages are mapped");
    #[expect(clippy::cast_possible_truncation, reason = "the pages are mapped")]
    let bytes = |pages: u64| (pages as usize) << page_size.log2();
    (bytes(range.start().get()), bytes(range.count().get()))
}

/// The bytes of the file that the pages of `range` lie in.
#[inline]
pub(crate) fn span(range: PageRange, page_size: PageSize) -> Range<u64> {
    let (offset, len) = place(range, page_size);
    let start = Geometry::data_start(page_size) + offset as u64;
    start..start + len as u64
}

/// Adjacent pages in pieces of `bytes`, or of one page where that is more.
pub(crate) fn windows(
    range: PageRange,
    page_size: PageSize,
    bytes: u64,
) -> impl Iterator<Item = PageRange> {
    let window_pages = page_size.pages_for(bytes).get();
    let (mut start, end) = (range.start().get(), range.end().get());
    std::iter::from_fn(move || {
        let window = start..end.min(start.saturating_add(window_pages));
        start = window.end;
        let window = PageId::new(window.start)..PageId::new(window.end);
        let window = PageRange::resolve(window, PageCount::new(end)).ok()?;
        (!window.is_empty()).then_some(window)
    })
}

/// The pages that a range of the file's bytes lies in, as far as there are any.
pub(crate) fn pages_in(page_size: PageSize, page_count: PageCount, span: &Range<u64>) -> PageRange {
    let data_start = Geometry::data_start(page_size);
    let first = (span.start.saturating_sub(data_start) / page_size.get()).min(page_count.get());
    let end = span.end.saturating_sub(data_start).div_ceil(page_size.get());
    let end = end.clamp(first, page_count.get());
    PageRange::resolve(PageId::new(first)..PageId::new(end), page_count).unwrap_or(PageRange::EMPTY)
}

/// Fails where this system cannot map pages of that size.
pub(crate) fn check_page_size(page_size: PageSize) -> Result<()> {
    let os_page_size = rustix::param::page_size();
    if page_size.get_usize().is_multiple_of(os_page_size) {
        Ok(())
    } else {
        Err(Error::PageSizeUnsupported { page_size, os_page_size })
    }
}
