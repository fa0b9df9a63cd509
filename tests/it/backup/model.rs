//! A chain of backups equals the file at each commit.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use proptest::prelude::*;
use storage::{
    CommitId, Existing, PageCount, PageId, PageSize, VersionedFile,
    backup::{Backup, Chain},
};
use tempfile::tempdir;

use super::{fill, go_on, increment, names, whole};

#[derive(Clone, Debug)]
enum Step {
    Write(u64, u8),
    Grow(u64),
    Shrink(u64),
    Commit,
    /// A backup since one that there is, or a whole one.
    Backup {
        since: Option<prop::sample::Index>,
    },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let since = prop::option::weighted(0.8, any::<prop::sample::Index>());
    let step = prop_oneof![
        12 => (0_u64..40, any::<u8>()).prop_map(|(page, byte)| Step::Write(page, byte)),
        2 => (1_u64..12).prop_map(Step::Grow),
        1 => (0_u64..24).prop_map(Step::Shrink),
        5 => Just(Step::Commit),
        4 => since.prop_map(|since| Step::Backup { since }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..100)
}

/// A backup, what it is an increment to, and the pages of its commit.
struct Made {
    backup: Backup,
    base: Option<usize>,
    pages: Vec<u8>,
}

/// The chain that ends with a backup, the last one first.
fn chain(made: &[Made], last: usize) -> Vec<Backup> {
    let mut backups = Vec::new();
    let mut next = Some(last);
    while let Some(index) = next {
        backups.push(made[index].backup.clone());
        next = made[index].base;
    }
    backups
}

/// Restores a chain and compares it with the model; gives what was restored.
fn restored(folder: &Path, backups: Vec<Backup>, pages: &[u8]) -> VersionedFile {
    let path = folder.join("restored");
    let commit = backups[0].commit();
    let chain = Chain::new(backups).unwrap();
    assert_eq!((chain.commit(), chain.page_count().get()), (commit, pages.len() as u64));
    chain.restore(&path, Existing::Replace, go_on).unwrap();
    assert!(VersionedFile::verify(&path, |_| std::ops::ControlFlow::Continue(())).unwrap().is_ok());
    let file = VersionedFile::open(&path).unwrap();
    assert_eq!((file.commit_id(), file.recovered()), (commit, None));
    let snapshot = file.snapshot().unwrap();
    assert_eq!(snapshot.page_count().get(), pages.len() as u64);
    for (number, byte) in pages.iter().enumerate() {
        assert_eq!(snapshot.page(number as u64).unwrap(), [*byte; 4096], "page {number}");
    }
    file
}

fn run(steps: &[Step]) {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    let path = folder.join("file");
    let options = VersionedFile::options().log_bytes(1 << 20);
    let mut file = options.create(&path).unwrap();
    let mut committed: Vec<u8> = Vec::new();
    let mut made: Vec<Made> = Vec::new();
    let mut steps = steps.iter().peekable();
    while let Some(step) = steps.next() {
        match step {
            Step::Backup { since } => {
                let path = folder.join(format!("backup {}", made.len()));
                let base = since.filter(|_| !made.is_empty()).map(|index| index.index(made.len()));
                let backup = match base {
                    None => whole(&file, &path),
                    Some(index) => increment(&file, &made[index].backup, &path),
                };
                assert_eq!(backup.commit(), file.commit_id());
                made.push(Made { backup, base, pages: committed.clone() });
            }
            Step::Reopen => {
                drop(file);
                file = options.open(&path).unwrap();
            }
            Step::Commit => {}
            first => {
                let mut transaction = file.begin().unwrap();
                let mut step = Some(first);
                while let Some(now) = step {
                    match *now {
                        Step::Write(page, byte) if page < committed.len() as u64 => {
                            transaction.page_mut(page).unwrap().fill(byte);
                            committed[usize::try_from(page).unwrap()] = byte;
                        }
                        Step::Grow(count) => {
                            transaction.grow(count).unwrap();
                            committed.resize(committed.len() + usize::try_from(count).unwrap(), 0);
                        }
                        Step::Shrink(count) => {
                            let count = count.min(transaction.page_count().get());
                            transaction.shrink_to(count).unwrap();
                            committed.truncate(usize::try_from(count).unwrap());
                        }
                        _ => {}
                    }
                    step = steps.next_if(|step| {
                        matches!(step, Step::Write(..) | Step::Grow(_) | Step::Shrink(_))
                    });
                }
                transaction.commit().unwrap();
            }
        }
    }
    for last in 0..made.len() {
        // A whole backup as the base of a chain, whatever it was made of.
        let backups = chain(&made, last);
        if backups.last().unwrap().since().is_none() {
            restored(folder, backups, &made[last].pages);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn a_chain_of_backups_equals_the_file_at_each_commit(steps in steps()) {
        run(&steps);
    }
}

#[test]
fn backups_go_on_from_a_restored_file() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let file = super::file(&at("file"), 10);
    let first = whole(&file, &at("first"));
    fill(&file, 3, 77);
    let second = increment(&file, &first, &at("second"));
    assert_eq!((second.since(), second.held_count().get()), (Some(CommitId::new(1)), 1));
    let mut pages: Vec<u8> = (0..10).collect();
    pages[3] = 77;
    let again = restored(folder.path(), vec![second.clone(), first.clone()], &pages);
    assert_eq!(again.file_uuid(), file.file_uuid());
    fill(&again, 4, 78);
    let third = increment(&again, &second, &at("third"));
    pages[4] = 78;
    drop(again);
    // In whatever order they come.
    let backups = vec![third, first, second];
    let chain = Chain::new(backups).unwrap();
    chain.restore(at("last"), Existing::Refuse, go_on).unwrap();
    let last = VersionedFile::open(at("last")).unwrap();
    let snapshot = last.snapshot().unwrap();
    for (number, byte) in pages.iter().enumerate() {
        assert_eq!(snapshot.page(number as u64).unwrap(), [*byte; 4096], "page {number}");
    }
    assert_eq!(snapshot.changed_since(CommitId::new(2)).unwrap().len(), 1, "stamps are kept");
}

#[test]
fn pages_that_were_never_written_take_no_room_and_large_pages_cross_groups() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let page_size = PageSize::new(16 << 10).unwrap();
    let file = VersionedFile::options().page_size(page_size).log_bytes(1 << 20);
    let file = file.create(at("file")).unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(PageCount::new(16_384 + 10)).unwrap();
    // The last two of group 0, and the first two of group 1.
    transaction.pages_mut(PageId::new(16_382)..PageId::new(16_386)).unwrap().fill(9);
    transaction.commit().unwrap();
    let backup = whole(&file, &at("backup"));
    assert_eq!(backup.held_count().get(), 4);
    assert!(std::fs::metadata(at("backup")).unwrap().len() < 200_000);
    Chain::new(vec![backup]).unwrap().restore(at("restored"), Existing::Refuse, go_on).unwrap();
    let restored = VersionedFile::open(at("restored")).unwrap();
    let (was, is) = (file.snapshot().unwrap(), restored.snapshot().unwrap());
    assert!(was.pages(..).unwrap() == is.pages(..).unwrap());
}

#[test]
fn a_backup_that_is_made_while_commits_go_on_is_of_one_commit() {
    let folder = tempdir().unwrap();
    let file = super::file(&folder.path().join("file"), 64);
    fill(&file, 0, 0);
    let all_equal = |file: &VersionedFile, byte: u8| {
        file.update(|transaction| transaction.pages_mut(..).map(|pages| pages.fill(byte))).unwrap();
    };
    all_equal(&file, 1);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut byte = 2_u8;
            while !stop.load(Ordering::Relaxed) {
                all_equal(&file, byte);
                byte = byte.wrapping_add(1);
            }
        });
        let mut backups = vec![whole(&file, &folder.path().join("0"))];
        for number in 1..6 {
            let path = folder.path().join(number.to_string());
            backups.push(increment(&file, &backups[number - 1], &path));
        }
        stop.store(true, Ordering::Relaxed);
        for count in 1..=backups.len() {
            let path = folder.path().join("restored");
            let chain = Chain::new(backups[..count].to_vec()).unwrap();
            chain.restore(&path, Existing::Replace, go_on).unwrap();
            let restored = VersionedFile::open(&path).unwrap();
            let snapshot = restored.snapshot().unwrap();
            let pages = snapshot.pages(..).unwrap();
            assert!(pages.iter().all(|&byte| byte == pages[0]), "backup {count} mixes commits");
        }
    });
    assert!(!names(folder.path()).iter().any(|name| name.ends_with(".tmp")));
}
