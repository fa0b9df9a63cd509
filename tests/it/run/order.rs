//! Records out of order are refused, and leave nothing.

use storage::{ColumnsError, run::RunWriter};

#[test]
fn disorder_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = RunWriter::create(folder.path().join("run")).unwrap();
    writer.push(&5_u32, &5_u32).unwrap();
    for (key, value) in [(5, 5), (5, 4), (4, 9)] {
        for weight in [-1, 0, 1] {
            let error = writer.push_weighted(&key, &value, weight).unwrap_err();
            assert!(matches!(error, ColumnsError::Disorder { record: 1, .. }), "{error}");
            assert!(error.to_string().contains("record 1 of"), "{error}");
        }
    }
    writer.push_weighted(&5, &6, 0).unwrap();
    writer.push(&5, &7).unwrap();
    writer.push_weighted(&6, &0, 3).unwrap();
    assert_eq!(writer.record_count(), 3);
    let run = writer.seal().unwrap();
    let records: Vec<_> = run
        .cursor()
        .map(|record| record.map(|record| (*record.key, *record.value, record.weight)).unwrap())
        .collect();
    assert_eq!(records, [(5, 5, 1), (5, 7, 1), (6, 0, 3)]);
}
