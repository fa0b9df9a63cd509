//! What was found right once need not be verified again, in whatever snapshot: and nothing else goes for right.
//!
//! Method: the last page of a file is damaged while it is closed. A page can be written anew without being read
//! by taking it away and adding it again; whoever reads what it was before must be told of the damage all the
//! same.

use std::{fs, os::unix::fs::FileExt, path::Path};

use pagestore::{Error, Snapshot, Transaction, VersionedFile};
use tempfile::tempdir;

use super::{count, fill, page, small_log};

const PAGES: u64 = 70;
const DAMAGED: u64 = PAGES - 1;

/// Opens a file that was damaged since it was closed.
fn damaged(path: &Path) -> VersionedFile {
    let file = small_log().create(path).unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(PAGES)).unwrap();
    (0..PAGES).for_each(|number| fill(&mut transaction, number, 1));
    transaction.commit().unwrap();
    file.close().unwrap();
    let geometry = pagestore::inspect(path).unwrap().superblock.versioned().unwrap().geometry;
    let raw = fs::File::options().write(true).open(path).unwrap();
    raw.write_all_at(&[6], geometry.page_offset(page(DAMAGED)) + 100).unwrap();
    VersionedFile::open(path).unwrap()
}

/// Writes the damaged page anew without reading it.
fn replace(transaction: &mut Transaction<'_>) {
    transaction.shrink_to(count(DAMAGED)).unwrap();
    transaction.grow(count(1)).unwrap();
    fill(transaction, DAMAGED, 9);
}

fn tells_of_damage(snapshot: &Snapshot) {
    for _ in 0..2 {
        let error = snapshot.page(DAMAGED).unwrap_err();
        assert!(matches!(error, Error::Checksum { .. }), "{error}");
        let error = snapshot.pages(..).unwrap_err();
        assert!(matches!(error, Error::Checksum { .. }), "{error}");
    }
    assert_eq!(snapshot.page(0).unwrap(), [1; 4096]);
}

#[test]
fn a_snapshot_tells_of_damage_also_when_a_commit_has_written_the_page_anew() {
    let folder = tempdir().unwrap();
    let file = damaged(&folder.path().join("file"));
    let before = file.snapshot().unwrap();
    let mut transaction = file.begin().unwrap();
    replace(&mut transaction);
    transaction.commit().unwrap();
    tells_of_damage(&before);
    // A snapshot of the new commit, in the same mapping or in another one, has no damage.
    for _ in 0..3 {
        let after = file.snapshot().unwrap();
        assert_eq!(after.page(DAMAGED).unwrap(), [9; 4096]);
        assert_eq!(after.pages(..).unwrap().len() as u64, PAGES * 4096);
        let mut transaction = file.begin().unwrap();
        fill(&mut transaction, 0, 1);
        transaction.commit().unwrap();
        tells_of_damage(&before);
    }
}

#[test]
fn what_a_transaction_that_was_given_up_wrote_makes_no_page_right() {
    let folder = tempdir().unwrap();
    let file = damaged(&folder.path().join("file"));
    let mut transaction = file.begin().unwrap();
    replace(&mut transaction);
    assert_eq!(transaction.page(DAMAGED).unwrap(), [9; 4096]);
    assert_eq!(transaction.pages(..).unwrap().last(), Some(&9));
    drop(transaction);
    tells_of_damage(&file.snapshot().unwrap());
    let mut transaction = file.begin().unwrap();
    assert!(matches!(transaction.page(DAMAGED), Err(Error::Checksum { .. })));
    assert!(matches!(transaction.page_mut(DAMAGED), Err(Error::Checksum { .. })));
}

#[test]
fn a_change_that_was_taken_back_makes_no_page_right() {
    let folder = tempdir().unwrap();
    let file = damaged(&folder.path().join("file"));
    let given_up: Result<(), Error> = file.update(|transaction| {
        replace(transaction);
        Err(Error::Overlap)
    });
    assert!(matches!(given_up, Err(Error::Overlap)));
    let read: Result<u8, Error> = file.update(|transaction| Ok(transaction.page(DAMAGED)?[0]));
    assert!(matches!(read, Err(Error::Checksum { .. })));
    tells_of_damage(&file.snapshot().unwrap());
}
