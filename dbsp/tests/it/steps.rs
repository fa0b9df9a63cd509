//! Where the batch of one step is built.
//!
//! Method: batches of no tuple and of one, built on a thread of a circuit, with the thresholds that decide.

use dbsp::{
    DynZWeight, Runtime, ZWeight,
    circuit::{CircuitConfig, CircuitStorageConfig},
    dynamic::DynData,
    trace::{Batch, BatchLocation, BatchReader, BatchReaderFactories, Builder},
};
use feldera_types::{
    config::{StorageCacheConfig, StorageConfig, StorageOptions},
    size::ConfigSize,
};
use storage_dbsp::MappedIndexedWSet;

type Mapped = MappedIndexedWSet<i32, u16>;

/// Where batches of so many tuples are, in a circuit with this threshold.
fn locations(min_step_spill_bytes: Option<u64>, tuples: [i32; 3]) -> [BatchLocation; 3] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().into();
    let place = StorageConfig { path, cache: StorageCacheConfig::default() };
    let options = StorageOptions {
        min_step_spill_size: min_step_spill_bytes.map(ConfigSize::from_bytes),
        ..Default::default()
    };
    let storage = CircuitStorageConfig::for_config(place, options).unwrap();
    let config = CircuitConfig::with_workers(1).with_storage(Some(storage));
    let (handle, locations) = Runtime::init_circuit(config, move |_| {
        let factories = BatchReaderFactories::new::<i32, u16, ZWeight>();
        Ok(tuples.map(|count| {
            let mut builder = <Mapped as Batch>::Builder::with_capacity(&factories, 100, 100);
            for key in 0..count {
                builder.push_val_diff(&7_u16 as &DynData, &1_i64 as &DynZWeight);
                builder.push_key(&key as &DynData);
            }
            let batch = builder.done();
            assert_eq!(batch.is_empty(), count == 0);
            batch.location()
        }))
    })
    .unwrap();
    handle.kill().unwrap();
    locations
}

#[test]
fn a_step_goes_to_storage_as_its_threshold_says() {
    use BatchLocation::{Memory, Storage};
    assert_eq!(locations(None, [0, 1, 1000]), [Memory; 3]);
    // It is there for its size that was expected, 32 bytes for each key and value.
    assert_eq!(locations(Some(6_400), [0, 1, 1000]), [Storage; 3]);
    assert_eq!(locations(Some(6_401), [0, 1, 1000]), [Memory, Memory, Storage]);
    // Whatever has anything: an empty one has nothing to be kept.
    assert_eq!(locations(Some(0), [0, 1, 1000]), [Memory, Storage, Storage]);
}
