//! Sorted runs: against a map, merged against maps merged, and runs whose columns somebody made up.

use std::{collections::BTreeMap, path::Path};

use arbitrary::{Arbitrary, Unstructured};
use storage::{
    ColumnSpec, ColumnsError, ColumnsKind, ColumnsWriter, TempColumnsWriter,
    run::{Record, Run, TempRunWriter, merge},
};

#[derive(Arbitrary, Debug)]
enum Input {
    /// Records, and how far apart their keys are; what one does with a cursor.
    Sorted {
        records: Vec<(u16, u8, i8)>,
        repeats: u8,
        steps: Vec<Step>,
    },
    Merged(Vec<Vec<(u8, u8, i8)>>),
    MadeUp(MadeUp),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Seek(u16),
    /// To a key a little further on, or back.
    Near(i8),
    Exact(u16),
    NextKey,
    Records(u8),
}

/// What the columns of a run hold.
#[derive(Arbitrary, Debug)]
struct MadeUp {
    keys: Vec<u64>,
    offsets: Vec<Offset>,
    values: Vec<u32>,
    index: Vec<u64>,
    weights: Vec<i64>,
    /// Whether offsets, index and weights are as many as they must be.
    fitting: bool,
    seeks: Vec<u64>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Offset {
    Small(u8),
    Any(u64),
}

/// Records by key and value, with their weights.
type Model = BTreeMap<(u32, u16), i64>;

/// Does what the bytes say.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let folder = tempfile::tempdir().unwrap();
    match Input::arbitrary(&mut input) {
        Ok(Input::Sorted { records, repeats, steps }) => {
            // Enough records for a few pages of keys, from few bytes of input.
            let repeated = (0..=u32::from(repeats % 32)).flat_map(|number| {
                records.iter().map(move |&(key, value, weight)| {
                    ((u32::from(key) + number * 70_001, u16::from(value)), i64::from(weight))
                })
            });
            sorted(repeated.collect(), &steps, folder.path());
        }
        Ok(Input::Merged(runs)) => merged(&runs, folder.path()),
        Ok(Input::MadeUp(made_up)) => made_up.touch(folder.path()),
        Err(_) => {}
    }
}

fn write(model: &Model, folder: &Path) -> Run<u32, u16> {
    let mut writer = TempRunWriter::create_in(folder).unwrap();
    for ((key, value), weight) in model {
        writer.push_weighted(key, value, *weight).unwrap();
    }
    writer.finish().unwrap()
}

fn owned(record: Record<'_, u32, u16>) -> ((u32, u16), i64) {
    ((*record.key, *record.value), record.weight)
}

fn all(run: &Run<u32, u16>) -> Model {
    run.cursor().map(|record| owned(record.unwrap())).collect()
}

fn sorted(mut model: Model, steps: &[Step], folder: &Path) {
    let run = write(&model, folder);
    model.retain(|_, weight| *weight != 0);
    assert_eq!(run.record_count(), model.len());
    assert!(all(&run) == model);
    let mut cursor = run.cursor();
    let mut place = Place { model: &model, next: model.keys().next().copied(), key: None };
    for step in steps {
        match *step {
            Step::Seek(key) => {
                let key = u32::from(key) * 40;
                assert_eq!(cursor.seek(&key).unwrap().copied(), place.go_to(key));
            }
            Step::Near(by) => {
                let key = place.key.unwrap_or(0).saturating_add_signed(by.into());
                assert_eq!(cursor.seek(&key).unwrap().copied(), place.go_to(key));
            }
            Step::Exact(key) => {
                let key = u32::from(key);
                let is_there = place.go_to(key) == Some(key);
                assert_eq!(cursor.seek_exact(&key).unwrap(), is_there);
            }
            Step::NextKey => assert_eq!(cursor.next_key().unwrap().copied(), place.next_key()),
            Step::Records(count) => {
                for _ in 0..count % 16 {
                    let record = cursor.next().map(|record| owned(record.unwrap()));
                    assert_eq!(record, place.next());
                }
            }
        }
        assert_eq!(cursor.key().copied(), place.key);
    }
}

/// Where the model stands: before which record, and at which key.
struct Place<'a> {
    model: &'a Model,
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

fn merged(runs: &[Vec<(u8, u8, i8)>], folder: &Path) {
    let mut sum = Model::new();
    let mut inputs = Vec::new();
    for records in runs.iter().take(12) {
        let record = |&(key, value, weight): &(u8, u8, i8)| {
            ((u32::from(key), u16::from(value)), i64::from(weight))
        };
        let model: Model = records.iter().map(record).collect();
        inputs.push(write(&model, folder));
        for (record, weight) in model {
            *sum.entry(record).or_insert(0) += weight;
        }
    }
    sum.retain(|_, weight| *weight != 0);
    let mut writer = TempRunWriter::create_in(folder).unwrap();
    merge(&inputs, &mut writer, |a, b| a + b).unwrap();
    assert!(all(&writer.finish().unwrap()) == sum);
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(files, 0, "a temporary run has no name");
}

impl MadeUp {
    fn touch(&self, folder: &Path) {
        let specs = [
            ColumnSpec::of::<u64>(),
            ColumnSpec::of::<u64>(),
            ColumnSpec::of::<u32>(),
            ColumnSpec::of::<u64>(),
            ColumnSpec::of::<i64>(),
        ];
        let kind = ColumnsKind::new(*b"run\0\0\0\0\0");
        let mut writer: TempColumnsWriter =
            ColumnsWriter::options().kind(kind).create_temporary(folder, &specs).unwrap();
        let offset = |offset: &Offset| match *offset {
            Offset::Small(small) => small.into(),
            Offset::Any(any) => any,
        };
        let mut offsets: Vec<u64> = self.offsets.iter().map(offset).collect();
        let (mut index, mut weights) = (self.index.clone(), self.weights.clone());
        if self.fitting {
            offsets.resize(self.keys.len() + 1, self.values.len() as u64);
            index.resize(self.keys.len().div_ceil(512), 0);
            weights.resize(if weights.is_empty() { 0 } else { self.values.len() }, 1);
        }
        writer.append(0, &self.keys).unwrap();
        writer.append(1, &offsets).unwrap();
        writer.append(2, &self.values).unwrap();
        writer.append(3, &index).unwrap();
        writer.append(4, &weights).unwrap();
        match Run::<u64, u32>::of(writer.finish().unwrap()) {
            Ok(run) => self.go_through(&run),
            Err(ColumnsError::RunLength { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }

    /// An answer for each question, if not the right one.
    fn go_through(&self, run: &Run<u64, u32>) {
        let answered = |result: Result<(), ColumnsError>| match result {
            Ok(()) | Err(ColumnsError::RunOffsets { .. }) => {}
            Err(other) => panic!("{other}"),
        };
        let mut cursor = run.cursor();
        for key in &self.seeks {
            answered(cursor.seek(key).map(drop));
            answered(cursor.next().transpose().map(drop));
            answered(cursor.next_key().map(drop));
        }
        let mut count = 0;
        for record in run.cursor() {
            let failed = record.is_err();
            answered(record.map(drop));
            if failed {
                break;
            }
            count += 1;
        }
        assert!(count <= run.record_count());
    }
}
