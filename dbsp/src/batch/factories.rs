//! What DBSP asks for to make keys, values and vectors of them.

use std::{any::TypeId, any::type_name, marker::PhantomData};

use dbsp::{
    DBData, DBWeight, DynZWeight, ZWeight,
    dynamic::{
        DataTrait, DynData, DynDataTyped, DynPair, DynVec, DynWeightedPairs, Erase, Factory,
    },
    trace::{BatchFactories, BatchReaderFactories, VecIndexedWSetFactories, WeightedItem},
};

use crate::mappable::Mappable;

/// The factories of a [`MappedBatch`](crate::MappedBatch).
pub struct MappedBatchFactories<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> {
    inner: VecIndexedWSetFactories<DynData, D, DynZWeight>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> MappedBatchFactories<K, V, D> {
    /// The factories of batches of these types.
    #[must_use]
    pub fn of_types() -> Self {
        Self { inner: VecIndexedWSetFactories::new::<K, V, ZWeight>(), types: PhantomData }
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> std::fmt::Debug
    for MappedBatchFactories<K, V, D>
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MappedBatchFactories<{}, {}>", type_name::<K>(), type_name::<V>())
    }
}

impl<K: Mappable, V: Mappable + Erase<D>, D: DataTrait + ?Sized> Clone
    for MappedBatchFactories<K, V, D>
{
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), types: PhantomData }
    }
}

impl<K, V, D> BatchReaderFactories<DynData, D, (), DynZWeight> for MappedBatchFactories<K, V, D>
where
    K: Mappable,
    V: Mappable + Erase<D>,
    D: DataTrait + ?Sized,
{
    /// # Panics
    /// Where the types are others than the batch's own.
    fn new<KType, VType, RType>() -> Self
    where
        KType: DBData + Erase<DynData>,
        VType: DBData + Erase<D>,
        RType: DBWeight + Erase<DynZWeight>,
    {
        assert!(
            TypeId::of::<(KType, VType, RType)>() == TypeId::of::<(K, V, ZWeight)>(),
            "a batch of {:?} cannot hold {:?}: name the same types in both places",
            (type_name::<K>(), type_name::<V>(), type_name::<ZWeight>()),
            (type_name::<KType>(), type_name::<VType>(), type_name::<RType>()),
        );
        Self::of_types()
    }

    fn key_factory(&self) -> &'static dyn Factory<DynData> {
        self.inner.key_factory()
    }

    fn keys_factory(&self) -> &'static dyn Factory<DynVec<DynData>> {
        self.inner.keys_factory()
    }

    fn val_factory(&self) -> &'static dyn Factory<D> {
        self.inner.val_factory()
    }

    fn weight_factory(&self) -> &'static dyn Factory<DynZWeight> {
        self.inner.weight_factory()
    }
}

impl<K, V, D> BatchFactories<DynData, D, (), DynZWeight> for MappedBatchFactories<K, V, D>
where
    K: Mappable,
    V: Mappable + Erase<D>,
    D: DataTrait + ?Sized,
{
    fn item_factory(&self) -> &'static dyn Factory<DynPair<DynData, D>> {
        self.inner.item_factory()
    }

    fn weighted_items_factory(
        &self,
    ) -> &'static dyn Factory<DynWeightedPairs<DynPair<DynData, D>, DynZWeight>> {
        self.inner.weighted_items_factory()
    }

    fn weighted_vals_factory(&self) -> &'static dyn Factory<DynWeightedPairs<D, DynZWeight>> {
        self.inner.weighted_vals_factory()
    }

    fn weighted_item_factory(&self) -> &'static dyn Factory<WeightedItem<DynData, D, DynZWeight>> {
        self.inner.weighted_item_factory()
    }

    fn time_diffs_factory(
        &self,
    ) -> Option<&'static dyn Factory<DynWeightedPairs<DynDataTyped<()>, DynZWeight>>> {
        None
    }
}
