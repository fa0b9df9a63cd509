//! A mapping of a file from its first byte on.

use std::{
    io,
    ops::{Range, RangeInclusive},
    sync::Arc,
};

use layout::{PageCount, PageId, PageRange};

use crate::{
    error::{Error, Result, address_limit::AddressLimit},
    file::claim::Claim,
    map::{fault::Guard, mapping::Mapping},
    raw::{look::Look, present::Present, span::Span},
};

/// The least that is mapped of a file that may grow.
const LEN_MIN_BYTES: u64 = 1 << 20;

/// How many pages must have been brought in right before a span for it to be taken for read in order: as many as
/// it has, within these bounds. With the least, a page of a file that is read at random, and of which four fifths
/// are in memory, is taken for that once in a thousand times.
const RUN_PAGES: RangeInclusive<u64> = 32..=256;

/// A read-only mapping of a file.
///
/// It may reach past the file's end; the owner knows the file's length and asks for no bytes
/// behind it.
pub(super) struct Window {
    mapping: Mapping,
    page_log2: u32,
    /// Which pages of the mapping were brought in.
    present: Present,
    /// How to find out what the page cache still has.
    look: Look,
}

impl Window {
    /// Maps a file that may grow, with room for that; without, where there is no room for so much. `advise` tells
    /// the kernel how the mapping is going to be used.
    pub(super) fn with_headroom(
        claim: &Arc<Claim>,
        len: u64,
        advise: impl Fn(&Mapping),
    ) -> Result<Self> {
        let roomy = len.saturating_mul(2).checked_next_power_of_two();
        let roomy = roomy.and_then(|len| Self::exact(claim, len.max(LEN_MIN_BYTES), &advise).ok());
        roomy.map_or_else(|| Self::exact(claim, len, &advise), Ok)
    }

    /// Maps `len` bytes of a file, of which there must be some, and the rest of their last page.
    pub(super) fn exact(
        claim: &Arc<Claim>,
        len: u64,
        advise: impl FnOnce(&Mapping),
    ) -> Result<Self> {
        let page_size = rustix::param::page_size() as u64;
        let too_large = || Error::AddressSpace {
            bytes: len,
            limit: AddressLimit::Unknown,
            source: io::Error::from_raw_os_error(libc::ENOMEM),
        };
        let mapped_len = len.checked_next_multiple_of(page_size).ok_or_else(too_large)?;
        let mapping = Mapping::read_only(Arc::clone(claim), Guard::Installed, 0, mapped_len)?;
        advise(&mapping);
        let present = Present::new(PageCount::new(mapped_len / page_size))?;
        let look = Look::at(claim, mapped_len);
        Ok(Self { mapping, page_log2: page_size.trailing_zeros(), present, look })
    }

    /// Takes over what is known of pages that both windows have. They are in memory as much as they
    /// were; only this mapping has still to find them, a short page fault each.
    pub(super) fn know_from(&self, other: &Self) {
        self.present.know_from(&other.present);
    }

    #[inline]
    pub(super) fn covers(&self, len: u64) -> bool {
        len <= self.mapping.len_bytes() as u64
    }

    /// The place of the first byte that could not be reached, if a page fault was caught.
    #[inline]
    pub(super) fn fault_offset(&self) -> Option<u64> {
        self.mapping.fault_offset().map(|offset| offset as u64)
    }

    /// Notes that a byte cannot be reached any more, as a caught fault does.
    pub(super) fn note_fault(&self, offset: u64) {
        let last = self.mapping.len_bytes() - 1;
        self.mapping.note_fault(usize::try_from(offset).map_or(last, |offset| offset.min(last)));
    }

    /// The pages that a span lies in.
    #[inline]
    fn pages(&self, span: Span) -> PageRange {
        let first = PageId::new(span.start >> self.page_log2);
        let end = span.end.div_ceil(1 << self.page_log2).max(first.get());
        PageRange::resolve(first..PageId::new(end), PageCount::new(end))
            .expect("the first page is not behind the end")
    }

