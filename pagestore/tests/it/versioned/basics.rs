//! One thing at a time.

use std::fs;

use layout::{LogHalf, VersionedGeometry};
use pagestore::{CommitId, Error, PageFile, PageSize, SealedFile, VersionedFile};
use tempfile::tempdir;

use super::{count, fill, page, small_log};
use crate::skip;

#[test]
fn a_commit_is_there_when_the_file_is_opened_again() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    let file = small_log().create(&path).unwrap();
    let mut transaction = file.begin().unwrap();
    assert_eq!(transaction.grow(count(3)).unwrap().count(), count(3));
    fill(&mut transaction, 1, 7);
    let report = transaction.commit().unwrap();
    assert_eq!((report.commit, report.pages, report.runs), (CommitId::new(1), count(1), 1));
    assert_eq!(report.log_bytes, 8192);
    file.close().unwrap();
    let file = VersionedFile::open(&path).unwrap();
    assert_eq!(file.recovered(), None);
    let snapshot = file.snapshot().unwrap();
    assert_eq!((snapshot.commit(), snapshot.page_count()), (CommitId::new(1), count(3)));
    assert_eq!(snapshot.page(page(0)).unwrap(), [0; 4096]);
    assert_eq!(snapshot.page(page(1)).unwrap(), [7; 4096]);
}

#[test]
fn the_second_commit_waits_for_the_disk_once() {
    let folder = tempdir().unwrap();
    let file = small_log().create(folder.path().join("file")).unwrap();
    for byte in 1..4 {
        let mut transaction = file.begin().unwrap();
        transaction.grow(count(1)).unwrap();
        fill(&mut transaction, 0, byte);
        let report = transaction.commit().unwrap();
        assert_eq!(report.syncs, if byte == 1 { 2 } else { 1 }, "the first one begins the log");
    }
}

#[test]
fn a_snapshot_shows_its_commit_whatever_is_committed_later() {
    let folder = tempdir().unwrap();
    let file = small_log().create(folder.path().join("file")).unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(4)).unwrap();
    transaction.commit().unwrap();
    let mut snapshots = Vec::new();
    for byte in 1..20_u8 {
        let mut transaction = file.begin().unwrap();
        fill(&mut transaction, u64::from(byte % 4), byte);
        transaction.commit().unwrap();
        snapshots.push((byte, file.snapshot().unwrap()));
    }
    for (byte, snapshot) in &snapshots {
        assert_eq!(snapshot.page(page(u64::from(byte % 4))).unwrap(), [*byte; 4096]);
        let before = byte.saturating_sub(1);
        assert_eq!(snapshot.page(page(u64::from(before % 4))).unwrap(), [before; 4096]);
        assert_eq!(snapshot.pages(..).unwrap().len(), 4 * 4096);
    }
    assert!(file.stats().kept_bytes > 0);
    drop(snapshots);
    assert_eq!(file.stats().kept_bytes, 0, "nobody has an old snapshot any more");
}

#[test]
fn a_transaction_that_is_dropped_changes_nothing() {
    let folder = tempdir().unwrap();
    let file = small_log().create(folder.path().join("file")).unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(4)).unwrap();
    fill(&mut transaction, 2, 9);
    transaction.commit().unwrap();
    let mut transaction = file.begin().unwrap();
    fill(&mut transaction, 2, 1);
    fill(&mut transaction, 3, 1);
    transaction.grow(count(4)).unwrap();
    fill(&mut transaction, 6, 1);
    assert_eq!(transaction.page(page(2)).unwrap(), [1; 4096], "it reads its own writes");
    assert_eq!(transaction.changed_count(), count(3));
    assert!(file.stats().kept_bytes >= 3 * 4096);
    drop(transaction);
    assert_eq!(file.stats().kept_bytes, 0);
    let transaction = file.begin().unwrap();
    assert_eq!(transaction.page_count(), count(4));
    assert_eq!(transaction.page(page(2)).unwrap(), [9; 4096]);
    assert_eq!(transaction.page(page(3)).unwrap(), [0; 4096]);
    assert_eq!(transaction.commit().unwrap().pages, count(0));
    assert_eq!(file.commit_id(), CommitId::new(1));
}

