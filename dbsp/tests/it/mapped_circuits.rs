//! Circuits with batches read in place against the same circuits with DBSP's own.
//!
//! Both get the same random changes. That with our batches stops at checkpoints, and a new circuit
//! goes on from there; the other one runs through. What they put out must be the same, step by step.
//! And one has a disk that cannot write.

mod checkpoints;
mod files;
mod texts;

use std::{collections::BTreeMap, fmt, path::Path};

use dbsp::{
    DBSPHandle, IndexedZSetHandle, OrdIndexedZSet, OutputHandle, RootCircuit, Runtime, Stream,
    ZWeight,
    circuit::{CircuitConfig, CircuitStorageConfig, checkpointer::Checkpointer},
    dynamic::{DynData, Erase},
    operator::Max,
    typed_batch::{IndexedZSetReader, SpineSnapshot},
    utils::Tup2,
};
use feldera_types::{
    checkpoint::CheckpointMetadata,
    config::{StorageCacheConfig, StorageConfig, StorageOptions},
    size::ConfigSize,
};
use proptest::prelude::*;
use storage_dbsp::{AggregateInPlace, InPlace, Mappable, MappedIndexedZSet};
use tempfile::TempDir;

use crate::{failing_ext4::FailingExt4, skip};

/// What the keys and values of a circuit are.
trait Kind: fmt::Debug + Clone + 'static {
    type Key: Mappable + Erase<DynData>;
    type Val: Mappable + Erase<DynData>;

    /// What the join makes of two values.
    fn pair(key: &Self::Key, left: &Self::Val, right: &Self::Val)
    -> Option<(Self::Key, Self::Val)>;

    /// A key, one of some.
    fn key(number: u64) -> Self::Key;

    /// A value, likewise.
    fn val(number: u64) -> Self::Val;
}

type Change<K> = (<K as Kind>::Key, <K as Kind>::Val, ZWeight);
type OutputOf<K> = BTreeMap<(<K as Kind>::Key, <K as Kind>::Val), ZWeight>;

/// The changes of one step, of either side.
type StepOf<K> = [Vec<Change<K>>; 2];

type Val = Tup2<u32, i32>;
type Output = OutputOf<Numbers>;
type Step = StepOf<Numbers>;
type Running = RunningOf<Numbers>;

/// Keys and values that are numbers.
#[derive(Clone, Debug)]
struct Numbers;

impl Kind for Numbers {
    type Key = u16;
    type Val = Val;

    fn pair(key: &u16, left: &Val, right: &Val) -> Option<(u16, Val)> {
        Some((key % 7, Tup2(left.0 ^ right.0, left.1.wrapping_add(right.1))))
    }

    fn key(number: u64) -> u16 {
        u16::try_from(number % 3_000).unwrap()
    }

