//! The cursor against DBSP's own.
//!
//! The same tuples go into a batch in files, a batch in memory, and DBSP's `VecIndexedWSet`. A
//! random sequence of operations is then done with a cursor of each, and after every one of them
//! they must stand at the same place.

use std::{collections::BTreeMap, path::Path};

use dbsp::{
    DynZWeight, ZWeight,
    algebra::{AddByRef, NegByRef},
    dynamic::{DowncastTrait, DynData},
    trace::{
        AccessHint, Batch, BatchLocation, BatchReader, BatchReaderFactories, Builder, Cursor,
        VecIndexedWSet, VecIndexedWSetFactories,
    },
};
use proptest::prelude::*;
use storage_dbsp::{MappedBatchBuilder, MappedIndexedWSet, Text};

type Tuples = BTreeMap<i32, BTreeMap<u16, ZWeight>>;
type Reference = VecIndexedWSet<DynData, DynData, DynZWeight>;
type Mapped = MappedIndexedWSet<i32, u16>;

#[derive(Clone, Debug)]
enum Move {
    StepKey,
    StepKeyReverse,
    SeekKey(i32),
    SeekKeyReverse(i32),
    SeekKeyWith(i32),
    SeekKeyWithReverse(i32),
    RewindAndSeekExact(i32),
    RewindKeys,
    FastForwardKeys,
    StepVal,
    StepValReverse,
    SeekVal(u16),
    SeekValReverse(u16),
    SeekValWith(u16),
    SeekValWithReverse(u16),
    RewindVals,
    FastForwardVals,
    StepKeyval,
    StepKeyvalReverse,
    MapValues,
}

const KEYS: i32 = 400;

fn step() -> impl Strategy<Value = Move> {
    use Move::*;
    let key = || -KEYS - 2..KEYS + 2;
    let val = || 0..12_u16;
    prop_oneof![
        4 => Just(StepKey),
        2 => Just(StepKeyReverse),
        4 => key().prop_map(SeekKey),
        4 => key().prop_map(SeekKeyReverse),
        1 => key().prop_map(SeekKeyWith),
        1 => key().prop_map(SeekKeyWithReverse),
        2 => key().prop_map(RewindAndSeekExact),
        2 => Just(RewindKeys),
        2 => Just(FastForwardKeys),
        2 => Just(StepVal),
        2 => Just(StepValReverse),
        2 => val().prop_map(SeekVal),
        2 => val().prop_map(SeekValReverse),
        1 => val().prop_map(SeekValWith),
        1 => val().prop_map(SeekValWithReverse),
        1 => Just(RewindVals),
        2 => Just(FastForwardVals),
        1 => Just(StepKeyval),
        1 => Just(StepKeyvalReverse),
        1 => Just(MapValues),
    ]
}

fn tuples() -> impl Strategy<Value = Tuples> {
    let weight = prop_oneof![1..5_i64, -5..0_i64];
    let several = proptest::collection::btree_map(0..12_u16, weight.clone(), 1..6);
    let single = proptest::collection::btree_map(0..12_u16, weight, 1..2);
    prop_oneof![
        2 => proptest::collection::btree_map(-KEYS..KEYS, several, 0..40),
        1 => proptest::collection::btree_map(-KEYS..KEYS, single, 0..600),
    ]
}

fn build<B: Batch<Key = DynData, Val = DynData, R = DynZWeight, Time = ()>>(
    mut builder: impl Builder<B>,
    tuples: &Tuples,
) -> B {
    for (key, vals) in tuples {
        for (val, weight) in vals {
            builder.push_val_diff(val as &DynData, weight as &DynZWeight);
        }
        builder.push_key(key as &DynData);
    }
    builder.done()
}

fn reference(tuples: &Tuples) -> Reference {
    let factories = VecIndexedWSetFactories::new::<i32, u16, ZWeight>();
    build(<Reference as Batch>::Builder::new_builder(&factories), tuples)
}

fn in_memory(tuples: &Tuples) -> Mapped {
    let factories = BatchReaderFactories::new::<i32, u16, ZWeight>();
    build(<Mapped as Batch>::Builder::new_builder(&factories), tuples)
}

