//! The dirty bitmap: one bit a page, above it one bit for each word of those, and above that one
//! flag for all, so that nothing dirty is known at once.
//!
//! Marking and taking are lock-free. What they promise together: a mark that completed before a
//! take began is found by that take or was found by an earlier one. The order of the levels is what
//! makes it true:
//!
//! * Marking goes upwards: the page's bit (`fetch_or`), the summary bit, the flag.
//! * Taking goes downwards: it clears the flag (`swap`), then summary words, then the words that
//!   those name.
//!
//! A marker may skip setting what it sees set, but for the page's bit. Suppose a take had cleared
//! what the marker saw set and then swapped the page's word before the marker's `fetch_or`: the
//! `fetch_or` reads what that swap wrote, so the clearing happens before the marker's look, and the
//! marker would have seen it clear. The page bit's own `fetch_or` is never skipped, even where the
//! bit is set already: being a read-modify-write it either comes before the take's swap, which then
//! sees the stores made before it, or leaves the bit set for the next take. `model.rs` has loom try
//! this in all interleavings.

use layout::{PageCount, PageId, PageRange};

use crate::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    tables::{
        bits::{BITS, Word, bits_of, locate, word_count, words_of},
        segments::Segments,
    },
};

/// Which pages were stored to since they were last taken.
pub(crate) struct DirtyBitmap {
    words: Segments<AtomicU64>,
    summary: Segments<AtomicU64>,
    any: AtomicBool,
}

impl DirtyBitmap {
    pub(crate) fn new() -> Self {
        Self { words: Segments::new(), summary: Segments::new(), any: AtomicBool::new(false) }
    }

    /// Makes room for pages below `page_count`.
    pub(crate) fn grow_to(&self, page_count: PageCount) {
        let words = word_count(page_count);
        self.words.grow_to(words, || AtomicU64::new(0));
        self.summary.grow_to(words.div_ceil(BITS), || AtomicU64::new(0));
    }

    /// Marks the pages of `range` dirty.
    #[inline]
    pub(crate) fn mark(&self, range: PageRange) {
        for word in words_of(range) {
            self.mark_word(word);
        }
    }

    /// Marks the pages of `word` dirty.
    #[inline]
    pub(crate) fn mark_word(&self, word: Word) {
        self.words.at(word.index).fetch_or(word.bits, Ordering::AcqRel);
        let summary = self.summary.at(word.index / BITS);
        let bit = 1 << (word.index % BITS);
        if summary.load(Ordering::Acquire) & bit == 0 {
            summary.fetch_or(bit, Ordering::AcqRel);
        }
        if !self.any.load(Ordering::Acquire) {
            self.any.swap(true, Ordering::AcqRel);
        }
    }

    /// Takes all dirty pages below `page_count` into `taken`, in ascending order, and leaves them
    /// clean.
    pub(crate) fn take(&self, page_count: PageCount, taken: &mut Vec<Word>) {
        if !self.any.load(Ordering::Relaxed) || !self.any.swap(false, Ordering::AcqRel) {
            return;
        }
        for summary_index in 0..word_count(page_count).div_ceil(BITS) {
            let summary = self.summary.at(summary_index);
            if summary.load(Ordering::Relaxed) == 0 {
                continue;
            }
            for bit in bits_of(summary.swap(0, Ordering::AcqRel)) {
                let index = summary_index * BITS + bit as usize;
                let bits = self.words.at(index).swap(0, Ordering::AcqRel);
                if bits != 0 {
                    taken.push(Word { index, bits });
                }
            }
        }
    }

    /// Takes the dirty pages of `range` alone, in ascending order.
    ///
    /// What the levels above say stays: a summary bit without a page below it costs the next take a look,
    /// and loses nothing. A mark that completed before is found, since both change the page's word by a
    /// read-modify-write.
    pub(crate) fn take_range(&self, range: PageRange, taken: &mut Vec<Word>) {
        for Word { index, bits } in words_of(range) {
            let word = self.words.at(index);
            if word.load(Ordering::Relaxed) & bits == 0 {
                continue;
            }
            let bits = word.fetch_and(!bits, Ordering::AcqRel) & bits;
            if bits != 0 {
                taken.push(Word { index, bits });
            }
        }
    }

    /// Whether any page of `range` is marked now.
    pub(crate) fn is_any_marked(&self, range: PageRange) -> bool {
        self.any.load(Ordering::Acquire)
            && words_of(range)
                .any(|word| self.words.at(word.index).load(Ordering::Acquire) & word.bits != 0)
    }

    /// Whether `page` is marked now.
    pub(crate) fn is_marked(&self, page: PageId) -> bool {
        let (index, bit) = locate(page.get());
        let word = self.words.get(index);
        word.is_some_and(|word| word.load(Ordering::Acquire) & (1 << bit) != 0)
    }

    /// How many pages below `page_count` are marked now.
    pub(crate) fn count(&self, page_count: PageCount) -> PageCount {
        let mut count = 0;
        for summary_index in 0..word_count(page_count).div_ceil(BITS) {
            let summary = self.summary.at(summary_index).load(Ordering::Acquire);
            for bit in bits_of(summary) {
                let word = self.words.at(summary_index * BITS + bit as usize);
                count += u64::from(word.load(Ordering::Acquire).count_ones());
            }
        }
        PageCount::new(count)
    }
}
