//! Which pages were brought into memory before they were borrowed.

use layout::{PageCount, PageRange};

use crate::{
    bits::{locate, word_count, words_of},
    segments::Segments,
    sync::atomic::{AtomicU64, Ordering},
};

/// One bit a page: it was present in the mapping once, so a borrow need not ask the kernel again.
///
/// The kernel may have taken the page back since; then touching it is a fault like any other. The
/// bits order nothing, they only spare system calls, hence `Relaxed`.
pub(crate) struct Presence {
    words: Segments<AtomicU64>,
}

impl Presence {
    pub(crate) fn new() -> Self {
        Self { words: Segments::new() }
    }

    /// Makes room for pages below `page_count`.
    pub(crate) fn grow_to(&self, page_count: PageCount) {
        self.words.grow_to(word_count(page_count), || AtomicU64::new(0));
    }

    /// Whether all pages of `range` are noted.
    #[inline]
    pub(crate) fn has(&self, range: PageRange) -> bool {
        // The usual case, without the arithmetic of the others.
        if range.count() == PageCount::new(1) {
            let (index, bit) = locate(range.start().get());
            return self.words.at(index).load(Ordering::Relaxed) & (1 << bit) != 0;
        }
        words_of(range)
            .all(|word| self.words.at(word.index).load(Ordering::Relaxed) & word.bits == word.bits)
    }

    /// Notes all pages of `range`.
    pub(crate) fn note(&self, range: PageRange) {
        for word in words_of(range) {
            self.words.at(word.index).fetch_or(word.bits, Ordering::Relaxed);
        }
    }

    /// Forgets all pages of `range`: they are to be brought in again before they are next borrowed.
    pub(crate) fn forget(&self, range: PageRange) {
        for word in words_of(range) {
            self.words.at(word.index).fetch_and(!word.bits, Ordering::Relaxed);
        }
    }
}
