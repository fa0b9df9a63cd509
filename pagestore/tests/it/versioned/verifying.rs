//! What a verification says of a file that is closed, of one that was left open, and of damaged pages.

use std::{fs, ops::ControlFlow, os::unix::fs::FileExt};

use pagestore::{CommitId, Error, LogState, PageDamage, VersionedFile, VersionedReport};
use tempfile::tempdir;

use super::{count, fill, page, small_log};

fn verify(path: &std::path::Path) -> VersionedReport {
    VersionedFile::verify(path, |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn a_file_that_was_not_closed_is_verified_with_its_log_and_stays_as_it_is() {
    let folder = tempdir().unwrap();
    let (path, copy) = (folder.path().join("file"), folder.path().join("copy"));
    let file = small_log().checkpoints(pagestore::Checkpoints::WhenFull).create(&path).unwrap();
    for byte in 1..=3 {
        let mut transaction = file.begin().unwrap();
        if byte == 1 {
            transaction.grow(count(6)).unwrap();
        }
        fill(&mut transaction, u64::from(byte), byte);
        fill(&mut transaction, 0, byte);
        transaction.commit().unwrap();
    }
    fs::copy(&path, &copy).unwrap();
    let bytes = fs::read(&copy).unwrap();
    let report = verify(&copy);
    assert!(report.is_ok(), "{report:?}");
    assert_eq!((report.commit, report.log_state), (CommitId::new(3), LogState::Needed));
    assert_eq!((report.log_commits, report.log_pages, report.pages), (3, count(4), count(6)));
    assert!(fs::read(&copy).unwrap() == bytes);
    // What the log has may be anything in its place.
    let geometry = file.snapshot().unwrap().log_bytes();
    let geometry = pagestore::VersionedGeometry::new(file.page_size(), geometry).unwrap();
    let raw = fs::File::options().write(true).open(&copy).unwrap();
    raw.write_all_at(&[99; 4096], geometry.page_offset(page(2))).unwrap();
    assert!(verify(&copy).is_ok());
    let recovered = VersionedFile::open(&copy).unwrap();
    assert_eq!(recovered.snapshot().unwrap().page(2).unwrap(), [2; 4096]);
    // While somebody writes, nothing can be said.
    let error = VersionedFile::verify(&path, |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
}

#[test]
fn every_damaged_page_is_named_with_its_place() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    let file = small_log().create(&path).unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(2_000)).unwrap();
    (0..1_990).for_each(|number| fill(&mut transaction, number, 5));
    transaction.commit().unwrap();
    file.close().unwrap();
    assert_eq!(verify(&path).log_state, LogState::Clean);
    let header = pagestore::inspect(&path).unwrap();
    let geometry = header.superblock.versioned().unwrap().geometry;
    let raw = fs::File::options().write(true).open(&path).unwrap();
    raw.write_all_at(&[6], geometry.page_offset(page(7)) + 100).unwrap();
    raw.write_all_at(&[6], geometry.stamp_offset(page(1_500)) + 3).unwrap();
    raw.write_all_at(&[6], geometry.page_offset(page(1_995)) + 4095).unwrap();
    let report = verify(&path);
    let bad: Vec<_> = report.bad_pages.iter().map(|bad| (bad.page.get(), bad.offset)).collect();
    let place = |number| (number, geometry.page_offset(page(number)));
    assert_eq!(bad, [place(7), place(1_500), place(1_995)]);
    assert!(matches!(report.bad_pages[0].damage, PageDamage::Bytes { .. }));
    assert!(report.is_complete() && report.damage.is_empty());
    let stopped = VersionedFile::verify(&path, |_| ControlFlow::Break(())).unwrap();
    assert!(stopped.pages < stopped.page_count && !stopped.is_ok());
}
