//! Finding a place in a sorted column.

use std::mem::size_of;

/// How many bytes of keys one entry of an [`Index`] stands for.
const STRIDE_BYTES: usize = 512;

/// How many keys ahead are looked at one by one before the search widens.
const NEAR: usize = 4;

/// The first of every so many keys of a sorted column, in memory.
///
/// A binary search over the column itself touches a cold page at each probe. Here all probes but
/// the last few are of this; those lie in [`STRIDE_BYTES`], which is one page.
#[derive(Clone)]
pub(crate) struct Index<K> {
    firsts: Box<[K]>,
}

impl<K: Ord + Clone> Index<K> {
    /// How many keys one entry stands for.
    pub(crate) const STRIDE: usize = if size_of::<K>() == 0 {
        usize::MAX
    } else {
        (STRIDE_BYTES / size_of::<K>()).next_power_of_two()
    };

    pub(crate) fn from_firsts(firsts: &[K]) -> Self {
        Self { firsts: firsts.into() }
    }

    pub(crate) fn firsts(&self) -> &[K] {
        &self.firsts
    }

    pub(crate) fn len_bytes(&self) -> usize {
        size_of_val(&*self.firsts)
    }

    /// The first place in `keys`, not before `from`, whose key is not less than `key`.
    #[inline]
    pub(crate) fn lower_bound_from(&self, keys: &[K], from: usize, key: &K) -> usize {
        let ahead = &keys[from..];
        for (step, candidate) in ahead.iter().take(NEAR).enumerate() {
            if candidate >= key {
                return from + step;
            }
        }
        if ahead.len() <= NEAR {
            return keys.len();
        }
        let from = from + NEAR;
        // Most searches of a sorted sequence end within a stride.
        let near_end = keys.len().min(from.saturating_add(Self::STRIDE));
        if near_end == keys.len() || keys[near_end - 1] >= *key {
            return gallop(keys, from, near_end, key);
        }
        // The last entry that is less than `key`: the place lies in its stride, or at its end.
        let first_block = near_end / Self::STRIDE;
        let blocks = &self.firsts[first_block.min(self.firsts.len())..];
        let block = first_block + partition(blocks, |first| first < key);
        let start = block.saturating_sub(1) * Self::STRIDE;
        let end = keys.len().min(block.saturating_mul(Self::STRIDE));
        let start = start.max(near_end);
        start + partition(&keys[start..end.max(start)], |candidate| candidate < key)
    }

    /// The last place in `keys`, not behind `to`, whose key is not greater than `key`.
    pub(crate) fn upper_bound_to(&self, keys: &[K], to: usize, key: &K) -> Option<usize> {
        if keys[to] <= *key {
            return Some(to);
        }
        let (start, end) = match to / Self::STRIDE {
            0 => (0, to),
            blocks => {
                let block = partition(&self.firsts[..=blocks], |first| first <= key);
                let start = block.checked_sub(1)? * Self::STRIDE;
                (start, to.min(block * Self::STRIDE))
            }
        };
        (start + partition(&keys[start..end], |candidate| candidate <= key)).checked_sub(1)
    }
}

/// The first place from `from` up to `to` whose key is not less than `key`, or `to`; quick where it
/// is near `from`.
fn gallop<K: Ord>(keys: &[K], from: usize, to: usize, key: &K) -> usize {
    let (mut low, mut step) = (from, 1);
    while low + step < to && keys[low + step] < *key {
        low += step;
        step *= 2;
    }
    let high = to.min(low + step + 1);
    low + partition(&keys[low..high], |candidate| candidate < key)
}

/// How many items at the front `before` holds for. No branch depends on an item: where a probe
/// comes from memory, a wrong guess would cost another fetch.
pub(crate) fn partition<T>(items: &[T], before: impl Fn(&T) -> bool) -> usize {
    let (mut base, mut len) = (0, items.len());
    if len == 0 {
        return 0;
    }
    while len > 1 {
        let half = len / 2;
        base = if before(&items[base + half - 1]) { base + half } else { base };
        len -= half;
    }
    base + usize::from(before(&items[base]))
}
