//! A checkpoint that DBSP 0.349 made on our backend is restored.
//!
//! Method: `tests/data/checkpoint_0_349` is the folder of a storage, as this circuit left it after three steps when
//! it was built with that version. A circuit that goes on from there must put out what one does that has made all
//! steps itself. Half of it has DBSP's own batches, and half is read in place.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use dbsp::{
    DBSPHandle, IndexedZSetHandle, OrdIndexedZSet, OutputHandle, Runtime, ZWeight,
    circuit::{CircuitConfig, checkpointer::Checkpointer},
    operator::Max,
    typed_batch::{IndexedZSetReader, SpineSnapshot},
    utils::Tup2,
};
use feldera_types::size::ConfigSize;
use storage_dbsp::{AggregateInPlace, InPlace, MappedIndexedZSet};
use uuid::Uuid;

use super::On;

const STEPS: u64 = 3;

type Entry = Tup2<u64, i64>;
type Output = BTreeMap<(u64, Entry), ZWeight>;

struct Running {
    circuit: DBSPHandle,
    entries: IndexedZSetHandle<u64, Entry>,
    limits: IndexedZSetHandle<u64, i64>,
    built_in: OutputHandle<SpineSnapshot<OrdIndexedZSet<u64, Entry>>>,
    in_place: OutputHandle<SpineSnapshot<MappedIndexedZSet<u64, Entry>>>,
}

fn over(account: &u64, entry: &Entry, limit: &i64) -> Option<(u64, Entry)> {
    (entry.1 > *limit).then_some((*account, *entry))
}

impl Running {
    fn start(folder: &Path, from: Option<Uuid>) -> Self {
        let mut storage = On::Ours.storage(folder).with_init_checkpoint(from);
        storage.options.min_spill_size = Some(ConfigSize::ZERO);
        storage.options.min_step_spill_size = Some(ConfigSize::ZERO);
        let config = CircuitConfig::with_workers(1).with_storage(Some(storage));
        let (circuit, (entries, limits, built_in, in_place)) =
            Runtime::init_circuit(config, |circuit| {
                let (entries, entry_input) = circuit.add_input_indexed_zset::<u64, Entry>();
                let (limits, limit_input) = circuit.add_input_indexed_zset::<u64, i64>();
                let entries = entries.set_persistent_id(Some("entries"));
                let limits = limits.set_persistent_id(Some("limits"));
                let built_in = entries
                    .join_index(&limits, over)
                    .set_persistent_id(Some("over"))
                    .accumulate_output_persistent(Some("output"));
                let in_place = entries
                    .in_place()
                    .join_generic::<_, _, MappedIndexedZSet<u64, Entry>, _>(
                        &limits.in_place(),
                        over,
                    )
                    .set_persistent_id(Some("over.in_place"))
                    .aggregate_in_place(Some("last"), Max)
                    .accumulate_output_persistent(Some("output.in_place"));
                Ok((entry_input, limit_input, built_in, in_place))
            })
            .unwrap();
        Self { circuit, entries, limits, built_in, in_place }
    }

    fn step(&mut self, step: u64) -> [Output; 2] {
        for account in 0..100 {
            let amount = i64::try_from((account * 7 + step) % 50).unwrap();
            self.entries.push(account, (Tup2(step, amount), 1));
            if step == 0 {
                self.limits.push(account, (i64::try_from(account % 30).unwrap(), 1));
            }
        }
        self.circuit.transaction().unwrap();
        [tuples(&self.built_in.concat()), tuples(&self.in_place.concat())]
    }
}

fn tuples(batch: &impl IndexedZSetReader<Key = u64, Val = Entry>) -> Output {
    let mut tuples = Output::new();
    for (key, val, weight) in batch.iter() {
        *tuples.entry((key, val)).or_default() += weight;
    }
    tuples.retain(|_, weight| *weight != 0);
    tuples
}

/// What the tests' own copy has for modes is up to whoever checked it out.
fn copy_private(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_private(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            fs::set_permissions(&target, Permissions::from_mode(0o600)).unwrap();
        }
    }
}

#[test]
fn a_checkpoint_of_dbsp_0_349_is_restored() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoint_0_349");
    copy_private(&data, folder.path());
    let backend = On::Ours.storage(folder.path()).backend;
    let checkpoint = Checkpointer::read_checkpoints(&*backend).unwrap().pop_back().unwrap();
    drop(backend);
    let mut restored = Running::start(folder.path(), Some(checkpoint.uuid));

    let elsewhere = tempfile::tempdir().unwrap();
    let mut expected = Running::start(elsewhere.path(), None);
    (0..STEPS).for_each(|step| {
        expected.step(step);
    });
    // The next steps meet all the state there is: accounts come up again in each.
    for step in STEPS..STEPS + 3 {
        let [found, expected] = [restored.step(step), expected.step(step)];
        assert!(!expected[0].is_empty() && !expected[1].is_empty());
        assert_eq!(found, expected, "step {step}");
    }
    // And the next checkpoint is one of this version.
    restored.circuit.checkpoint().run().unwrap();
    restored.circuit.kill().unwrap();
    expected.circuit.kill().unwrap();
}
