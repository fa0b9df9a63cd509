//! Runs whose keys are text, or bytes, of any length.
//!
//! Method: random keys, many alike in their first bytes, against a `BTreeMap`: seeks to keys that are there and to
//! keys that are not, from anywhere; merges; columns that say of a key what it is not.

use std::collections::BTreeMap;

use storage::{
    ColumnsError, ColumnsWriter, ResidencyBudget, SealedFile,
    run::{Run, RunKey, RunWriter, TempRunWriter, merge},
};
use tempfile::TempDir;

type Model = BTreeMap<(String, u32), i64>;

/// A key of few letters and of 0 to 20 of them, so that many begin alike, and some are others' beginning.
fn key(random: &mut fastrand::Rng) -> String {
    let len = random.usize(0..20);
    let long = if random.u8(..4) == 0 { "the same twelve " } else { "" };
    long.chars()
        .chain((0..len).map(|_| random.choice(['a', 'b', 'é', '\u{10ffff}']).unwrap()))
        .collect()
}

fn model(random: &mut fastrand::Rng, count: usize) -> Model {
    (0..count).map(|_| ((key(random), random.u32(..3)), random.i64(1..4))).collect()
}

fn write(folder: &TempDir, model: &Model) -> Run<str, u32> {
    let mut writer = TempRunWriter::<str, u32>::create_in(folder.path()).unwrap();
    for ((key, value), weight) in model {
        writer.push_weighted(key, value, *weight).unwrap();
    }
    writer.finish().unwrap()
}

fn all(run: &Run<str, u32>) -> Model {
    let records = run.cursor().map(|record| record.unwrap());
    records.map(|record| ((record.key.to_owned(), *record.value), record.weight)).collect()
}

#[test]
fn seeks_find_what_a_map_finds() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    for count in [0, 1, 2, 63, 64, 65, 1000, 20_000] {
        let model = model(&mut random, count);
        let run = write(&folder, &model);
        assert_eq!(all(&run), model, "{count}");
        let mut cursor = run.cursor();
        let there: Vec<_> = model.keys().map(|(key, _)| key.clone()).collect();
        for _ in 0..500 {
            let asked = match random.choice(&there).filter(|_| random.bool()) {
                Some(key) => key.clone(),
                None => key(&mut random),
            };
            let first = model.range((asked.clone(), 0)..).next();
            let found = cursor.seek(&asked).unwrap();
            assert_eq!(found, first.map(|((key, _), _)| key.as_str()), "{asked:?} of {count}");
            let record = cursor.next().map(|record| record.unwrap());
            let record =
                record.map(|record| ((record.key.to_owned(), *record.value), record.weight));
            assert_eq!(record, first.map(|(record, weight)| (record.clone(), *weight)));
        }
    }
}

#[test]
fn merges_are_those_of_maps_and_bytes_are_kept_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(2);
    let models: Vec<_> = (0..5).map(|_| model(&mut random, 2000)).collect();
    let runs: Vec<_> = models.iter().map(|model| write(&folder, model)).collect();
    let mut merged = TempRunWriter::create_in(folder.path()).unwrap();
    merge(&runs, &mut merged, i64::saturating_add).unwrap();
    let mut expected = Model::new();
    for (record, weight) in models.into_iter().flatten() {
        *expected.entry(record).or_default() += weight;
    }
    assert_eq!(all(&merged.finish().unwrap()), expected);

    let path = folder.path().join("bytes");
    let mut writer = RunWriter::create(&path).unwrap();
    let keys: [&[u8]; 4] = [b"", b"\0", b"\0\xff", b"\xff\xfe"];
    for key in keys {
        writer.push(key, &1_u8).unwrap();
    }
    assert!(matches!(writer.push(b"\0", &1), Err(ColumnsError::Disorder { record: 4, .. })));
    writer.seal().unwrap();
    let run = Run::<[u8], u8>::open(&path).unwrap();
    let read: Vec<_> = run.cursor().map(|record| record.unwrap().key).collect();
    assert_eq!(read, keys);
    // A run of bytes is none of text, nor one of numbers.
    assert!(matches!(Run::<str, u8>::open(&path), Err(ColumnsError::Kind { .. })));
    assert!(matches!(Run::<u64, u8>::open(&path), Err(ColumnsError::Kind { .. })));
}

#[test]
fn many_texts_are_read_within_a_budget() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("run");
    let mut writer = RunWriter::create(&path).unwrap();
    for number in 0..500_000_u32 {
        writer.push(format!("a key of some length {number:07}").as_str(), &number).unwrap();
    }
    writer.seal().unwrap();
    let budget = ResidencyBudget::new(2 << 20).unwrap();
    let run = Run::<str, u32>::open_with(&SealedFile::options().budget(&budget), &path).unwrap();
    for (record, number) in run.cursor().zip(0..) {
        assert_eq!(*record.unwrap().value, number);
    }
    let stats = budget.stats();
    assert!(
        stats.evicted_bytes > 8 << 20 && stats.resident_bytes <= (2 << 20) + (2 << 16),
        "{stats:?}"
    );
}

/// Columns that look like a run of texts, but for the bytes.
#[test]
fn what_is_no_text_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = TempRunWriter::<[u8], u8>::create_in(folder.path()).unwrap();
    writer.push(b"fine", &1).unwrap();
    writer.push(b"\xff", &1).unwrap();
    let bytes = writer.finish().unwrap();
    let columns = bytes.columns();
    let specs: Vec<_> = (0..columns.column_count()).map(|at| columns.spec(at).unwrap()).collect();
    let path = folder.path().join("forged");
    let options = ColumnsWriter::options().kind(<str as RunKey>::KIND);
    let mut forged = options.create(&path, &specs).unwrap();
    for (at, spec) in specs.iter().enumerate() {
        forged.append_bytes(at, columns.column_bytes(at, spec).unwrap()).unwrap();
    }
    forged.seal().unwrap();
    let run = Run::<str, u8>::open(&path).unwrap();
    let mut cursor = run.cursor();
    assert_eq!(cursor.next().unwrap().unwrap().key, "fine");
    assert!(matches!(cursor.next(), Some(Err(ColumnsError::RunText { key: 1, .. }))));
    assert!(run.cursor().seek("g").is_err());
}
