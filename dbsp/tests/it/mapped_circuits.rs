//! Circuits with batches read in place against the same circuits with DBSP's own.
//!
//! Both get the same random changes. That with our batches stops at checkpoints, and a new circuit
//! goes on from there; the other one runs through. What they put out must be the same, step by step.
//! Another test kills a process in the midst of its work, again and again, and has the next one go
//! on from the last checkpoint that it finds. And one has a disk that cannot write.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

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

const FOLDER: &str = "STORAGE_DBSP_TEST_FOLDER";

/// The files of batches that are read in place, in the folder of a storage.
fn batch_files(folder: &Path) -> BTreeSet<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| storage::Columns::open(path).is_ok()).collect()
}

/// Makes checkpoints until one needs no new file of a batch. Before, mergers may be at work.
fn checkpoint_without_writing(running: &mut Running, folder: &Path) -> CheckpointMetadata {
    let at_rest = (0..100).find_map(|at| {
        let before = batch_files(folder);
        sleep(Duration::from_millis(10));
        let checkpoint = running.checkpoint(at);
        (batch_files(folder) == before).then_some(checkpoint)
    });
    at_rest.expect("batches are written for their first checkpoint alone")
}

#[test]
fn a_batch_is_written_for_its_first_checkpoint_alone() {
    // In files, and in memory.
    for min_step_spill_bytes in [Some(300), None] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let config = config_from(folder.path(), 1, min_step_spill_bytes);
        let mut running = Running::start_as(Batches::InPlace, config, None);
        (0..5).for_each(|at| {
            running.step(&step_of_run(at));
        });
        let checkpoint = checkpoint_without_writing(&mut running, folder.path());
        assert!(!batch_files(folder.path()).is_empty());
        running.stop();
        // And those that are restored are not written at all.
        let mut running = Running::start(Batches::InPlace, folder.path(), 1, Some(&checkpoint));
        checkpoint_without_writing(&mut running, folder.path());
        running.stop();
    }
}

/// DBSP deletes the file when no checkpoint names it any more, whoever still has the batch.
#[test]
fn a_batch_whose_file_was_deleted_is_written_again() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let reference = tempfile::tempdir().unwrap();
    let mut expected = Running::start(Batches::BuiltIn, reference.path(), 1, None);
    let mut running = Running::start(Batches::InPlace, folder.path(), 1, None);
    for at in 0..5 {
        assert_eq!(running.step(&step_of_run(at)), expected.step(&step_of_run(at)));
    }
    for _ in 0..2 {
        checkpoint_without_writing(&mut running, folder.path());
        batch_files(folder.path()).iter().for_each(|path| std::fs::remove_file(path).unwrap());
        let checkpoint = running.checkpoint(5);
        running.stop();
        // The next time it is batches that were restored.
        running = Running::start(Batches::InPlace, folder.path(), 1, Some(&checkpoint));
    }
    assert_eq!(running.step(&step_of_run(5)), expected.step(&step_of_run(5)));
    running.stop();
    expected.stop();
}

/// Left changes only, so that nothing joins.
fn left_of(keys: u16, vals: u32) -> Step {
    let of_key = |key| (0..vals).map(move |val| (key, Tup2(val, 1), 1));
    [(0..keys).flat_map(of_key).collect(), vec![]]
}

/// The process that may write small files only.
#[test]
#[ignore = "run by `a_batch_that_a_checkpoint_cannot_write_fails_the_checkpoint`"]
fn checkpoints_in_small_files() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let folder = Path::new(&folder);
    // Batches stay in memory until a checkpoint asks for them.
    let mut running = Running::start_as(Batches::InPlace, config_from(folder, 1, None), None);
    running.step(&left_of(10, 1));
    running.checkpoint(1);
    // 1 MB.
    running.step(&left_of(60_000, 1));
    let error = format!("{:?}", running.try_checkpoint(2).unwrap_err());
    for part in ["write a batch for a checkpoint", "File too large", "ulimit -f"] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
}

