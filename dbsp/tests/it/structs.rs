//! A user's own struct as a key.
//!
//! Method: an order and a hash that are written by hand, so that neither can be guessed from the fields. DBSP's
//! comparison and hash of the form in which its files have a key must be those of the key itself; and a join in
//! place must put out what DBSP's own batches do, all in storage.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use dbsp::{
    OrdIndexedZSet, Runtime, ZWeight,
    circuit::{CircuitConfig, CircuitStorageConfig},
    dynamic::{HashRepr, OrdRepr},
    never_none, never_roaring_filter,
    typed_batch::IndexedZSetReader,
};
use feldera_types::{
    config::{StorageCacheConfig, StorageConfig, StorageOptions},
    size::ConfigSize,
};
use proptest::prelude::*;
use storage_dbsp::{InPlace, mappable_struct};

#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    size_of::SizeOf,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
#[archive_attr(derive(Debug, PartialEq, Eq, PartialOrd, Ord))]
#[archive(compare(PartialEq, PartialOrd))]
#[repr(C)]
struct Place {
    row: i16,
    column: i16,
}
never_none!(Place);
never_roaring_filter!(Place);
mappable_struct!(Place { row: i16, column: i16 });

/// The latest comes first. The note is no part of it.
#[derive(
    Clone, Copy, Debug, Default, size_of::SizeOf, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
#[repr(C)]
struct Event {
    place: Place,
    note: u32,
    time: i64,
}
never_none!(Event);
never_roaring_filter!(Event);
mappable_struct!(Event { place: Place, note: u32, time: i64 });

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        other.time.cmp(&self.time).then_with(|| self.place.cmp(&other.place))
    }
}

impl Hash for Event {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.time.hash(state);
        self.place.hash(state);
    }
}

impl ArchivedEvent {
    fn event(&self) -> Event {
        let place = Place { row: self.place.row, column: self.place.column };
        Event { place, note: self.note, time: self.time }
    }
}

impl PartialEq for ArchivedEvent {
    fn eq(&self, other: &Self) -> bool {
        self.event() == other.event()
    }
}

impl Eq for ArchivedEvent {}

impl PartialOrd for ArchivedEvent {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ArchivedEvent {
    fn cmp(&self, other: &Self) -> Ordering {
        self.event().cmp(&other.event())
    }
}

fn event() -> impl Strategy<Value = Event> {
    (-3..3_i16, -2..2_i16, 0..4_u32, -4..4_i64).prop_map(|(row, column, note, time)| Event {
        place: Place { row, column },
        note,
        time,
    })
}

fn archived(event: &Event) -> ArchivedEvent {
    let place = ArchivedPlace { row: event.place.row, column: event.place.column };
    ArchivedEvent { place, note: event.note, time: event.time }
}

proptest! {
    #[test]
    fn a_key_in_a_file_compares_and_hashes_as_itself(one in event(), other in event()) {
        prop_assert_eq!(archived(&one).ord_cmp(&other), one.cmp(&other));
        let [mut expected, mut found] = [(); 2].map(|()| DefaultHasher::new());
        one.hash(&mut expected);
        archived(&one).hash_repr(&mut found);
        prop_assert_eq!(found.finish(), expected.finish());
    }
}

type Changes = Vec<(Event, i64, ZWeight)>;
type Output = BTreeMap<(Event, i64), ZWeight>;

#[derive(Clone, Copy)]
enum Batches {
    BuiltIn,
    InPlace,
}

/// What the join of two streams puts out, step by step, with all of its state in storage.
fn joined(batches: Batches, steps: &[[Changes; 2]]) -> Vec<Output> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().into();
    let place = StorageConfig { path, cache: StorageCacheConfig::default() };
    let options = StorageOptions {
        min_spill_size: Some(ConfigSize::ZERO),
        min_step_spill_size: Some(ConfigSize::ZERO),
        ..Default::default()
    };
    let storage = CircuitStorageConfig::for_config(place, options).unwrap();
    let config = CircuitConfig::with_workers(1).with_storage(Some(storage));
    let pair = |event: &Event, left: &i64, right: &i64| Some((*event, left * 1_000 + right));
    let (mut circuit, (inputs, output)) = Runtime::init_circuit(config, move |circuit| {
        let (left, left_input) = circuit.add_input_indexed_zset::<Event, i64>();
        let (right, right_input) = circuit.add_input_indexed_zset::<Event, i64>();
        let joined = match batches {
            Batches::BuiltIn => {
                left.join_generic::<_, _, OrdIndexedZSet<Event, i64>, _>(&right, pair)
            }
            Batches::InPlace => left
                .in_place()
                .join_generic::<_, _, OrdIndexedZSet<Event, i64>, _>(&right.in_place(), pair),
        };
        Ok(([left_input, right_input], joined.accumulate_output()))
    })
    .unwrap();
    let outputs = steps.iter().map(|step| {
        for (input, changes) in inputs.iter().zip(step) {
            changes.iter().for_each(|(key, val, weight)| input.push(*key, (*val, *weight)));
        }
        circuit.transaction().unwrap();
        let output = output.concat().consolidate();
        output.iter().map(|(key, val, weight)| ((key, val), weight)).collect()
    });
    let outputs = outputs.collect();
    circuit.kill().unwrap();
    outputs
}

fn changes() -> impl Strategy<Value = Changes> {
    let weight = prop_oneof![3 => Just(1_i64), 1 => Just(-1)];
    proptest::collection::vec((event(), 0..3_i64, weight), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..Default::default() })]

    #[test]
    fn joins_by_such_a_key_agree(
        steps in proptest::collection::vec((changes(), changes()), 1..6),
    ) {
        let steps: Vec<_> = steps.into_iter().map(|(left, right)| [left, right]).collect();
        prop_assert_eq!(joined(Batches::InPlace, &steps), joined(Batches::BuiltIn, &steps));
    }
}
