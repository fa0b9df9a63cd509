//! The latch and the dirty bit of every page, and the rules that tie them together.
//!
//! 1. Who holds a page's latch exclusively marks the page dirty before the first store to it.
//! 2. A flush takes the dirty bits first, then looks at the latch of each page it took. A page
//!    whose latch is held exclusively is written as it stands *and marked again*, since stores to
//!    it may still come; then the flush writes.
//! 3. Flushes follow one another; a failed one marks again what it took.
//!
//! So a store made under a latch that was given back before a flush began is in what that flush
//! writes: the mark preceded the store, and either this flush took the mark, or an earlier one did.
//! If an earlier one, then it saw the latch free (and the store was made before its write) or held
//! (and it marked the page again for this flush).
//!
//! This module knows no memory and no file. That is what lets loom (`model.rs`) and the oracle test
//! exercise the very code that runs.

use std::marker::PhantomData;

use layout::{PageCount, PageId, PageRange};

use crate::{
    error::{Error, Result},
    mutable::{
        dirty::DirtyBitmap,
        self_wait::{Mode, Noted, Owner, SelfWait, must_wait},
    },
    sync::{Held, Latch, Mutex},
    tables::{
        bits::{Pages, Word},
        segments::Segments,
    },
};

/// Latches and dirty bits of the pages of one mapping.
pub(crate) struct PageStates {
    latches: Segments<Latch>,
    owner: Owner,
    dirty: DirtyBitmap,
    /// Held by the flush that is under way; the words that it took.
    flushing: Mutex<Vec<Word>>,
}

/// Which dirty pages a flush takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    All,
    /// Those of a range, as far as it is still there.
    Range(PageRange),
}

/// What a flush found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Flushed {
    /// The pages that were dirty.
    pub(crate) pages: u64,
    /// The runs of adjacent dirty pages.
    pub(crate) runs: u64,
    /// The pages among them that a guard was open to, so that they stay dirty.
    pub(crate) open: u64,
}

impl PageStates {
    pub(crate) fn new() -> Self {
        Self {
            latches: Segments::new(),
            owner: Owner::new(),
            dirty: DirtyBitmap::new(),
            flushing: Mutex::new(Vec::new()),
        }
    }

    /// Makes room for pages below `page_count`, clean and with free latches.
    pub(crate) fn grow_to(&self, page_count: PageCount) {
        self.latches.grow_to(index(page_count.get()), Latch::new);
        self.dirty.grow_to(page_count);
    }