/// Nothing but the batch is too large: it is its own failure that has to reach the caller, by its name.
#[test]
fn a_batch_that_a_checkpoint_cannot_write_fails_the_checkpoint() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // Files of up to 64 or 128 KiB: shells count blocks of 512 or 1024 bytes.
    let limited = r#"ulimit -f 128 && exec "$0" "$@""#;
    let output = Command::new("sh")
        .args(["-c", limited])
        .arg(env::current_exe().unwrap())
        .args([
            "--exact",
            "mapped_circuits::checkpoints_in_small_files",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success() && said[0].contains("1 passed"), "{}", said.concat());
    // The checkpoint before is the last, and the next process goes on from it.
    let checkpoint = last_checkpoint(folder.path()).unwrap();
    assert_eq!(checkpoint.steps, Some(1));
    let mut running = Running::start(Batches::InPlace, folder.path(), 1, Some(&checkpoint));
    let [joined, _max] = running.step(&[vec![], vec![(3, Tup2(0, 0), 1), (11, Tup2(0, 0), 1)]]);
    assert_eq!(joined, Output::from([((3, Tup2(0, 1)), 1)]));
    running.stop();
}

/// The files in a folder, and those in it, that had not got their names yet.
fn left_unfinished(folder: &Path) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            left.append(&mut left_unfinished(&path));
        } else if path.extension().is_some_and(|name| name == "tmp") {
            left.push(path);
        }
    }
    left
}

/// The process that is killed: goes on from the last checkpoint, and makes one after each step.
#[test]
#[ignore = "run by `killed_at_any_point_it_restores_a_checkpoint`"]
fn runs_until_killed() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let folder = Path::new(&folder);
    let from = last_checkpoint(folder);
    let mut at = from.as_ref().map_or(0, |checkpoint| checkpoint.steps.unwrap());
    let mut running = Running::start(Batches::InPlace, folder, 1, from.as_ref());
    loop {
        running.step(&step_of_run(at));
        at += 1;
        running.checkpoint(at);
    }
}

#[test]
fn killed_at_any_point_it_restores_a_checkpoint() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let reference = tempfile::tempdir().unwrap();
    let mut expected = Running::start(Batches::BuiltIn, reference.path(), 1, None);
    let (mut done, mut kills) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while kills < 12 && Instant::now() < deadline {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "mapped_circuits::runs_until_killed", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(150 + kills * 97 % 400));
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    let checkpoint = last_checkpoint(folder.path()).expect("a checkpoint in all that time");
    let steps = checkpoint.steps.unwrap();
    assert!(steps > 3, "only {steps} steps: the times are too short");
    while done < steps {
        expected.step(&step_of_run(done));
        done += 1;
    }
    let mut running = Running::start(Batches::InPlace, folder.path(), 1, Some(&checkpoint));
    let left = left_unfinished(folder.path());
    assert!(left.is_empty(), "nobody needs what killed processes had begun: {left:?}");
    // The next steps meet all the state there is: keys come up again and again.
    for at in steps..steps + 4 {
        assert_eq!(running.step(&step_of_run(at)), expected.step(&step_of_run(at)), "step {at}");
    }
    running.stop();
    expected.stop();
}

/// A run with a checkpoint, and the payload of its largest batch.
fn checkpointed(folder: &Path) -> (CheckpointMetadata, PathBuf, Vec<u8>) {
    let mut running = Running::start(Batches::InPlace, folder, 1, None);
    (0..3).for_each(|at| {
        running.step(&step_of_run(at));
    });
    let checkpoint = running.checkpoint(3);
    running.stop();
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let batches = files.filter(|path| path.extension().is_some_and(|name| name == "feldera"));
    let payload = |path: PathBuf| {
        let sealed = storage::SealedFile::open(&path).ok()?;
        let len = usize::try_from(sealed.payload_len()).unwrap();
        let bytes = sealed.as_slice_of_at::<u8>(storage::ByteOffset::ZERO, len).unwrap().to_vec();
        Some((path, bytes))
    };
    let (path, bytes) = batches.filter_map(payload).max_by_key(|(_, bytes)| bytes.len()).unwrap();
    (checkpoint, path, bytes)
}

/// Puts a sealed file of this payload, with checksums that fit, in the place of another.
fn replace(path: &Path, payload: &[u8]) {
    std::fs::remove_file(path).unwrap();
    let mut writer = storage::PageWriter::create(path).unwrap();
    writer.append(payload).unwrap();
    writer.seal().unwrap();
}

/// Restores; gives what the panic said that a refusal ends in, here.
fn restore(folder: &Path, checkpoint: &CheckpointMetadata) -> Result<(), String> {
    let restored = std::panic::catch_unwind(|| {
        Running::start(Batches::InPlace, folder, 1, Some(checkpoint)).stop();
    });
    restored.map_err(|said| said.downcast_ref::<String>().cloned().unwrap_or_default())
}

