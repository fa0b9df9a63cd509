//! Where mappings that are to grow lie: far apart, so that each can become longer where it is.
//!
//! Nothing is reserved for that, so nothing counts against a limit. The kernel puts what has no
//! address of its own near the upper end of the address space, one below the other, where nothing
//! could grow. These lie below, each in the middle of the longest range that is free of others of
//! ours: the first has some 50 TiB behind it, and each of 10,000 still has 3 GiB.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    io,
    ops::Range,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use rustix::io::Errno;

/// The addresses to choose from, on machines with at least 2^47 of them. Programs, their heaps and
/// stacks, and what the kernel places, lie elsewhere; so do the shadows of sanitizers' memory.
/// Where a machine has fewer, none of these can be mapped, and the kernel chooses.
const RANGE: Range<usize> = match usize::BITS {
    64 => 0x1100_0000_0000..0x5000_0000_0000,
    _ => 0..0,
};

/// A file's bytes lie at such a multiple as they do in memory, so that the kernel can map huge pages.
const ALIGN_BYTES: usize = 2 << 20;

/// The first place lies so far from the beginning of the range at most: nobody is to know it beforehand.
const SPREAD_BYTES: usize = 1 << 40;

static TAKEN: LazyLock<Mutex<Taken>> = LazyLock::new(|| Mutex::new(Taken::new(random())));

/// A range of addresses that no other mapping of ours is put into, free again on drop.
pub(super) struct Place {
    start: usize,
}

impl Place {
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Takes what lies behind it as well, up to `end`.
    pub(super) fn extend(&self, end: usize) -> io::Result<()> {
        if taken().extend(self.start, end) { Ok(()) } else { Err(Errno::NOMEM.into()) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        taken().ranges.remove(&self.start);
    }
}

/// Takes a place for `len` bytes of a file from an offset on, if this machine's addresses have one.
pub(super) fn take(len: usize, offset_bytes: u64) -> Option<Place> {
    let start = taken().take(len, offset_bytes)?;
    Some(Place { start })
}

fn taken() -> MutexGuard<'static, Taken> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn random() -> usize {
    let number = RandomState::new().hash_one(0);
    usize::try_from(number % SPREAD_BYTES as u64).unwrap_or_default()
}

/// The ranges that are taken, which do not overlap.
struct Taken {
    first: usize,
    /// The end of each by its start.
    ranges: BTreeMap<usize, usize>,
}

impl Taken {
    fn new(random: usize) -> Self {
        Self { first: RANGE.start.saturating_add(random), ranges: BTreeMap::new() }
    }

    /// Takes `len` bytes in the middle of the longest range that is free.
    fn take(&mut self, len: usize, offset_bytes: u64) -> Option<usize> {
        let ends = self.ranges.values().copied();
        let starts = self.ranges.keys().copied().chain([RANGE.end]);
        let free = ends.zip(starts.skip(1)).map(|(end, start)| end..start);
        let start = match free.max_by_key(ExactSizeIterator::len) {
            Some(longest) => longest.start.midpoint(longest.end),
            None => self.first,
        };
        let within = usize::try_from(offset_bytes % ALIGN_BYTES as u64).ok()?;
        let start = (start / ALIGN_BYTES * ALIGN_BYTES).checked_add(within)?;
        self.is_free(start, start.checked_add(len)?).then(|| {
            self.ranges.insert(start, start + len);
            start
        })
    }

    /// Makes a range that was taken longer, if what lies behind it is free.
    fn extend(&mut self, start: usize, end: usize) -> bool {
        let next = self.ranges.range(start + 1..).next().map_or(RANGE.end, |(&next, _)| next);
        if end > next {
            return false;
        }
        self.ranges.insert(start, end);
        true
    }

    fn is_free(&self, start: usize, end: usize) -> bool {
        let before = self.ranges.range(..=start).next_back().map_or(RANGE.start, |(_, &end)| end);
        let next = self.ranges.range(start..).next().map_or(RANGE.end, |(&next, _)| next);
        before <= start && end <= next
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LEN: usize = 1 << 20;

    #[test]
    fn many_have_room_to_grow_and_none_is_in_the_way_of_another() {
        let mut taken = Taken::new(3 << 30);
        let starts: Vec<usize> =
            (0..10_000).map(|_| taken.take(LEN, 8192).expect("there is room")).collect();
        for &start in &starts {
            assert_eq!(start % ALIGN_BYTES, 8192, "as in the file");
            assert!(taken.extend(start, start + (3 << 30)), "{start:x} has room for 3 GiB");
        }
        let lens = taken.ranges.iter().zip(taken.ranges.keys().skip(1));
        assert!(lens.clone().all(|((_, end), next)| end <= next), "none overlaps another");
        assert_eq!(lens.count(), 9_999);
        assert!(!taken.extend(starts[0], RANGE.end), "others lie there");
    }

    #[test]
    fn the_first_has_most_of_the_range_and_what_was_given_back_is_free() {
        let mut taken = Taken::new(0);
        let first = taken.take(LEN, 0).expect("there is room");
        assert!(taken.extend(first, first + (50 << 40)), "50 TiB");
        assert!(!taken.extend(first, RANGE.end + 1));
        taken.ranges.clear();
        assert_eq!(taken.take(LEN, 0), Some(first));
        assert_eq!(taken.take(RANGE.end, 0), None, "more than there is");
    }
}