fn in_files(folder: &Path, tuples: &Tuples) -> Mapped {
    build(MappedBatchBuilder::create_in(folder).unwrap(), tuples)
}

/// Does one step, and says what it told.
fn act<C: Cursor<DynData, DynData, (), DynZWeight>>(cursor: &mut C, step: &Move) -> Vec<i64> {
    let key_of = |key: &DynData| *key.downcast_checked::<i32>();
    let val_of = |val: &DynData| *val.downcast_checked::<u16>();
    let mut told = Vec::new();
    // What it does to values where there is no key is not laid down.
    let has_key = cursor.key_valid();
    match *step {
        Move::StepKey => cursor.step_key(),
        Move::StepKeyReverse => cursor.step_key_reverse(),
        Move::SeekKey(key) => cursor.seek_key(&key as &DynData),
        Move::SeekKeyReverse(key) => cursor.seek_key_reverse(&key as &DynData),
        Move::SeekKeyWith(at) => cursor.seek_key_with(&|key| key_of(key) >= at),
        Move::SeekKeyWithReverse(at) => cursor.seek_key_with_reverse(&|key| key_of(key) <= at),
        Move::RewindAndSeekExact(key) => {
            cursor.rewind_keys();
            told.push(i64::from(cursor.seek_key_exact(&key as &DynData, None)));
        }
        Move::RewindKeys => cursor.rewind_keys(),
        Move::FastForwardKeys => cursor.fast_forward_keys(),
        Move::StepKeyval if has_key => cursor.step_keyval(),
        Move::StepKeyvalReverse if has_key => cursor.step_keyval_reverse(),
        _ if !has_key => {}
        Move::StepVal => cursor.step_val(),
        Move::StepValReverse => cursor.step_val_reverse(),
        Move::SeekVal(val) => cursor.seek_val(&val as &DynData),
        Move::SeekValReverse(val) => cursor.seek_val_reverse(&val as &DynData),
        Move::SeekValWith(at) => cursor.seek_val_with(&|val| val_of(val) >= at),
        Move::SeekValWithReverse(at) => cursor.seek_val_with_reverse(&|val| val_of(val) <= at),
        Move::RewindVals => cursor.rewind_vals(),
        Move::FastForwardVals => cursor.fast_forward_vals(),
        Move::MapValues => cursor.map_values(&mut |val, weight| {
            told.extend([i64::from(val_of(val)), **weight]);
        }),
        Move::StepKeyval | Move::StepKeyvalReverse => {}
    }
    told
}

