//! A table that grows without moving what it holds.

use std::sync::OnceLock;

use crate::{
    error::Result,
    tables::zeroed::{Blank, Zeroed},
};

/// The base-2 logarithm of the entries in the first bucket; each next bucket has twice as many.
const FIRST_LOG2: u32 = if cfg!(loom) { 1 } else { 6 };
const FIRST: usize = 1 << FIRST_LOG2;

/// Enough for 2^47 bytes of address space in pages of 4 KiB.
const BUCKET_COUNT: usize = 36;

/// A growing table with entries at fixed addresses: buckets of doubling size, each made when the
/// table first needs it, of zeros that take no memory until they are changed. So an entry can be used
/// while another thread lets the table grow, and a table costs what is touched of it.
pub(crate) struct Segments<T> {
    buckets: [OnceLock<Zeroed<T>>; BUCKET_COUNT],
}

impl<T: Blank> Segments<T> {
    pub(crate) fn new() -> Self {
        Self { buckets: [const { OnceLock::new() }; BUCKET_COUNT] }
    }

    /// Makes room for at least `len` entries. New ones are all zeros, which is what `make` makes.
    pub(crate) fn grow_to(&self, len: usize, mut make: impl FnMut() -> T) {
        let Some(last) = len.checked_sub(1) else { return };
        for (log2, bucket) in self.buckets[..=locate(last).0].iter().enumerate() {
            bucket.get_or_init(|| Zeroed::made(FIRST << log2, &mut make));
        }
    }

    /// The same where it can be refused.
    ///
    /// # Errors
    /// [`Error::AddressSpace`](crate::Error::AddressSpace).
    pub(crate) fn try_grow_to(&self, len: usize, mut make: impl FnMut() -> T) -> Result<()> {
        let Some(last) = len.checked_sub(1) else { return Ok(()) };
        for (log2, bucket) in self.buckets[..=locate(last).0].iter().enumerate() {
            if bucket.get().is_none() {
                let made = Zeroed::try_made(FIRST << log2, &mut make)?;
                // Another thread may have been faster; then its bucket counts.
                bucket.get_or_init(|| made);
            }
        }
        Ok(())
    }

    /// The entry at `index`, if the table has grown that far.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        let (bucket, offset) = locate(index);
        self.buckets.get(bucket)?.get()?.get(offset)
    }

    /// The entry at `index`.
    ///
    /// # Panics
    /// Where the table has not grown that far: the caller checks the index against the length that
    /// it published after [`grow_to`](Self::grow_to).
    #[inline]
    #[track_caller]
    pub(crate) fn at(&self, index: usize) -> &T {
        self.get(index).expect("the table grows before the page count that leads here")
    }
}

/// The bucket of an entry and its place in it. Bucket `b` holds the `FIRST << b` entries from
/// `(FIRST << b) - FIRST` on.
#[inline]
fn locate(index: usize) -> (usize, usize) {
    let shifted = index + FIRST;
    let log2 = shifted.ilog2();
    ((log2 - FIRST_LOG2) as usize, shifted - (1 << log2))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own_that_never_moves() {
        let table = Segments::<AtomicU64>::new();
        let blank = || AtomicU64::new(0);
        table.grow_to(1, blank);
        let first: *const AtomicU64 = table.at(0);
        table.grow_to(50_000, blank);
        assert_eq!(first, std::ptr::from_ref(table.at(0)));
        for index in 0..50_000 {
            assert_eq!(table.at(index).fetch_add(1 + index as u64, Relaxed), 0, "{index} is blank");
        }
        for index in 0..50_000 {
            assert_eq!(table.at(index).load(Relaxed), 1 + index as u64, "and nobody else's");
        }
        assert!(table.get(1 << 20).is_none());
        assert!(table.get(usize::MAX / 2).is_none());
    }
}
