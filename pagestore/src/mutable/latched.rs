//! The pages of a mutable mapping: memory, latches, dirty bits and the count of usable pages,
//! joined so that none can be used without the others.

use std::ops::{Range, RangeBounds};

use layout::{Geometry, PageCount, PageId, PageRange, PageSize};

use crate::{
    error::{Error, Result},
    file::rewriting::Rewriting,
    map::{
        mapping::Mapping,
        place::{pages_in, place, span, windows},
        poison,
    },
    mutable::{
        guard::{PageMut, PageRef},
        populate::Populate,
        presence::{Intent, Presence},
        self_wait::Mode,
        states::PageStates,
    },
    residency::{folios, read_ahead::ReadAhead},
    sync::atomic::{AtomicU64, Ordering},
};

/// Pages that can be borrowed only under their latches.
///
/// Invariant: the bytes of the first `page_count` pages are usable, and all access to them goes
/// through guards made here. `page_count` falls only while the latches of the pages that go are held
/// exclusively, and whoever has taken a latch looks at it again.
pub(crate) struct LatchedPages {
    mapping: Mapping,
    states: PageStates,
    /// The pages that were brought into memory; `None` where borrowing does not see to that.
    presence: Option<Presence>,
    page_size: PageSize,
    page_count: AtomicU64,
    /// What brings pages in under a budget. Behind the mapping: pages that are mapped cannot be
    /// given back.
    budgeted: Option<ReadAhead>,
}

impl LatchedPages {
    /// # Safety
    /// The mapping is writable, its first byte is that of page 0, nobody else uses its memory, and
    /// the first `page_count` pages lie inside it and are usable.
    pub(crate) unsafe fn new(
        mapping: Mapping,
        populate: Populate,
        page_size: PageSize,
        page_count: PageCount,
        budgeted: Option<ReadAhead>,
    ) -> Self {
        let states = PageStates::new();
        states.grow_to(page_count);
        // Under a budget, bringing a page in is where it is charged.
        let is_before = populate == Populate::BeforeBorrow || budgeted.is_some();
        let claim = mapping.claim().filter(|_| is_before);
        let presence = claim.map(|claim| Presence::new(Rewriting::of(claim.file())));
        presence.iter().for_each(|presence| presence.grow_to(page_count));
        let page_count = AtomicU64::new(page_count.get());
        Self { mapping, states, presence, page_size, page_count, budgeted }
    }

    /// Lets pages below `page_count` be borrowed too.
    ///
    /// # Safety
    /// The first `page_count` pages lie inside the mapping and are usable; there are at least as
    /// many as before; nobody removes pages meanwhile.
    pub(crate) unsafe fn publish(&self, page_count: PageCount) {
        self.states.grow_to(page_count);
        self.presence.iter().for_each(|presence| presence.grow_to(page_count));
        self.page_count.store(page_count.get(), Ordering::Release);
    }

