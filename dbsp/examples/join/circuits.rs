//! One circuit, by several ways of keeping its state.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use dbsp::{
    DBSPHandle, IndexedZSetHandle, OrdIndexedZSet, Runtime,
    circuit::{CircuitConfig, CircuitStorageConfig},
    operator::Max,
    typed_batch::IndexedZSetReader,
    utils::Tup2,
};
use feldera_types::config::{StorageCacheConfig, StorageConfig, StorageOptions};
use rand::{Rng, SeedableRng, rngs::StdRng};
use storage_dbsp::{AggregateInPlace, InPlace, MappedIndexedZSet};

/// How a circuit keeps its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    InMemory,
    /// In DBSP's own files, by its own backend, with this much cache, or its default.
    Posixio {
        cache_mib: Option<usize>,
    },
    /// In batches that are read in place.
    InPlace,
}

/// What a circuit computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Join,
    JoinAndMax,
}

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) wall: Duration,
    /// The same for each way of the same work.
    pub(crate) checksum: i64,
}

type Inputs = [IndexedZSetHandle<u64, u64>; 2];

fn config(kept: Kept, folder: &Path) -> CircuitConfig {
    let config = CircuitConfig::with_workers(1);
    let cache_mib = match kept {
        Kept::InMemory => return config,
        Kept::Posixio { cache_mib } => cache_mib,
        Kept::InPlace => None,
    };
    let path = folder.to_str().expect("a UTF-8 path").into();
    let place = StorageConfig { path, cache: StorageCacheConfig::default() };
    let options = StorageOptions { min_storage_bytes: Some(0), cache_mib, ..Default::default() };
    config.with_storage(Some(CircuitStorageConfig::for_config(place, options).expect("storage")))
}

fn circuit(kept: Kept, work: Work, folder: &Path, sum: &Arc<AtomicI64>) -> (DBSPHandle, Inputs) {
    let sum = Arc::clone(sum);
    let add = move |key: u64, val: u64, weight: i64| {
        let mixed = (key ^ val.rotate_left(17)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        sum.fetch_add(mixed.cast_signed() * weight, Ordering::Relaxed);
    };
    let built = Runtime::init_circuit(config(kept, folder), move |circuit| {
        let (left, left_input) = circuit.add_input_indexed_zset::<u64, u64>();
        let (right, right_input) = circuit.add_input_indexed_zset::<u64, u64>();
        let pair = |key: &u64, left: &u64, right: &u64| Some((*key, left ^ right));
        match (kept, work) {
            (Kept::InPlace, Work::Join) => {
                let (left, right) = (left.in_place(), right.in_place());
                left.join_generic::<_, _, OrdIndexedZSet<u64, u64>, _>(&right, pair)
                    .inspect(move |batch| batch.iter().for_each(|(k, v, w)| add(k, v, w)));
            }
            (Kept::InPlace, Work::JoinAndMax) => {
                let (left, right) = (left.in_place(), right.in_place());
                left.join_generic::<_, _, MappedIndexedZSet<u64, u64>, _>(&right, pair)
                    .aggregate_in_place(None, Max)
                    .inspect(move |batch| batch.iter().for_each(|(k, v, w)| add(k, v, w)));
            }
            (_, Work::Join) => {
                left.join_index(&right, pair)
                    .inspect(move |batch| batch.iter().for_each(|(k, v, w)| add(k, v, w)));
            }
            (_, Work::JoinAndMax) => {
                left.join_index(&right, pair)
                    .aggregate(Max)
                    .inspect(move |batch| batch.iter().for_each(|(k, v, w)| add(k, v, w)));
            }
        }
        Ok([left_input, right_input])
    });
    built.expect("a circuit")
}

/// Runs `work` on `records` a side, in steps, on the same data each time. `at_end` is called while
/// all state is there.
pub(crate) fn run(kept: Kept, work: Work, records: u64, at_end: impl FnOnce()) -> Outcome {
    const STEP_RECORDS: u64 = 20_000;
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let sum = Arc::new(AtomicI64::new(0));
    let (mut handle, inputs) = circuit(kept, work, folder.path(), &sum);
    let mut random = StdRng::seed_from_u64(1);
    let mut wall = Duration::ZERO;
    for _ in 0..records / STEP_RECORDS {
        let mut sides = [(); 2].map(|()| {
            (0..STEP_RECORDS)
                .map(|_| Tup2(random.gen_range(0..records), Tup2(random.r#gen(), 1)))
                .collect::<Vec<_>>()
        });
        let start = Instant::now();
        for (input, side) in inputs.iter().zip(&mut sides) {
            input.append(side);
        }
        handle.transaction().expect("a transaction");
        wall += start.elapsed();
    }
    at_end();
    handle.kill().expect("the circuit ends");
    Outcome { wall, checksum: sum.load(Ordering::Relaxed) }
}
