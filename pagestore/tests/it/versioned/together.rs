//! Many threads: updates that share commits, and readers beside a writer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pagestore::{Error, PageId, VersionedFile};
use tempfile::tempdir;

use super::{count, fill, index, page, random::Random, small_log};

#[test]
fn updates_of_many_threads_share_commits_and_none_is_lost() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    let file = small_log().create(&path).unwrap();
    file.update(|transaction| transaction.grow(count(8)).map(drop)).unwrap();
    const EACH: u64 = 50;
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let file = &file;
            scope.spawn(move || {
                for _ in 0..EACH {
                    file.update(|transaction| {
                        transaction.as_slice_of_mut::<u64>(page(thread)..page(thread + 1))?[0] += 1;
                        // A page that all change.
                        transaction.as_slice_of_mut::<u64>(page(0)..page(1))?[1] += 1;
                        Ok::<_, Error>(())
                    })
                    .unwrap();
                }
            });
        }
    });
    let commits = file.commit_id().get() - 1;
    assert!(commits < 8 * EACH, "no two updates shared a commit");
    file.close().unwrap();
    let file = VersionedFile::open(&path).unwrap();
    let snapshot = file.snapshot().unwrap();
    for thread in 0..8 {
        assert_eq!(snapshot.as_slice_of::<u64>(page(thread)..page(thread + 1)).unwrap()[0], EACH);
    }
    assert_eq!(snapshot.as_slice_of::<u64>(page(0)..page(1)).unwrap()[1], 8 * EACH);
}

#[test]
fn an_update_that_fails_or_panics_takes_back_only_its_own() {
    let file = VersionedFile::in_memory().unwrap();
    file.update(|transaction| transaction.grow(count(4)).map(drop)).unwrap();
    #[derive(Debug)]
    enum Failed {
        Mine,
        Theirs,
    }
    impl From<Error> for Failed {
        fn from(_: Error) -> Self {
            Self::Theirs
        }
    }
    std::thread::scope(|scope| {
        for thread in 0..6_u64 {
            let file = &file;
            scope.spawn(move || {
                for round in 0..40_u64 {
                    let result = file.update(|transaction| {
                        transaction.as_slice_of_mut::<u64>(page(1)..page(2))?[0] += 1;
                        match thread {
                            // Whatever it did is as if it had not been.
                            0 => {
                                fill(transaction, 1, 99);
                                transaction.grow(count(round % 3))?;
                                fill(transaction, 3, 99);
                                Err(Failed::Mine)
                            }
                            1 => {
                                transaction.shrink_to(count(1))?;
                                transaction.grow(count(round % 5))?;
                                Err(Failed::Mine)
                            }
                            _ => Ok(()),
                        }
                    });
                    assert!(matches!((thread, result), (0 | 1, Err(Failed::Mine)) | (2.., Ok(()))));
                }
            });
        }
    });
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        file.update(|transaction| -> Result<(), Error> {
            fill(transaction, 2, 99);
            panic!("on purpose")
        })
    }));
    assert!(panicked.is_err());
    let snapshot = file.snapshot().unwrap();
    assert_eq!(snapshot.page_count(), count(4));
    assert_eq!(snapshot.as_slice_of::<u64>(page(1)..page(2)).unwrap()[0], 4 * 40);
    assert_eq!(snapshot.pages(page(2)..).unwrap(), [0; 2 * 4096]);
    assert_eq!(file.stats().kept_bytes, 0);
}

/// A change may be made by another thread; what it panics with is for the one who asked for it.
#[test]
fn a_panic_reaches_only_the_update_that_it_is_of() {
    let folder = tempdir().unwrap();
    let file = small_log().create(folder.path().join("file")).unwrap();
    file.update(|transaction| transaction.grow(count(4)).map(drop)).unwrap();
    const EACH: u64 = 60;
    std::thread::scope(|scope| {
        for thread in 0..6_u64 {
            let file = &file;
            scope.spawn(move || {
                for round in 0..EACH {
                    let update = std::panic::AssertUnwindSafe(|| {
                        file.update(|transaction| -> Result<u64, Error> {
                            let words = transaction.as_slice_of_mut::<u64>(page(1)..page(2))?;
                            words[0] += 1;
                            if thread == 0 {
                                std::panic::panic_any((thread, round));
                            }
                            Ok(words[0])
                        })
                    });
                    match std::panic::catch_unwind(update) {
                        Ok(counted) => assert!(thread != 0 && counted.unwrap() > round),
                        Err(panic) => {
                            assert_eq!(panic.downcast_ref(), Some(&(0_u64, round)), "{thread}");
                        }
                    }
                }
            });
        }
    });
    let snapshot = file.snapshot().unwrap();
    assert_eq!(snapshot.as_slice_of::<u64>(page(1)..page(2)).unwrap()[0], 5 * EACH);
}

/// Each commit fills all pages with its number, so a snapshot that shows two numbers is torn.
#[test]
fn readers_beside_a_writer_see_whole_commits() {
    let folder = tempdir().unwrap();
    let file = small_log().create(folder.path().join("file")).unwrap();
    const PAGES: u64 = 12;
    file.update(|transaction| transaction.grow(count(PAGES)).map(drop)).unwrap();
    let (done, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let (file, done, reads) = (&file, &done, &reads);
            scope.spawn(move || {
                let (mut random, mut held) = (Random::new(seed), Vec::new());
                while !done.load(Ordering::Relaxed) {
                    let snapshot = file.snapshot().unwrap();
                    let first = snapshot.page(page(random.below(PAGES))).unwrap()[0];
                    held.push((snapshot, first));
                    let (snapshot, first) = &held[index(random.below(held.len() as u64))];
                    assert!(snapshot.pages(..).unwrap().iter().all(|byte| byte == first));
                    reads.fetch_add(1, Ordering::Relaxed);
                    if held.len() > 6 {
                        held.swap_remove(index(random.below(6)));
                    }
                }
            });
        }
        for byte in 1..=200_u8 {
            let mut transaction = file.begin().unwrap();
            for number in 0..PAGES {
                transaction.page_mut(PageId::new(number)).unwrap().fill(byte);
            }
            transaction.commit().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(reads.load(Ordering::Relaxed) > 0);
    assert_eq!(file.stats().kept_bytes, 0);
}

#[test]
fn readers_in_other_handles_have_it_while_nobody_writes() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    let file = small_log().create(&path).unwrap();
    file.update(|transaction| -> Result<(), Error> {
        transaction.grow(count(2))?;
        transaction.page_mut(page(1))?.fill(5);
        Ok(())
    })
    .unwrap();
    assert!(matches!(VersionedFile::open_read_only(&path), Err(Error::Locked { .. })));
    let crashed = folder.path().join("crashed");
    std::fs::copy(&path, &crashed).unwrap();
    let refused = VersionedFile::open_read_only(&crashed);
    assert!(matches!(refused, Err(Error::RecoveryNeeded { .. })), "{refused:?}");
    file.close().unwrap();
    let (one, other) = (
        VersionedFile::open_read_only(&path).unwrap(),
        VersionedFile::open_read_only(&path).unwrap(),
    );
    assert_eq!(one.page(page(1)).unwrap(), other.page(page(1)).unwrap());
    assert_eq!(one.page(page(1)).unwrap(), [5; 4096]);
    assert!(matches!(VersionedFile::open(&path), Err(Error::Locked { .. })));
    drop((one, other));
    VersionedFile::open(&path).unwrap();
}

#[test]
fn handles_go_from_thread_to_thread() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    sent::<pagestore::Transaction<'_>>();
    shared::<pagestore::Snapshot>();
    shared::<VersionedFile>();
}
