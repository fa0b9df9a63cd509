//! Circuits with batches read in place against the same circuits with DBSP's own.
//!
//! Both get the same random changes. That with our batches stops at checkpoints, and a new circuit
//! goes on from there; the other one runs through. What they put out must be the same, step by step.
//! And one has a disk that cannot write.

mod checkpoints;
mod files;

use std::{collections::BTreeMap, path::Path};

use dbsp::{
    DBSPHandle, IndexedZSetHandle, OrdIndexedZSet, OutputHandle, RootCircuit, Runtime, Stream,
    ZWeight,
    circuit::{CircuitConfig, CircuitStorageConfig, checkpointer::Checkpointer},
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
use storage_dbsp::{AggregateInPlace, InPlace, MappedIndexedZSet};

use crate::{failing_ext4::FailingExt4, skip};

type Val = Tup2<u32, i32>;
type Change = (u16, Val, ZWeight);
type Output = BTreeMap<(u16, Val), ZWeight>;

/// The changes of one step, of either side.
type Step = [Vec<Change>; 2];

#[derive(Clone, Copy, PartialEq)]
enum Batches {
    BuiltIn,
    InPlace,
}

struct Running {
    handle: DBSPHandle,
    inputs: [IndexedZSetHandle<u16, Val>; 2],
    outputs: Outputs,
}

enum Outputs {
    BuiltIn([OutputHandle<SpineSnapshot<OrdIndexedZSet<u16, Val>>>; 2]),
    InPlace(
        OutputHandle<SpineSnapshot<MappedIndexedZSet<u16, Val>>>,
        OutputHandle<SpineSnapshot<MappedIndexedZSet<u16, Val>>>,
    ),
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

fn input(
    circuit: &mut RootCircuit,
    name: &str,
) -> (Stream<RootCircuit, OrdIndexedZSet<u16, Val>>, IndexedZSetHandle<u16, Val>) {
    let (stream, handle) = circuit.add_input_indexed_zset::<u16, Val>();
    (stream.set_persistent_id(Some(name)), handle)
}

fn pair(key: &u16, left: &Val, right: &Val) -> Option<(u16, Val)> {
    Some((key % 7, Tup2(left.0 ^ right.0, left.1.wrapping_add(right.1))))
}

impl Running {
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
            let (left, left_input) = input(circuit, "left");
            let (right, right_input) = input(circuit, "right");
            let outputs = match batches {
                Batches::BuiltIn => {
                    let joined = left.join_index(&right, pair).set_persistent_id(Some("joined"));
                    let max = joined.aggregate_persistent(Some("max"), Max);
                    Outputs::BuiltIn([
                        joined.accumulate_output_persistent(Some("out.joined")),
                        max.accumulate_output_persistent(Some("out.max")),
                    ])
                }
                Batches::InPlace => {
                    let joined = left
                        .in_place()
                        .join_generic::<_, _, MappedIndexedZSet<u16, Val>, _>(
                            &right.in_place(),
                            pair,
                        )
                        .set_persistent_id(Some("joined"));
                    let max = joined.aggregate_in_place(Some("max"), Max);
                    Outputs::InPlace(
                        joined.accumulate_output_persistent(Some("out.joined")),
                        max.accumulate_output_persistent(Some("out.max")),
                    )
                }
            };
            Ok(([left_input, right_input], outputs))
        })
        .unwrap();
        Self { handle, inputs, outputs }
    }

    fn try_step(&mut self, step: &Step) -> Result<(), dbsp::Error> {
        for (input, changes) in self.inputs.iter().zip(step) {
            for (key, val, weight) in changes {
                input.push(*key, (*val, *weight));
            }
        }
        self.handle.transaction()
    }

    fn step(&mut self, step: &Step) -> [Output; 2] {
        self.try_step(step).unwrap();
        match &self.outputs {
            Outputs::BuiltIn([joined, max]) => [tuples(&joined.concat()), tuples(&max.concat())],
            Outputs::InPlace(joined, max) => [tuples(&joined.concat()), tuples(&max.concat())],
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

fn tuples(batch: &impl IndexedZSetReader<Key = u16, Val = Val>) -> Output {
    let mut tuples = Output::new();
    for (key, val, weight) in batch.iter() {
        *tuples.entry((key, val)).or_default() += weight;
    }
    tuples.retain(|_, weight| *weight != 0);
    tuples
}

fn change() -> impl Strategy<Value = Change> {
    let weight = prop_oneof![4 => Just(1_i64), 2 => Just(-1), 1 => Just(2)];
    (0..24_u16, (0..5_u32, -2..2_i32), weight).prop_map(|(key, (a, b), w)| (key, Tup2(a, b), w))
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    proptest::collection::vec(change(), 0..80)
}

/// A step, and whether a checkpoint and a restart follow.
fn steps() -> impl Strategy<Value = Vec<(Step, bool)>> {
    let step = (changes(), changes()).prop_map(|(left, right)| [left, right]);
    proptest::collection::vec((step, proptest::bool::weighted(0.25)), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..Default::default() })]

    #[test]
    fn circuits_agree_with_built_in_batches(steps in steps(), workers in 1..3_usize) {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mut expected = Running::start(Batches::BuiltIn, folders[0].path(), workers, None);
        let mut running = Running::start(Batches::InPlace, folders[1].path(), workers, None);
        for (at, (step, restart)) in (1..).zip(&steps) {
            prop_assert_eq!(running.step(step), expected.step(step), "step {}", at);
            if *restart {
                let checkpoint = running.checkpoint(at);
                running.stop();
                let from = Some(&checkpoint);
                running = Running::start(Batches::InPlace, folders[1].path(), workers, from);
            }
        }
        running.stop();
        expected.stop();
    }
}

/// Step `at` of a run that is killed: the same each time.
fn step_of_run(at: u64) -> Step {
    let mut seed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move |limit: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % limit
    };
    let mut change = || {
        let val = Tup2(u32::try_from(random(50)).unwrap(), i32::try_from(random(9)).unwrap());
        (u16::try_from(random(3_000)).unwrap(), val, 1)
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