    /// Waits until no writer holds a page of `range`, and keeps writers out.
    ///
    /// # Errors
    /// In debug builds, where the thread would wait for itself.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn hold_shared(&self, range: PageRange) -> Result<SharedHold<'_>, SelfWait> {
        let mut hold = SharedHold(Hold::none(self, range));
        for page in range.iter() {
            let latch = self.latch(page);
            if must_wait(|| latch.try_lock_shared()) {
                self.owner.check(page)?;
                latch.lock_shared();
            }
            hold.0.count_in(latch);
        }
        hold.0.note(Mode::Shared);
        Ok(hold)
    }

    /// Like [`hold_shared`](Self::hold_shared), but fails where it would wait.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn try_hold_shared(&self, range: PageRange) -> Result<SharedHold<'_>> {
        let mut hold = SharedHold(Hold::none(self, range));
        for page in range.iter() {
            let latch = self.latch(page);
            if !latch.try_lock_shared() {
                return Err(Error::Latched { page });
            }
            hold.0.count_in(latch);
        }
        hold.0.note(Mode::Shared);
        Ok(hold)
    }

    /// Waits until nobody else holds a page of `range`, and keeps everybody out.
    ///
    /// # Errors
    /// In debug builds, where the thread would wait for itself.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn hold_exclusive(&self, range: PageRange) -> Result<ExclusiveHold<'_>, SelfWait> {
        let mut hold = ExclusiveHold(Hold::none(self, range));
        for page in range.iter() {
            let latch = self.latch(page);
            if must_wait(|| latch.try_lock_exclusive()) {
                self.owner.check(page)?;
                latch.lock_exclusive();
            }
            hold.0.count_in(latch);
        }
        hold.0.note(Mode::Exclusive);
        Ok(hold)
    }

    /// Like [`hold_exclusive`](Self::hold_exclusive), but fails where it would wait.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn try_hold_exclusive(&self, range: PageRange) -> Result<ExclusiveHold<'_>> {
        let mut hold = ExclusiveHold(Hold::none(self, range));
        for page in range.iter() {
            let latch = self.latch(page);
            if !latch.try_lock_exclusive() {
                return Err(Error::Latched { page });
            }
            hold.0.count_in(latch);
        }
        hold.0.note(Mode::Exclusive);
        Ok(hold)
    }

    /// Takes the dirty pages below the page count and has `write` write them. It is also called, with
    /// no page, where nothing is dirty.
    ///
    /// Waits for a flush that is under way, so that its outcome is known when this one returns.
    ///
    /// # Errors
    /// Those of `write`; the pages are dirty again then.
    pub(crate) fn flush<E>(
        &self,
        which: Which,
        page_count: impl FnOnce() -> PageCount,
        write: impl FnOnce(Pages<'_>, PageCount) -> Result<(), E>,
    ) -> Result<Flushed, E> {
        let mut taken = self.flushing.lock();
        // Asked for now: no page is removed while this holds the lock.
        let page_count = page_count();
        taken.clear();
        match which {
            Which::All => self.dirty.take(page_count, &mut taken),
            Which::Range(range) => {
                let end = range.end().min(PageId::new(page_count.get()));
                let there = PageRange::resolve(range.start().min(end)..end, page_count);
                self.dirty.take_range(there.unwrap_or(PageRange::EMPTY), &mut taken);
            }
        }
        let dirty = Pages(&taken);
        let mut flushed = Flushed { pages: dirty.count(), runs: dirty.run_count(), open: 0 };
        for word in taken.iter() {
            for page in word.pages().filter(|&page| self.is_held_exclusively(page)) {
                flushed.open += 1;
                self.dirty.mark(PageRange::from(page));
            }
        }
        write(dirty, page_count).inspect_err(|_| {
            for &word in taken.iter() {
                self.dirty.mark_word(word);
            }
        })?;
        Ok(flushed)
    }

    /// Runs something while no flush runs.
    pub(crate) fn without_flush<T>(&self, run: impl FnOnce() -> T) -> T {
        let _none = self.flushing.lock();
        run()
    }

    /// Forgets what was written to pages that are removed. Their latches are held exclusively.
    pub(crate) fn forget(&self, range: PageRange) {
        self.dirty.take_range(range, &mut Vec::new());
    }

    /// Whether `page` is marked dirty now.
    pub(crate) fn is_dirty(&self, page: PageId) -> bool {
        self.dirty.is_marked(page)
    }

    /// Whether any page of `range` is marked dirty now.
    pub(crate) fn is_any_dirty(&self, range: PageRange) -> bool {
        self.dirty.is_any_marked(range)
    }

    /// Marks pages dirty that the kernel has to write although nobody stored to them.
    pub(crate) fn mark_dirty(&self, range: PageRange) {
        self.dirty.mark(range);
    }

    /// How many pages below `page_count` are marked dirty now.
    pub(crate) fn dirty_count(&self, page_count: PageCount) -> PageCount {
        self.dirty.count(page_count)
    }

    /// The bitmap alone, for models of protocols that are broken on purpose.
    #[cfg(all(test, loom))]
    pub(crate) fn dirty(&self) -> &DirtyBitmap {
        &self.dirty
    }

    /// Whether a writer holds the page. Where not, all stores of earlier writers are visible to the
    /// caller: taking the latch, if only for a moment, is what orders them. A writer that waits can
    /// make this say yes although it does not hold the page yet; then the page stays dirty once more
    /// than it must, which costs a write and loses nothing.
    fn is_held_exclusively(&self, page: PageId) -> bool {
        let latch = self.latch(page);
        let free = latch.try_lock_shared();
        if free {
            // SAFETY: the hold was taken on the line above.
            unsafe { latch.unlock_shared() };
        }
        !free
    }

    #[inline]
    fn latch(&self, page: PageId) -> &Latch {
        self.latches.at(index(page.get()))
    }
}

/// The latches of a run of pages that a hold has taken, in ascending order.
struct Hold<'states> {
    states: &'states PageStates,
    /// The latch of the first page, so that a single page's need not be looked up again.
    first: Option<&'states Latch>,
    /// The pages: fewer than asked for only while they are taken.
    range: PageRange,
    _held: Held,
    noted: Noted,
}