#[test]
fn pages_that_shrank_away_are_zero_when_they_come_back() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    let file = small_log().create(&path).unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(8)).unwrap();
    (0..8).for_each(|number| fill(&mut transaction, number, 5));
    transaction.commit().unwrap();
    let old = file.snapshot().unwrap();
    let len = || std::fs::metadata(&path).unwrap().len();
    let full_len = len();
    let mut transaction = file.begin().unwrap();
    assert!(matches!(transaction.shrink_to(count(9)), Err(Error::Range(_))));
    transaction.shrink_to(count(3)).unwrap();
    transaction.commit().unwrap();
    assert_eq!(len(), full_len, "a snapshot has the pages");
    assert_eq!(old.pages(..).unwrap(), [5; 8 * 4096]);
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(3)).unwrap();
    assert_eq!(transaction.pages(page(3)..).unwrap(), [0; 3 * 4096]);
    transaction.commit().unwrap();
    assert_eq!(old.pages(..).unwrap(), [5; 8 * 4096]);
    assert_eq!(file.snapshot().unwrap().pages(page(3)..).unwrap(), [0; 3 * 4096]);
    drop(old);
    let mut transaction = file.begin().unwrap();
    transaction.shrink_to(count(2)).unwrap();
    transaction.commit().unwrap();
    assert_eq!(len(), full_len - 6 * 4096, "nobody has the pages any more");
    file.close().unwrap();
    let file = VersionedFile::open(&path).unwrap();
    assert_eq!(file.snapshot().unwrap().pages(..).unwrap(), [5; 2 * 4096]);
}

#[test]
fn changed_since_names_the_pages_of_later_commits() {
    let file = VersionedFile::in_memory().unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(100)).unwrap();
    (0..10).for_each(|number| fill(&mut transaction, number, 1));
    transaction.commit().unwrap();
    let mut transaction = file.begin().unwrap();
    [3, 4, 50].into_iter().for_each(|number| fill(&mut transaction, number, 2));
    transaction.commit().unwrap();
    let snapshot = file.snapshot().unwrap();
    let runs = |since| {
        let runs = snapshot.changed_since(CommitId::new(since)).unwrap();
        runs.into_iter().map(|run| (run.start().get(), run.count().get())).collect::<Vec<_>>()
    };
    assert_eq!(runs(0), [(0, 10), (50, 1)]);
    assert_eq!(runs(1), [(3, 2), (50, 1)]);
    assert_eq!(runs(2), []);
}

#[test]
fn a_bulk_load_larger_than_the_log_is_one_commit() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    let file = VersionedFile::options().log_bytes(2 << 20).create(&path).unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(40_000)).unwrap();
    for (number, word) in
        transaction.as_slice_of_mut::<u64>(..).unwrap().chunks_mut(512).enumerate()
    {
        word[0] = number as u64 + 1;
    }
    let report = transaction.commit().unwrap();
    assert!(report.log_bytes < 1 << 20, "new pages go to their places: {report:?}");
    let snapshot = file.snapshot().unwrap();
    drop(file);
    for number in 0..40_000 {
        let first = bytemuck_first(snapshot.page(page(number)).unwrap());
        assert_eq!(first, number + 1);
    }
    drop(snapshot);
    let file = VersionedFile::open(&path).unwrap();
    file.snapshot().unwrap().verify().unwrap();
}

fn bytemuck_first(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.first_chunk().unwrap())
}

#[test]
fn what_is_too_large_for_the_log_leaves_the_transaction_as_it_was() {
    let folder = tempdir().unwrap();
    let file = small_log().create(folder.path().join("file")).unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(64)).unwrap();
    transaction.commit().unwrap();
    let mut transaction = file.begin().unwrap();
    (0..64).for_each(|number| fill(&mut transaction, number, 3));
    let failed = transaction.try_commit().unwrap_err();
    assert!(matches!(failed.error(), Error::TransactionTooLarge { .. }), "{failed:?}");
    let transaction = failed.into_transaction().unwrap();
    assert_eq!(transaction.pages(..).unwrap(), [3; 64 * 4096]);
    drop(transaction);
    assert_eq!(file.snapshot().unwrap().pages(..).unwrap(), [0; 64 * 4096]);
}

