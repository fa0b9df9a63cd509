//! Which pages of a sealed file were found right.

use layout::{PageCount, PageId, PageRange};

use crate::{
    error::Result,
    map::fault::Watch,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    tables::{
        bits::{Word, locate, word_count, words_of},
        zeroed::Zeroed,
    },
};

/// One bit a page: its checksum was found right. And where all of them are, the word of it to the mapping's
/// [`Watch`], so that a borrow has one number to look at.
///
/// The bits are relaxed: one publishes no data, the pages were there before.
///
/// Invariants:
/// * No bit of a page that the file does not have is ever set.
/// * `missing` is never less than the count of pages whose bits are clear. For that it is lowered after bits
///   were set, and raised before some are cleared. So where it is zero, all are set.
/// * Pages are freed, and [removed](Self::remove), under the lock. So when a removal has returned, they are free
///   only if all bits were set after it. `sealed/model.rs` has loom try this in all interleavings.
pub(crate) struct Verified {
    /// Where no budget is to be told that a page is in use. Empty under a budget, so that one look
    /// tells a borrow that nothing is left to do.
    free: Zeroed<AtomicU64>,
    /// The same of a file under a budget; empty without one.
    budgeted: Zeroed<AtomicU64>,
    missing: AtomicU64,
    freeing: Mutex<()>,
    page_count: PageCount,
}

impl Verified {
    pub(crate) fn none_of(page_count: PageCount, is_budgeted: bool) -> Result<Self> {
        let (none, all) = (Zeroed::new(0)?, Zeroed::new(word_count(page_count))?);
        let (free, budgeted) = if is_budgeted { (none, all) } else { (all, none) };
        let missing = AtomicU64::new(page_count.get());
        Ok(Self { free, budgeted, missing, freeing: Mutex::new(()), page_count })
    }

    /// Whether the file has the page, it was found right, and no budget is to be told of its use.
    #[inline]
    pub(crate) fn is_free(&self, page: PageId) -> bool {
        is_set(&self.free, page)
    }

    pub(crate) fn has(&self, page: PageId) -> bool {
        is_set(self.words(), page)
    }

    pub(crate) fn has_all(&self, range: PageRange) -> bool {
        words_of(range).all(|word| self.missing(word) == 0)
    }

    /// The bits of a word's pages that were not found right.
    pub(crate) fn missing(&self, word: Word) -> u64 {
        word.bits & !self.words()[word.index].load(Ordering::Relaxed)
    }

    /// Notes that pages were found right; where that makes all of them, and no budget is to be told of their
    /// use, they are free.
    pub(crate) fn add(&self, word: Word, watch: Option<&Watch>) {
        let earlier = self.words()[word.index].fetch_or(word.bits, Ordering::Relaxed);
        let count = u64::from((word.bits & !earlier).count_ones());
        let missing = self.missing.fetch_sub(count, Ordering::AcqRel);
        let Some(watch) = watch else { return };
        if count == 0 || missing != count || !self.budgeted.is_empty() {
            return;
        }
        let _freeing = self.freeing.lock();
        if self.missing.load(Ordering::Acquire) == 0 {
            watch.set_free_pages(self.page_count.get());
        }
    }

    /// Notes that pages have to be looked at again.
    pub(crate) fn remove(&self, range: PageRange, watch: Option<&Watch>) {
        let _freeing = self.freeing.lock();
        for word in words_of(range) {
            let count = |bits: u64| u64::from(bits.count_ones());
            self.missing.fetch_add(count(word.bits), Ordering::AcqRel);
            let earlier = self.words()[word.index].fetch_and(!word.bits, Ordering::Relaxed);
            self.missing.fetch_sub(count(word.bits & !earlier), Ordering::AcqRel);
        }
        if let Some(watch) = watch {
            watch.set_free_pages(0);
        }
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        if self.free.is_empty() { &self.budgeted } else { &self.free }
    }
}

#[inline]
fn is_set(words: &[AtomicU64], page: PageId) -> bool {
    let (index, bit) = locate(page.get());
    words.get(index).is_some_and(|word| word.load(Ordering::Relaxed) & (1 << bit) != 0)
}
