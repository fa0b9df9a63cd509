//! A file's extents: which of its pages are charged to the budget.

use std::sync::atomic::AtomicUsize;

use crate::{
    error::Result,
    sync::{
        Gate,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    tables::{
        bits::{BITS, bits_of},
        segments::Segments,
    },
};

/// Operating-system pages of an extent: one word of bits. It is what is evicted at a time, 256 KiB
/// with pages of 4 KiB. Measured, `MADV_DONTNEED` and `POSIX_FADV_DONTNEED` take 500 us a MiB in
/// calls of 64 KiB, 390 in calls of 256 KiB, 230 to 280 in larger ones; reading cold extents one after
/// the other gave 447 MB/s with 256 KiB and 620 to 790 with larger ones. Larger ones would make small
/// budgets coarse.
pub(crate) const EXTENT_PAGES: u64 = u64::BITS as u64;

/// How many extents a block has, and how many are evicted together where a range is: 2 MiB of them, the largest
/// folio.
pub(crate) const BLOCK_EXTENTS: usize = 8;

/// Adjacent pages of a file that come into memory one by one and leave it together.
pub(super) struct Extent {
    /// Shared by whoever charges pages of the extent and brings them in, until they are noted as
    /// being there; exclusive for who evicts it. So what is noted is charged.
    pub(super) latch: Gate,
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
    /// How many keep it in memory. Raised by holders of the shared latch; where it is not zero, the
    /// holder of the exclusive one evicts nothing.
    pub(super) pins: AtomicU32,
    /// How many of its pages stayed in memory when it was evicted: somebody else uses them. Set by
    /// the holder of the exclusive latch, and zero again when pages are charged.
    theirs: AtomicU8,
}

#[cfg(not(loom))]
// SAFETY: each field is so: of the standard library's atomics `bytemuck` says it, `Gate` of itself.
#[expect(unsafe_code, reason = "so that a table of extents takes no memory until one is used")]
unsafe impl bytemuck::Zeroable for Extent {}

impl Extent {
    fn new() -> Self {
        Self {
            latch: Gate::new(),
            charged: AtomicU64::new(0),
            queued: AtomicBool::new(false),
            referenced: AtomicBool::new(false),
            in_block: AtomicBool::new(false),
            pins: AtomicU32::new(0),
            theirs: AtomicU8::new(0),
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

    /// Whether somebody keeps it in memory. Whoever holds the exclusive latch sees those who came before.
    pub(super) fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Relaxed) > 0
    }

    /// Notes how many pages stay in memory for others; gives how many were noted before.
    pub(super) fn set_theirs(&self, pages: u8) -> u64 {
        if pages == self.theirs.load(Ordering::Relaxed) {
            return u64::from(pages);
        }
        u64::from(self.theirs.swap(pages, Ordering::Relaxed))
    }

    /// How many pages are charged now, or were left to others.
    pub(super) fn known_count(&self) -> u64 {
        self.charged_count() + u64::from(self.theirs.load(Ordering::Relaxed))
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

/// The extents of one file. Grows with it, and none ever moves. It takes memory for those that were used.
pub(super) struct Extents {
    table: Segments<Extent>,
    /// One bit an extent: something was noted of it once. So whoever goes through all of them looks at
    /// those alone.
    used: Segments<AtomicU64>,
    /// How many there are. It guards nothing.
    count: AtomicUsize,
}

impl Extents {
    pub(super) fn new() -> Self {
        Self { table: Segments::new(), used: Segments::new(), count: AtomicUsize::new(0) }
    }

    /// Makes room for the extents below `count`.
    pub(super) fn grow_to(&self, count: usize) -> Result<()> {
        if count > self.count.load(Ordering::Relaxed) {
            self.table.try_grow_to(count, Extent::new)?;
            self.used.try_grow_to(count.div_ceil(BITS), || AtomicU64::new(0))?;
            self.count.fetch_max(count, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Notes that something is noted of an extent.
    pub(super) fn use_one(&self, index: usize) {
        let (word, bit) = (self.used.at(index / BITS), 1 << (index % BITS));
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether something was noted of an extent once.
    pub(super) fn is_used(&self, index: usize) -> bool {
        let word = self.used.get(index / BITS);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (index % BITS)) != 0)
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&Extent> {
        self.table.get(index)
    }

    pub(super) fn at(&self, index: usize) -> &Extent {
        self.table.at(index)
    }

    /// The extents of which something was noted, in order.
    pub(super) fn used(&self) -> impl Iterator<Item = (usize, &Extent)> {
        let words = 0..self.count.load(Ordering::Relaxed).div_ceil(BITS);
        words.flat_map(move |word| {
            bits_of(self.used.at(word).load(Ordering::Relaxed)).map(move |bit| {
                let index = word * BITS + bit as usize;
                (index, self.at(index))
            })
        })
    }
}
