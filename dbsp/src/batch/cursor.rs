//! The cursor of a batch: a place in each of its columns.

use std::marker::PhantomData;

use dbsp::{
    DynZWeight, ZWeight,
    dynamic::{DataTrait, DowncastTrait, DynData, Erase, Factory, WithFactory},
    trace::{Cursor, cursor::Position},
};

use super::{Columns, ahead::ReadAhead, folder::unwrap_storage};
use crate::{
    mappable::Mappable,
    search::{Index, partition},
};

/// A cursor whose references point into the columns of a [`MappedBatch`](crate::MappedBatch).
///
/// It behaves as the cursor of DBSP's `VecIndexedWSet` does, and where no key is valid it has no
/// valid value either.
///
/// When it is dropped, it asks whether all of its pages could be reached (see
/// [`SealedFile::still_valid`](storage::SealedFile::still_valid)), and panics where not, as DBSP's own
/// batches do where they cannot be read: what was computed from such a page ends with the worker.
pub struct MappedCursor<'s, K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> {
    columns: &'s Columns<K, V>,
    keys: &'s [K],
    offsets: &'s [u64],
    vals: &'s [V],
    weights: &'s [ZWeight],
    index: &'s Index<K>,
    key: Place,
    val: Place,
    ahead: ReadAhead,
    erased: PhantomData<fn(&D)>,
}

/// A place within `start..end`, or just before or behind it.
///
/// All three are one too large, so that there is a place before the first.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    start: usize,
    end: usize,
}

impl Place {
    /// At the first of the items `start..end`.
    #[inline]
    fn first_of(start: usize, end: usize) -> Self {
        Self { at: start + 1, start: start + 1, end: end + 1 }
    }

    #[inline]
    fn is_valid(self) -> bool {
        self.start <= self.at && self.at < self.end
    }

    /// The index of the item. Out of every slice where it is before the first.
    #[inline]
    fn index(self) -> usize {
        self.at.wrapping_sub(1)
    }

    #[inline]
    fn step(&mut self) {
        self.at = self.end.min(self.at + 1);
    }

    #[inline]
    fn step_back(&mut self) {
        self.at = (self.start - 1).max(self.at.saturating_sub(1));
    }

    #[inline]
    fn set(&mut self, index: usize) {
        self.at = index + 1;
    }

    fn rewind(&mut self) {
        self.at = self.start;
    }

    fn fast_forward(&mut self) {
        self.at = self.end - 1;
    }

    /// The items from this one on: their range.
    fn rest(self) -> std::ops::Range<usize> {
        self.index()..self.end - 1
    }

    /// The items up to this one: their range.
    fn passed(self) -> std::ops::Range<usize> {
        self.start - 1..self.index() + 1
    }

    /// Moves to the first item from here on that `before` does not hold for.
    fn seek<T>(&mut self, items: &[T], before: impl Fn(&T) -> bool) {
        if self.is_valid() {
            let skipped = partition_near(&items[self.rest()], before);
            self.at += skipped;
        }
    }

    /// Moves back to the last item that `after` does not hold for.
    fn seek_back<T>(&mut self, items: &[T], after: impl Fn(&T) -> bool) {
        if self.is_valid() {
            let passed = &items[self.passed()];
            let kept = partition(passed, |item| !after(item));
            self.at = self.start - 1 + kept;
        }
    }
}

/// How many items at the front `before` holds for; quick where they are few.
fn partition_near<T>(items: &[T], before: impl Fn(&T) -> bool) -> usize {
    let (mut low, mut high) = (0, 1);
    while high < items.len() && before(&items[high - 1]) {
        low = high;
        high *= 2;
    }
    low + partition(&items[low..high.min(items.len())], before)
}

impl<'s, K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> MappedCursor<'s, K, V, D> {
    /// A cursor at the first key, which may go anywhere.
    #[inline]
    pub(super) fn new(columns: &'s Columns<K, V>) -> Self {
        Self::reading(columns, ReadAhead::anywhere())
    }

