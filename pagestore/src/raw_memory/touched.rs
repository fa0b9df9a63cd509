//! Which pages of a memory were ever written to.

use std::{collections::BTreeMap, ops::Range};

/// Pages of one extent.
pub(super) const EXTENT_PAGES: u64 = 512;
const WORD_COUNT: usize = (EXTENT_PAGES / 64) as usize;

/// One bit for each page of an extent.
type Extent = [u64; WORD_COUNT];

/// A set of page numbers. It takes room only for extents that have a page in it, so a file of many
/// terabytes with a few bytes in it costs a few hundred bytes.
#[derive(Default, Debug)]
pub(super) struct Touched {
    extents: BTreeMap<u64, Extent>,
}

impl Touched {
    /// How many pages of a range are not in the set.
    pub(super) fn missing(&self, pages: Range<u64>) -> u64 {
        extents_of(pages)
            .map(|(extent, masks)| {
                let held = self.extents.get(&extent).copied().unwrap_or_default();
                count(&std::array::from_fn(|i| masks[i] & !held[i]))
            })
            .sum()
    }

    /// Adds a range.
    pub(super) fn add(&mut self, pages: Range<u64>) {
        for (extent, masks) in extents_of(pages) {
            let held = self.extents.entry(extent).or_default();
            held.iter_mut().zip(masks).for_each(|(word, mask)| *word |= mask);
        }
    }

    /// Whether a page is in the set.
    pub(super) fn contains(&self, page: u64) -> bool {
        self.missing(page..page + 1) == 0
    }

    /// Takes all pages from `first` on out, and says how many there were.
    pub(super) fn remove_from(&mut self, first: u64) -> u64 {
        let mut tail = self.extents.split_off(&(first / EXTENT_PAGES));
        let mut removed = 0;
        if let Some(mut border) = tail.remove(&(first / EXTENT_PAGES)) {
            let masks = masks(first % EXTENT_PAGES..EXTENT_PAGES);
            removed += count(&std::array::from_fn(|i| border[i] & masks[i]));
            border.iter_mut().zip(masks).for_each(|(word, mask)| *word &= !mask);
            if count(&border) > 0 {
                self.extents.insert(first / EXTENT_PAGES, border);
            }
        }
        removed + tail.values().map(count).sum::<u64>()
    }
}

fn count(extent: &Extent) -> u64 {
    extent.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// The extents that a range of pages touches, each with the bits of the range in it.
fn extents_of(pages: Range<u64>) -> impl Iterator<Item = (u64, Extent)> {
    let extents = pages.start / EXTENT_PAGES..pages.end.div_ceil(EXTENT_PAGES);
    extents.map(move |extent| {
        let first = extent * EXTENT_PAGES;
        let start = pages.start.max(first) - first;
        let end = pages.end.min(first + EXTENT_PAGES) - first;
        (extent, masks(start..end))
    })
}

/// The bits of a range of pages within an extent.
fn masks(pages: Range<u64>) -> Extent {
    let below = |bit: u64| if bit >= 64 { u64::MAX } else { (1 << bit) - 1 };
    std::array::from_fn(|i| {
        let first = i as u64 * 64;
        below(pages.end.saturating_sub(first)) & !below(pages.start.saturating_sub(first))
    })
}
