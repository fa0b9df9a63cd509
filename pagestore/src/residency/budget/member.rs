//! A file's membership in a budget.

use std::{
    fs::File,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Weak},
};

use super::{
    EXTENT_PAGES,
    clock::{Clock, Counts, Room, Swept},
    extents::{Extent, Extents},
    pin::Pin,
    theirs::Theirs,
    truth,
};
use crate::{
    Error, Result,
    file::{claim::Claim, disk},
    residency::cache,
    sync::{
        Mutex, ReadGuard,
        atomic::{AtomicU64, Ordering},
        pause,
    },
};

/// A file that lives under a budget, as far as the budget needs to know it.
pub(crate) trait Budgeted: Send + Sync {
    /// The file.
    fn file(&self) -> &File;

    /// How many bytes of `span`, a range of the file, are in memory by the word of mincore(2); `None`
    /// where there is no mapping to ask about.
    fn mincore_bytes(&self, span: Range<u64>) -> Option<u64>;

    /// Has the bytes of `span`, a range of the file, leave memory: writes what is dirty there and
    /// waits for it, forgets what lets borrows of these pages take the fast path, and then gives
    /// the pages back to the kernel ([`drop_pages`](Pass::drop_pages) does that last part).
    ///
    /// The caller holds the latch of the extent exclusively, so nobody charges pages of it
    /// meanwhile. This must wait for nobody who could wait for room.
    ///
    /// # Errors
    /// Where something dirty could not be written. Nothing of it may have been dropped then.
    fn evict(&self, pass: &Pass<'_>, span: Range<u64>) -> Result<Left>;
}

/// What an eviction left in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    Nothing,
    /// Pages that another program maps too, or a filesystem that is memory. They are not ours.
    Theirs {
        bytes: u64,
    },
    /// Pages that somebody stored to meanwhile. They stay charged.
    Dirty,
    /// Pages that the disk is still bringing, which the kernel does not let go before it has them.
    /// They stay charged.
    Reading,
}

impl Left {
    /// Asks the kernel about a range of a file.
    pub(crate) fn look(file: &File, span: Range<u64>) -> Self {
        match cache::of_range(file, span) {
            Some(residency) if residency.dirty_bytes > 0 => Self::Dirty,
            Some(residency) => Self::clean(residency.resident_bytes),
            None => Self::Nothing,
        }
    }

    /// Clean pages that would not leave.
    fn clean(bytes: u64) -> Self {
        if bytes > 0 { Self::Theirs { bytes } } else { Self::Nothing }
    }

    /// The same of a file that is read through a mapping. cachestat(2) counts pages from when their
    /// reading begins, and mincore(2) from when it is done.
    pub(crate) fn look_mapped(owner: &dyn Budgeted, span: Range<u64>) -> Self {
        let held = cache::of_range(owner.file(), span.clone()).unwrap_or_default();
        if held.dirty_bytes > 0 {
            return Self::Dirty;
        }
        let is_reading = held.resident_bytes > 0
            && owner.mincore_bytes(span).is_some_and(|there| there < held.resident_bytes);
        if is_reading { Self::Reading } else { Self::clean(held.resident_bytes) }
    }
}

/// What a file may use while it evicts something of itself.
pub(crate) struct Pass<'clock> {
    counts: &'clock Counts,
}

impl Pass<'_> {
    /// Counts bytes that were written to the disk to make room.
    pub(crate) fn note_written_back(&self, bytes: u64) {
        self.counts.written_back_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// How many extents a block has, and how many are evicted together where a range is: 2 MiB of them, the largest
/// folio.
pub(crate) const BLOCK_EXTENTS: usize = 8;

/// Stands for a file that is changing hands.
struct Nobody(std::convert::Infallible);

impl Budgeted for Nobody {
    fn file(&self) -> &File {
        match self.0 {}
    }

    fn mincore_bytes(&self, _span: Range<u64>) -> Option<u64> {
        match self.0 {}
    }

    fn evict(&self, _pass: &Pass<'_>, _span: Range<u64>) -> Result<Left> {
        match self.0 {}
    }
}

/// What the budget knows of a file.
pub(super) struct Core {
    extents: Extents,
    page_log2: u32,
    owner: Mutex<Weak<dyn Budgeted>>,
    /// How many have the file open; who evicts does not count.
    handles: AtomicU64,
    charged_bytes: AtomicU64,
    /// What stayed in memory for others when it was evicted.
    theirs: Theirs,
    medium: Medium,
}

/// What the file's pages are in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    /// They can leave memory.
    Disk,
    /// They are memory.
    Memory,
}

