//! Random operations against a `Vec<u8>`.

use std::path::Path;

use pagestore::{Error, RawFile, RawFileOptions, ResidencyBudget};
use proptest::prelude::*;

use super::{KIB, MIB, read, read_write, write};

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, len: usize, byte: u8 },
    SetLen(u64),
    Read { offset: u64, len: usize },
    Sync,
    Reopen,
    Seal,
}

/// Places near page, stripe and mapping boundaries, and any others.
fn place() -> impl Strategy<Value = u64> {
    let near =
        |unit: u64| (0..=4_u64, 0..5_u64).prop_map(move |(n, d)| (n * unit + d).saturating_sub(2));
    prop_oneof![near(4 * KIB), near(64 * KIB), near(512 * KIB), 0..5 * MIB / 2]
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0..10_usize, 4000..4200_usize, 0..300_000_usize];
    prop_oneof![
        8 => (place(), len.clone(), 1..=255_u8)
            .prop_map(|(offset, len, byte)| Step::Write { offset, len, byte }),
        3 => place().prop_map(Step::SetLen),
        8 => (place(), len).prop_map(|(offset, len)| Step::Read { offset, len }),
        1 => Just(Step::Sync),
        1 => Just(Step::Reopen),
    ]
}

fn check_read(file: &RawFile, model: &[u8], offset: u64, len: usize) {
    let start = usize::try_from(offset).unwrap();
    let expected = model.get(start..start.saturating_add(len));
    let mut at_once = vec![0xee; len];
    let at_once = file.try_read_at(offset, &mut at_once).map(|result| result.map(|()| at_once));
    let copies = [Some(read(file, offset, len)), at_once];
    let views = file.is_sealed().then(|| {
        let at_once = file.try_view(offset, len);
        [Some(file.view(offset, len)), at_once]
            .map(|view| view.map(|view| view.map(|v| v.to_vec())))
    });
    for result in copies.into_iter().chain(views.into_iter().flatten()).flatten() {
        match (expected, result) {
            (Some(expected), Ok(found)) => assert!(found == expected, "{len} at {offset}"),
            (None, Err(Error::PastEnd { file_len, .. })) => {
                assert_eq!(file_len, model.len() as u64);
            }
            (expected, found) => panic!("{expected:?} expected, {found:?} found"),
        }
    }
}

fn apply(
    options: &RawFileOptions,
    file: RawFile,
    model: &mut Vec<u8>,
    step: &Step,
    path: &Path,
) -> RawFile {
    let sealed = file.is_sealed();
    let refused = |result: Result<(), Error>| match result {
        Err(Error::Sealed { .. }) => assert!(sealed),
        other => panic!("{other:?}"),
    };
    match *step {
        Step::Write { offset, len, byte } => {
            let written = write(&file, offset, &vec![byte; len]);
            if sealed {
                refused(written);
            } else {
                written.unwrap();
                let (start, end) = (usize::try_from(offset).unwrap(), len);
                if len > 0 {
                    model.resize(model.len().max(start + end), 0);
                    model[start..start + end].fill(byte);
                }
            }
        }
        Step::SetLen(len) => {
            let set = file.set_len(len);
            if sealed {
                refused(set);
            } else {
                set.unwrap();
                model.resize(usize::try_from(len).unwrap(), 0);
            }
        }
        Step::Read { offset, len } => check_read(&file, model, offset, len),
        Step::Sync => file.sync().unwrap(),
        Step::Seal => file.seal().unwrap(),
        Step::Reopen => {
            drop(file);
            let file = options.open(read_write(path), path).unwrap();
            assert_eq!(file.is_sealed(), sealed);
            return file;
        }
    }
    assert_eq!(file.len().unwrap(), model.len() as u64);
    file
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn a_file_is_what_was_written_to_it(
        before in prop::collection::vec(step(), 0..30),
        after in prop::collection::vec(step(), 0..12),
    ) {
        check_all(&RawFile::options(), &before, &after);
    }

    #[test]
    fn a_file_under_a_budget_is_what_was_written_to_it(
        before in prop::collection::vec(step(), 0..30),
        after in prop::collection::vec(step(), 0..12),
    ) {
        let budget = ResidencyBudget::new(MIB).unwrap();
        check_all(&RawFile::options().budget(&budget), &before, &after);
        let stats = budget.stats();
        assert_eq!((stats.used_bytes, stats.resident_bytes), (0, 0), "it went with the file");
    }
}

fn check_all(options: &RawFileOptions, before: &[Step], after: &[Step]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let (mut file, mut model) = (options.open(read_write(&path), &path).unwrap(), Vec::new());
    for step in before.iter().chain([&Step::Seal]).chain(after) {
        file = apply(options, file, &mut model, step, &path);
    }
    check_read(&file, &model, 0, model.len());
    assert!(std::fs::read(&path).unwrap() == model, "others see the same");
}
