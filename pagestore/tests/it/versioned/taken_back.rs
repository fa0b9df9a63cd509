//! A change that fails is taken back alone, whatever it did; what others did before it in the same commit stays.
//!
//! Method: changes that are made one after the other in one commit. The first one has the others begin while it is
//! being made, so that they are there when it is done. Then changes at random by many threads against a model, which
//! is changed where the pages are, and only by changes that succeed.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use pagestore::{Error, Transaction, VersionedFile, WithCauses};
use tempfile::TempDir;

use super::{count, index, page, random::Random, small_log};
use crate::report::seed;

/// Long enough for a thread to leave its change.
const A_WHILE: Duration = Duration::from_millis(50);

#[derive(Debug, PartialEq)]
enum Failed {
    OnPurpose,
    Else(String),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Else(WithCauses(&error).to_string())
    }
}

type Made = Result<(), Failed>;

/// Makes two changes in one commit, if all goes well.
fn together(
    file: &VersionedFile,
    first: impl FnOnce(&mut Transaction<'_>) -> Made + Send,
    second: impl FnOnce(&mut Transaction<'_>) -> Made + Send,
) -> (Made, Made) {
    let has_begun = AtomicBool::new(false);
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            while !has_begun.load(SeqCst) {
                thread::yield_now();
            }
            file.update(second)
        });
        let first = file.update(|transaction| {
            has_begun.store(true, SeqCst);
            let made = first(transaction);
            thread::sleep(A_WHILE);
            made
        });
        (first, second.join().unwrap())
    })
}

fn fill(transaction: &mut Transaction<'_>, number: u64, byte: u8) -> Made {
    transaction.page_mut(page(number))?.fill(byte);
    Ok(())
}

/// A file of so many pages, with a log that has room for many of them, and its folder.
fn file_of(pages: u64) -> (VersionedFile, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = VersionedFile::options().log_bytes(8 << 20);
    let file = options.create(folder.path().join("file")).unwrap();
    file.update(|transaction| transaction.grow(count(pages)).map(drop)).unwrap();
    (file, folder)
}

fn bytes(file: &VersionedFile) -> Vec<u8> {
    let snapshot = file.snapshot().unwrap();
    let pages = snapshot.pages(..).unwrap().chunks_exact(4096);
    pages.map(|page| if page == [page[0]; 4096] { page[0] } else { 255 }).collect()
}

#[test]
fn pages_that_a_failed_change_cut_off() {
    let (file, _folder) = file_of(8);
    let first = |transaction: &mut Transaction<'_>| fill(transaction, 5, 1);
    let second = |transaction: &mut Transaction<'_>| {
        transaction.shrink_to(count(3))?;
        Err(Failed::OnPurpose)
    };
    assert_eq!(together(&file, first, second), (Ok(()), Err(Failed::OnPurpose)));
    assert_eq!(bytes(&file), [0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(file.stats().kept_bytes, 0);
}

#[test]
fn pages_that_a_failed_change_cut_off_and_made_anew() {
    let (file, _folder) = file_of(4);
    let first = |transaction: &mut Transaction<'_>| {
        transaction.grow(count(3))?;
        (2..7).try_for_each(|number| fill(transaction, number, 1))
    };
    let second = |transaction: &mut Transaction<'_>| {
        fill(transaction, 6, 2)?;
        transaction.shrink_to(count(1))?;
        transaction.grow(count(9))?;
        fill(transaction, 3, 2)?;
        transaction.shrink_to(count(3))?;
        Err(Failed::OnPurpose)
    };
    assert_eq!(together(&file, first, second), (Ok(()), Err(Failed::OnPurpose)));
    assert_eq!(bytes(&file), [0, 0, 1, 1, 1, 1, 1]);
}