    /// Whether all pages of a span were brought in once. The kernel may have taken some back since.
    #[inline]
    pub(super) fn is_present(&self, span: Span) -> bool {
        let first = span.start >> self.page_log2;
        if span.end <= (first + 1) << self.page_log2 {
            return self.present.has_page(first);
        }
        self.present.has(self.pages(span))
    }

    /// Whether all pages of a span were brought in and are still in memory, as far as was found out
    /// by the last [look](Look), which is made again where it is too old.
    #[inline]
    pub(super) fn is_resident(&self, span: Span) -> bool {
        self.is_present(span) && self.look.confirms(&self.mapping, &self.present, self.pages(span))
    }

    /// Whether a span seems to be read in order: it follows a run of pages that were brought in ([`RUN_PAGES`]).
    pub(super) fn follows(&self, span: Span) -> bool {
        let pages = self.pages(span);
        let count = pages.count().get().clamp(*RUN_PAGES.start(), *RUN_PAGES.end());
        let end = pages.start();
        let start = end.get().checked_sub(count).map(PageId::new);
        start
            .and_then(|start| PageRange::resolve(start..end, PageCount::new(end.get())).ok())
            .is_some_and(|before| self.present.has(before))
    }

    /// Notes that the pages of a span are in memory, as far as the window has them.
    pub(super) fn note_present(&self, span: Span) {
        let end = span.end.min(self.mapping.len_bytes() as u64);
        if span.start < end {
            self.present.note(self.pages(Span { end, ..span }));
        }
    }

    /// Brings the pages of a span, which the file has, into memory. Waits for the disk, if need be.
    ///
    /// # Errors
    /// `EFAULT` where the file does not have them any more or the disk cannot read them.
    pub(super) fn bring_in(&self, span: Span) -> io::Result<()> {
        let (offset, len) = self.place_of_pages(span);
        self.mapping.populate_read(offset, len)?;
        self.note_present(span);
        Ok(())
    }

    /// The mapping, and the place in the file of its first byte.
    pub(super) fn mapped(&self) -> (&Mapping, u64) {
        (&self.mapping, 0)
    }

    /// Whether the page cache has all pages of a span, and they are so few that bringing them into
    /// this mapping is done at once.
    pub(super) fn finds(&self, span: Span) -> bool {
        self.look.finds(&self.mapping, self.pages(span))
    }

    /// Forgets that the pages of a span were brought in, as far as the window has them.
    pub(super) fn forget(&self, span: Span) {
        let end = span.end.min(self.mapping.len_bytes() as u64);
        if span.start < end {
            self.present.forget(self.pages(Span { end, ..span }));
        }
    }

    /// Gives the pages of a range of the file back to the kernel, as far as the window has them.
    pub(super) fn drop_resident(&self, span: Range<u64>) {
        self.mapping.drop_span(0, span);
    }

    /// Where the pages of a span lie in the mapping.
    fn place_of_pages(&self, span: Span) -> (usize, usize) {
        let pages = self.pages(span);
        let bytes = |pages: PageCount| index(pages.get() << self.page_log2);
        (bytes(PageCount::new(pages.start().get())), bytes(pages.count()))
    }

    /// Borrows the bytes of a span.
    ///
    /// # Safety
    /// The file had the bytes when it was last looked at, the window covers them, and nobody writes
    /// to them as long as the slice lives.
    #[inline]
    pub(super) unsafe fn bytes(&self, span: Span) -> &[u8] {
        // SAFETY: by the caller's promise.
        unsafe { self.mapping.bytes(index(span.start), index(span.end - span.start)) }
    }
}

/// A length or place inside what is mapped.
#[inline]
fn index(number: u64) -> usize {
    usize::try_from(number).expect("what is mapped fits a usize")
}