    #[inline]
    pub(crate) fn page_count(&self) -> PageCount {
        PageCount::new(self.page_count.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn page_size(&self) -> PageSize {
        self.page_size
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    pub(crate) fn states(&self) -> &PageStates {
        &self.states
    }

    #[inline]
    pub(crate) fn resolve(&self, range: impl RangeBounds<PageId>) -> Result<PageRange> {
        PageRange::resolve(range, self.page_count()).map_err(Error::no_pages(self.mapping.path()))
    }

    #[inline]
    pub(crate) fn single(&self, page: PageId) -> Result<PageRange> {
        PageRange::single(page, self.page_count()).map_err(Error::no_pages(self.mapping.path()))
    }

    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn read(&self, range: PageRange) -> Result<PageRef<'_>> {
        let (offset, len) = self.place(range);
        self.mapping.prefetch_line(offset);
        let hold = self.states.hold_shared(range);
        let hold = hold.unwrap_or_else(|wait| wait.panic(self.mapping.path(), Mode::Shared));
        self.bring_in(range, Intent::Read)?;
        // SAFETY: `hold` is of `range`, and `place` gave the bytes of the same pages. `range` was
        // resolved against `page_count`, so by this type's invariant they are usable, and everyone
        // who writes to them has a `PageMut` from here, hence their latches.
        Ok(unsafe { PageRef::new(hold, range, &self.mapping, offset, len) })
    }

    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn try_read(&self, range: PageRange) -> Result<PageRef<'_>> {
        let (offset, len) = self.place(range);
        let hold = self.states.try_hold_shared(range)?;
        self.bring_in(range, Intent::Read)?;
        // SAFETY: as in `read`.
        Ok(unsafe { PageRef::new(hold, range, &self.mapping, offset, len) })
    }

    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn write(&self, range: PageRange) -> Result<PageMut<'_>> {
        let (offset, len) = self.place(range);
        let hold = self.states.hold_exclusive(range);
        let hold = hold.unwrap_or_else(|wait| wait.panic(self.mapping.path(), Mode::Exclusive));
        self.bring_in(range, Intent::Write)?;
        // SAFETY: as in `read`; the mapping is writable by the contract of `new`, and everyone who
        // reads or writes these bytes has a guard from here, hence their latches.
        Ok(unsafe { PageMut::new(hold, range, &self.mapping, offset, len) })
    }

    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn try_write(&self, range: PageRange) -> Result<PageMut<'_>> {
        let (offset, len) = self.place(range);
        let hold = self.states.try_hold_exclusive(range)?;
        self.bring_in(range, Intent::Write)?;
        // SAFETY: as in `write`.
        Ok(unsafe { PageMut::new(hold, range, &self.mapping, offset, len) })
    }

    /// Borrows pages to save what is in memory, also where the file is poisoned because what was stored
    /// reaches no disk. `still_in_memory` is to be asked afterwards.
    pub(crate) fn rescue(&self, range: PageRange) -> Result<PageRef<'_>> {
        let (offset, len) = self.place(range);
        let hold = self.states.hold_shared(range);
        let hold = hold.unwrap_or_else(|wait| wait.panic(self.mapping.path(), Mode::Shared));
        self.still_in_memory()?;
        self.still_there(range)?;
        self.ask_for(range, Intent::Read)?;
        // SAFETY: as in `read`.
        Ok(unsafe { PageRef::new(hold, range, &self.mapping, offset, len) })
    }

    /// Fails where what is in memory is wrong.
    pub(crate) fn still_in_memory(&self) -> Result<()> {
        poison::check_memory(&self.mapping, self.page_size)
    }

    /// Notes that the kernel wrote these pages back.
    pub(crate) fn note_flushed(&self, range: PageRange) {
        self.presence.iter().for_each(|presence| presence.note_flushed(range));
    }

    /// Sees to it that pages are safe to touch: none was replaced by the fault handler, and all
    /// were in memory once. It comes after the latch, whose locked instruction waits for all that
    /// was before it; after it, these looks and the touch of the page itself overlap (measured: 30
    /// of 100 ns).
    #[inline]
    fn bring_in(&self, range: PageRange, intent: Intent) -> Result<()> {
        poison::check(&self.mapping, self.page_size)?;
        self.still_there(range)?;
        self.ask_for(range, intent)
    }

    /// Fails where the pages were removed while their latches were waited for. Who holds a latch of a page
    /// that is there keeps it there.
    #[inline]
    fn still_there(&self, range: PageRange) -> Result<()> {
        let page_count = self.page_count();
        if range.end().get() <= page_count.get() || range.is_empty() {
            return Ok(());
        }
        let found = PageRange::resolve(range, page_count).map(drop);
        found.map_err(Error::no_pages(self.mapping.path()))
    }

    /// Removes the last pages, unless somebody holds one of them: `cut` takes them from the file.
    pub(crate) fn remove(&self, range: PageRange, cut: impl FnOnce() -> Result<()>) -> Result<()> {
        let _nobody = self.states.try_hold_exclusive(range)?;
        cut()?;
        self.states.forget(range);
        self.presence.iter().for_each(|presence| presence.forget(range));
        // Whoever waits for one of the latches sees this when they have it.
        self.page_count.store(range.start().get(), Ordering::Release);
        Ok(())
    }

    /// Waits for pages and has `punch` make them zero, without their being borrowed.
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn clear(&self, range: PageRange, punch: impl FnOnce() -> Result<()>) -> Result<()> {
        let hold = self.states.hold_exclusive(range);
        let hold = hold.unwrap_or_else(|wait| wait.panic(self.mapping.path(), Mode::Exclusive));
        self.still_there(range)?;
        // As before any store (rule 1 of `states.rs`): the hole is durable with the next flush.
        hold.mark_dirty();
        self.presence.iter().for_each(|presence| presence.forget(range));
        punch()
    }

    #[inline]
    fn ask_for(&self, range: PageRange, intent: Intent) -> Result<()> {
        match &self.presence {
            Some(presence) if !presence.has(range, intent) => {
                self.populate(presence, range, intent)
            }
            _ => {
                if let Some(budgeted) = &self.budgeted {
                    budgeted.member().reference(span(range, self.page_size));
                }
                Ok(())
            }
        }
    }

    #[cold]
    fn populate(&self, presence: &Presence, range: PageRange, intent: Intent) -> Result<()> {
        let (Some(budgeted), Some(claim)) = (&self.budgeted, self.mapping.claim()) else {
            return self.populate_now(presence, range, intent);
        };
        let end = span(self.resolve(..)?, self.page_size).end;
        windows(range, self.page_size, budgeted.window_bytes()).try_for_each(|window| {
            if presence.has(window, intent) {
                return Ok(());
            }
            // Charged until the pages are noted, so that what is noted is charged.
            let _charged = budgeted.bring_in(claim, span(window, self.page_size), end)?;
            self.populate_now(presence, window, intent)
        })
    }

    fn populate_now(&self, presence: &Presence, range: PageRange, intent: Intent) -> Result<()> {
        let (offset, len) = self.place(range);
        let (mapping, page_size) = (&self.mapping, self.page_size);
        match intent {
            Intent::Read => mapping
                .populate_read(offset, len)
                .map_err(|source| poison::unreachable(mapping, page_size, range, source)),
            Intent::Write => mapping
                .populate_write(offset, len)
                .map_err(|source| poison::unwritable(mapping, page_size, range, source)),
        }?;
        presence.note(range, intent);
        Ok(())
    }

    /// What brings pages in under a budget, where there is one.
    pub(crate) fn budgeted(&self) -> Option<&ReadAhead> {
        self.budgeted.as_ref()
    }

    /// Gives pages back to the kernel, as far as they are clean. The next borrows bring them in
    /// anew.
    pub(crate) fn drop_pages(&self, bytes: Range<u64>) {
        // Before the drop: under a budget nobody brings in a page of the extent meanwhile, and
        // whoever borrows one from now on charges it first.
        if let Some(presence) = &self.presence {
            presence.forget(pages_in(self.page_size, self.page_count(), &bytes));
        }
        folios::drop_pages((&self.mapping, Geometry::data_start(self.page_size)), bytes);
    }

    /// Where the pages of `range` lie in the mapping: offset and length in bytes.
    #[inline]
    pub(crate) fn place(&self, range: PageRange) -> (usize, usize) {
        place(range, self.page_size)
    }
}
