//! Latches on byte ranges: a fixed number of them, each for every 64th unit of the file.
//!
//! Two ranges that overlap have a stripe in common, whatever their lengths; two that do not may
//! have one too, and then wait for each other without need. Taken are they always in ascending
//! order and each once, so that no two threads can wait for each other in a circle.

use std::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
};

use crate::{
    raw::span::Span,
    sync::{Held, Latch},
    tables::bits::bits_of,
};

/// The latches of a file. More than threads that work on one file at the same time, and their set
/// is one word.
const COUNT: usize = 64;

/// After as many units, the first latch comes again.
const ROUND: u64 = COUNT as u64;

/// The bytes of the unit that has one latch, as a power of two: 64 KiB. Most reads and writes fit
/// one or two units, and 4 MiB take all latches.
const UNIT_LOG2: u32 = 16;

/// Some stripes, at least one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stripes(u64);

impl Stripes {
    pub(super) const ALL: Self = Self(u64::MAX);

    /// Any one, for who only wants to keep out those who take all.
    pub(super) const FIRST: Self = Self(1);

    /// The stripes that a span lies in. An empty one has that of its place.
    #[inline]
    pub(super) fn of(span: Span) -> Self {
        let first = span.start >> UNIT_LOG2;
        let last = span.end.saturating_sub(1).max(span.start) >> UNIT_LOG2;
        let more = last - first;
        if more >= ROUND - 1 {
            return Self::ALL;
        }
        Self((u64::MAX >> (ROUND - 1 - more)).rotate_left((first % ROUND) as u32))
    }

    fn indexes(self) -> impl Iterator<Item = usize> {
        bits_of(self.0).map(|bit| bit as usize)
    }
}

/// Latches on ranges of a file, and a value that can be looked at under any of them and changed
/// under all of them.
pub(super) struct Striped<T> {
    latches: [Latch; COUNT],
    value: UnsafeCell<T>,
}

// SAFETY: a `&T` is given only to holders of a latch and a `&mut T` only to who holds all of them
// exclusively, so they never live at the same time, as in a lock around the value. Threads then
// share the value (`Sync`) and may replace or drop it on another thread than it came from (`Send`).
unsafe impl<T: Send + Sync> Sync for Striped<T> {}

impl<T> Striped<T> {
    pub(super) fn new(value: T) -> Self {
        Self { latches: std::array::from_fn(|_| Latch::new()), value: UnsafeCell::new(value) }
    }

    /// Waits until nobody holds any of the stripes exclusively, and shares them.
    #[inline]
    pub(super) fn shared(&self, stripes: Stripes) -> Latched<'_, T> {
        stripes.indexes().for_each(|index| self.latches[index].lock_shared());
        Latched { striped: self, hold: Hold::new(&self.latches, stripes, Mode::Shared) }
    }

    /// Shares the stripes, unless somebody holds one of them exclusively or waits for it.
    #[inline]
    pub(super) fn try_shared(&self, stripes: Stripes) -> Option<Latched<'_, T>> {
        let mut hold = Hold::new(&self.latches, Stripes(0), Mode::Shared);
        for index in stripes.indexes() {
            if !self.latches[index].try_lock_shared() {
                return None;
            }
            hold.stripes.0 |= 1 << index;
        }
        Some(Latched { striped: self, hold })
    }

    /// Waits until nobody holds any of the stripes, and takes them.
    pub(super) fn exclusive(&self, stripes: Stripes) -> Latched<'_, T> {
        stripes.indexes().for_each(|index| self.latches[index].lock_exclusive());
        Latched { striped: self, hold: Hold::new(&self.latches, stripes, Mode::Exclusive) }
    }

    /// Waits until nobody holds any stripe, and takes all of them.
    pub(super) fn all(&self) -> AllLatched<'_, T> {
        AllLatched(self.exclusive(Stripes::ALL))
    }
}

#[derive(Clone, Copy)]
enum Mode {
    Shared,
    Exclusive,
}

/// Stripes that this thread holds, given back on drop.
struct Hold<'striped> {
    latches: &'striped [Latch; COUNT],
    /// Invariant: those that were taken in `mode` and not given back.
    stripes: Stripes,
    mode: Mode,
    _on_this_thread: Held,
}

impl<'striped> Hold<'striped> {
    fn new(latches: &'striped [Latch; COUNT], stripes: Stripes, mode: Mode) -> Self {
        Self { latches, stripes, mode, _on_this_thread: Held::default() }
    }
}

impl Drop for Hold<'_> {
    #[inline]
    fn drop(&mut self) {
        for index in self.stripes.indexes() {
            match self.mode {
                // SAFETY: by the invariant this thread took the latch so and has not given it back:
                // `Held` keeps this value on its thread, and it is dropped once.
                Mode::Shared => unsafe { self.latches[index].unlock_shared() },
                // SAFETY: as above.
                Mode::Exclusive => unsafe { self.latches[index].unlock_exclusive() },
            }
        }
    }
}

/// Some stripes, held, and the value.
pub(super) struct Latched<'striped, T> {
    striped: &'striped Striped<T>,
    #[expect(dead_code, reason = "held until it is dropped")]
    hold: Hold<'striped>,
}

impl<T> Deref for Latched<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: at least one stripe is held as long as `self` is borrowed, so nobody else has all
        // of them exclusively and with them a `&mut T`. Where this is inside of an `AllLatched`,
        // that one is borrowed too.
        unsafe { &*self.striped.value.get() }
    }
}

/// All stripes, held exclusively, and the value to change.
pub(super) struct AllLatched<'striped, T>(Latched<'striped, T>);

impl<T> Deref for AllLatched<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for AllLatched<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: all stripes are held exclusively, so nobody else holds one and with it a `&T`;
        // and `self` is borrowed exclusively, so nobody has another reference through it.
        unsafe { &mut *self.0.striped.value.get() }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn stripes(start: u64, end: u64) -> Stripes {
        Stripes::of(Span { start, end })
    }

    #[test]
    fn ranges_that_overlap_have_a_stripe_in_common() {
        const UNIT: u64 = 1 << UNIT_LOG2;
        let ends = [0, 1, UNIT - 1, UNIT, UNIT + 1, 5 * UNIT, 62 * UNIT, 63 * UNIT + 7, 64 * UNIT];
        let far = 1_000_003 * UNIT;
        let starts = ends.iter().flat_map(|&end| [end, far + end]);
        for start in starts {
            for len in ends {
                let whole = stripes(start, start + len);
                assert_ne!(whole, Stripes(0), "an empty range has a stripe too");
                for offset in ends.iter().filter(|&&offset| offset < len) {
                    let byte = stripes(start + offset, start + offset + 1);
                    assert_eq!(whole.0 & byte.0, byte.0, "{len} bytes at {start} lack {offset}");
                    assert_eq!(byte.0.count_ones(), 1);
                }
                let units = (start + len).div_ceil(UNIT) - start / UNIT;
                assert!(u64::from(whole.0.count_ones()) <= units.clamp(1, COUNT as u64));
            }
        }
        assert_eq!(stripes(0, 64 * UNIT), Stripes::ALL);
        assert_eq!(stripes(u64::MAX - 1, u64::MAX).0.count_ones(), 1);
    }
}
