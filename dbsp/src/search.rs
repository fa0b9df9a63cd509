//! Finding a place in a sorted column.

use std::mem::size_of;

/// How many bytes of keys one entry of an [`Index`] stands for.
const STRIDE_BYTES: usize = 512;

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

    pub(crate) fn len_bytes(&self) -> usize {
        size_of_val(&*self.firsts)
    }

    /// How many keys are looked at together: those of one line of the processor's cache.
    const LINE: usize = match size_of::<K>() {
        0 => usize::MAX,
        1..32 => 64 / size_of::<K>(),
        _ => 2,
    };

    /// The first place in `keys`, not before `from`, whose key is not less than `key`.
    ///
    /// A search of a sorted sequence mostly ends within a line, or else a stride. The lines of a
    /// stride are gone through in order, which is how the processor fetches them ahead; only within
    /// the last one no branch depends on a key.
    #[inline]
    pub(crate) fn lower_bound_from(&self, keys: &[K], from: usize, key: &K) -> usize {
        let ahead = &keys[from..];
        let line = &ahead[..ahead.len().min(Self::LINE)];
        if line.last().is_none_or(|last| last >= key) {
            return from + count_less(line, key);
        }
        let stride = &ahead[..ahead.len().min(Self::STRIDE)];
        if stride.last().is_some_and(|last| last < key) {
            return self.lower_bound_behind(keys, from + stride.len(), key);
        }
        let mut place = from + line.len();
        for line in stride[line.len()..].chunks(Self::LINE) {
            if line.last().is_none_or(|last| last >= key) {
                return place + count_less(line, key);
            }
            place += line.len();
        }
        place
    }

    /// The same where all keys before `from` are less than `key`.
    fn lower_bound_behind(&self, keys: &[K], from: usize, key: &K) -> usize {
        // The last entry that is less than `key`: the place lies in its stride, or at its end.
        let first_block = from / Self::STRIDE;
        let blocks = &self.firsts[first_block.min(self.firsts.len())..];
        let block = first_block + partition(blocks, |first| first < key);
        let start = block.saturating_sub(1).saturating_mul(Self::STRIDE).max(from);
        let end = keys.len().min(block.saturating_mul(Self::STRIDE)).max(start);
        start + partition(&keys[start..end], |candidate| candidate < key)
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

/// How many of a few sorted keys are less than `key`: all are compared, so that no branch is guessed.
#[inline]
fn count_less<K: Ord>(keys: &[K], key: &K) -> usize {
    keys.iter().map(|candidate| usize::from(candidate < key)).sum()
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
