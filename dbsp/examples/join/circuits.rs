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
use feldera_types::{
    config::{StorageCacheConfig, StorageConfig, StorageOptions},
    size::ConfigSize,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use storage_dbsp::{AggregateInPlace, InPlace, MappedIndexedZSet, MappedStorage};

/// How a circuit keeps its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    InMemory,
    /// In DBSP's own files, by its own backend, with this much cache, or its default.
    Posixio {
        cache_mib: Option<u64>,
    },
    /// In the same files, by [`MappedStorage`].
    MappedStorage {
        cache_mib: Option<u64>,
    },
    /// In batches that are read in place.
    InPlace,
}

/// What comes in, on each side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) records: u64,
    /// How many of them in one transaction.
    pub(crate) step_records: u64,
    pub(crate) keys: Keys,
}

impl Load {
    /// So many records, with keys anywhere.
    pub(crate) fn anywhere(records: u64) -> Self {
        Self { records, step_records: 20_000, keys: Keys::Anywhere }
    }
}

/// Which keys the records of a step have. There are as many keys as records on a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Any: each step goes through all of the state.
    Anywhere,
    /// As in a stream of growing numbers or times: one of 64 is any key so far, the others are of
    /// the newest 32nd of all.
    MostlyNew,
}

impl Keys {
    /// The key of the record with this number.
    fn key(self, number: u64, load: &Load, random: &mut StdRng) -> u64 {
        match self {
            Self::Anywhere => random.gen_range(0..load.records),
            Self::MostlyNew => {
                let window = number.min(load.records / 32);
                let oldest = if random.gen_range(0..64) == 0 { 0 } else { number - window };
                random.gen_range(oldest..=number)
            }
        }
    }
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

pub(crate) fn config(kept: Kept, folder: &Path) -> CircuitConfig {
    let config = CircuitConfig::with_workers(1);
    let (mut storage, cache_mib) = match kept {
        Kept::InMemory => return config,
        Kept::InPlace => (built_in(folder), None),
        Kept::Posixio { cache_mib } => (built_in(folder), cache_mib),
        Kept::MappedStorage { cache_mib } => {
            (MappedStorage::open(folder).expect("storage").into_config(), cache_mib)
        }
    };
    storage.options.min_spill_size = Some(ConfigSize::ZERO);
    storage.options.cache_size = cache_mib.map(ConfigSize::from_mib);
    config.with_storage(Some(storage))
}

/// Storage by DBSP's own backend.
fn built_in(folder: &Path) -> CircuitStorageConfig {
    let path = folder.to_str().expect("a UTF-8 path").into();
    let place = StorageConfig { path, cache: StorageCacheConfig::default() };
    CircuitStorageConfig::for_config(place, StorageOptions::default()).expect("storage")
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

/// Runs `work` with its state in `folder`, on the same data each time. `at_end` is called while all
/// state is there.
pub(crate) fn run(
    kept: Kept,
    work: Work,
    load: Load,
    folder: &Path,
    at_end: impl FnOnce(),
) -> Outcome {
    let sum = Arc::new(AtomicI64::new(0));
    let (mut handle, inputs) = circuit(kept, work, folder, &sum);
    let mut random = StdRng::seed_from_u64(1);
    let mut wall = Duration::ZERO;
    for step in 0..load.records / load.step_records {
        let first = step * load.step_records;
        let mut sides = [(); 2].map(|()| {
            (first..first + load.step_records)
                .map(|number| {
                    Tup2(load.keys.key(number, &load, &mut random), Tup2(random.r#gen(), 1))
                })
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

/// What the process has in memory: its own bytes, and those of files.
pub(crate) fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a known field");
        line.trim_end_matches("kB").trim().parse::<u64>().expect("a number") << 10
    };
    (field("RssAnon:"), field("RssFile:"))
}
