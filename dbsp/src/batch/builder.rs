//! Building a batch from tuples in order.

use std::{path::Path, sync::Arc};

use dbsp::{
    DynZWeight, ZWeight,
    dynamic::{DataTrait, DowncastTrait, DynData, Erase},
    trace::{Batch, BatchLayout, BatchLocation, Builder, ord::fallback::pick_merge_destination},
};
use parking_lot::Mutex;
use size_of::{Context, SizeOf};

use super::{
    Columns, Home, MappedBatch, MappedBatchFactories,
    column::{Column, ColumnWriter},
    folder::{Destination, unwrap_storage},
};
use crate::{mappable::Mappable, search::Index};

/// Builds a [`MappedBatch`]: each column is appended to a file of its own, or kept in memory.
pub struct MappedBatchBuilder<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> {
    factories: MappedBatchFactories<K, V, D>,
    keys: ColumnWriter<K>,
    /// Begun when a key has more than one value.
    offsets: Option<ColumnWriter<u64>>,
    vals: ColumnWriter<V>,
    weights: ColumnWriter<ZWeight>,
    firsts: Vec<K>,
    negative_weight_count: u64,
    destination: Destination,
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> MappedBatchBuilder<K, V, D> {
    /// Begins a batch in `folder`, outside of any circuit.
    ///
    /// # Errors
    /// As [`TempWriter::create_in`](storage::TempWriter::create_in).
    pub fn create_in(folder: impl AsRef<Path>) -> storage::Result<Self> {
        let factories = MappedBatchFactories::of_types();
        Self::begin(&factories, 0, 0, Destination::Folder(folder.as_ref().into()))
    }

    fn begin(
        factories: &MappedBatchFactories<K, V, D>,
        key_capacity: usize,
        val_capacity: usize,
        destination: Destination,
    ) -> storage::Result<Self> {
        let (keys, vals) = (destination.room_for(key_capacity), destination.room_for(val_capacity));
        let mut builder = Self {
            factories: factories.clone(),
            keys: ColumnWriter::in_memory(keys),
            offsets: None,
            vals: ColumnWriter::in_memory(vals),
            weights: ColumnWriter::in_memory(vals),
            firsts: Vec::new(),
            negative_weight_count: 0,
            destination,
        };
        if let Destination::Folder(folder) = &builder.destination {
            let folder = folder.clone();
            builder.move_to(&folder)?;
        }
        Ok(builder)
    }

    fn move_to(&mut self, folder: &Path) -> storage::Result<()> {
        self.keys.move_to(folder)?;
        self.vals.move_to(folder)?;
        self.weights.move_to(folder)?;
        match &mut self.offsets {
            Some(offsets) => offsets.move_to(folder),
            None => Ok(()),
        }
    }

    /// Adds a value of the key that is to come, and its weight.
    pub fn push_typed(&mut self, val: &V, weight: ZWeight) {
        self.push_weight(weight);
        self.push_typed_val(val);
    }

    /// Adds a key, behind all its values.
    pub fn push_typed_key(&mut self, key: &K) {
        if self.keys.len().is_multiple_of(Index::<K>::STRIDE) {
            self.firsts.push(key.clone());
        }
        let pushed = self.keys.push(key).and_then(|()| self.end_key());
        unwrap_storage(pushed, "append to a batch");
        self.spill_if_large();
    }

    fn push_weight(&mut self, weight: ZWeight) {
        debug_assert_ne!(weight, 0, "a tuple of no weight is not there");
        self.negative_weight_count += u64::from(weight < 0);
        unwrap_storage(self.weights.push(&weight), "append to a batch");
    }

    fn push_typed_val(&mut self, val: &V) {
        unwrap_storage(self.vals.push(val), "append to a batch");
        debug_assert_eq!(self.vals.len(), self.weights.len(), "each value has one weight");
    }

    /// Notes where the values of the key end that was just added.
    fn end_key(&mut self) -> storage::Result<()> {
        let (keys, vals) = (self.keys.len(), self.vals.len());
        match &mut self.offsets {
            Some(offsets) => offsets.push(&(vals as u64)),
            None if keys == vals => Ok(()),
            None => {
                let mut offsets = match &self.destination {
                    Destination::Folder(folder) => ColumnWriter::in_folder(folder)?,
                    _ => ColumnWriter::in_memory(keys + 1),
                };
                (0..keys as u64).try_for_each(|offset| offsets.push(&offset))?;
                offsets.push(&(vals as u64))?;
                self.offsets = Some(offsets);
                Ok(())
            }
        }
    }

    fn spill_if_large(&mut self) {
        let Destination::MemoryUpTo { limit_bytes, folder } = &self.destination else { return };
        let (keys, vals) = (self.keys.pending_bytes(), self.vals.pending_bytes());
        if keys + vals + self.weights.pending_bytes() >= *limit_bytes {
            let folder = folder.clone();
            unwrap_storage(self.move_to(&folder), "spill a batch");
            self.destination = Destination::Folder(folder);
        }
    }

    fn finish(self) -> storage::Result<MappedBatch<K, V, D>> {
        let home = match self.destination {
            Destination::Folder(_) => Home::Temporary,
            Destination::Memory | Destination::MemoryUpTo { .. } => Home::Memory,
        };
        let columns = Columns {
            keys: self.keys.finish()?,
            offsets: self.offsets.map_or_else(|| Ok(Column::empty()), ColumnWriter::finish)?,
            vals: self.vals.finish()?,
            weights: self.weights.finish()?,
            index: Index::from_firsts(&self.firsts),
            negative_weight_count: self.negative_weight_count,
            home,
            file: Mutex::new(None),
        };
        Ok(MappedBatch { factories: self.factories, columns: Arc::new(columns) })
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> std::fmt::Debug
    for MappedBatchBuilder<K, V, D>
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MappedBatchBuilder")
            .field("keys", &self.keys.len())
            .field("vals", &self.vals.len())
            .finish_non_exhaustive()
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> SizeOf
    for MappedBatchBuilder<K, V, D>
{
    fn size_of_children(&self, context: &mut Context) {
        context.add(size_of_val(&*self.firsts));
        self.keys.size_in(context);
        self.vals.size_in(context);
        self.weights.size_in(context);
    }
}

impl<K, V, D> Builder<MappedBatch<K, V, D>> for MappedBatchBuilder<K, V, D>
where
    K: Mappable,
    V: Mappable + Erase<D>,
    D: DataTrait + ?Sized,
{
    fn with_capacity_in_location(
        factories: &MappedBatchFactories<K, V, D>,
        key_capacity: usize,
        value_capacity: usize,
        location: Option<BatchLocation>,
    ) -> Self {
        let destination = Destination::of_step(key_capacity, value_capacity, location);
        let begun = Self::begin(factories, key_capacity, value_capacity, destination);
        unwrap_storage(begun, "begin a batch")
    }

    /// The layout is that of blocks, of which these batches have none.
    fn for_merge<'a, B, I>(
        factories: &MappedBatchFactories<K, V, D>,
        batches: I,
        location: Option<BatchLocation>,
        _layout: BatchLayout,
    ) -> Self
    where
        B: Batch<Key = DynData, Val = D, Time = (), R = DynZWeight>,
        I: IntoIterator<Item = &'a B> + Clone,
    {
        let keys = batches.clone().into_iter().map(|batch| batch.key_count_upper_bound()).sum();
        let vals = batches.clone().into_iter().map(|batch| batch.len_upper_bound()).sum();
        let destination = Destination::of_merge(pick_merge_destination(batches, location));
        unwrap_storage(Self::begin(factories, keys, vals, destination), "begin a merge")
    }

    fn push_time_diff(&mut self, _time: &(), weight: &DynZWeight) {
        self.push_weight(**weight);
    }

    fn push_val(&mut self, val: &D) {
        self.push_typed_val(val.downcast_checked::<V>());
    }

    fn push_key(&mut self, key: &DynData) {
        self.push_typed_key(key.downcast_checked::<K>());
    }

    fn reserve(&mut self, additional: usize) {
        self.keys.reserve(additional);
        self.vals.reserve(additional);
        self.weights.reserve(additional);
    }

    fn num_keys(&self) -> usize {
        self.keys.len()
    }

    fn num_tuples(&self) -> usize {
        self.vals.len()
    }

    fn done(self) -> MappedBatch<K, V, D> {
        unwrap_storage(self.finish(), "finish a batch")
    }
}
