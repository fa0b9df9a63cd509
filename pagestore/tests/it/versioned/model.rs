//! Random operations against a vector of pages for each version.
//!
//! Snapshots are held across commits and read again at the end; the file is dropped and opened again in
//! between, closed or as a crash of the process leaves it.

use pagestore::{Checkpoints, Snapshot, VersionedFile, VersionedFileOptions};
use proptest::prelude::*;
use tempfile::tempdir;

use super::{count, index, page};

#[derive(Clone, Debug)]
enum Step {
    Write { page: u64, byte: u8 },
    Grow(u64),
    Shrink(u64),
    Commit,
    Rollback,
    Snapshot,
    DropSnapshot(usize),
    Read(usize),
    Checkpoint,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0_u64..48, any::<u8>()).prop_map(|(page, byte)| Step::Write { page, byte }),
        2 => (1_u64..12).prop_map(Step::Grow),
        1 => (0_u64..32).prop_map(Step::Shrink),
        5 => Just(Step::Commit),
        1 => Just(Step::Rollback),
        3 => Just(Step::Snapshot),
        2 => any::<usize>().prop_map(Step::DropSnapshot),
        3 => any::<usize>().prop_map(Step::Read),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..120)
}

fn agrees(snapshot: &Snapshot, model: &[u8]) {
    assert_eq!(snapshot.page_count(), count(model.len() as u64));
    for (number, byte) in model.iter().enumerate() {
        assert_eq!(snapshot.page(page(number as u64)).unwrap(), [*byte; 4096], "page {number}");
    }
    assert_eq!(snapshot.pages(..).unwrap().len(), model.len() * 4096);
    snapshot.still_valid().unwrap();
}

fn run(options: &VersionedFileOptions, steps: &[Step]) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    let mut file = options.create(&path).unwrap();
    let mut committed: Vec<u8> = Vec::new();
    let mut snapshots: Vec<(Snapshot, Vec<u8>)> = Vec::new();
    let mut steps = steps.iter();
    'files: loop {
        'transactions: loop {
            let mut transaction = file.begin().unwrap();
            let mut pending = committed.clone();
            loop {
                let Some(step) = steps.next() else { break 'files };
                match *step {
                    Step::Write { page: number, byte } if number < pending.len() as u64 => {
                        let bytes = transaction.page_mut(page(number)).unwrap();
                        assert_eq!(bytes, [pending[index(number)]; 4096]);
                        bytes.fill(byte);
                        pending[index(number)] = byte;
                    }
                    Step::Write { .. } => {}
                    Step::Grow(pages) => {
                        transaction.grow(count(pages)).unwrap();
                        pending.resize(pending.len() + index(pages), 0);
                    }
                    Step::Shrink(pages) => {
                        transaction.shrink_to(count(pages).min(transaction.page_count())).unwrap();
                        pending.truncate(index(pages));
                    }
                    Step::Commit => {
                        transaction.commit().unwrap();
                        committed = pending;
                        continue 'transactions;
                    }
                    Step::Rollback => continue 'transactions,
                    Step::Snapshot => {
                        snapshots.push((file.snapshot().unwrap(), committed.clone()));
                    }
                    Step::DropSnapshot(index) if !snapshots.is_empty() => {
                        snapshots.swap_remove(index % snapshots.len());
                    }
                    Step::Read(index) if !snapshots.is_empty() => {
                        let (snapshot, model) = &snapshots[index % snapshots.len()];
                        agrees(snapshot, model);
                    }
                    Step::DropSnapshot(_) | Step::Read(_) => {}
                    Step::Checkpoint => file.checkpoint().unwrap(),
                    Step::Reopen => break 'transactions,
                }
            }
        }
        snapshots.clear();
        drop(file);
        file = options.open(&path).unwrap();
        agrees(&file.snapshot().unwrap(), &committed);
    }
    for (snapshot, model) in &snapshots {
        agrees(snapshot, model);
    }
    agrees(&file.snapshot().unwrap(), &committed);
    drop(snapshots);
    drop(file);
    agrees(&options.open(&path).unwrap().snapshot().unwrap(), &committed);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn every_version_is_as_it_was(steps in steps()) {
        let options = VersionedFile::options().log_bytes(1 << 20);
        run(&options.checkpoints(Checkpoints::WhenFull), &steps);
    }

    #[test]
    fn every_version_is_as_it_was_while_a_thread_makes_checkpoints(steps in steps()) {
        run(&VersionedFile::options().log_bytes(512 << 10), &steps);
    }
}
