//! Which pages of a file are known to be right, in whatever mapping of it they are read.

#[cfg(all(test, loom))]
mod model;

use std::fmt;

use layout::PageCount;

use super::page_set::PageSet;
use crate::{
    error::Result,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    tables::{
        bits::{BITS, Word, locate, word_count},
        segments::Segments,
    },
};

/// One bit a page: it was verified once, or a commit of this process has written it.
///
/// Nobody but commits changes the file, and what those write is right. So a bit that is set stays so, and is true
/// of the page as it is in any later commit. It is not true of a copy that was made before: see [`Doubtful`].
pub(super) struct Checked {
    words: Segments<AtomicU64>,
    /// All pages below are right.
    prefix: AtomicU64,
}

impl Checked {
    pub(super) fn new() -> Self {
        Self { words: Segments::new(), prefix: AtomicU64::new(0) }
    }

    /// Makes room for so many pages. Others are not known to be right.
    pub(super) fn make_room_for(&self, page_count: PageCount) -> Result<()> {
        self.words.try_grow_to(word_count(page_count), || AtomicU64::new(0))
    }

    /// Those of a word's pages that are right.
    #[inline]
    pub(super) fn of(&self, word: Word) -> u64 {
        // Acquire: whoever sees a bit that a commit has set sees the copies that it had made before.
        word.bits & self.words.get(word.index).map_or(0, |bits| bits.load(Ordering::Acquire))
    }

    /// How many pages, from the first on, are right.
    #[inline]
    pub(super) fn prefix(&self) -> u64 {
        self.prefix.load(Ordering::Acquire)
    }

    /// Notes that pages are right that there is room for.
    pub(super) fn add(&self, word: Word) {
        self.words.at(word.index).fetch_or(word.bits, Ordering::AcqRel);
        // A swap and no load: one of two who meet here sees what the other one has done before, and goes on for
        // both (`right_from`).
        let mut end = self.prefix.fetch_max(0, Ordering::AcqRel);
        if locate(end).0 != word.index {
            return;
        }
        loop {
            let right = self.right_from(end);
            if right == end {
                return;
            }
            end = right.max(self.prefix.fetch_max(right, Ordering::AcqRel));
        }
    }

    /// The first page from `page` on that is not known to be right.
    fn right_from(&self, mut page: u64) -> u64 {
        while let Some(word) = self.words.get(locate(page).0) {
            let bit = locate(page).1;
            let ones = (word.fetch_or(0, Ordering::AcqRel) >> bit).trailing_ones();
            page += u64::from(ones);
            if bit + (ones as usize) < BITS {
                break;
            }
        }
        page
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").field("prefix", &self.prefix()).finish_non_exhaustive()
    }
}

/// The copies in one mapping of pages that were not known to be right when they were copied.
#[derive(Debug)]
pub(super) struct Doubtful {
    is_any: AtomicBool,
    pages: Mutex<PageSet>,
}

impl Doubtful {
    pub(super) fn none() -> Self {
        Self { is_any: AtomicBool::new(false), pages: Mutex::new(PageSet::default()) }
    }

    /// Those of a word's pages that are not known to be right in this mapping.
    #[inline]
    pub(super) fn unknown(&self, checked: &Checked, word: Word) -> u64 {
        // In this order: a commit says that its pages are right after the copies of what they were were called
        // doubtful.
        let right = checked.of(word);
        word.bits & (!right | self.of(word))
    }

    /// How many pages, from the first on, are known to be right in this mapping.
    pub(super) fn prefix(&self, checked: &Checked) -> u64 {
        // In this order, as above.
        let right = checked.prefix();
        if self.is_none() { right } else { 0 }
    }

    fn of(&self, word: Word) -> u64 {
        if self.is_none() { 0 } else { word.bits & !self.pages.lock().missing(word) }
    }

    fn is_none(&self) -> bool {
        !self.is_any.load(Ordering::Acquire)
    }

    /// Notes some. The commit that is the reason for the copies says only afterwards that its pages are right.
    pub(super) fn add(&self, word: Word) {
        if word.bits != 0 {
            self.pages.lock().insert_word(word);
            self.is_any.store(true, Ordering::Release);
        }
    }

    /// Notes that copies were verified.
    pub(super) fn remove(&self, word: Word) {
        if !self.is_none() {
            self.pages.lock().remove_word(word);
        }
    }

    pub(super) fn clear(&mut self) {
        if !self.is_none() {
            self.pages.get_mut().clear();
            self.is_any.store(false, Ordering::Release);
        }
    }
}
