//! A circuit that integrates: it keeps the sum of all changes, as one batch.
//!
//! Method: insertions and deletions, some of which meet; after each transaction the integral must be
//! what a map says, on both backends and in place. The changes may go to storage; the sum itself does
//! not, since DBSP adds batches in memory. (Traces do: see `agreement`.)

use std::{collections::BTreeMap, path::Path};

use dbsp::{
    BatchReader, IndexedZSetReader, OutputHandle, Runtime, ZWeight, circuit::CircuitConfig,
};
use feldera_types::size::ConfigSize;
use storage_dbsp::InPlace;

use super::On;

const STEPS: u64 = 6;
const RECORDS: u64 = 20_000;

type Sum = BTreeMap<(u64, u64), ZWeight>;

/// The changes of a step: new records, and every third one of the step before taken back.
fn changes(step: u64) -> impl Iterator<Item = (u64, u64, ZWeight)> {
    let records = |step: u64| (0..RECORDS).map(move |i| (i * 7 % 9_973, step * RECORDS + i));
    let before = step.checked_sub(1).into_iter().flat_map(records);
    let deleted = before.filter(|(_, val)| val % 3 == 0).map(|(key, val)| (key, val, -1));
    records(step).map(|(key, val)| (key, val, 1)).chain(deleted)
}

fn config(on: On, folder: &Path) -> CircuitConfig {
    let mut storage = on.storage(folder);
    storage.options.min_spill_size = Some(ConfigSize::ZERO);
    storage.options.min_step_spill_size = Some(ConfigSize::ZERO);
    CircuitConfig::with_workers(1).with_storage(Some(storage))
}

fn tuples<B>(output: &OutputHandle<B>) -> Sum
where
    B: IndexedZSetReader<Key = u64, Val = u64> + BatchReader + Clone + Send,
{
    let batch = output.take_from_worker(0).expect("an output each step");
    batch.iter().map(|(key, val, weight)| ((key, val), weight)).collect()
}

/// Runs a circuit, and compares what `$stream` makes of its input with the map.
macro_rules! check {
    ($on:expr, $input:ident => $stream:expr) => {{
        let folder = tempfile::tempdir().unwrap();
        let (mut circuit, (handle, output)) =
            Runtime::init_circuit(config($on, folder.path()), |circuit| {
                let ($input, handle) = circuit.add_input_indexed_zset::<u64, u64>();
                Ok((handle, $stream.integrate().output()))
            })
            .unwrap();
        let mut expected = Sum::new();
        for step in 0..STEPS {
            for (key, val, weight) in changes(step) {
                handle.push(key, (val, weight));
                *expected.entry((key, val)).or_default() += weight;
            }
            expected.retain(|_, weight| *weight != 0);
            circuit.transaction().unwrap();
            assert_eq!(tuples(&output), expected, "{:?}, step {step}", $on);
        }
        circuit.kill().unwrap();
    }};
}

#[test]
fn built_in_batches_integrate_on_both_backends() {
    check!(On::Ours, input => input);
    check!(On::BuiltIn, input => input);
}

#[test]
fn batches_in_place_integrate() {
    check!(On::Ours, input => input.in_place());
}