/// A number of the directory of columns, which ends the payload: where `docs/format.md` says that it
/// stands in the record of a column.
fn number_at(payload: &[u8], column: usize, offset: usize) -> usize {
    payload.len() - 4096 + 64 + column * 64 + offset
}

/// Where in the payload a column begins.
fn start_of(payload: &[u8], column: usize) -> usize {
    let at = number_at(payload, column, 0);
    usize::try_from(u64::from_le_bytes(payload[at..at + 8].try_into().unwrap())).unwrap()
}

#[test]
fn a_batch_is_a_file_of_columns_that_anybody_can_read() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (_checkpoint, path, _payload) = checkpointed(folder.path());
    let columns = storage::Columns::open(path).unwrap();
    columns.expect_kind(storage::ColumnsKind::new(*b"dbsp\0\0\0\0")).unwrap();
    let keys = columns.column::<u16>(0).unwrap();
    let offsets = columns.column::<u64>(1).unwrap();
    let vals = columns.len(2).unwrap();
    let weights = columns.column::<i64>(3).unwrap();
    assert!(keys.len() > 1 && keys.is_sorted_by(|key, next| key < next));
    assert_eq!(offsets.len(), if keys.len() == vals { 0 } else { keys.len() + 1 });
    assert_eq!(columns.spec(2).unwrap().layout(), <Val as storage_dbsp::Plain>::LAYOUT);
    assert_eq!(weights.len(), vals);
    assert!(!weights.contains(&0));
}

#[test]
fn a_file_that_is_damaged_anywhere_is_refused_and_not_read() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (checkpoint, path, payload) = checkpointed(folder.path());
    // The file itself, put there anew, is restored, so what follows is refused for its bytes.
    replace(&path, &payload);
    restore(folder.path(), &checkpoint).unwrap();

    let sound = std::fs::read(&path).unwrap();
    // By docs/format.md: two superblocks, the pages, the checksums of these, and the seal record.
    let seal = sound.len() - 4096;
    let checksums = seal - 4096;
    let pages = 8192..checksums;
    let checksums = checksums..checksums + pages.len() / 4096 * 4;
    let write = |bytes: &[u8]| {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    };
    let places = pages.step_by(1531).chain(checksums.step_by(3)).chain(seal..seal + 64);
    for place in places {
        let mut flipped = sound.clone();
        flipped[place] ^= 1;
        write(&flipped);
        let refused = restore(folder.path(), &checkpoint).expect_err(&place.to_string());
        assert!(refused.contains("InvalidData"), "{place}: {refused}");
    }
    // One superblock is as good as two.
    for slot in [0, 4096] {
        let mut flipped = sound.clone();
        flipped[slot + 20] ^= 1;
        write(&flipped);
        restore(folder.path(), &checkpoint).unwrap();
    }
    let mut flipped = sound.clone();
    (flipped[20], flipped[4096 + 20]) = (!sound[20], !sound[4096 + 20]);
    write(&flipped);
    let refused = restore(folder.path(), &checkpoint).unwrap_err();
    assert!(refused.contains("InvalidData"), "{refused}");
    write(&sound);
    restore(folder.path(), &checkpoint).unwrap();
}

#[test]
fn a_forged_file_is_refused_and_not_read() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (checkpoint, path, payload) = checkpointed(folder.path());
    let (keys, weights) = (start_of(&payload, 0), start_of(&payload, 3));
    // A key that is greater than all that follow, a weight of nothing, a column of fewer items, one
    // of more than there can be, and one of another type.
    let forgeries: [(usize, [u8; 8]); 5] = [
        (keys, u64::MAX.to_le_bytes().map(|byte| byte & 0x7f)),
        (weights, [0; 8]),
        (number_at(&payload, 3, 8), 77_u64.to_le_bytes()),
        (number_at(&payload, 3, 8), u64::MAX.to_le_bytes()),
        (number_at(&payload, 2, 24), 77_u64.to_le_bytes()),
    ];
    for (place, bytes) in forgeries {
        let mut forged = payload.clone();
        forged[place..place + 8].copy_from_slice(&bytes);
        replace(&path, &forged);
        let refused = restore(folder.path(), &checkpoint).unwrap_err();
        assert!(refused.contains("InvalidData"), "{place}: {refused}");
    }
    replace(&path, &payload);
    restore(folder.path(), &checkpoint).unwrap();
}
