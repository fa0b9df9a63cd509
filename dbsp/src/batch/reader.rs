//! What DBSP asks of a batch.

use std::sync::Arc;

use dbsp::{
    DynZWeight, Error,
    circuit::checkpointer::Checkpoint,
    dynamic::{DataTrait, DynData, DynVec, Erase},
    storage::file::{SerializerInner, TouchedWindowCount, reader::Error as ReaderError},
    trace::{
        AccessHint, Batch, BatchLocation, BatchReader, FallbackValBatch, Filter, GroupFilter,
        MergeCursor, cursor::merge_cursor_over, deserialize_indexed_wset,
        ord::merge_batcher::MergeBatcher, serialize_indexed_wset,
    },
};
use feldera_storage::{FileReader, StoragePath};
use rand::{Rng, seq::index::sample};
use rkyv::{Archive, Deserialize, Fallible, Serialize};

use super::{
    MappedBatch, MappedBatchBuilder, MappedBatchFactories, MappedCursor,
    file::BatchFile,
    folder::{self, unwrap_storage},
};
use crate::mappable::Mappable;

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> BatchReader
    for MappedBatch<K, V, D>
{
    type Factories = MappedBatchFactories<K, V, D>;
    type Key = DynData;
    type Val = D;
    type Time = ();
    type R = DynZWeight;
    type Cursor<'s> = MappedCursor<'s, K, V, D>;

    fn factories(&self) -> Self::Factories {
        self.factories.clone()
    }

    #[inline]
    fn cursor(&self) -> Self::Cursor<'_> {
        MappedCursor::new(&self.columns)
    }

    fn cursor_with_hint(&self, hint: AccessHint) -> Self::Cursor<'_> {
        match hint {
            AccessHint::Sequential => MappedCursor::in_order(&self.columns),
            AccessHint::Unknown => self.cursor(),
        }
    }

    /// As DBSP's own, but what the merge comes to is read ahead.
    fn merge_cursor(
        &self,
        key_filter: Option<Filter<DynData>>,
        value_filter: Option<GroupFilter<D>>,
    ) -> Box<dyn MergeCursor<DynData, D, (), DynZWeight> + Send + '_> {
        merge_cursor_over(MappedCursor::in_order(&self.columns), key_filter, value_filter)
    }

    fn key_count_upper_bound(&self) -> usize {
        self.key_count()
    }

    fn len_upper_bound(&self) -> usize {
        self.tuple_count()
    }

    fn is_empty(&self) -> bool {
        self.tuple_count() == 0
    }

    fn approximate_byte_size(&self) -> usize {
        self.columns.len_bytes()
    }

    fn location(&self) -> BatchLocation {
        self.columns.location()
    }

    fn sample_keys<RG: Rng>(&self, rng: &mut RG, sample_size: usize, output: &mut DynVec<DynData>) {
        let keys = self.key_slice();
        if sample_size >= keys.len() {
            output.reserve(keys.len());
            keys.iter().for_each(|key| output.push_ref(key.erase()));
        } else {
            let mut places = sample(rng, keys.len(), sample_size).into_vec();
            places.sort_unstable();
            output.reserve(places.len());
            places.iter().for_each(|&place| output.push_ref(keys[place].erase()));
        }
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> Batch for MappedBatch<K, V, D> {
    /// With times, batches are DBSP's own.
    type Timed<T: dbsp::Timestamp> = FallbackValBatch<DynData, D, T, DynZWeight>;
    type Batcher = MergeBatcher<Self>;
    type Builder = MappedBatchBuilder<K, V, D>;

    /// Writes the batch to a file that a checkpoint can name, unless it has one. It remembers the file, so
    /// later checkpoints have nothing to write.
    fn persisted(&self) -> Option<Self> {
        let mut file = self.columns.file.lock();
        if file.as_ref().is_none_or(|file| !file.is_there()) {
            let folder = folder::of_circuit()
                .expect("batches are persisted by a circuit whose storage has a folder");
            let written = BatchFile::write(&folder, &self.columns);
            *file = Some(Arc::new(unwrap_storage(written, "write a batch for a checkpoint")));
        }
        drop(file);
        Some(self.clone())
    }

    fn file_reader(&self) -> Option<Arc<dyn FileReader>> {
        let file = self.columns.file.lock().clone().filter(|file| file.is_there())?;
        file.mark_for_checkpoint();
        Some(file)
    }

    fn from_path(factories: &Self::Factories, path: &StoragePath) -> Result<Self, ReaderError> {
        let columns = Arc::new(BatchFile::read(path)?);
        Ok(Self { factories: factories.clone(), columns })
    }

    fn key_bounds(&self) -> Option<(&DynData, &DynData)> {
        let keys = self.key_slice();
        Some((keys.first()?.erase(), keys.last()?.erase()))
    }

    fn negative_weight_count(&self) -> Option<u64> {
        Some(self.columns.negative_weight_count)
    }

    /// Unknown: DBSP asks for it to plan filters that these batches do without.
    fn touched_window_count(&self) -> TouchedWindowCount {
        TouchedWindowCount::default()
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> Checkpoint
    for MappedBatch<K, V, D>
{
    fn checkpoint(&self) -> Result<Vec<u8>, Error> {
        Ok(serialize_indexed_wset(self, &mut SerializerInner::new()).into_vec())
    }

    fn restore(&mut self, data: &[u8]) -> Result<(), Error> {
        *self = deserialize_indexed_wset(&self.factories, data);
        Ok(())
    }
}

/// Demanded of every batch, and never used of one: a batch is kept by its file.
const NOT_SERIALISED: &str = "DBSP keeps batches by their files";

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> Archive for MappedBatch<K, V, D> {
    type Archived = ();
    type Resolver = ();

    #[expect(unsafe_code, reason = "the trait's method is declared so; nothing unsafe is done")]
    unsafe fn resolve(&self, _pos: usize, (): (), _out: *mut ()) {
        unreachable!("{NOT_SERIALISED}");
    }
}

impl<K, V, D, S> Serialize<S> for MappedBatch<K, V, D>
where
    K: Mappable,
    V: Mappable + Erase<D>,
    D: DataTrait + ?Sized,
    S: Fallible + ?Sized,
{
    fn serialize(&self, _serializer: &mut S) -> Result<(), S::Error> {
        unreachable!("{NOT_SERIALISED}");
    }
}

impl<K, V, D, S> Deserialize<MappedBatch<K, V, D>, S> for ()
where
    K: Mappable,
    V: Mappable + Erase<D>,
    D: DataTrait + ?Sized,
    S: Fallible + ?Sized,
{
    fn deserialize(&self, _deserializer: &mut S) -> Result<MappedBatch<K, V, D>, S::Error> {
        unreachable!("{NOT_SERIALISED}");
    }
}
