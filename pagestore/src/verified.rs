//! Which pages of a sealed file were found right.

use std::sync::atomic::{AtomicU64, Ordering};

use bytemuck::allocation::zeroed_slice_box;
use layout::{PageCount, PageId, PageRange};

use crate::bits::{Word, locate, word_count, words_of};

/// One bit a page: its checksum was found right.
///
/// All operations are relaxed: a bit publishes no data, the pages were there before.
///
/// Invariant: no bit of a page that the file does not have is ever set.
pub(crate) struct Verified {
    /// Where no budget is to be told that a page is in use. Empty under a budget, so that one look
    /// tells a borrow that nothing is left to do.
    free: Box<[AtomicU64]>,
    /// The same of a file under a budget; empty without one.
    budgeted: Box<[AtomicU64]>,
}

impl Verified {
    pub(crate) fn none_of(page_count: PageCount, is_budgeted: bool) -> Self {
        let (none, all) = (zeroed_slice_box(0), zeroed_slice_box(word_count(page_count)));
        let (free, budgeted) = if is_budgeted { (none, all) } else { (all, none) };
        Self { free, budgeted }
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

    pub(crate) fn add(&self, word: Word) {
        self.words()[word.index].fetch_or(word.bits, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, range: PageRange) {
        for word in words_of(range) {
            self.words()[word.index].fetch_and(!word.bits, Ordering::Relaxed);
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
