//! Sealing, and views of what was sealed.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
};

use pagestore::{Error, RawFile};

use super::{full_of_places, open, places, read, read_write, write};

const LEN: usize = 200_000;

#[test]
fn the_mode_records_the_seal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = full_of_places(&path, LEN);
    assert!(!file.is_sealed());
    file.seal().unwrap();
    file.seal().unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o400);
    let check = |file: &RawFile| {
        assert!(file.is_sealed());
        assert_eq!(file.len().unwrap(), LEN as u64);
        assert!(matches!(write(file, 0, b"x"), Err(Error::Sealed { .. })));
        assert!(matches!(file.set_len(LEN as u64), Err(Error::Sealed { .. })));
        assert!(matches!(file.set_len(0), Err(Error::Sealed { .. })));
        file.sync().unwrap();
        assert!(file.view(0, LEN).unwrap() == places(LEN));
        assert!(read(file, 17, LEN - 17).unwrap() == places(LEN)[17..]);
        file.still_valid().unwrap();
    };
    check(&file);
    drop(file);
    check(&RawFile::open(File::open(&path).unwrap(), &path).unwrap());
    // Root can open it for writing in spite of its mode; it is sealed all the same.
    if rustix::process::geteuid().is_root() {
        check(&RawFile::open(read_write(&path), &path).unwrap());
    }
    assert!(fs::read(&path).unwrap() == places(LEN));
}

#[test]
fn views_are_the_file_in_memory_and_outlive_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = full_of_places(&path, LEN);
    file.seal().unwrap();
    let whole = file.view(0, LEN).unwrap();
    let part = file.view(5000, 100).unwrap();
    assert_eq!(part.as_ptr(), whole[5000..].as_ptr(), "both are the mapping, no copy");
    assert_eq!(whole.as_ptr().addr() % 4096, 0);
    let again = file.try_view(5000, 100).expect("it is in memory").unwrap();
    assert_eq!(part.as_ptr(), again.as_ptr());

    let other = folder.path().join("other");
    let new = open(&other).unwrap();
    write(&new, 0, &[9; LEN]).unwrap();
    new.sync().unwrap();
    fs::rename(&other, &path).unwrap();
    new.set_len(10).unwrap();
    fs::remove_file(&path).unwrap();
    drop((file, new, again));
    folder.close().unwrap();
    assert!(whole == places(LEN));
    drop(whole);
    assert!(part == places(LEN)[5000..5100]);
}

/// What the page cache has is answered at once although this mapping never touched it, if it is
/// little; a lot is not.
#[test]
fn little_that_is_in_the_page_cache_is_answered_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    full_of_places(&path, LEN).seal().unwrap();
    let file = RawFile::open(File::open(&path).unwrap(), &path).unwrap();
    let mut buffer = [0; 3000];
    file.try_read_at(20_000, &mut buffer).expect("just written").unwrap();
    assert_eq!(buffer, places(LEN)[20_000..23_000]);
    let view = file.try_view(70_000, 100_000).expect("just written").unwrap();
    assert!(view == places(LEN)[70_000..170_000]);
    assert!(file.try_view(0, LEN).is_none(), "bringing in that much may take long");
    file.view(0, LEN).unwrap();
    assert!(file.try_view(0, LEN).expect("it was brought in").unwrap() == places(LEN));
}

/// After the page cache was emptied, nothing is answered at once that has to come from the disk.
#[test]
fn what_is_on_the_disk_only_is_not_answered_at_once() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("file");
    full_of_places(&path, LEN).seal().unwrap();
    let descriptor = File::open(&path).unwrap();
    rustix::fs::fadvise(&descriptor, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let file = RawFile::open(descriptor, &path).unwrap();
    if file.residency().is_none_or(|residency| residency.resident_bytes != 0) {
        return crate::skip::skipped(
            "what_is_on_the_disk_only_is_not_answered_at_once",
            "the page cache keeps it here",
        );
    }
    assert!(file.try_view(4096, 10).is_none());
    assert!(file.try_read_at(4096, &mut [0; 10]).is_none());
    assert!(file.view(4096, 10).unwrap() == places(LEN)[4096..4106]);
    assert!(file.try_view(4096, 10).is_some());
}