    fn val(number: u64) -> Val {
        Tup2(u32::try_from(number % 50).unwrap(), i32::try_from(number / 50 % 9).unwrap())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Batches {
    BuiltIn,
    InPlace,
}

struct RunningOf<K: Kind> {
    handle: DBSPHandle,
    inputs: [Input<K>; 2],
    outputs: Outputs<K>,
}

type Input<K> = IndexedZSetHandle<<K as Kind>::Key, <K as Kind>::Val>;
type OutputOfBatches<B> = OutputHandle<SpineSnapshot<B>>;
type BuiltIn<K> = OrdIndexedZSet<<K as Kind>::Key, <K as Kind>::Val>;
type Mapped<K> = MappedIndexedZSet<<K as Kind>::Key, <K as Kind>::Val>;

enum Outputs<K: Kind> {
    BuiltIn([OutputOfBatches<BuiltIn<K>>; 2]),
    InPlace([OutputOfBatches<Mapped<K>>; 2]),
}

/// Every batch goes to storage that has 300 bytes.
fn config(folder: &Path, workers: usize) -> CircuitConfig {
    config_from(folder, workers, Some(300))
}

fn config_from(folder: &Path, workers: usize, min_step_spill_bytes: Option<u64>) -> CircuitConfig {
    let path = folder.to_str().unwrap().into();
    let place = StorageConfig { path, cache: StorageCacheConfig::default() };
    let options = StorageOptions {
        min_spill_size: Some(ConfigSize::ZERO),
        min_step_spill_size: min_step_spill_bytes.map(ConfigSize::from_bytes),
        ..Default::default()
    };
    let storage = CircuitStorageConfig::for_config(place, options).unwrap();
    CircuitConfig::with_workers(workers).with_storage(Some(storage))
}

fn input<K: Kind>(
    circuit: &mut RootCircuit,
    name: &str,
) -> (Stream<RootCircuit, BuiltIn<K>>, Input<K>) {
    let (stream, handle) = circuit.add_input_indexed_zset::<K::Key, K::Val>();
    (stream.set_persistent_id(Some(name)), handle)
}

impl<K: Kind> RunningOf<K> {
    fn start(
        batches: Batches,
        folder: &Path,
        workers: usize,
        from: Option<&CheckpointMetadata>,
    ) -> Self {
        Self::start_as(batches, config(folder, workers), from)
    }

    fn start_as(
        batches: Batches,
        mut config: CircuitConfig,
        from: Option<&CheckpointMetadata>,
    ) -> Self {
        config.storage.as_mut().unwrap().init_checkpoint = from.map(|checkpoint| checkpoint.uuid);
        let (handle, (inputs, outputs)) = Runtime::init_circuit(config, move |circuit| {
            let (left, left_input) = input::<K>(circuit, "left");
            let (right, right_input) = input::<K>(circuit, "right");
            let outputs = match batches {
                Batches::BuiltIn => {
                    let joined = left.join_index(&right, K::pair).set_persistent_id(Some("joined"));
                    let max = joined.aggregate_persistent(Some("max"), Max);
                    Outputs::BuiltIn([
                        joined.accumulate_output_persistent(Some("out.joined")),
                        max.accumulate_output_persistent(Some("out.max")),
                    ])
                }
                Batches::InPlace => {
                    let joined = left
                        .in_place()
                        .join_generic::<_, _, MappedIndexedZSet<K::Key, K::Val>, _>(
                            &right.in_place(),
                            K::pair,
                        )
                        .set_persistent_id(Some("joined"));
                    let max = joined.aggregate_in_place(Some("max"), Max);
                    Outputs::InPlace([
                        joined.accumulate_output_persistent(Some("out.joined")),
                        max.accumulate_output_persistent(Some("out.max")),
                    ])
                }
            };
            Ok(([left_input, right_input], outputs))
        })
        .unwrap();
        Self { handle, inputs, outputs }
    }

    fn try_step(&mut self, step: &StepOf<K>) -> Result<(), dbsp::Error> {
        for (input, changes) in self.inputs.iter().zip(step) {
            for (key, val, weight) in changes {
                input.push(key.clone(), (val.clone(), *weight));
            }
        }
        self.handle.transaction()
    }

    fn step(&mut self, step: &StepOf<K>) -> [OutputOf<K>; 2] {
        self.try_step(step).unwrap();
        match &self.outputs {
            Outputs::BuiltIn([joined, max]) => {
                [tuples::<K>(&joined.concat()), tuples::<K>(&max.concat())]
            }
            Outputs::InPlace([joined, max]) => {
                [tuples::<K>(&joined.concat()), tuples::<K>(&max.concat())]
            }
        }
    }

    fn try_checkpoint(&mut self, steps: u64) -> Result<CheckpointMetadata, dbsp::Error> {
        self.handle.checkpoint().with_steps(steps).run()
    }

    fn checkpoint(&mut self, steps: u64) -> CheckpointMetadata {
        self.try_checkpoint(steps).unwrap()
    }

    fn stop(self) {
        self.handle.kill().unwrap();
    }
}

fn tuples<K: Kind>(batch: &impl IndexedZSetReader<Key = K::Key, Val = K::Val>) -> OutputOf<K> {
    let mut tuples = OutputOf::<K>::new();
    for (key, val, weight) in batch.iter() {
        *tuples.entry((key, val)).or_default() += weight;
    }
    tuples.retain(|_, weight| *weight != 0);
    tuples
}

fn change<K: Kind>() -> impl Strategy<Value = Change<K>> {
    let weight = prop_oneof![4 => Just(1_i64), 2 => Just(-1), 1 => Just(2)];
    (0..24_u64, 0..20_u64, weight).prop_map(|(key, val, w)| (K::key(key), K::val(val), w))
}

fn changes<K: Kind>() -> impl Strategy<Value = Vec<Change<K>>> {
    proptest::collection::vec(change::<K>(), 0..80)
}

/// A step, and whether a checkpoint and a restart follow.
fn steps<K: Kind>() -> impl Strategy<Value = Vec<(StepOf<K>, bool)>> {
    let step = (changes::<K>(), changes::<K>()).prop_map(|(left, right)| [left, right]);
    proptest::collection::vec((step, proptest::bool::weighted(0.25)), 1..12)
}

/// Runs both through these steps.
fn agree<K: Kind>(steps: &[(StepOf<K>, bool)], workers: usize) -> Result<(), TestCaseError> {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let start = |batches, folder: &TempDir, from: Option<&CheckpointMetadata>| {
        RunningOf::<K>::start(batches, folder.path(), workers, from)
    };
    let mut expected = start(Batches::BuiltIn, &folders[0], None);
    let mut running = start(Batches::InPlace, &folders[1], None);
    for (at, (step, restart)) in (1..).zip(steps) {
        prop_assert_eq!(running.step(step), expected.step(step), "step {}", at);
        if *restart {
            let checkpoint = running.checkpoint(at);
            running.stop();
            running = start(Batches::InPlace, &folders[1], Some(&checkpoint));
        }
    }
    running.stop();
    expected.stop();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..Default::default() })]

    #[test]
    fn circuits_agree_with_built_in_batches(steps in steps::<Numbers>(), workers in 1..3_usize) {
        agree::<Numbers>(&steps, workers)?;
    }
}

