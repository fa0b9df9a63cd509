//! A file's membership in a budget.

use std::{
    fs::File,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Weak},
};

use super::{
    budgeted::Budgeted,
    charged::Charged,
    clock::{Clock, Room},
    core::{Core, Medium},
    extents::{BLOCK_EXTENTS, EXTENT_PAGES, Extent},
    pin::Pin,
    truth,
};
use crate::{
    error::{Error, Result},
    file::{claim::Claim, disk},
    residency::cache,
    sync::atomic::Ordering,
};

/// A file's handle on its budget. Dropped with the file, after its mapping: what was charged is
/// given back, to the kernel too.
pub(crate) struct Member {
    pub(super) core: Arc<Core>,
    clock: Arc<Clock>,
    claim: Option<Arc<Claim>>,
}

impl Member {
    pub(super) fn new(
        clock: Arc<Clock>,
        claim: Option<Arc<Claim>>,
        medium: Medium,
        owner: Weak<dyn Budgeted>,
    ) -> Self {
        let core = Arc::new(Core::new(medium, owner));
        clock.add_member(&core);
        Self { core, clock, claim }
    }

    /// The budget's limit.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.clock.limit_bytes()
    }

    /// Lets another value go on with the same file and what is charged to it: a writer becomes a
    /// sealed file.
    pub(crate) fn passed_to(mut self, claim: &Arc<Claim>, owner: Weak<dyn Budgeted>) -> Self {
        self.claim = Some(Arc::clone(claim));
        self.core.pass_to(owner);
        self
    }

    /// Notes that bytes of the file were borrowed on the fast path.
    #[inline]
    pub(crate) fn reference(&self, span: Range<u64>) {
        let extent_log2 = self.core.page_log2 + EXTENT_PAGES.trailing_zeros();
        let (mut index, last) = (span.start >> extent_log2, (span.end - 1) >> extent_log2);
        loop {
            #[expect(clippy::cast_possible_truncation, reason = "what is mapped fits a usize")]
            // What is not there was never charged.
            if let Some(extent) = self.core.extents.get(index as usize) {
                extent.reference();
            }
            if index >= last {
                return;
            }
            index += 1;
        }
    }

    /// Charges the pages that the bytes `span` of the file lie in, as far as they are not charged,
    /// evicting others where there is no room. As long as the returned value lives, none of them is
    /// evicted: bring them in and note that they are there before it is dropped.
    ///
    /// The caller holds no other such value, and charges at most
    /// [`window_bytes`](super::ResidencyBudget::window_bytes) at once, unless one page is larger.
    ///
    /// # Errors
    /// [`BudgetExceeded`](crate::Error::BudgetExceeded); what hinders the eviction of another file.
    pub(crate) fn charge(&self, span: Range<u64>) -> Result<Charged<'_>> {
        let words = self.words(&span);
        self.core.grow_to(extents_of(words.clone()).end)?;
        let mut needed = self.missing_bytes(words.clone());
        loop {
            let mut room = truth::room(&self.clock, needed).map_err(|error| self.explain(error))?;
            let latches: Vec<_> =
                words.clone().map(|(index, _)| self.core.extent(index).latch.read()).collect();
            // Under the latches it can only become less.
            let missing = self.missing_bytes(words.clone());
            if missing > room.bytes() {
                // Something was evicted meanwhile. Nothing is held while room is waited for.
                needed = missing;
                continue;
            }
            let extents = extents_of(words.clone());
            let is_new = self.charge_latched(&mut room, words);
            return Ok(Charged { is_new, extents, _latches: latches });
        }
    }

    /// Says of a file that is memory that this is why there is no room.
    #[cold]
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::BudgetExceeded { needed_bytes, used_bytes, budget_bytes }
                if self.core.is_memory() =>
            {
                let path = self.path();
                Error::BudgetOnMemory { path, needed_bytes, used_bytes, budget_bytes }
            }
            error => error,
        }
    }

    /// What messages call the file.
    fn path(&self) -> PathBuf {
        self.claim
            .as_ref()
            .map_or("a file that is being written".into(), |claim| claim.path().into())
    }

    /// Charges disk space that is about to be taken, where disk space is memory.
    pub(crate) fn charge_space(&self, span: Range<u64>) -> Result<()> {
        let mut start = span.start;
        while self.core.is_memory() && start < span.end {
            let piece = start..span.end.min(start + self.clock.window_bytes());
            start = piece.end;
            drop(self.charge(piece)?);
        }
        Ok(())
    }

    /// Has the file count as a whole: of one that is memory, all that there is of it is charged; and the
    /// limit is enforced where more of it is in memory than there is room for.
    pub(crate) fn settle_in(&self, file: &File) -> Result<()> {
        if self.core.is_memory() {
            let failed = |source| Error::Io {
                operation: "find what there is of",
                path: self.path(),
                source,
            };
            return disk::pieces(file)
                .try_for_each(|piece| self.charge_space(piece.map_err(failed)?));
        }
        let resident_bytes = cache::of_file(file).map_or(0, |held| held.resident_bytes);
        if self.clock.used_bytes() + resident_bytes > self.clock.limit_bytes() {
            truth::enforce(&self.clock, truth::Theirs::Left)?;
        }
        Ok(())
    }

    /// Takes room for keeping the extents that `span` lies in in memory; each is to be
    /// [kept](Pin::keep) when it is charged.
    ///
    /// # Errors
    /// [`BudgetExceeded`](Error::BudgetExceeded) where others would have too little.
    pub(crate) fn pin(&self, span: &Range<u64>) -> Result<Pin> {
        let extents = extents_of(self.words(span));
        let bytes = self.core.span_of(extents.len()).start;
        self.clock.pin(bytes).map_err(|error| self.explain(error))?;
        let (core, clock) = (Arc::clone(&self.core), Arc::clone(&self.clock));
        Ok(Pin { core, clock, kept: extents.start..extents.start, bytes })
    }

    /// The budget.
    pub(crate) fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// Does what [`charge`](Self::charge) does to a block of 2 MiB, which is about to be brought in as one folio
    /// and will leave as one. It begins at a multiple of itself.
    pub(crate) fn charge_block(&self, block: Range<u64>) -> Result<Charged<'_>> {
        let charged = self.charge(block.clone())?;
        if charged.is_new() {
            for (index, _) in self.words(&block) {
                self.core.extent(index).in_block.store(true, Ordering::Relaxed);
            }
        }
        Ok(charged)
    }

    /// Does what [`charge`](Self::charge) does if it takes no waiting: there is room, and nobody is
    /// evicting one of the extents.
    pub(crate) fn try_charge(&self, span: Range<u64>) -> Option<Charged<'_>> {
        let words = self.words(&span);
        // Where there is no memory for that, the one who may wait is told.
        self.core.grow_to(extents_of(words.clone()).end).ok()?;
        let latches: Vec<_> = words
            .clone()
            .map(|(index, _)| self.core.extent(index).latch.try_read())
            .collect::<Option<_>>()?;
        // Under the latches it can only become less.
        let mut room = self.clock.room_at_once(self.missing_bytes(words.clone()))?;
        let extents = extents_of(words.clone());
        let is_new = self.charge_latched(&mut room, words);
        Some(Charged { is_new, extents, _latches: latches })
    }

    /// The bytes of pages among these that are not charged.
    fn missing_bytes(&self, words: impl Iterator<Item = (usize, u64)>) -> u64 {
        let missing = words.map(|(index, bits)| self.core.extent(index).missing(bits));
        missing.map(|bits| u64::from(bits.count_ones())).sum::<u64>() << self.core.page_log2
    }

    /// Charges pages whose extents are latched; says whether any was not charged before.
    fn charge_latched(
        &self,
        room: &mut Room<'_>,
        words: impl Iterator<Item = (usize, u64)>,
    ) -> bool {
        let before = room.bytes();
        let mut is_new = false;
        for (index, bits) in words {
            is_new |= room.charge(&self.core, index, bits) != 0;
        }
        self.core.charged_bytes.fetch_add(before - room.bytes(), Ordering::Relaxed);
        if is_new {
            self.clock.counts().faults.fetch_add(1, Ordering::Relaxed);
        }
        is_new
    }

    /// Lets the extents that `span` lies in be among the next to be evicted.
    pub(crate) fn unreference(&self, span: Range<u64>) {
        for (index, _) in self.words(&span) {
            self.core.extents.get(index).map(Extent::take_reference);
        }
    }

    /// Whether all pages that `span` lies in are charged now.
    pub(crate) fn is_charged(&self, span: Range<u64>) -> bool {
        self.words(&span).all(|(index, bits)| {
            self.core.extents.get(index).is_some_and(|extent| extent.missing(bits) == 0)
        })
    }

    /// How many pages just before `offset` are charged, up to `most`: what a reader that goes
    /// through the file in order leaves behind.
    pub(crate) fn charged_run_before(&self, offset: u64, most: u64) -> u64 {
        let end = offset >> self.core.page_log2;
        let mut run = 0;
        while run < most && run < end {
            let page = end - run - 1;
            let extent = usize::try_from(page / EXTENT_PAGES).ok();
            let bits = 1 << (page % EXTENT_PAGES);
            let is_charged = extent
                .and_then(|index| self.core.extents.get(index))
                .is_some_and(|extent| extent.missing(bits) == 0);
            if !is_charged {
                break;
            }
            run += 1;
        }
        run
    }

    /// Evicts the extents that `span` lies in, whole, and waits for those that somebody is bringing
    /// in just now.
    ///
    /// # Errors
    /// Where something dirty could not be written.
    pub(crate) fn evict(&self, span: Range<u64>) -> Result<()> {
        let known = self.words(&span).map(|(index, _)| index);
        let known = known.take_while(|&index| self.core.extents.get(index).is_some());
        let (mut start, end) =
            (known.clone().next().unwrap_or(0), known.last().map_or(0, |i| i + 1));
        let Some(owner) = self.core.owner() else { return Ok(()) };
        let bytes = self.core.span_of(start).start..self.core.span_of(end).start;
        let mut pieces = disk::pieces_in(owner.file(), bytes);
        // What a filesystem does not tell of may be anywhere.
        let mut next = move || match pieces.next() {
            Some(Ok(piece)) => piece,
            Some(Err(_unknown)) => 0..u64::MAX,
            None => u64::MAX..u64::MAX,
        };
        let mut piece = next();
        while start < end {
            let group = start..end.min((start / BLOCK_EXTENTS + 1) * BLOCK_EXTENTS);
            start = group.end;
            // A latch takes memory where it is touched, and nothing of a hole is in memory but what was noted.
            let bytes = self.core.span_of(group.start).start..self.core.span_of(group.end).start;
            while piece.end <= bytes.start {
                piece = next();
            }
            let is_hole = piece.start >= bytes.end;
            if is_hole && !group.clone().any(|index| self.core.extents.is_used(index)) {
                continue;
            }
            let evicted = self.core.evict(group, self.clock.counts())?;
            self.give_back_charged(evicted);
        }
        Ok(())
    }

    /// The extents that `span` lies in, each with the bits of the pages.
    fn words(&self, span: &Range<u64>) -> impl Iterator<Item = (usize, u64)> + Clone + use<> {
        let first = span.start >> self.core.page_log2;
        let end = span.end.div_ceil(self.core.page_bytes()).max(first);
        let words = first / EXTENT_PAGES..end.div_ceil(EXTENT_PAGES);
        words.filter_map(move |word| {
            let from = first.max(word * EXTENT_PAGES) % EXTENT_PAGES;
            let count =
                end.min((word + 1) * EXTENT_PAGES).checked_sub(word * EXTENT_PAGES + from)?;
            let bits = u64::MAX.checked_shr(u32::try_from(EXTENT_PAGES - count).ok()?)? << from;
            Some((usize::try_from(word).ok()?, bits))
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Nobody charges any more: this was the one handle.
        let charged = self.core.extents.used().filter(|(_, extent)| extent.charged_count() > 0);
        // Neighbours as one: the kernel drops no part of a folio.
        let (mut run, mut run_bytes) = (0..0, 0);
        for (index, extent) in charged {
            let _alone = extent.latch.write();
            let (span, bytes) = (self.core.span_of(index), self.core.uncharge(extent));
            if run.end != span.start {
                self.give_back(run, run_bytes);
                (run, run_bytes) = (span.start..span.start, 0);
            }
            run.end = span.end;
            run_bytes += bytes;
        }
        self.give_back(run, run_bytes);
    }
}

impl Member {
    /// Gives a range of a file that is being closed back to the kernel, and its bytes to the budget: a
    /// budget's promise is about memory, also of files that were closed. What cannot be dropped is
    /// dirty, or in use by somebody else.
    fn give_back(&self, span: Range<u64>, bytes: u64) {
        if let Some(claim) = &self.claim {
            disk::drop_cached(claim.file(), span.start, span.end - span.start);
        }
        self.give_back_charged(bytes);
    }

    /// Gives back what was charged to the file.
    fn give_back_charged(&self, bytes: u64) {
        if self.core.is_memory() {
            self.clock.give_back_fixed(bytes);
        } else {
            self.clock.give_back(bytes);
        }
    }
}

/// The extents of adjacent words.
fn extents_of(words: impl Iterator<Item = (usize, u64)> + Clone) -> Range<usize> {
    let first = words.clone().next().map_or(0, |(index, _)| index);
    first..words.last().map_or(first, |(index, _)| index + 1)
}
