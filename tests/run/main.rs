//! Sorted runs: what is pushed is found, by whatever way one goes through it.
//!
//! Method: random records go into a run and into a `BTreeMap`, and random sequences of seeks and
//! steps are answered by both; runs are merged and compared with maps merged. Hostile runs are
//! columns whose content somebody made up.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod hostile;
mod order;
mod text;

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use storage::{
    Existing, FixedLayout, PageWriterOptions,
    run::{Record, Run, RunWriter, TempRunWriter, merge},
};
use tempfile::TempDir;

/// Records by key and value, with their weights.
type Model<K, V> = BTreeMap<(K, V), i64>;

fn write<K: FixedLayout + Ord, V: FixedLayout + Ord>(
    folder: &TempDir,
    name: &str,
    model: &Model<K, V>,
) -> Run<K, V> {
    let path = folder.path().join(name);
    let pages = PageWriterOptions::new().existing(Existing::Replace);
    let mut writer = RunWriter::create_with(pages, &path).unwrap();
    for ((key, value), weight) in model {
        writer.push_weighted(key, value, *weight).unwrap();
    }
    drop(writer.seal().unwrap());
    Run::open(path).unwrap()
}

fn owned<K: Copy, V: Copy>(record: Record<'_, K, V>) -> ((K, V), i64) {
    ((*record.key, *record.value), record.weight)
}

fn all<K: FixedLayout + Ord, V: FixedLayout + Ord>(run: &Run<K, V>) -> Model<K, V> {
    run.cursor().map(|record| owned(record.unwrap())).collect()
}

/// What one does with a cursor.
#[derive(Clone, Debug)]
enum Step {
    Seek(u32),
    /// To a key a little further on, or back.
    Near(i32),
    Exact(u32),
    NextKey,
    Records(usize),
}

fn steps(key_max: u32) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..key_max).prop_map(Step::Seek),
        (-4..40_i32).prop_map(Step::Near),
        (0..key_max).prop_map(Step::Exact),
        Just(Step::NextKey),
        (0..9_usize).prop_map(Step::Records),
    ];
    vec(step, 0..200)
}

/// Where the model stands: before which record, and at which key.
struct Place<'a> {
    model: &'a Model<u32, u16>,
    next: Option<(u32, u16)>,
    key: Option<u32>,
}

impl Place<'_> {
    fn go_to(&mut self, key: u32) -> Option<u32> {
        self.next = self.model.range((key, 0)..).next().map(|(record, _)| *record);
        self.key = self.next.map(|(key, _)| key);
        self.key
    }

    fn next_key(&mut self) -> Option<u32> {
        let ended = self.key.is_none() && self.next.is_none();
        match self.key {
            Some(key) => self.go_to(key + 1),
            None if ended => None,
            None => self.go_to(0),
        }
    }

    fn next(&mut self) -> Option<((u32, u16), i64)> {
        let Some(record) = self.next else {
            self.key = None;
            return None;
        };
        let mut rest = self.model.range(record..);
        let given = rest.next().map(|(record, weight)| (*record, *weight));
        self.next = rest.next().map(|(record, _)| *record);
        self.key = Some(record.0);
        given
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_cursor_goes_where_a_map_goes(
        records in vec((0..20_000_u32, 0..4_u16, -2..3_i64), 0..6000),
        spread in 1..20_u32,
        steps in steps(21_000),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut model: Model<u32, u16> =
            records.into_iter().map(|(key, value, weight)| ((key / spread, value), weight)).collect();
        let run = write(&folder, "run", &model);
        model.retain(|_, weight| *weight != 0);
        prop_assert_eq!(run.record_count(), model.len());
        prop_assert_eq!(&all(&run), &model);
        let mut cursor = run.cursor();
        let mut place = Place { model: &model, next: None, key: None };
        place.next = model.keys().next().copied();
        for step in steps {
            match step {
                Step::Seek(key) => {
                    prop_assert_eq!(cursor.seek(&key).unwrap().copied(), place.go_to(key));
                }
                Step::Near(by) => {
                    let key = place.key.unwrap_or(0).saturating_add_signed(by);
                    prop_assert_eq!(cursor.seek(&key).unwrap().copied(), place.go_to(key));
                }
                Step::Exact(key) => {
                    let is_there = place.go_to(key) == Some(key);
                    prop_assert_eq!(cursor.seek_exact(&key).unwrap(), is_there);
                }
                Step::NextKey => {
                    prop_assert_eq!(cursor.next_key().unwrap().copied(), place.next_key());
                }
                Step::Records(count) => {
                    for _ in 0..count {
                        let record = cursor.next().map(|record| owned(record.unwrap()));
                        prop_assert_eq!(record, place.next());
                    }
                }
            }
            prop_assert_eq!(cursor.key().copied(), place.key);
        }
    }

    #[test]
    fn merging_adds_up_weights(
        runs in vec(vec((0..300_u64, 0..3_i32, -2..3_i64), 0..300), 0..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut sum = Model::new();
        let mut inputs = Vec::new();
        for (number, records) in runs.into_iter().enumerate() {
            let model: Model<u64, i32> =
                records.into_iter().map(|(key, value, weight)| ((key, value), weight)).collect();
            inputs.push(write(&folder, &number.to_string(), &model));
            for (record, weight) in model {
                *sum.entry(record).or_insert(0) += weight;
            }
        }
        sum.retain(|_, weight| *weight != 0);
        let mut writer = TempRunWriter::create_in(folder.path()).unwrap();
        merge(&inputs, &mut writer, |a, b| a + b).unwrap();
        let merged = writer.finish().unwrap();
        prop_assert_eq!(all(&merged), sum);
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        prop_assert_eq!(files, inputs.len(), "a temporary run has no name");
    }
}

/// Windows of two mebibytes, many index entries, one key with more values than a window holds.
#[test]
fn a_run_of_millions() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = RunWriter::<u64, [u32; 3]>::create(folder.path().join("run")).unwrap();
    let value = |number: u32| [0, number, 1];
    for key in 0..400_000_u64 {
        let count = if key == 200_000 { 600_000 } else { 1 };
        for number in 0..count {
            writer.push(&(3 * key), &value(number)).unwrap();
        }
    }
    let run = writer.seal().unwrap();
    assert_eq!((run.key_count(), run.record_count()), (400_000, 999_999));
    assert_eq!(run.columns().len(4).unwrap(), 0, "records that weigh 1 need no weights");
    let mut cursor = run.cursor();
    let mut count = 0;
    for key in 0..400_000_u64 {
        let many = if key == 200_000 { 600_000 } else { 1 };
        for number in 0..many {
            let record = cursor.next().unwrap().unwrap();
            assert_eq!((*record.key, *record.value, record.weight), (3 * key, value(number), 1));
            count += 1;
        }
    }
    assert!(cursor.next().is_none());
    assert_eq!(count, run.record_count());
    for key in (0..1_199_998_u64).step_by(997) {
        assert_eq!(cursor.seek(&key).unwrap(), Some(&key.next_multiple_of(3)));
        assert_eq!(cursor.seek_exact(&(1_199_997 - key)).unwrap(), key.is_multiple_of(3));
    }
    assert_eq!(cursor.seek(&1_199_998).unwrap(), None);
    assert_eq!(cursor.seek(&600_000).unwrap(), Some(&600_000));
    assert_eq!(cursor.nth(599_999).unwrap().unwrap().value, &value(599_999));
    assert_eq!(cursor.next().unwrap().unwrap().key, &600_003);
    run.columns().file().still_valid().unwrap();
}