impl Medium {
    /// By the kind of the filesystem. One that cannot be asked is taken for one on a disk.
    pub(super) fn of(file: &File) -> Self {
        let is_memory = disk::is_memory(file).unwrap_or(false);
        if is_memory { Self::Memory } else { Self::Disk }
    }
}

impl Core {
    pub(super) fn extent(&self, index: usize) -> &Extent {
        self.extents.at(index)
    }

    /// How many extents a file of `len` bytes has.
    pub(super) fn extents_of(&self, len: u64) -> usize {
        let count = len.div_ceil(EXTENT_PAGES << self.page_log2);
        usize::try_from(count).expect("a file that is mapped fits a usize")
    }

    /// Makes room for the extents below `count`.
    pub(super) fn grow_to(&self, count: usize) -> Result<()> {
        self.extents.grow_to(count)
    }

    pub(super) fn page_bytes(&self) -> u64 {
        1 << self.page_log2
    }

    /// The file, unless it is being closed or changes hands.
    pub(super) fn owner(&self) -> Option<Arc<dyn Budgeted>> {
        self.owner.lock().upgrade()
    }

    /// Counts one more who has the file open.
    pub(super) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one less who has the file open. Says whether it was the last; then nobody begins to evict
    /// anything of the file, until it is [passed on](Member::passed_to).
    pub(super) fn remove_handle(&self) -> bool {
        // What others did with the file comes before it is closed.
        let is_last = self.handles.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last {
            *self.owner.lock() = Weak::<Nobody>::new();
        }
        is_last
    }

    pub(super) fn charged_bytes(&self) -> u64 {
        self.charged_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn theirs(&self) -> &Theirs {
        &self.theirs
    }

    /// Whether the file is memory itself, so that nothing of it is ever evicted.
    pub(super) fn is_memory(&self) -> bool {
        self.medium == Medium::Memory
    }

    /// Notes that pages of an extent, whose shared latch the caller holds, were charged.
    pub(super) fn note_charged(&self, index: usize) {
        self.extents.use_one(index);
        let left = self.extent(index).set_theirs(0) << self.page_log2;
        self.theirs.change(left, 0);
    }

    /// Notes what an eviction of adjacent extents, whose latches the caller holds exclusively, left to
    /// others.
    fn note_theirs(&self, group: Range<usize>, bytes: u64) {
        let mut left = bytes >> self.page_log2;
        for index in group {
            let pages = u8::try_from(left.min(EXTENT_PAGES)).expect("an extent has 64 pages");
            left -= u64::from(pages);
            if pages > 0 {
                self.extents.use_one(index);
            }
            let before = self.extent(index).set_theirs(pages);
            self.theirs.change(before << self.page_log2, u64::from(pages) << self.page_log2);
        }
    }

    /// Forgets what was left to others, so that it is tried again.
    pub(super) fn forget_theirs(&self) {
        for (_, extent) in self.extents.used() {
            let before = extent.set_theirs(0) << self.page_log2;
            self.theirs.change(before, 0);
        }
    }

    /// The bytes charged to an extent, if somebody keeps it in memory.
    pub(super) fn pinned_bytes_of(&self, index: usize) -> u64 {
        let is_pinned = self.group_of(index).any(|other| self.extent(other).is_pinned());
        if is_pinned { self.extent(index).charged_count() << self.page_log2 } else { 0 }
    }

    /// The bytes of the file that an extent covers.
    pub(super) fn span_of(&self, index: usize) -> Range<u64> {
        let extent_bytes = EXTENT_PAGES << self.page_log2;
        let start = index as u64 * extent_bytes;
        start..start + extent_bytes
    }

    /// Evicts an extent that came up in the clock's queue, if that can be done now. The caller took
    /// it out of the queue, and gives back the bytes.
    pub(super) fn sweep(&self, index: usize, counts: &Counts) -> Result<Swept> {
        let extent = self.extent(index);
        if extent.take_reference() {
            return Ok(Swept::Referenced);
        }
        let group = self.group_of(index);
        if group.clone().any(|other| self.extent(other).is_referenced()) {
            return Ok(Swept::Referenced);
        }
        // Before the latch: where this is the last handle of the file, dropping it takes latches.
        let owner = self.owner();
        let Some(_alone) = self.try_latch(group.clone()) else { return Ok(Swept::Busy) };
        let swept = match owner.as_deref() {
            _ if extent.charged_count() == 0 => Ok(Swept::Empty),
            // Its last handle is being dropped, which gives everything back.
            None => Ok(Swept::Busy),
            Some(owner) => self.evict_latched(owner, group, counts),
        };
        if extent.charged_count() == 0 {
            extent.queued.store(false, Ordering::Relaxed);
        }
        swept
    }

    /// Evicts an extent, whether or not it is referenced or charged, unless somebody is bringing
    /// pages of it in. Gives the bytes that were charged, for the caller to give back.
    pub(super) fn try_evict(&self, index: usize, counts: &Counts) -> Result<u64> {
        let Some(owner) = self.owner() else { return Ok(0) };
        let group = self.group_of(index);
        let Some(_alone) = self.try_latch(group.clone()) else { return Ok(0) };
        self.evict_latched(&*owner, group, counts).map(Swept::bytes)
    }

    /// The extents that leave memory with this one.
    fn group_of(&self, index: usize) -> Range<usize> {
        if !self.extent(index).in_block.load(Ordering::Relaxed) {
            return index..index + 1;
        }
        let first = index - index % BLOCK_EXTENTS;
        first..first + BLOCK_EXTENTS
    }

    /// Latches of adjacent extents, in the order in which `charge` takes them; none where one is taken.
    fn try_latch(&self, group: Range<usize>) -> Option<Vec<impl Sized + '_>> {
        group.map(|index| self.extent(index).latch.try_write()).collect()
    }

