//! Which pages were brought into memory before they were borrowed, and which of them have room on
//! the disk for what is stored to them.

use layout::{PageCount, PageRange};

use crate::{
    file::rewriting::Rewriting,
    sync::atomic::{AtomicU64, Ordering},
    tables::{
        bits::{locate, word_count, words_of},
        segments::Segments,
    },
};

/// What pages are borrowed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Intent {
    Read,
    Write,
}

/// Two bits a page: it was present in the mapping once, and it was made ready to be stored to, so a
/// borrow need not ask the kernel again.
///
/// That a page was read says nothing of whether it can be stored to: it may have no place on the disk
/// (a hole), or need a new one ([`Rewriting`]).
///
/// The kernel may have taken the page back since; then touching it is a fault like any other. The
/// bits order nothing, they only spare system calls, hence `Relaxed`.
pub(crate) struct Presence {
    present: Segments<AtomicU64>,
    ready: Segments<AtomicU64>,
    rewriting: Rewriting,
}

impl Presence {
    pub(crate) fn new(rewriting: Rewriting) -> Self {
        Self { present: Segments::new(), ready: Segments::new(), rewriting }
    }

    /// Makes room for pages below `page_count`.
    pub(crate) fn grow_to(&self, page_count: PageCount) {
        for words in [&self.present, &self.ready] {
            words.grow_to(word_count(page_count), || AtomicU64::new(0));
        }
    }

    /// Whether all pages of `range` can be borrowed without asking the kernel.
    #[inline]
    pub(crate) fn has(&self, range: PageRange, intent: Intent) -> bool {
        let words = match intent {
            Intent::Read => &self.present,
            Intent::Write => &self.ready,
        };
        // The usual case, without the arithmetic of the others.
        if range.count() == PageCount::new(1) {
            let (index, bit) = locate(range.start().get());
            return words.at(index).load(Ordering::Relaxed) & (1 << bit) != 0;
        }
        words_of(range)
            .all(|word| words.at(word.index).load(Ordering::Relaxed) & word.bits == word.bits)
    }

    /// Notes that all pages of `range` were brought in to be read, or to be stored to.
    pub(crate) fn note(&self, range: PageRange, intent: Intent) {
        set(&self.present, range);
        // Of a page that keeps nothing, nothing is known a moment later.
        if matches!(intent, Intent::Write) && self.rewriting != Rewriting::Elsewhere {
            set(&self.ready, range);
        }
    }

    /// Notes that the pages of `range` were written back.
    pub(crate) fn note_flushed(&self, range: PageRange) {
        if self.rewriting == Rewriting::SharedAtTimes {
            clear(&self.ready, range);
        }
    }

    /// Forgets all pages of `range`: they are to be brought in again before they are next borrowed.
    pub(crate) fn forget(&self, range: PageRange) {
        clear(&self.present, range);
        clear(&self.ready, range);
    }
}

fn set(words: &Segments<AtomicU64>, range: PageRange) {
    for word in words_of(range) {
        words.at(word.index).fetch_or(word.bits, Ordering::Relaxed);
    }
}

fn clear(words: &Segments<AtomicU64>, range: PageRange) {
    for word in words_of(range) {
        // A store takes memory, also one of zeros. Who notes a page meanwhile comes after this.
        let bits = words.at(word.index);
        if bits.load(Ordering::Relaxed) & word.bits != 0 {
            bits.fetch_and(!word.bits, Ordering::Relaxed);
        }
    }
}