#[test]
fn changes_at_random_of_many_threads() {
    const ROUNDS: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = small_log().create(&path).unwrap();
    let (seed, model) = (seed(), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for number in 0..6 {
            let (file, model, mut random) = (&file, &model, Random::new(seed + number));
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let made = file.update(|transaction| {
                        let mut model = model.lock().unwrap_or_else(|failed| failed.into_inner());
                        *model = changed(transaction, &model, &mut random)?;
                        Ok(())
                    });
                    assert!(
                        matches!(made, Ok(()) | Err(Failed::OnPurpose)),
                        "seed {seed}: {made:?}"
                    );
                }
            });
        }
    });
    let model = model.into_inner().unwrap();
    assert_eq!(bytes(&file), model, "seed {seed}");
    assert_eq!(file.stats().kept_bytes, 0);
    file.close().unwrap();
    assert_eq!(bytes(&VersionedFile::open(&path).unwrap()), model, "seed {seed}, opened again");
}

/// Changes pages at random and gives what they are filled with then, unless it fails in the end.
fn changed(
    transaction: &mut Transaction<'_>,
    before: &[u8],
    random: &mut Random,
) -> Result<Vec<u8>, Failed> {
    let mut model = before.to_vec();
    let found = transaction.pages(..)?.chunks_exact(4096);
    assert!(found.map(|page| page[0]).eq(model.iter().copied()), "what others did is not there");
    for _ in 0..1 + random.below(4) {
        let len = model.len() as u64;
        match random.below(4) {
            0 => {
                let added = 1 + random.below(6);
                transaction.grow(count(added))?;
                model.resize(index(len + added), 0);
            }
            1 => {
                let kept = len - random.below(len.min(6) + 1);
                transaction.shrink_to(count(kept))?;
                model.truncate(index(kept));
            }
            _ if len > 0 => {
                let (number, byte) = (random.below(len), random.below(200).to_le_bytes()[0] + 1);
                fill(transaction, number, byte)?;
                model[index(number)] = byte;
            }
            _ => {}
        }
    }
    if random.below(2) == 0 { Ok(model) } else { Err(Failed::OnPurpose) }
}

/// Whoever commits for others does not wait for ever for those that come to nothing.
#[test]
fn a_change_returns_among_many_that_fail() {
    let (file, _folder) = file_of(1);
    let (is_done, have_ended) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !have_ended.load(SeqCst) {
                    let failed = file.update(|_| -> Made {
                        // The others are back before this one is done.
                        thread::sleep(Duration::from_millis(1));
                        Err(Failed::OnPurpose)
                    });
                    assert_eq!(failed, Err(Failed::OnPurpose));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..5 {
                file.update(|transaction| fill(transaction, 0, 1)).unwrap();
            }
            is_done.store(true, SeqCst);
        });
        // So long that no machine is too slow.
        let mut looks = 0..2000;
        while !is_done.load(SeqCst) && looks.next().is_some() {
            thread::sleep(Duration::from_millis(10));
        }
        have_ended.store(true, SeqCst);
        assert!(!looks.is_empty(), "it waits as long as others fail");
    });
}

/// A transaction is what a change is given, and stays where it is.
#[test]
fn a_change_that_puts_another_transaction_in_its_place_fails() {
    let (file, _folder) = file_of(2);
    let (other, _other_folder) = file_of(300);
    let file: &'static VersionedFile = Box::leak(Box::new(file));
    let other: &'static VersionedFile = Box::leak(Box::new(other));
    let first = |transaction: &mut Transaction<'_>| fill(transaction, 1, 1);
    let of_another_file = |transaction: &mut Transaction<'_>| {
        *transaction = other.begin()?;
        fill(transaction, 299, 2)
    };
    let (first_made, second_made) = together(file, first, of_another_file);
    for made in [first_made, second_made] {
        assert!(matches!(made, Err(Failed::Else(_))), "{made:?}");
    }
    let of_the_same = |transaction: &mut Transaction<'_>| {
        drop(std::mem::replace(transaction, other.begin()?));
        *transaction = file.begin()?;
        fill(transaction, 1, 3)
    };
    let made = file.update(of_the_same);
    assert!(
        matches!(&made, Err(Failed::Else(words)) if words.contains("another transaction")),
        "{made:?}"
    );
    // Both files go on.
    for file in [file, other] {
        assert!(bytes(file).iter().all(|&byte| byte == 0));
        file.update(|transaction| fill(transaction, 1, 4)).unwrap();
        assert_eq!(bytes(file)[1], 4);
    }
}