    /// The same for adjacent extents, but waits for those who are bringing pages of them in, the disk
    /// among them. They leave together, so that no folio has to be split for a part of it.
    fn evict(&self, group: Range<usize>, counts: &Counts) -> Result<u64> {
        let Some(owner) = self.owner() else { return Ok(0) };
        loop {
            // In the order in which `charge` takes them.
            let alone: Vec<_> =
                group.clone().map(|index| self.extent(index).latch.write()).collect();
            let swept = self.evict_latched(&*owner, group.clone(), counts)?;
            drop(alone);
            match swept {
                Swept::Reading => pause(),
                // Somebody stores to one of them, or keeps it: the others can leave.
                Swept::Busy | Swept::Pinned if group.len() > 1 => {
                    return group.map(|index| self.evict(index..index + 1, counts)).sum();
                }
                swept => return Ok(swept.bytes()),
            }
        }
    }

    fn evict_latched(
        &self,
        owner: &dyn Budgeted,
        group: Range<usize>,
        counts: &Counts,
    ) -> Result<Swept> {
        if group.clone().any(|index| self.extent(index).is_pinned()) {
            return Ok(Swept::Pinned);
        }
        counts.evictions.fetch_add(1, Ordering::Relaxed);
        let span = self.span_of(group.start).start..self.span_of(group.end - 1).end;
        let theirs_bytes = match owner.evict(&Pass { counts }, span)? {
            Left::Nothing => 0,
            Left::Theirs { .. } if self.is_memory() => return Ok(Swept::Stays),
            Left::Theirs { bytes } => bytes,
            Left::Dirty if self.is_memory() => return Ok(Swept::Stays),
            Left::Dirty => return Ok(Swept::Busy),
            Left::Reading => return Ok(Swept::Reading),
        };
        let bytes = group.clone().map(|index| self.uncharge(self.extent(index))).sum();
        self.note_theirs(group, theirs_bytes);
        counts.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Swept::Evicted { bytes })
    }

    /// Takes the charge off an extent whose latch the caller holds exclusively; the bytes are still
    /// to be given back.
    fn uncharge(&self, extent: &Extent) -> u64 {
        extent.in_block.store(false, Ordering::Relaxed);
        let charged = extent.charged.swap(0, Ordering::Relaxed);
        let bytes = u64::from(charged.count_ones()) << self.page_log2;
        self.charged_bytes.fetch_sub(bytes, Ordering::Relaxed);
        bytes
    }
}

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
        let core = Arc::new(Core {
            extents: Extents::new(),
            page_log2: rustix::param::page_size().trailing_zeros(),
            owner: Mutex::new(owner),
            handles: AtomicU64::new(0),
            charged_bytes: AtomicU64::new(0),
            theirs: Theirs::new(),
            medium,
        });
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
        *self.core.owner.lock() = owner;
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
            let mut room = self.clock.room(needed).map_err(|error| self.explain(error))?;
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

/// Pages that are charged and cannot be evicted as long as this lives.
#[must_use = "the pages can be evicted as soon as this is dropped"]
pub(crate) struct Charged<'member> {
    is_new: bool,
    extents: Range<usize>,
    _latches: Vec<ReadGuard<'member, ()>>,
}

impl Charged<'_> {
    /// Whether any of the pages was not charged before.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// The extents that they lie in.
    pub(super) fn extents(&self) -> Range<usize> {
        self.extents.clone()
    }
}

/// The extents of adjacent words.
fn extents_of(words: impl Iterator<Item = (usize, u64)> + Clone) -> Range<usize> {
    let first = words.clone().next().map_or(0, |(index, _)| index);
    first..words.last().map_or(first, |(index, _)| index + 1)
}