/// Where it stands: the key, and the value with its weight.
fn place<C: Cursor<DynData, DynData, (), DynZWeight>>(
    cursor: &mut C,
) -> Option<(i32, Option<(u16, ZWeight)>)> {
    let key = *cursor.get_key()?.downcast_checked::<i32>();
    let val = cursor.get_val().map(|val| *val.downcast_checked::<u16>());
    Some((key, val.map(|val| (val, **cursor.weight()))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn stands_where_the_cursor_of_dbsp_does(
        tuples in tuples(),
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let batches = [in_files(folder.path(), &tuples), in_memory(&tuples)];
        let expected = reference(&tuples);
        prop_assert_eq!(batches[0].location() == BatchLocation::Storage, true);
        let hints = [AccessHint::Unknown, AccessHint::Sequential];
        for (batch, hint) in batches.iter().flat_map(|batch| hints.map(|hint| (batch, hint))) {
            prop_assert!(*batch == expected);
            prop_assert_eq!(batch.is_empty(), expected.is_empty());
            let mut ours = batch.cursor_with_hint(hint);
            let mut theirs = expected.cursor();
            prop_assert_eq!(place(&mut ours), place(&mut theirs));
            for (at, step) in steps.iter().enumerate() {
                let told = (act(&mut ours, step), act(&mut theirs, step));
                prop_assert_eq!(&told.0, &told.1, "step {}: {:?}", at, step);
                let places = (place(&mut ours), place(&mut theirs));
                prop_assert_eq!(places.0, places.1, "step {}: {:?}", at, step);
                // Where there is no key, theirs has some count, although the trait asks for zero.
                let expected = if theirs.key_valid() { theirs.value_count_upper_bound() } else { 0 };
                prop_assert_eq!(ours.value_count_upper_bound(), expected, "step {}: {:?}", at, step);
                // A cursor that left on one side comes back only by a rewind, of which side it
                // does not matter: begin anew, as callers do.
                prop_assert_eq!(ours.key_valid(), theirs.key_valid());
            }
        }
    }
}

#[test]
fn adds_and_negates() {
    let folder = tempfile::tempdir().unwrap();
    let tuples: Tuples = (0..500).map(|key| (key, [(1, 2), (3, -1)].into())).collect();
    let batch = in_files(folder.path(), &tuples);
    assert!(batch.add_by_ref(&batch.neg_by_ref()).is_empty());
    assert_eq!(batch.negative_weight_count(), Some(500));
    let first = batch.filter(&|key, _| *key.downcast_checked::<i32>() < 10);
    assert_eq!((first.key_count(), first.tuple_count()), (10, 20));
    let (low, high) = batch.key_bounds().unwrap();
    assert_eq!((low.downcast_checked::<i32>(), high.downcast_checked::<i32>()), (&0, &499));
}

/// Texts, in files and in memory, against DBSP's own batch of the same: all of them, and seeks from anywhere.
#[test]
fn texts_stand_where_those_of_dbsp_do() {
    let folder = tempfile::tempdir().unwrap();
    // Short ones, long ones, ones that begin alike, and one that is longer than a page.
    let text = |number: u64| {
        let tail = ["", "é", " and so on, and so on", "東京都"][(number % 4) as usize];
        Text::from(format!("key {:03}{tail}", number / 2))
    };
    let mut keys: Vec<Text> = (0..4_000).map(text).collect();
    keys.push(Text::from("€".repeat(5_000)));
    keys.sort();
    keys.dedup();
    fn fill<B>(mut builder: impl Builder<B>, keys: &[Text]) -> B
    where
        B: Batch<Key = DynData, Val = DynData, R = DynZWeight, Time = ()>,
    {
        for key in keys {
            // Values in order: the key, and something behind it.
            for val in [key.clone(), Text::from(format!("{key}, a value of its own"))] {
                builder.push_val_diff(&val as &DynData, &1_i64 as &DynZWeight);
            }
            builder.push_key(key as &DynData);
        }
        builder.done()
    }
    type Texts = MappedIndexedWSet<Text, Text>;
    let factories = BatchReaderFactories::new::<Text, Text, ZWeight>();
    let theirs = VecIndexedWSetFactories::new::<Text, Text, ZWeight>();
    let expected = fill(<Reference as Batch>::Builder::new_builder(&theirs), &keys);
    let batches: [Texts; 2] = [
        fill(MappedBatchBuilder::create_in(folder.path()).unwrap(), &keys),
        fill(<Texts as Batch>::Builder::new_builder(&factories), &keys),
    ];
    assert_eq!(
        batches.each_ref().map(BatchReader::location),
        [BatchLocation::Storage, BatchLocation::Memory]
    );
    for batch in &batches {
        assert!(*batch == expected);
        assert_eq!(batch.key_slice(), keys);
        let (mut ours, mut reference) = (batch.cursor(), expected.cursor());
        for number in 0..3_000 {
            let probe = text(number * 7 % 4_400);
            ours.rewind_keys();
            reference.rewind_keys();
            ours.seek_key(&probe as &DynData);
            reference.seek_key(&probe as &DynData);
            let key = |key: Option<&DynData>| key.map(|key| key.downcast_checked::<Text>().clone());
            assert_eq!(key(ours.get_key()), key(reference.get_key()), "{probe}");
            ours.seek_val(&Text::from(format!("{probe},")) as &DynData);
            reference.seek_val(&Text::from(format!("{probe},")) as &DynData);
            assert_eq!(key(ours.get_val()), key(reference.get_val()), "{probe}");
        }
        assert!(batch.clone().neg_by_ref().add_by_ref(batch).is_empty());
    }
}