    /// A cursor at the first key, which is going through all of them.
    pub(super) fn in_order(columns: &'s Columns<K, V>) -> Self {
        let mut cursor = Self::reading(columns, ReadAhead::in_order());
        cursor.ahead.step(columns, 0, 0);
        cursor
    }

    fn reading(columns: &'s Columns<K, V>, ahead: ReadAhead) -> Self {
        let keys = columns.keys.as_slice();
        let mut cursor = Self {
            columns,
            keys,
            offsets: columns.offsets.as_slice(),
            vals: columns.vals.as_slice(),
            weights: columns.weights.as_slice(),
            index: &columns.index,
            key: Place::first_of(0, keys.len()),
            val: Place::first_of(0, 0),
            ahead,
            erased: PhantomData,
        };
        cursor.reset_vals();
        cursor
    }

    /// The current key.
    ///
    /// # Panics
    /// Where there is none.
    #[inline]
    #[must_use]
    pub fn typed_key(&self) -> &'s K {
        &self.keys[self.key.index()]
    }

    /// The current value.
    ///
    /// # Panics
    /// Where there is none.
    #[inline]
    #[must_use]
    pub fn typed_val(&self) -> &'s V {
        debug_assert!(self.val.is_valid());
        &self.vals[self.val.index()]
    }

    /// The weight of the current value.
    ///
    /// # Panics
    /// Where there is none.
    #[inline]
    #[must_use]
    pub fn typed_weight(&self) -> ZWeight {
        *self.weight_ref()
    }

    #[inline]
    fn weight_ref(&self) -> &'s ZWeight {
        debug_assert!(self.val.is_valid());
        &self.weights[self.val.index()]
    }

    /// Goes to the first value of the key. Whatever moves, or could have moved, the key ends here.
    #[inline]
    fn reset_vals(&mut self) {
        self.val = match self.key.is_valid() {
            true => self.vals_of(self.key.index()),
            false => Place::first_of(0, 0),
        };
    }

    #[inline]
    fn vals_of(&self, key: usize) -> Place {
        match self.offsets {
            [] => Place::first_of(key, key + 1),
            offsets => Place::first_of(index(offsets[key]), index(offsets[key + 1])),
        }
    }

    #[inline]
    fn seek_typed(&mut self, key: &K) {
        if self.key.is_valid() {
            self.key.set(self.index.lower_bound_from(self.keys, self.key.index(), key));
            self.reset_vals();
            self.ahead.jump(self.val.start);
        }
    }
}

