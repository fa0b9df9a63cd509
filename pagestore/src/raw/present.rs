//! Which pages of a window were brought into memory, and when they were last looked for there.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use layout::{PageCount, PageRange};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    error::Result,
    tables::{
        bits::{BITS, Word, bits_of, locate, word_count, words_of},
        zeroed::Zeroed,
    },
};

/// How long an answer of the kernel counts, in milliseconds; the clock adds up to one of its ticks.
///
/// Looking again after that costs pages that are read all the time 1.7 us for each 2 MiB, 0.9 ms a
/// GiB: a tenth of a processor for a GiB of pages that are read at random without a pause.
const TRUSTED_MS: u64 = 8;

/// How many words one look takes in at the most, 512 pages, where all of their pages are noted. The
/// kernel walks over pages that a mapping has by 1 ns each, once called (1.2 us); a page that only
/// the cache has takes it 70 to 150 ns, so a word with gaps is looked at by itself.
pub(super) const LOOK_WORDS: usize = 8;

/// Two numbers for 64 pages each.
///
/// They take no memory until one is set, since a sparse file can be of any length. They order nothing,
/// they only spare system calls, hence `Relaxed`.
pub(super) struct Present {
    /// One bit a page: it was brought in, so a reader who may wait need not ask the kernel again.
    bits: Zeroed<AtomicU64>,
    /// One bit for each word of these: a page of it was noted once. So whoever goes through all words
    /// looks at those alone.
    noted: Zeroed<AtomicU64>,
    /// When the pages whose bits are set were last found to be in memory.
    looked_ms: Zeroed<AtomicU64>,
}

/// A moment, in milliseconds of a clock that never goes back.
#[derive(Clone, Copy)]
pub(super) struct Moment(u64);

impl Moment {
    /// The time of the last tick (`CLOCK_MONOTONIC_COARSE`): 6 ns, where an exact one takes 27.
    #[inline]
    pub(super) fn now() -> Self {
        let time = clock_gettime(ClockId::MonotonicCoarse);
        // Neither is negative: the clock begins at zero.
        Self(time.tv_sec.unsigned_abs() * 1000 + time.tv_nsec.unsigned_abs() / 1_000_000)
    }
}

impl Present {
    /// For so many pages, of which none was brought in.
    ///
    /// # Errors
    /// [`Error::AddressSpace`](crate::Error::AddressSpace).
    pub(super) fn new(page_count: PageCount) -> Result<Self> {
        let words = word_count(page_count);
        let (bits, noted) = (Zeroed::new(words)?, Zeroed::new(words.div_ceil(BITS))?);
        Ok(Self { bits, noted, looked_ms: Zeroed::new(words)? })
    }

    /// Takes over what is known of pages that both have.
    pub(super) fn know_from(&self, other: &Self) {
        for (summary_index, summary) in other.noted.iter().enumerate() {
            for bit in bits_of(summary.load(Ordering::Relaxed)) {
                let index = summary_index * BITS + bit as usize;
                let known = other.bits[index].load(Ordering::Relaxed);
                if known != 0 && index < self.bits.len() {
                    self.set(Word { index, bits: known });
                }
            }
        }
        // Not when they were looked for: this mapping has still to look for itself.
    }

    /// Notes the pages of a word.
    fn set(&self, word: Word) {
        self.bits[word.index].fetch_or(word.bits, Ordering::Relaxed);
        let (summary, bit) = (&self.noted[word.index / BITS], 1 << (word.index % BITS));
        if summary.load(Ordering::Relaxed) & bit == 0 {
            summary.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether a page is noted.
    #[inline]
    pub(super) fn has_page(&self, page: u64) -> bool {
        let (index, bit) = locate(page);
        self.bits[index].load(Ordering::Relaxed) & (1 << bit) != 0
    }

    /// Whether all pages of a range are noted.
    pub(super) fn has(&self, pages: PageRange) -> bool {
        words_of(pages)
            .all(|word| self.bits[word.index].load(Ordering::Relaxed) & word.bits == word.bits)
    }

    /// Notes pages.
    pub(super) fn note(&self, pages: PageRange) {
        words_of(pages).for_each(|word| self.set(word));
    }

    /// Forgets pages: they are to be brought in again before they are next read.
    pub(super) fn forget(&self, pages: PageRange) {
        for word in words_of(pages) {
            let noted = &self.bits[word.index];
            // What nobody noted takes no memory, and is to take none.
            if noted.load(Ordering::Relaxed) & word.bits != 0 {
                noted.fetch_and(!word.bits, Ordering::Relaxed);
            }
        }
    }

    /// Whether the last look at the noted pages of a word is recent.
    #[inline]
    pub(super) fn is_fresh(&self, index: usize, now: Moment) -> bool {
        now.0.saturating_sub(self.looked_ms[index].load(Ordering::Relaxed)) <= TRUSTED_MS
    }

    /// The pages to look at where word `index` is to be looked at: its noted pages and what lies
    /// between them, or, where all are noted, also those of its neighbours that are so.
    pub(super) fn around(&self, index: usize) -> Range<u64> {
        let bits = |index: usize| self.bits[index].load(Ordering::Relaxed);
        let page = |index: usize, bit: u32| (index * BITS) as u64 + u64::from(bit);
        let noted = bits(index);
        if noted == 0 {
            return page(index, 0)..page(index, 0);
        }
        if noted != u64::MAX {
            return page(index, noted.trailing_zeros())
                ..page(index, u64::BITS - noted.leading_zeros());
        }
        let group = index - index % LOOK_WORDS;
        let group_end = (group + LOOK_WORDS).min(self.bits.len());
        let is_full = |&index: &usize| bits(index) == u64::MAX;
        let start = (group..index).rev().take_while(is_full).last().unwrap_or(index);
        let end = (index + 1..group_end).take_while(is_full).last().unwrap_or(index) + 1;
        page(start, 0)..page(end, 0)
    }

    /// Takes in what a look at pages found, which began at `moment`: forgets those that are not in
    /// memory, and notes that the other noted ones of these words were.
    ///
    /// Who notes a page meanwhile brought it in later, so the others may be called fresh; and where
    /// such a page is forgotten, it is only brought in once more.
    pub(super) fn looked(&self, words: impl Iterator<Item = Word>, moment: Moment) {
        for missing in words {
            if missing.bits != 0 {
                self.bits[missing.index].fetch_and(!missing.bits, Ordering::Relaxed);
            }
            self.looked_ms[missing.index].fetch_max(moment.0, Ordering::Relaxed);
        }
    }
}
