//! Which pages of a mapping were found right.

use std::sync::atomic::{AtomicU64, Ordering};

use layout::{PageCount, PageId, PageRange};

use crate::{
    map::fault::Watch,
    tables::bits::{Word, locate, word_count, words_of},
};

/// One bit a page: its checksum was found right. Where all are set, the mapping's [`Watch`] has the word
/// of it, so that a borrow has one number to look at.
///
/// Bits are set by many threads, and cleared by one that has the mapping for itself. They publish no
/// data, the pages were there before; so they are relaxed.
///
/// Invariant: `count` is at most the count of bits set.
#[derive(Debug)]
pub(super) struct Checked {
    words: Box<[AtomicU64]>,
    count: AtomicU64,
}

impl Checked {
    /// None, of as many pages as there is room for.
    pub(super) fn none_of(capacity: PageCount) -> Self {
        Self { words: zeros(word_count(capacity)), count: AtomicU64::new(0) }
    }

    #[inline]
    pub(super) fn has(&self, page: PageId) -> bool {
        let (index, bit) = locate(page.get());
        let word = self.words.get(index);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << bit) != 0)
    }

    /// The bits of a word's pages that were not found right.
    pub(super) fn missing(&self, word: Word) -> u64 {
        word.bits & !self.words[word.index].load(Ordering::Relaxed)
    }

    /// Notes that pages of a mapping that shows `page_count` pages were found right.
    pub(super) fn add(&self, word: Word, watch: &Watch, page_count: PageCount) {
        let earlier = self.words[word.index].fetch_or(word.bits, Ordering::Relaxed);
        let new = u64::from((word.bits & !earlier).count_ones());
        if new > 0 && self.count.fetch_add(new, Ordering::AcqRel) + new == page_count.get() {
            watch.set_free_pages(page_count.get());
        }
    }

    /// Says how many pages the mapping shows from now on; all bits set are of those.
    pub(super) fn show(&mut self, watch: &Watch, page_count: PageCount) {
        let all = *self.count.get_mut() == page_count.get();
        watch.set_free_pages(if all { page_count.get() } else { 0 });
    }

    /// Notes that pages have to be looked at again. Pages that there is no room for are none.
    pub(super) fn remove(&mut self, range: PageRange, watch: &Watch) {
        watch.set_free_pages(0);
        let count = self.count.get_mut();
        for word in words_of(range) {
            let Some(slot) = self.words.get_mut(word.index) else { return };
            let slot = slot.get_mut();
            *count -= u64::from((*slot & word.bits).count_ones());
            *slot &= !word.bits;
        }
    }

    /// Makes room for more pages.
    pub(super) fn make_room_for(&mut self, capacity: PageCount) {
        if word_count(capacity) <= self.words.len() {
            return;
        }
        let larger = zeros(word_count(capacity));
        for (new, old) in larger.iter().zip(&mut self.words) {
            new.store(*old.get_mut(), Ordering::Relaxed);
        }
        self.words = larger;
    }
}

/// Memory that is not taken until one of them is changed.
fn zeros(count: usize) -> Box<[AtomicU64]> {
    bytemuck::allocation::zeroed_slice_box(count)
}