/// An offset of the column, which its writer made of a `usize`.
#[inline]
fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset within a column that is in memory")
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> Drop
    for MappedCursor<'_, K, V, D>
{
    fn drop(&mut self) {
        if !std::thread::panicking() {
            unwrap_storage(self.columns.still_valid(), "read a batch");
        }
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> Clone
    for MappedCursor<'_, K, V, D>
{
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> std::fmt::Debug
    for MappedCursor<'_, K, V, D>
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MappedCursor")
            .field("keys", &self.keys.len())
            .field("key", &self.key.index())
            .field("val", &self.val.index())
            .finish_non_exhaustive()
    }
}

impl<K, V, D> Cursor<DynData, D, (), DynZWeight> for MappedCursor<'_, K, V, D>
where
    K: Mappable,
    V: Mappable + Erase<D>,
    D: DataTrait + ?Sized,
{
    fn weight_factory(&self) -> &'static dyn Factory<DynZWeight> {
        <DynZWeight as WithFactory<ZWeight>>::FACTORY
    }

    #[inline]
    fn key_valid(&self) -> bool {
        self.key.is_valid()
    }

    #[inline]
    fn val_valid(&self) -> bool {
        self.val.is_valid()
    }

    /// Exact. What the cursor keeps of a key's values is where they begin and end, so nothing is read for it.
    #[inline]
    fn value_count_upper_bound(&self) -> usize {
        self.val.end - self.val.start
    }

    #[inline]
    fn key(&self) -> &DynData {
        self.typed_key().erase()
    }

    #[inline]
    fn val(&self) -> &D {
        self.typed_val().erase()
    }

    fn map_times(&mut self, logic: &mut dyn FnMut(&(), &DynZWeight)) {
        if self.val.is_valid() {
            logic(&(), self.weight_ref().erase());
        }
    }

    fn map_times_through(&mut self, _upper: &(), logic: &mut dyn FnMut(&(), &DynZWeight)) {
        self.map_times(logic);
    }

    #[inline]
    fn weight(&mut self) -> &DynZWeight {
        self.weight_ref().erase()
    }

    #[inline]
    fn weight_checked(&mut self) -> &DynZWeight {
        self.weight_ref().erase()
    }

    fn map_values(&mut self, logic: &mut dyn FnMut(&D, &DynZWeight)) {
        while self.val.is_valid() {
            logic(self.typed_val().erase(), self.weight_ref().erase());
            self.val.step();
        }
    }

    #[inline]
    fn step_key(&mut self) {
        self.key.step();
        self.reset_vals();
        self.ahead.step(self.columns, self.key.index(), self.val.start);
    }

    fn step_key_reverse(&mut self) {
        self.key.step_back();
        self.reset_vals();
    }

    fn seek_key(&mut self, key: &DynData) {
        self.seek_typed(key.downcast_checked::<K>());
    }

    fn seek_key_exact(&mut self, key: &DynData, _hash: Option<u64>) -> bool {
        let key = key.downcast_checked::<K>();
        self.seek_typed(key);
        self.key.is_valid() && self.typed_key() == key
    }

    fn seek_key_with(&mut self, predicate: &dyn Fn(&DynData) -> bool) {
        self.key.seek(self.keys, |key| !predicate(key.erase()));
        self.reset_vals();
    }

    fn seek_key_with_reverse(&mut self, predicate: &dyn Fn(&DynData) -> bool) {
        self.key.seek_back(self.keys, |key| !predicate(key.erase()));
        self.reset_vals();
    }

    fn seek_key_reverse(&mut self, key: &DynData) {
        if self.key.is_valid() {
            let key = key.downcast_checked::<K>();
            match self.index.upper_bound_to(self.keys, self.key.index(), key) {
                Some(place) => self.key.set(place),
                None => self.key.at = 0,
            }
            self.reset_vals();
        }
    }

    #[inline]
    fn step_val(&mut self) {
        self.val.step();
    }

    fn step_val_reverse(&mut self) {
        self.val.step_back();
    }

    fn seek_val(&mut self, val: &D) {
        let val = val.downcast_checked::<V>();
        self.val.seek(self.vals, |candidate| candidate < val);
    }

    fn seek_val_reverse(&mut self, val: &D) {
        let val = val.downcast_checked::<V>();
        self.val.seek_back(self.vals, |candidate| candidate > val);
    }

    fn seek_val_with(&mut self, predicate: &dyn Fn(&D) -> bool) {
        self.val.seek(self.vals, |val| !predicate(val.erase()));
    }

    fn seek_val_with_reverse(&mut self, predicate: &dyn Fn(&D) -> bool) {
        self.val.seek_back(self.vals, |val| !predicate(val.erase()));
    }

    fn rewind_keys(&mut self) {
        self.key.rewind();
        self.reset_vals();
        self.ahead.jump(0);
    }

    fn fast_forward_keys(&mut self) {
        self.key.fast_forward();
        self.reset_vals();
    }

    fn rewind_vals(&mut self) {
        self.val.rewind();
    }

    fn fast_forward_vals(&mut self) {
        self.val.fast_forward();
    }

    fn position(&self) -> Option<Position> {
        Some(Position { total: self.keys.len() as u64, offset: self.key.index() as u64 })
    }
}