#[test]
fn the_limit_of_kept_bytes_says_who_has_them() {
    let file = VersionedFile::options().kept_bytes_max(16 * 4096).in_memory().unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(64)).unwrap();
    let refused = transaction.pages_mut(..).unwrap_err();
    assert!(matches!(refused, Error::KeptExceeded { snapshots: 0, .. }), "{refused}");
    transaction.commit().unwrap();
    let _old = file.snapshot().unwrap();
    let mut transaction = file.begin().unwrap();
    (0..10).for_each(|number| fill(&mut transaction, number, 3));
    let failed = transaction.try_commit().unwrap_err();
    let Error::KeptExceeded { snapshots, oldest, .. } = failed.error() else {
        panic!("{failed:?}");
    };
    assert_eq!((*snapshots, oldest.unwrap().0), (1, CommitId::new(1)));
    drop(failed.into_transaction());
    drop(_old);
    let mut transaction = file.begin().unwrap();
    (0..10).for_each(|number| fill(&mut transaction, number, 3));
    transaction.commit().unwrap();
}

#[test]
fn other_kinds_of_files_are_told_apart() {
    let folder = tempdir().unwrap();
    let path = |name| folder.path().join(name);
    drop(VersionedFile::create(path("versioned")).unwrap());
    drop(PageFile::create(path("mutable")).unwrap());
    assert!(matches!(PageFile::open(path("versioned")), Err(Error::Versioned { .. })));
    assert!(matches!(SealedFile::open(path("versioned")), Err(Error::Versioned { .. })));
    assert!(matches!(VersionedFile::open(path("mutable")), Err(Error::NotVersioned { .. })));
    assert!(matches!(VersionedFile::create(path("mutable")), Err(Error::AlreadyExists { .. })));
    let _open = VersionedFile::open(path("versioned")).unwrap();
    assert!(matches!(VersionedFile::open(path("versioned")), Err(Error::Locked { .. })));
}

/// A block that was only reserved is slow to write durably the first time, so the first commit writes a stretch of
/// the log: what lseek(2) calls a hole in it begins behind that.
#[test]
fn the_log_is_written_ahead_of_its_records() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    let file = VersionedFile::options().log_bytes(2 << 20).create(&path).unwrap();
    let raw = fs::File::open(&path).unwrap();
    let at_start = hole_in_log(&raw);
    if at_start != 0 {
        return skip::skipped(
            "a log written ahead",
            "this filesystem has no reserved blocks, or does not tell",
        );
    }
    let commit = |file: &VersionedFile, byte| {
        let mut transaction = file.begin().unwrap();
        transaction.grow(count(1)).unwrap();
        fill(&mut transaction, 0, byte);
        transaction.commit().unwrap()
    };
    assert_eq!(commit(&file, 1).log_bytes, 8192);
    assert_eq!(hole_in_log(&raw), 256 << 10);
    file.close().unwrap();
    // The next one knows, and its log begins anew.
    let file = VersionedFile::open(&path).unwrap();
    for byte in 2..40 {
        commit(&file, byte);
    }
    assert_eq!(hole_in_log(&raw), 512 << 10);
    // To the end of a half, and no further.
    for byte in 40..140 {
        commit(&file, byte);
    }
    assert_eq!(hole_in_log(&raw), 1280 << 10);
}

/// How many bytes of a log of 2 MiB come before the first hole in it.
fn hole_in_log(file: &fs::File) -> u64 {
    let geometry = VersionedGeometry::new(PageSize::DEFAULT, 2 << 20).unwrap();
    let start = geometry.half_start(LogHalf::First);
    rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(start)).unwrap() - start
}
