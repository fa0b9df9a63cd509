//! Circuits whose traces are read in place.

use dbsp::{
    OrdIndexedZSet, OrdZSet, RootCircuit, Stream, ZWeight,
    dynamic::DynData,
    operator::dynamic::aggregate::{Aggregator, DynAggregatorImpl, IncAggregateFactories},
    trace::{Batch, BatchReaderFactories, Deserializable},
    typed_batch::TypedBatch,
};

use crate::{
    batch::{MappedIndexedWSet, MappedWSet},
    mappable::Mappable,
};

/// An indexed Z-set that is read in place, as streams carry it.
pub type MappedIndexedZSet<K, V> = TypedBatch<K, V, ZWeight, MappedIndexedWSet<K, V>>;

/// A Z-set that is read in place, as streams carry it.
pub type MappedZSet<K> = TypedBatch<K, (), ZWeight, MappedWSet<K>>;

/// A stream whose batches can be had as batches that are read in place.
///
/// The traces of operators behind it (a join's, say) consist of such batches then. This holds for
/// streams of [`OrdIndexedZSet`] and [`OrdZSet`] of [`Mappable`] keys and values.
pub trait InPlace {
    /// What the stream carries then.
    type Mapped;

    /// The same changes, in batches that are read in place. Each batch is copied, once.
    ///
    /// A persistent id of the stream, which checkpoints need, is carried over, with `.in_place`
    /// behind it.
    #[must_use]
    fn in_place(&self) -> Stream<RootCircuit, Self::Mapped>;
}

/// A stream that can be aggregated with all state read in place.
pub trait AggregateInPlace<K: Mappable, V: Mappable> {
    /// As `aggregate` of a stream of [`OrdIndexedZSet`], but both traces it keeps, that of its input
    /// and that of its output, are read in place. `persistent_id` names the second one for
    /// checkpoints.
    #[must_use]
    fn aggregate_in_place<A>(
        &self,
        persistent_id: Option<&str>,
        aggregator: A,
    ) -> Stream<RootCircuit, MappedIndexedZSet<K, A::Output>>
    where
        A: Aggregator<V, (), ZWeight>,
        A::Output: Mappable;
}

fn carry_id<A, B>(
    from: &Stream<RootCircuit, A>,
    to: &Stream<RootCircuit, B>,
) -> Stream<RootCircuit, B>
where
    A: Clone + 'static,
    B: Clone + 'static,
{
    let id = from.get_persistent_id().map(|id| format!("{id}.in_place"));
    to.set_persistent_id(id.as_deref())
}

impl<K: Mappable, V: Mappable> InPlace for Stream<RootCircuit, OrdIndexedZSet<K, V>> {
    type Mapped = MappedIndexedZSet<K, V>;

    #[track_caller]
    fn in_place(&self) -> Stream<RootCircuit, Self::Mapped> {
        let factories = BatchReaderFactories::new::<K, V, ZWeight>();
        let mapped = self.apply_named("InPlace", move |batch| {
            TypedBatch::new(MappedIndexedWSet::from_batch(&**batch, &(), &factories))
        });
        carry_id(self, &mapped)
    }
}

impl<K: Mappable> InPlace for Stream<RootCircuit, OrdZSet<K>> {
    type Mapped = MappedZSet<K>;

    #[track_caller]
    fn in_place(&self) -> Stream<RootCircuit, Self::Mapped> {
        let factories = BatchReaderFactories::new::<K, (), ZWeight>();
        let mapped = self.apply_named("InPlace", move |batch| {
            TypedBatch::new(MappedWSet::from_batch(&**batch, &(), &factories))
        });
        carry_id(self, &mapped)
    }
}

impl<K, V> AggregateInPlace<K, V> for Stream<RootCircuit, MappedIndexedZSet<K, V>>
where
    K: Mappable,
    <K as Deserializable>::ArchivedDeser: Ord,
    V: Mappable,
{
    #[track_caller]
    fn aggregate_in_place<A>(
        &self,
        persistent_id: Option<&str>,
        aggregator: A,
    ) -> Stream<RootCircuit, MappedIndexedZSet<K, A::Output>>
    where
        A: Aggregator<V, (), ZWeight>,
        A::Output: Mappable,
    {
        type Aggregate<V, A> =
            DynAggregatorImpl<DynData, V, (), dbsp::DynZWeight, ZWeight, A, DynData, DynData>;
        let factories = IncAggregateFactories::<
            MappedIndexedWSet<K, V>,
            MappedIndexedWSet<K, A::Output>,
            (),
        >::new::<K, V, ZWeight, A::Output>();
        self.inner()
            .dyn_aggregate_generic::<DynData, DynData, MappedIndexedWSet<K, A::Output>>(
                persistent_id,
                &factories,
                &Aggregate::<V, A>::new(aggregator),
            )
            .typed()
    }
}
