//! Runs that somebody made up: opening, going through and seeking give an answer, whatever the
//! columns hold.

use std::path::Path;

use storage::{
    ColumnSpec, Columns, ColumnsError, ColumnsKind, ColumnsWriter, Existing, PageWriterOptions,
    run::{Run, RunWriter},
};

const KIND: ColumnsKind = ColumnsKind::new(*b"run\0\0\0\0\0");

/// What the columns of a made-up run hold.
#[derive(Clone)]
struct Parts {
    keys: Vec<u64>,
    offsets: Vec<u64>,
    values: Vec<u32>,
    index: Vec<u64>,
    weights: Vec<i64>,
}

impl Parts {
    fn real() -> Self {
        let (keys, values) = (vec![2, 4, 9], vec![1, 1, 7, 0]);
        Self { keys, offsets: vec![0, 1, 3, 4], values, index: vec![2], weights: vec![1; 4] }
    }

    fn write(&self, path: &Path) -> Columns {
        let specs = [
            ColumnSpec::of::<u64>(),
            ColumnSpec::of::<u64>(),
            ColumnSpec::of::<u32>(),
            ColumnSpec::of::<u64>(),
            ColumnSpec::of::<i64>(),
        ];
        let pages = PageWriterOptions::new().existing(Existing::Replace);
        let mut writer =
            ColumnsWriter::options().kind(KIND).pages(pages).create(path, &specs).unwrap();
        writer.append(0, &self.keys).unwrap();
        writer.append(1, &self.offsets).unwrap();
        writer.append(2, &self.values).unwrap();
        writer.append(3, &self.index).unwrap();
        writer.append(4, &self.weights).unwrap();
        writer.seal().unwrap()
    }
}

/// Goes through a run in each way; the first error ends it.
fn try_all(columns: Columns) -> Result<usize, ColumnsError> {
    let run = Run::<u64, u32>::of(columns)?;
    for key in 0..12 {
        run.cursor().seek(&key)?;
    }
    run.cursor().try_fold(0, |count, record| record.map(|_| count + 1))
}

#[test]
fn lengths_that_contradict_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    assert_eq!(try_all(Parts::real().write(&path)).unwrap(), 4);
    let forge = |change: fn(&mut Parts)| {
        let mut parts = Parts::real();
        change(&mut parts);
        parts
    };
    for parts in [
        forge(|parts| parts.offsets.truncate(3)),
        forge(|parts| parts.offsets.clear()),
        forge(|parts| parts.keys.push(11)),
        forge(|parts| parts.index.clear()),
        forge(|parts| parts.index.push(3)),
        forge(|parts| parts.weights.truncate(1)),
    ] {
        let error = try_all(parts.write(&path)).unwrap_err();
        assert!(matches!(error, ColumnsError::RunLength { .. }), "{error}");
    }
}

#[test]
fn offsets_that_lead_nowhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    for (at, value) in [(0, 1), (0, 2), (0, 5), (1, 0), (1, 3), (2, 1), (2, 4), (3, 3), (3, 5)] {
        for value in [value, value | 1 << 32, value | 1 << 63, u64::MAX - value] {
            let mut parts = Parts::real();
            parts.offsets[at] = value;
            let error = try_all(parts.write(&path)).unwrap_err();
            assert!(matches!(error, ColumnsError::RunOffsets { .. }), "{at} {value}: {error}");
        }
    }
}

#[test]
fn keys_in_disorder_and_a_wrong_index_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    for keys in [[9, 4, 2], [0, 0, 0], [u64::MAX, 0, u64::MAX]] {
        for index in [0, 5, u64::MAX] {
            let mut parts = Parts::real();
            (parts.keys, parts.index) = (keys.to_vec(), vec![index]);
            assert_eq!(try_all(parts.write(&path)).unwrap(), 4, "a wrong answer, but one");
        }
    }
}

#[test]
fn other_types_and_kinds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut writer = RunWriter::<u64, u32>::create(&path).unwrap();
    writer.push(&1, &2).unwrap();
    writer.seal().unwrap();
    let error = Run::<u64, i32>::open(&path).unwrap_err();
    assert!(matches!(error, ColumnsError::Layout { column: 2, .. }), "{error}");
    assert!(error.to_string().contains("`u32`") && error.to_string().contains("`i32`"), "{error}");
    let error = Run::<i64, u32>::open(&path).unwrap_err();
    assert!(matches!(error, ColumnsError::Layout { column: 0, .. }), "{error}");
    let plain = folder.path().join("plain");
    ColumnsWriter::create(&plain, &[ColumnSpec::of::<u64>()]).unwrap().seal().unwrap();
    let error = Run::<u64, u32>::open(&plain).unwrap_err();
    assert!(matches!(error, ColumnsError::Kind { .. }), "{error}");
}
