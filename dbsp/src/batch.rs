//! Batches of DBSP that are read in place.

mod ahead;
mod builder;
mod column;
mod cursor;
mod factories;
mod file;
mod folder;
mod names;
mod reader;

use std::{fmt, ops::Neg, sync::Arc};

use dbsp::{
    DynZWeight, NumEntries, ZWeight,
    algebra::{AddAssignByRef, AddByRef, NegByRef},
    dynamic::{DataTrait, DynData, DynUnit, Erase},
    trace::{BatchLocation, BatchReader, Builder, Cursor, eq_batch, merge_batches_by_reference},
};
use parking_lot::Mutex;
use size_of::{Context, SizeOf};
use storage::SealedFile;

use self::{column::Column, file::BatchFile};
use crate::{mappable::Mappable, search::Index};

pub use self::{
    builder::MappedBatchBuilder, cursor::MappedCursor, factories::MappedBatchFactories,
};

/// An indexed Z-set that is read in place: keys, the values of each key, and their weights.
pub type MappedIndexedWSet<K, V> = MappedBatch<K, V, DynData>;

/// A Z-set that is read in place: keys and their weights.
pub type MappedWSet<K> = MappedBatch<K, (), DynUnit>;

/// Sorted (key, value, weight) tuples in columns: arrays of plain data, in memory or in a file.
///
/// A batch that DBSP keeps in storage lies in mapped files here, and its cursor hands out references
/// into the mapping: nothing is copied, decoded or allocated. A batch that DBSP keeps in memory has
/// the same columns there. Which of the two it is, is decided as for DBSP's own batches, by
/// `min_spill_size` and `min_step_spill_size` of the circuit.
///
/// A file of a batch has no name and is gone with it. The first checkpoint that there is of a batch writes it
/// out once more, durably, in the folder of the circuit's storage. Later ones name that file again.
///
/// Cloning shares the columns. `D` is the type that DBSP knows the values by: [`DynData`], or
/// [`DynUnit`] where there are none.
pub struct MappedBatch<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized = DynData> {
    factories: MappedBatchFactories<K, V, D>,
    columns: Arc<Columns<K, V>>,
}

/// What a batch holds.
///
/// Invariants: keys ascend strictly, and so do the values of one key; each key has a value at least;
/// there are as many weights as values, and none of them is zero.
struct Columns<K: Mappable, V: Mappable> {
    keys: Column<K>,
    /// Where the values of each key begin, and where those of the last one end. Empty where each key
    /// has one value.
    offsets: Column<u64>,
    vals: Column<V>,
    weights: Column<ZWeight>,
    index: Index<K>,
    negative_weight_count: u64,
    home: Home,
    /// The file that checkpoints name, if there was one.
    file: Mutex<Option<Arc<BatchFile>>>,
}

/// Where the columns are.
enum Home {
    Memory,
    /// In files without a name, which are gone with them.
    Temporary,
    /// In the file of a checkpoint, from which they were restored.
    Named(SealedFile),
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> MappedBatch<K, V, D> {
    /// The keys, as they lie in memory or in the file.
    #[must_use]
    pub fn key_slice(&self) -> &[K] {
        self.columns.keys.as_slice()
    }

    /// The values of all keys, one key's behind the other's.
    #[must_use]
    pub fn val_slice(&self) -> &[V] {
        self.columns.vals.as_slice()
    }

    /// The weights, in the order of [`val_slice`](Self::val_slice).
    #[must_use]
    pub fn weight_slice(&self) -> &[ZWeight] {
        self.columns.weights.as_slice()
    }

    /// How many keys there are.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.columns.keys.len()
    }

    /// How many tuples there are: values, of all keys.
    #[must_use]
    pub fn tuple_count(&self) -> usize {
        self.columns.vals.len()
    }

    fn copy_with(&self, weight: impl Fn(ZWeight) -> ZWeight) -> Self {
        let (keys, vals) = (self.key_count(), self.tuple_count());
        let location = Some(self.location());
        let mut builder =
            MappedBatchBuilder::with_capacity_in_location(&self.factories, keys, vals, location);
        let mut cursor = self.cursor();
        while cursor.key_valid() {
            while cursor.val_valid() {
                builder.push_typed(cursor.typed_val(), weight(cursor.typed_weight()));
                cursor.step_val();
            }
            builder.push_typed_key(cursor.typed_key());
            cursor.step_key();
        }
        builder.done()
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> Clone for MappedBatch<K, V, D> {
    fn clone(&self) -> Self {
        Self { factories: self.factories.clone(), columns: Arc::clone(&self.columns) }
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> fmt::Debug
    for MappedBatch<K, V, D>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        let mut cursor = self.cursor();
        while cursor.key_valid() {
            let mut vals = Vec::new();
            while cursor.val_valid() {
                vals.push((cursor.typed_val(), cursor.typed_weight()));
                cursor.step_val();
            }
            map.entry(cursor.typed_key(), &vals);
            cursor.step_key();
        }
        map.finish()
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> SizeOf for MappedBatch<K, V, D> {
    /// What it takes in memory that is not a file's.
    fn size_of_children(&self, context: &mut Context) {
        context.add(self.columns.index.len_bytes());
        if let Home::Memory = self.columns.home {
            context.add(self.approximate_byte_size());
        }
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> NumEntries
    for MappedBatch<K, V, D>
{
    const CONST_NUM_ENTRIES: Option<usize> = None;

    fn num_entries_shallow(&self) -> usize {
        self.key_count()
    }

    fn num_entries_deep(&self) -> usize {
        self.tuple_count()
    }
}

impl<K, V, D, Other> PartialEq<Other> for MappedBatch<K, V, D>
where
    K: Mappable,
    V: Mappable + Erase<D>,
    D: DataTrait + ?Sized,
    Other: BatchReader<Key = DynData, Val = D, R = DynZWeight, Time = ()>,
{
    fn eq(&self, other: &Other) -> bool {
        eq_batch(self, other)
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> Eq for MappedBatch<K, V, D> {}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> NegByRef for MappedBatch<K, V, D> {
    fn neg_by_ref(&self) -> Self {
        self.copy_with(|weight| -weight)
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> Neg for MappedBatch<K, V, D> {
    type Output = Self;

    fn neg(self) -> Self {
        self.neg_by_ref()
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> AddByRef for MappedBatch<K, V, D> {
    fn add_by_ref(&self, other: &Self) -> Self {
        merge_batches_by_reference(&self.factories, [self, other], &None, &None)
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> AddAssignByRef
    for MappedBatch<K, V, D>
{
    fn add_assign_by_ref(&mut self, other: &Self) {
        if !other.is_empty() {
            *self = self.add_by_ref(other);
        }
    }
}

impl<K: Mappable, V: Mappable> Columns<K, V> {
    fn location(&self) -> BatchLocation {
        match self.home {
            Home::Memory => BatchLocation::Memory,
            Home::Temporary | Home::Named(_) => BatchLocation::Storage,
        }
    }

    fn still_valid(&self) -> storage::Result<()> {
        match &self.home {
            Home::Memory => Ok(()),
            Home::Temporary => {
                self.keys.still_valid()?;
                self.offsets.still_valid()?;
                self.vals.still_valid()?;
                self.weights.still_valid()
            }
            Home::Named(file) => file.still_valid(),
        }
    }

    fn len_bytes(&self) -> usize {
        self.keys.len_bytes()
            + self.offsets.len_bytes()
            + self.vals.len_bytes()
            + self.weights.len_bytes()
    }
}
