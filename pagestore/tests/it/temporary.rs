//! Temporary files have no name at any time, leave nothing whatever ends their process, and are
//! otherwise files like all sealed ones.
//!
//! Method: the folder is listed while files are written, read and dropped, and after a child that
//! had one was killed; the content is damaged and cut short through the descriptors that proc(5)
//! shows.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

use pagestore::{
    ByteOffset, Error, PageId, PageSize, PageWriter, ResidencyBudget, SealedFile, TempWriter,
};

use crate::{
    child,
    nameless::{nameless_in, the_nameless_in},
};

fn names(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// A temporary file of so many pages, each full of its number.
fn numbered(folder: &Path, pages: u8) -> SealedFile {
    let mut writer = TempWriter::create_in(folder).unwrap();
    for page in 0..pages {
        writer.append(&[page; 4096]).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn it_never_has_a_name_and_reads_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let size = PageSize::new(64 << 10).unwrap();
    let mut writer = PageWriter::options().page_size(size).create_temporary(folder.path()).unwrap();
    let mut model = Vec::new();
    for piece in 0..50_u8 {
        let bytes = vec![piece; usize::from(piece) * 4001];
        assert_eq!(writer.append(&bytes).unwrap().get(), model.len() as u64);
        model.extend(bytes);
        assert_eq!(names(folder.path()), 0);
    }
    let sealed = writer.finish().unwrap();
    assert_eq!(names(folder.path()), 0);
    assert_eq!(sealed.as_slice_of_at::<u8>(ByteOffset::new(0), model.len()).unwrap(), model);
    assert_eq!(nameless_in(folder.path(), std::process::id()).len(), 1);
    drop(sealed);
    assert_eq!(nameless_in(folder.path(), std::process::id()).len(), 0, "the file is gone");
}

#[test]
fn views_keep_it_alive() {
    let folder = tempfile::tempdir().unwrap();
    let view = numbered(folder.path(), 9).bytes(PageId::new(7)..=PageId::new(8)).unwrap();
    assert_eq!((view[0], view[8191]), (7, 8));
}

#[test]
fn a_killed_process_leaves_nothing() {
    if let Some(folder) = child::path() {
        let mut writer = TempWriter::create_in(&folder).unwrap();
        writer.append(&vec![1; 10 << 20]).unwrap();
        let _sealed = numbered(&folder, 100);
        assert_eq!(nameless_in(&folder, std::process::id()).len(), 2);
        child::done_and_wait();
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = child::command("", "a_killed_process_leaves_nothing", folder.path());
    child::Waiting::start(&mut command).kill();
    assert_eq!(names(folder.path()), 0);
}

#[test]
fn damage_is_found_on_first_touch() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = numbered(folder.path(), 20);
    let path = the_nameless_in(folder.path());
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut found = [0; 8192];
    let mut at = 0;
    while file.read_at(&mut found, at).unwrap() == found.len() {
        if found == [[13; 4096], [14; 4096]].concat()[..] {
            break;
        }
        at += 4096;
    }
    file.write_at(&[12], at + 77).unwrap();
    assert_eq!(sealed.page(PageId::new(12)).unwrap()[77], 12);
    let error = sealed.page(PageId::new(13)).unwrap_err();
    assert!(matches!(error, Error::Checksum { page, .. } if page == PageId::new(13)), "{error}");
    assert_eq!(sealed.page(PageId::new(14)).unwrap()[77], 14);
}

#[test]
fn cut_short_it_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = numbered(folder.path(), 20);
    let path = the_nameless_in(folder.path());
    OpenOptions::new().write(true).open(path).unwrap().set_len(12 * 4096).unwrap();
    let error = sealed.page(PageId::new(15)).unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    assert!(sealed.still_valid().is_err());

    let mut writer = TempWriter::create_in(folder.path()).unwrap();
    writer.append(&[1; 3 << 20]).unwrap();
    let mut files = nameless_in(folder.path(), std::process::id());
    files.retain(|path| fs::metadata(path).unwrap().len() > 1 << 20);
    OpenOptions::new().write(true).open(&files[0]).unwrap().set_len(4096).unwrap();
    // What the writer adds makes the file as long as it was to be, with a hole; the pages in it
    // fail by their checksums.
    let finished = writer.finish().map_err(Error::from);
    let outcome = finished.and_then(|sealed| sealed.pages(..).map(drop));
    outcome.unwrap_err();
}

#[test]
fn under_a_budget_what_is_written_leaves_memory() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let budget = ResidencyBudget::new(4 << 20).unwrap();
    let options = PageWriter::options().budget(&budget);
    let mut temporary = options.create_temporary(folder.path()).unwrap();
    let mut named = options.create(folder.path().join("named")).unwrap();
    for piece in 0..64_u8 {
        temporary.append(&[piece; 1 << 19]).unwrap();
        named.append(&[piece; 1 << 19]).unwrap();
        let stats = budget.stats();
        assert!(stats.used_bytes <= 4 << 20, "{stats:?}");
        assert!(stats.resident_bytes <= (4 << 20) + (1 << 18), "{stats:?}");
    }
    // All of it but for the budget, and for the ends of both files, which the writers hold: they write up to whole
    // mebibytes of the file, which begins with a header of 8 KiB.
    let stats = budget.stats();
    assert!(stats.evicted_bytes >= (60 << 20) - 2 * 8192, "{stats:?}");
    let (temporary, named) = (temporary.finish().unwrap(), named.seal().unwrap());
    for sealed in [&temporary, &named] {
        for page in 0..sealed.page_count().get() {
            let expected = u8::try_from(page / 128).unwrap();
            assert_eq!(sealed.page(PageId::new(page)).unwrap()[4095], expected);
        }
    }
    let stats = budget.stats();
    assert!(stats.resident_bytes <= (4 << 20) + (1 << 18), "{stats:?}");
    drop((temporary, named));
    assert_eq!(budget.stats().used_bytes, 0);
}