impl<'states> Hold<'states> {
    /// No latch yet, of the pages of `range`.
    #[inline]
    fn none(states: &'states PageStates, range: PageRange) -> Self {
        let (range, noted) = (range.empty_start(), Noted::none());
        Self { states, first: None, range, _held: PhantomData, noted }
    }

    /// All latches were taken.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    fn note(&mut self, mode: Mode) {
        self.noted = self.states.owner.note(self.range, mode);
    }

    /// Counts in the next page, whose latch was taken just now.
    #[inline]
    fn count_in(&mut self, latch: &'states Latch) {
        self.first.get_or_insert(latch);
        self.range = self.range.with_next();
    }

    /// The latches that were taken.
    #[inline]
    fn latches(&self) -> impl Iterator<Item = &'states Latch> {
        let states = self.states;
        self.first.into_iter().chain(self.range.iter().skip(1).map(|page| states.latch(page)))
    }
}

/// Shared latches on a run of pages. Given back on drop.
pub(crate) struct SharedHold<'states>(Hold<'states>);

impl Drop for SharedHold<'_> {
    #[inline]
    fn drop(&mut self) {
        for latch in self.0.latches() {
            // SAFETY: the constructors count a latch in when they have taken a shared hold of it, on
            // this thread (`Held` is not `Send`); it is given back only here.
            unsafe { latch.unlock_shared() };
        }
    }
}

/// Exclusive latches on a run of pages. Given back on drop.
pub(crate) struct ExclusiveHold<'states>(Hold<'states>);

impl ExclusiveHold<'_> {
    /// Marks all pages of the hold dirty.
    #[inline]
    pub(crate) fn mark_dirty(&self) {
        self.0.states.dirty.mark(self.0.range);
    }
}

impl Drop for ExclusiveHold<'_> {
    #[inline]
    fn drop(&mut self) {
        for latch in self.0.latches() {
            // SAFETY: the constructors count a latch in when they have taken the exclusive hold of
            // it, on this thread (`Held` is not `Send`); it is given back only here.
            unsafe { latch.unlock_exclusive() };
        }
    }
}

#[inline]
fn index(number: u64) -> usize {
    usize::try_from(number).expect("pages are mapped, so their numbers fit a usize")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    const PAGES: u64 = 20_000;

    fn flush(states: &PageStates) -> (Flushed, PageRange) {
        let mut seen = PageRange::EMPTY;
        let flushed = states.flush(
            Which::All,
            || PageCount::new(PAGES),
            |dirty, _| {
                seen = dirty.hull();
                assert_eq!(dirty.runs().count() as u64, dirty.run_count());
                assert_eq!(dirty.runs().map(|run| run.count().get()).sum::<u64>(), dirty.count());
                Ok::<_, Infallible>(())
            },
        );
        (flushed.expect("writing cannot fail"), seen)
    }

    proptest! {
        /// Against a plain list of booleans: pages, runs and hull are exactly those marked.
        #[test]
        fn a_flush_reports_what_was_marked(
            ranges in proptest::collection::vec((0..PAGES, 1..300_u64), 0..20)
        ) {
            let states = PageStates::new();
            states.grow_to(PageCount::new(PAGES));
            let mut model = vec![false; usize::try_from(PAGES).unwrap() + 1];
            for (start, len) in ranges {
                let end = (start + len).min(PAGES);
                let range = PageId::new(start)..PageId::new(end);
                let range = PageRange::resolve(range, PageCount::new(PAGES)).unwrap();
                states.hold_exclusive(range).expect("nobody holds it").mark_dirty();
                model[range_usize(range)].fill(true);
            }
            let pages = model.iter().filter(|&&dirty| dirty).count() as u64;
            let runs = model.windows(2).filter(|pair| pair == &[true, false]).count() as u64;
            prop_assert_eq!(states.dirty_count(PageCount::new(PAGES)), PageCount::new(pages));
            let (flushed, hull) = flush(&states);
            prop_assert_eq!(flushed, Flushed { pages, runs, open: 0 });
            let first = model.iter().position(|&dirty| dirty);
            let last = model.iter().rposition(|&dirty| dirty);
            match first.zip(last) {
                None => prop_assert!(hull.is_empty()),
                Some((first, last)) => prop_assert_eq!(range_usize(hull), first..last + 1),
            }
            prop_assert_eq!(flush(&states).0, Flushed::default());
        }
    }

    fn range_usize(range: PageRange) -> std::ops::Range<usize> {
        index(range.start().get())..index(range.end().get())
    }
}
