//! Files of batches that somebody changed, opened as DBSP opens them and read with a cursor.
//!
//! Purpose: such a file is refused with an error that says so, or read for what is in it; no answer is
//! wrong, nothing panics and nothing goes on for ever. Method: a real batch's file is changed by
//! chance in thousands of ways. Where its pages were sealed again, so that every checksum fits, an
//! accepted file is read by hand, column by column, and cursors must find just that; a file changed
//! without that must be refused. A seed makes the changes, the same each time.

use std::{
    fs::{self, File},
    marker::PhantomData,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use dbsp::{
    DynZWeight, Runtime, ZWeight,
    circuit::{CircuitConfig, CircuitStorageConfig},
    dynamic::{DowncastTrait, DynData, Erase},
    trace::{Batch, BatchReader, BatchReaderFactories, Builder, Cursor},
    utils::Tup2,
};
use feldera_storage::StoragePath;
use feldera_types::config::{StorageCacheConfig, StorageConfig, StorageOptions};
use rand::{Rng, SeedableRng, rngs::StdRng};
use storage::{ByteOffset, PageWriter, SealedFile};
use storage_dbsp::{Mappable, MappedIndexedWSet, Null, Text};

type Mapped = MappedIndexedWSet<i32, u16>;
type Tuple = (i32, u16, ZWeight);

const PAGE: usize = 4096;
const ROUNDS: usize = 1500;

/// Does something on a thread of a circuit, which is where DBSP opens batches.
fn in_circuit(work: impl FnOnce(&Path) + Clone + Send + 'static) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().into();
    let place = StorageConfig { path, cache: StorageCacheConfig::default() };
    let storage = CircuitStorageConfig::for_config(place, StorageOptions::default()).unwrap();
    let config = CircuitConfig::with_workers(1).with_storage(Some(storage));
    let root = folder.path().to_owned();
    let (handle, ()) = Runtime::init_circuit(config, move |_| {
        work(&root);
        Ok(())
    })
    .unwrap();
    handle.kill().unwrap();
}

/// A batch's file: its name for DBSP, its path, and its payload.
struct Original<K = i32, V = u16> {
    name: StoragePath,
    path: PathBuf,
    payload: Vec<u8>,
    items: PhantomData<(K, V)>,
}

impl<K: Mappable + Erase<DynData>, V: Mappable + Erase<DynData>> Original<K, V> {
    fn new(folder: &Path, tuples: &[(K, V, ZWeight)]) -> Self {
        let factories = BatchReaderFactories::new::<K, V, ZWeight>();
        let mut builder = <MappedIndexedWSet<K, V> as Batch>::Builder::new_builder(&factories);
        for group in tuples.chunk_by(|one, next| one.0 == next.0) {
            for (_, val, weight) in group {
                builder.push_val_diff(val.erase(), weight as &DynZWeight);
            }
            builder.push_key(group[0].0.erase());
        }
        let batch = builder.done();
        let batch = batch.persisted().unwrap();
        let name = batch.file_reader().unwrap().path().clone();
        let path = folder.join(name.as_ref());
        let sealed = SealedFile::open(&path).unwrap();
        let len = usize::try_from(sealed.payload_len()).unwrap();
        let payload = sealed.as_slice_of_at::<u8>(ByteOffset::ZERO, len).unwrap().to_vec();
        Self { name, path, payload, items: PhantomData }
    }

    /// Puts a sealed file of this payload, whose checksums fit, in the place of the original.
    fn seal(&self, payload: &[u8]) {
        fs::remove_file(&self.path).unwrap();
        let mut writer = PageWriter::create(&self.path).unwrap();
        writer.append(payload).unwrap();
        drop(writer.seal().unwrap());
    }

    /// Writes past every mapping.
    fn write(&self, bytes: &[u8], at: usize) {
        let file = File::options().write(true).open(&self.path).unwrap();
        file.write_all_at(bytes, at as u64).unwrap();
    }

    fn cut(&self, len: usize) {
        File::options().write(true).open(&self.path).unwrap().set_len(len as u64).unwrap();
    }

    fn open(&self) -> Result<MappedIndexedWSet<K, V>, String> {
        let factories = BatchReaderFactories::new::<K, V, ZWeight>();
        let opened = MappedIndexedWSet::from_path(&factories, &self.name);
        opened.map_err(|error| format!("{error:?}"))
    }
}

impl Original {
    /// The tuples that the file has, read without DBSP and without our batches.
    fn by_hand(&self) -> Vec<Tuple> {
        let columns = storage::Columns::open(&self.path).unwrap();
        let keys = columns.column::<i32>(0).unwrap();
        let offsets = columns.column::<u64>(1).unwrap();
        let vals = columns.column::<u16>(2).unwrap();
        let weights = columns.column::<ZWeight>(3).unwrap();
        let at =
            |index: usize| offsets.get(index).map_or(index, |&at| usize::try_from(at).unwrap());
        let places =
            (0..keys.len()).flat_map(|key| (at(key)..at(key + 1)).map(move |at| (key, at)));
        places.map(|(key, at)| (keys[key], vals[at], weights[at])).collect()
    }
}

fn key_of(cursor: &impl Cursor<DynData, DynData, (), DynZWeight>) -> i32 {
    *cursor.key().downcast_checked::<i32>()
}

/// The values at a key, with it.
fn group(cursor: &mut impl Cursor<DynData, DynData, (), DynZWeight>) -> Vec<Tuple> {
    let key = key_of(cursor);
    let mut tuples = Vec::new();
    while cursor.val_valid() {
        let val = *cursor.val().downcast_checked::<u16>();
        tuples.push((key, val, **cursor.weight()));
        cursor.step_val();
    }
    tuples
}

/// Goes through a batch forwards, backwards and by key: each time it must have these tuples.
fn compare(batch: &Mapped, expected: &[Tuple], random: &mut StdRng) {
    let groups: Vec<&[Tuple]> = expected.chunk_by(|one, next| one.0 == next.0).collect();
    assert_eq!((batch.tuple_count(), batch.key_count()), (expected.len(), groups.len()));
    let mut cursor = batch.cursor();
    for tuples in &groups {
        assert_eq!(group(&mut cursor), *tuples);
        cursor.step_key();
    }
    assert!(!cursor.key_valid());
    cursor.fast_forward_keys();
    for tuples in groups.iter().rev() {
        assert_eq!(key_of(&cursor), tuples[0].0);
        cursor.step_key_reverse();
    }
    assert!(!cursor.key_valid());
    for _ in 0..20 {
        let wanted = match groups.get(random.gen_range(0..=groups.len())) {
            Some(tuples) => tuples[0].0.wrapping_add(random.gen_range(-1..=1)),
            None => random.r#gen(),
        };
        cursor.rewind_keys();
        cursor.seek_key(&wanted as &DynData);
        let found = cursor.key_valid().then(|| group(&mut cursor));
        let first = groups.partition_point(|tuples| tuples[0].0 < wanted);
        assert_eq!(found.as_deref(), groups.get(first).copied(), "from {wanted}");
    }
}

/// Changes a payload as somebody could who knows the format: bytes and numbers anywhere, most of them
/// where they say something; pages that change places; an end that is missing, or too much.
fn change(payload: &mut Vec<u8>, random: &mut StdRng) {
    let pages = payload.len() / PAGE;
    let directory = payload.len() - PAGE;
    match random.gen_range(0..10) {
        0 => {
            let (one, other) = (random.gen_range(0..pages), random.gen_range(0..pages));
            for at in 0..PAGE {
                payload.swap(one * PAGE + at, other * PAGE + at);
            }
        }
        1 => payload.truncate(random.gen_range(0..payload.len())),
        2 => payload.extend_from_within(random.gen_range(0..pages) * PAGE..),
        3 => {
            let at = random.gen_range(0..payload.len() / 8) * 8;
            let other = random.gen_range(0..payload.len() / 8) * 8;
            payload.copy_within(at..at + 8, other);
        }
        4..7 => {
            // A number of a column's record, or of what is before them.
            let at = directory + random.gen_range(0..(64 + 4 * 64) / 8) * 8;
            let there = u64::from_le_bytes(payload[at..at + 8].try_into().unwrap());
            let number = match random.gen_range(0..5) {
                0 => there.wrapping_add(random.gen_range(0..9)).wrapping_sub(4),
                1 => there ^ (1 << random.gen_range(0..64)),
                2 => random.gen_range(0..payload.len() as u64),
                3 => random.gen_range(0..pages as u64) * PAGE as u64,
                _ => random.r#gen(),
            };
            payload[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        _ => {
            for _ in 0..random.gen_range(1..4) {
                // Near the beginning of a page, where a column has something.
                let at = random.gen_range(0..pages) * PAGE + random.gen_range(0..1600);
                payload[at] = payload[at].wrapping_add(random.gen_range(1..=255));
            }
        }
    }
}

/// Keys with several values each, whose file has offsets, and keys with one, whose file has none.
fn contents() -> [Vec<Tuple>; 2] {
    let several = (0..120_i32).flat_map(|key| {
        let vals = 0..1 + u16::try_from(key % 4).unwrap();
        vals.map(move |val| (key * 3 - 100, val * 5, ZWeight::from(key % 5) - 7))
    });
    let single = (0..300).map(|key| (key * 2, 9, 1));
    [several.collect(), single.collect()]
}

#[test]
fn whoever_made_the_file_is_read_for_what_is_in_it_or_refused() {
    in_circuit(|folder| {
        for (seed, tuples) in (1..).zip(contents()) {
            let original = Original::new(folder, &tuples);
            let mut random = StdRng::seed_from_u64(seed);
            compare(&original.open().unwrap(), &tuples, &mut random);
            assert_eq!(original.by_hand(), tuples);
            let (mut accepted, mut refused) = (0, 0);
            for round in 0..ROUNDS {
                let mut payload = original.payload.clone();
                change(&mut payload, &mut random);
                original.seal(&payload);
                match original.open() {
                    Ok(batch) => {
                        compare(&batch, &original.by_hand(), &mut random);
                        accepted += 1;
                    }
                    Err(error) => {
                        assert!(payload != original.payload, "seed {seed}, {round}: {error}");
                        assert!(error.contains("InvalidData"), "seed {seed}, {round}: {error}");
                        refused += 1;
                    }
                }
            }
            assert!(accepted > 100 && refused > 100, "{accepted} accepted, {refused} refused");
        }
    });
}

type Row = Tup2<Text, Tup2<Null<u64>, u64>>;

/// Keys and values with texts of all lengths, a few longer than a page.
fn texts() -> Vec<(Text, Row, ZWeight)> {
    let text = |number: u64| Text::from(format!("{number:04}é").repeat(1 + (number % 7) as usize));
    let long = |number: u64| Text::from(format!("{number:04}€").repeat(1_500));
    let row = |number: u64| {
        let name = if number.is_multiple_of(60) { long(number) } else { text(number * 3) };
        Tup2(name, Tup2((!number.is_multiple_of(3)).then_some(number).into(), number))
    };
    (0..240).map(|number| (text(number), row(number), 1)).collect()
}

#[test]
fn texts_are_read_as_texts_or_refused_whoever_made_the_file() {
    in_circuit(|folder| {
        let tuples = texts();
        let original = Original::<Text, Row>::new(folder, &tuples);
        let all = |batch: &MappedIndexedWSet<Text, Row>| {
            let (mut cursor, mut all) = (batch.cursor(), Vec::new());
            while cursor.key_valid() {
                while cursor.val_valid() {
                    let (key, val) = (cursor.typed_key().clone(), cursor.typed_val().clone());
                    all.push((key, val, cursor.typed_weight()));
                    cursor.step_val();
                }
                cursor.step_key();
            }
            all
        };
        assert_eq!(all(&original.open().unwrap()), tuples);
        let mut random = StdRng::seed_from_u64(3);
        let (mut accepted, mut refused) = (0, 0);
        for round in 0..2 * ROUNDS {
            let mut payload = original.payload.clone();
            change(&mut payload, &mut random);
            original.seal(&payload);
            match original.open() {
                Ok(batch) => {
                    let found = all(&batch);
                    assert!(found.is_sorted_by(|one, next| (&one.0, &one.1) < (&next.0, &next.1)));
                    let are_texts = |(key, Tup2(name, _), _): &(Text, Row, ZWeight)| {
                        [key, name].iter().all(|text| str::from_utf8(text.as_bytes()).is_ok())
                    };
                    assert!(found.iter().all(are_texts), "round {round}");
                    accepted += 1;
                }
                Err(error) => {
                    assert!(payload != original.payload, "round {round}: {error}");
                    assert!(error.contains("InvalidData"), "round {round}: {error}");
                    refused += 1;
                }
            }
        }
        assert!(accepted > 100 && refused > 100, "{accepted} accepted, {refused} refused");
    });
}

#[test]
fn damage_is_refused_wherever_it_is() {
    in_circuit(|folder| {
        for (seed, tuples) in (1..).zip(contents()) {
            let original = Original::new(folder, &tuples);
            let good = fs::read(&original.path).unwrap();
            let mut random = StdRng::seed_from_u64(seed);
            let payload = 2 * PAGE..2 * PAGE + original.payload.len();
            for round in 0..ROUNDS {
                let at = random.gen_range(payload.clone());
                let changed = good[at] ^ (1 << random.gen_range(0..8));
                original.write(&[changed], at);
                let error = original.open().err();
                let error = error.unwrap_or_else(|| "none".into());
                assert!(error.contains("InvalidData"), "seed {seed}, {round}: byte {at}: {error}");
                original.write(&good[at..=at], at);

                let len = random.gen_range(0..good.len());
                original.cut(len);
                let error = original.open().err();
                let error = error.unwrap_or_else(|| "none".into());
                assert!(
                    error.contains("InvalidData"),
                    "seed {seed}, {round}: {len} bytes: {error}"
                );
                original.write(&good[len..], len);
            }
            compare(&original.open().unwrap(), &tuples, &mut random);
        }
    });
}
