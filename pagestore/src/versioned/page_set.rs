//! A set of page numbers: as quick to add to as a bitmap, as quick to clear as a list.

use layout::{PageCount, PageRange};

use crate::tables::bits::{Pages, Word, words_of};

/// Some pages of a mapping.
///
/// Memory is taken for all pages up to the last one there is room for, one bit each, but touched only
/// where there is a page in the set.
#[derive(Debug, Default)]
pub(super) struct PageSet {
    words: Vec<u64>,
    /// The words that may have a bit set, in no order.
    touched: Vec<usize>,
    count: u64,
}

impl PageSet {
    /// How many pages.
    pub(super) fn count(&self) -> PageCount {
        PageCount::new(self.count)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn contains_all(&self, range: PageRange) -> bool {
        words_of(range).all(|word| self.missing(word) == 0)
    }

    /// How many of these pages are not in the set.
    pub(super) fn missing_count(&self, range: PageRange) -> u64 {
        words_of(range).map(|word| u64::from(self.missing(word).count_ones())).sum()
    }

    /// The runs of these pages that are not in the set.
    pub(super) fn missing_runs(&self, range: PageRange) -> Vec<PageRange> {
        let words: Vec<_> =
            words_of(range).map(|word| Word { bits: self.missing(word), ..word }).collect();
        Pages(&words).runs().collect()
    }

    /// The runs of these pages that are in the set.
    pub(super) fn runs_in(&self, range: PageRange) -> Vec<PageRange> {
        let words: Vec<_> = words_of(range)
            .map(|word| Word { bits: word.bits & !self.missing(word), ..word })
            .collect();
        Pages(&words).runs().collect()
    }

    /// Those of a word's pages that are not in the set.
    pub(super) fn missing(&self, word: Word) -> u64 {
        word.bits & !self.words.get(word.index).copied().unwrap_or(0)
    }

    /// Adds pages; gives how many are new.
    pub(super) fn insert(&mut self, range: PageRange) -> u64 {
        let before = self.count;
        words_of(range).for_each(|word| self.insert_word(word));
        self.count - before
    }

    /// Adds pages of one word.
    pub(super) fn insert_word(&mut self, word: Word) {
        if word.index >= self.words.len() {
            self.words.resize((word.index + 1).next_power_of_two(), 0);
        }
        let slot = &mut self.words[word.index];
        if *slot == 0 {
            self.touched.push(word.index);
        }
        self.count += u64::from((word.bits & !*slot).count_ones());
        *slot |= word.bits;
    }

    /// Takes pages out of the set.
    pub(super) fn remove(&mut self, range: PageRange) {
        words_of(range).for_each(|word| self.remove_word(word));
    }

    /// Takes pages of one word out of the set.
    pub(super) fn remove_word(&mut self, word: Word) {
        if let Some(slot) = self.words.get_mut(word.index) {
            self.count -= u64::from((*slot & word.bits).count_ones());
            *slot &= !word.bits;
        }
    }

    pub(super) fn clear(&mut self) {
        for index in self.touched.drain(..) {
            self.words[index] = 0;
        }
        self.count = 0;
    }

    /// The runs of adjacent pages, in ascending order.
    pub(super) fn runs(&self) -> Vec<PageRange> {
        let mut touched: Vec<_> =
            self.touched.iter().copied().filter(|&index| self.words[index] != 0).collect();
        touched.sort_unstable();
        touched.dedup();
        let words: Vec<_> =
            touched.into_iter().map(|index| Word { index, bits: self.words[index] }).collect();
        Pages(&words).runs().collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeSet;

    use layout::PageId;
    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, len: u64) -> PageRange {
        let end = PageCount::new(start + len);
        PageRange::resolve(PageId::new(start).., end).expect("a range ends where it ends")
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u64),
        Remove(u64, u64),
        Clear,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0_u64..400, 0_u64..140).prop_map(|(start, len)| Step::Insert(start, len)),
            2 => (0_u64..400, 0_u64..140).prop_map(|(start, len)| Step::Remove(start, len)),
            1 => Just(Step::Clear),
        ];
        prop::collection::vec(step, 0..24)
    }

    proptest! {
        #[test]
        fn it_is_the_set_that_it_says(steps in steps()) {
            let (mut set, mut model) = (PageSet::default(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Insert(start, len) => {
                        let new = (start..start + len).filter(|&page| model.insert(page)).count();
                        prop_assert_eq!(set.insert(range(start, len)), new as u64);
                    }
                    Step::Remove(start, len) => {
                        (start..start + len).for_each(|page| { model.remove(&page); });
                        set.remove(range(start, len));
                    }
                    Step::Clear => {
                        set.clear();
                        model.clear();
                    }
                }
                let pages: Vec<_> = set.runs().iter().flat_map(|run| run.iter()).map(PageId::get).collect();
                prop_assert_eq!(pages, model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(set.count().get(), model.len() as u64);
            }
        }
    }
}