/// Step `at` of a run that is killed: the same each time.
fn step_of_run(at: u64) -> Step {
    step_of::<Numbers>(at)
}

/// The same of any kind.
fn step_of<K: Kind>(at: u64) -> StepOf<K> {
    let mut seed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move |limit: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % limit
    };
    let mut change = || {
        let val = K::val(random(450));
        (K::key(random(3_000)), val, 1)
    };
    [(); 2].map(|()| (0..400).map(|_| change()).collect())
}

fn last_checkpoint(folder: &Path) -> Option<CheckpointMetadata> {
    let backend = config(folder, 1).storage.unwrap().backend;
    Checkpointer::read_checkpoints(&*backend).unwrap().pop_back()
}

/// Whoever writes first: a batch, or DBSP itself for its checkpoint. Neither is the checkpoint taken for made, nor
/// does the process end.
#[test]
fn a_disk_that_cannot_write_ends_the_circuit_with_an_error() {
    let test = "a_disk_that_cannot_write_ends_the_circuit_with_an_error";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let folder = disk.above().join("state");
    std::fs::create_dir(&folder).unwrap();
    let mut running = Running::start(Batches::InPlace, &folder, 1, None);
    running.step(&step_of_run(0));
    running.checkpoint(1);
    disk.fill();
    let failed = (1..200).find_map(|at| {
        let failed = running.try_step(&step_of_run(at)).err();
        failed.or_else(|| running.try_checkpoint(at + 1).err())
    });
    let error = format!("{:?}", failed.expect("no file can be made durable"));
    // By the kind from DBSP, and by the system's own words from a batch.
    let told = [disk.sync_error_kind().to_string(), disk.sync_error().to_string()];
    let kind = format!("{:?}", disk.sync_error_kind());
    assert!(told.iter().chain([&kind]).any(|told| error.contains(told)), "{error}");
    let steps = last_checkpoint(&folder).and_then(|checkpoint| checkpoint.steps);
    assert!(steps.is_some_and(|steps| steps >= 1), "the checkpoint before it is there: {steps:?}");
    drop(running);
}
