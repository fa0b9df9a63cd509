//! Versioned files by the command: backed up, restored, verified, looked at.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use storage::{PageCount, VersionedFile, inspect};

use crate::command::{Folder, Ran, run};

/// A file of so many pages, each filled with its number.
fn versioned(path: &Path, pages: u64) -> VersionedFile {
    let file = VersionedFile::options().log_bytes(8 << 20).create(path).unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(PageCount::new(pages)).unwrap();
    for page in 0..pages {
        transaction.page_mut(page).unwrap().fill(page.to_le_bytes()[0]);
    }
    transaction.commit().unwrap();
    file
}

fn fill(file: &VersionedFile, page: u64, byte: u8) {
    file.update(|transaction| transaction.page_mut(page).map(|page| page.fill(byte))).unwrap();
}

fn with(words: &[&str], paths: &[&Path]) -> Ran {
    let words = words.iter().map(OsStr::new);
    run(words.chain(paths.iter().map(|path| path.as_os_str())))
}

#[test]
fn a_file_is_what_it_was_after_backup_and_restore() {
    let folder = Folder::new();
    let at = |name: &str| folder.join(name);
    let (path, first, second, restored) = (at("file"), at("1"), at("2"), at("restored"));
    versioned(&path, 300).close().unwrap();
    let ran = with(&["backup"], &[&path, &first]);
    assert!(ran.done().contains("commit 1, whole: 300 of 300 pages"), "{ran:?}");
    let file = VersionedFile::open(&path).unwrap();
    fill(&file, 7, 77);
    file.close().unwrap();
    let since = format!("--since={}", first.display());
    let ran = with(&["backup", &since], &[&path, &second]);
    assert!(ran.done().contains("what changed since commit 1: 1 of 300 pages"), "{ran:?}");
    assert!(with(&["verify"], &[&second]).done().contains("good"));
    let ran = with(&["restore"], &[&first, &second, &restored]);
    assert!(ran.done().contains("from 2 backups: commit 2, 300 pages"), "{ran:?}");
    let (was, is) =
        (VersionedFile::open_read_only(&path), VersionedFile::open_read_only(&restored));
    let (was, is) = (was.unwrap(), is.unwrap());
    assert_eq!(was.commit(), is.commit());
    assert!(was.pages(..).unwrap() == is.pages(..).unwrap());
    drop(is);
    with(&["restore"], &[&second, &at("no")]).refused(&["is an increment since commit 1"]);
    with(&["restore"], &[&first, &restored]).refused(&["exists already", "--force"]);
    with(&["restore", "--force"], &[&first, &restored]).done();
    with(&["backup"], &[&first, &at("no")]).refused(&["is not a versioned file"]);
    with(&["backup"], &[&path, Path::new("-")]).refused(&["a backup is written in place"]);
    with(&["unpack"], &[&path, &at("no")]).refused(&["is a versioned file", "storage backup"]);
    assert_eq!(folder.names(), ["1", "2", "file", "restored"]);
}

#[test]
fn a_file_that_is_open_to_write_or_was_not_closed() {
    let folder = Folder::new();
    let (path, copy, out) = (folder.join("file"), folder.join("copy"), folder.join("out"));
    let file = versioned(&path, 20);
    fs::copy(&path, &copy).unwrap();
    with(&["backup"], &[&path, &out]).refused(&["is in use"]);
    with(&["verify"], &[&path]).refused(&["is in use"]);
    let told = with(&["inspect"], &[&path]).done().to_owned();
    for words in ["versioned", "needed for commits after 0", "commit 1 was put into the pages"] {
        assert!(told.contains(words), "{words:?} is missing in {told}");
    }
    with(&["backup"], &[&copy, &out]).refused(&["was not closed", "--recover"]);
    let before = fs::read(&copy).unwrap();
    let told = with(&["verify"], &[&copy]).done().to_owned();
    assert!(told.contains("good: all 20 pages"), "{told}");
    assert!(told.contains("was not closed: 1 commits are only in the log"), "{told}");
    assert!(fs::read(&copy).unwrap() == before, "looking changes nothing");
    with(&["backup", "--recover"], &[&copy, &out]).done();
    file.close().unwrap();
    let told = with(&["inspect"], &[&copy]).done().to_owned();
    for words in ["20 (80.00 KiB)", "at commit 1", "not needed: the file was closed"] {
        assert!(told.contains(words), "{words:?} is missing in {told}");
    }
    with(&["heatmap", "--verify"], &[&copy]).done();
}

#[test]
fn damage_is_named() {
    let folder = Folder::new();
    let path = folder.join("file");
    versioned(&path, 20).close().unwrap();
    let geometry = inspect(&path).unwrap().superblock.versioned().unwrap().geometry;
    let start = geometry.page_offset(storage::PageId::new(7));
    let raw = File::options().write(true).open(&path).unwrap();
    raw.write_all_at(&[99], start + 5).unwrap();
    let place = format!("page 7 is damaged (bytes {start}..{} of the file)", start + 4096);
    with(&["verify"], &[&path]).damaged(&[&place, "1 of 20 pages", "nothing outside"]);
    assert_eq!(with(&["heatmap", "--verify"], &[&path]).code, Some(3));
    with(&["backup"], &[&path, &folder.join("no")]).refused(&["page 7 of ", "is damaged"]);
    raw.write_all_at(&[99], 8192 + 60).unwrap();
    with(&["verify"], &[&path]).damaged(&["mark", "nobody can judge"]);
    with(&["heatmap", "--verify"], &[&path]).refused(&["cannot be checked"]);
    assert_eq!(folder.names(), ["file"]);
}
