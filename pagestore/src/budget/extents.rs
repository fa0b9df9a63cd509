//! A file's extents: which of its pages are charged to the budget.

use crate::{
    segments::Segments,
    sync::{
        RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Operating-system pages of an extent: one word of bits. It is what is evicted at a time, 256 KiB
/// with pages of 4 KiB. Measured, `MADV_DONTNEED` and `POSIX_FADV_DONTNEED` take 500 us a MiB in
/// calls of 64 KiB, 390 in calls of 256 KiB, 230 to 280 in larger ones; reading cold extents one after
/// the other gave 447 MB/s with 256 KiB and 620 to 790 with larger ones. Larger ones would make small
/// budgets coarse.
pub(crate) const EXTENT_PAGES: u64 = u64::BITS as u64;

/// Adjacent pages of a file that come into memory one by one and leave it together.
pub(super) struct Extent {
    /// Shared by whoever charges pages of the extent and brings them in, until they are noted as
    /// being there; exclusive for who evicts it. So what is noted is charged.
    pub(super) latch: RwLock<()>,
    /// One bit a page: it is charged. Set by holders of the shared latch, cleared by the holder of
    /// the exclusive one.
    pub(super) charged: AtomicU64,
    /// The extent stands in the clock's queue, or the one who took it out there is looking at it.
    /// Where a page is charged, it does. Set by holders of the shared latch, cleared by the holder
    /// of the exclusive one.
    pub(super) queued: AtomicBool,
    /// Somebody borrowed a page of it since the clock last passed.
    referenced: AtomicBool,
    /// It was brought in as a part of a [block](super::Member::charge_block), with which it leaves. Set by holders
    /// of the shared latch, cleared by the holder of the exclusive one.
    pub(super) in_block: AtomicBool,
}

impl Extent {
    fn new() -> Self {
        Self {
            latch: RwLock::new(()),
            charged: AtomicU64::new(0),
            queued: AtomicBool::new(false),
            referenced: AtomicBool::new(false),
            in_block: AtomicBool::new(false),
        }
    }

    /// Notes that somebody borrowed a page. Relaxed: the flag guards nothing.
    #[inline]
    pub(super) fn reference(&self) {
        if !self.referenced.load(Ordering::Relaxed) {
            self.referenced.store(true, Ordering::Relaxed);
        }
    }

    /// Whether somebody borrowed a page since the clock last passed.
    pub(super) fn is_referenced(&self) -> bool {
        self.referenced.load(Ordering::Relaxed)
    }

    /// Whether somebody borrowed a page since this was last asked.
    pub(super) fn take_reference(&self) -> bool {
        self.referenced.load(Ordering::Relaxed) && self.referenced.swap(false, Ordering::Relaxed)
    }

    /// How many pages are charged now.
    pub(super) fn charged_count(&self) -> u64 {
        u64::from(self.charged.load(Ordering::Relaxed).count_ones())
    }

    /// The pages among `bits` that are not charged now.
    pub(super) fn missing(&self, bits: u64) -> u64 {
        bits & !self.charged.load(Ordering::Relaxed)
    }
}

/// The extents of one file. Grows with it, and none ever moves.
pub(super) struct Extents(Segments<Extent>);

impl Extents {
    pub(super) fn new() -> Self {
        Self(Segments::new())
    }

    /// Makes room for the extents below `count`.
    pub(super) fn grow_to(&self, count: usize) {
        self.0.grow_to(count, Extent::new);
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&Extent> {
        self.0.get(index)
    }

    pub(super) fn at(&self, index: usize) -> &Extent {
        self.0.at(index)
    }

    /// All extents there are, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Extent)> {
        (0..).map_while(|index| Some((index, self.get(index)?)))
    }
}
