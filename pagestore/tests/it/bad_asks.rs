//! Asks that cannot be met: typed views, pages and sizes that are not there, and address space
//! that is refused or used up.
//!
//! Method: each ask is made of a page file, of anonymous memory, of a write guard and of a sealed
//! file where it applies; the error must name what is wrong, and nothing may have changed.

use std::{
    fmt::Debug,
    fs::{File, OpenOptions},
    io::{self, IoSlice},
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use pagestore::{
    ByteOffset, Error, PageCount, PageFile, PageId, PageMut, PageRef, PageSize, PageWriter,
    RawFile, SealedFile, ViewError,
};

use crate::{child, skip};

fn store() -> PageFile {
    let file = PageFile::anonymous(PageSize::DEFAULT).unwrap();
    file.grow(PageCount::new(2)).unwrap();
    file
}

fn sealed(folder: &Path, payload_len: usize) -> SealedFile {
    let mut writer = PageWriter::create(folder.join(format!("sealed-{payload_len}"))).unwrap();
    writer.append(&vec![1; payload_len]).unwrap();
    writer.seal().unwrap()
}

/// What `ask` makes of both pages, borrowed to read. The guard is gone when it returns.
fn read<T>(file: &PageFile, ask: impl FnOnce(&PageRef<'_>) -> T) -> T {
    ask(&file.pages(..).unwrap())
}

/// What `ask` makes of both pages, borrowed to write.
fn write<T>(file: &PageFile, ask: impl FnOnce(&mut PageMut<'_>) -> T) -> T {
    ask(&mut file.pages_mut(..).unwrap())
}

#[track_caller]
fn view_error<T: Debug>(result: pagestore::Result<T>) -> ViewError {
    match result.unwrap_err() {
        Error::View(error) => error,
        other => panic!("{other}"),
    }
}

#[track_caller]
fn check_words(error: &impl std::error::Error, words: &[&str]) {
    let message = pagestore::WithCauses(error).to_string();
    for part in words {
        assert!(message.contains(part), "{message:?} should say {part:?}");
    }
}

#[test]
fn bytes_that_are_no_whole_number_of_items() {
    let (file, folder) = (store(), tempfile::tempdir().unwrap());
    let sealed = sealed(folder.path(), 8192);
    for error in [
        read(&file, |pages| view_error(pages.as_slice_of::<[u8; 3]>())),
        write(&file, |pages| view_error(pages.as_slice_of::<[u8; 3]>())),
        write(&file, |pages| view_error(pages.as_slice_of_mut::<[u8; 3]>())),
        view_error(sealed.as_slice_of::<[u8; 3]>(..)),
    ] {
        assert_eq!(error, ViewError::NotWhole { len_bytes: 8192, item_bytes: 3 });
        check_words(&error, &["8192 bytes are no whole number of items of 3", "`_at` form"]);
    }
}

#[test]
fn items_that_would_be_misaligned() {
    let (file, folder) = (store(), tempfile::tempdir().unwrap());
    let sealed = sealed(folder.path(), 8192);
    for offset in [1, 2, 4, 7, 4095] {
        let at = ByteOffset::new(offset);
        for error in [
            read(&file, |pages| view_error(pages.as_slice_of_at::<u64>(at, 3))),
            write(&file, |pages| view_error(pages.as_slice_of_at::<u64>(at, 3))),
            write(&file, |pages| view_error(pages.as_slice_of_mut_at::<u64>(at, 3))),
            view_error(sealed.as_slice_of_at::<u64>(at, 3)),
        ] {
            assert_eq!(error, ViewError::Misaligned { offset, align_bytes: 8 });
            check_words(&error, &["begin at a multiple of 8"]);
        }
    }
}

/// A file that is mutable and one that is sealed say the same.
#[test]
fn no_items_can_be_asked_for_at_any_place_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let (file, sealed) = (store(), sealed(folder.path(), 4096));
    for at in [0, 1, 7, 4095, 4096].map(ByteOffset::new) {
        assert_eq!(sealed.as_slice_of_at::<u64>(at, 0).unwrap(), [0_u64; 0]);
        assert!(read(&file, |page| page.as_slice_of_at::<u64>(at, 0).unwrap().is_empty()));
        assert!(write(&file, |page| page.as_slice_of_mut_at::<u64>(at, 0).unwrap().is_empty()));
    }
    let behind = ByteOffset::new(1 << 20);
    let past_end = |error: ViewError| matches!(error, ViewError::PastEnd { .. });
    assert!(past_end(view_error(sealed.as_slice_of_at::<u64>(behind, 0))));
    assert!(past_end(view_error(read(&file, |page| page
        .as_slice_of_at::<u64>(behind, 0)
        .map(drop)))));
}

#[test]
fn items_that_reach_past_the_end() {
    let (file, folder) = (store(), tempfile::tempdir().unwrap());
    // The payload ends inside the second page, and so do the items one can ask for.
    let sealed = sealed(folder.path(), 4096 + 16);
    for (offset, count) in [
        (8192, 1),
        (8185, 1),
        (0, 1025),
        (8, 1024),
        (0, usize::MAX),
        (0, usize::MAX / 8),
        (8, usize::MAX / 8 + 1),
        (u64::MAX, 0),
        (u64::MAX - 7, 1),
        (u64::MAX - 8, 1),
    ] {
        let at = ByteOffset::new(offset);
        let expected = ViewError::PastEnd { offset, count, item_bytes: 8, len_bytes: 8192 };
        for error in [
            read(&file, |pages| view_error(pages.as_slice_of_at::<u64>(at, count))),
            write(&file, |pages| view_error(pages.as_slice_of_at::<u64>(at, count))),
            write(&file, |pages| view_error(pages.as_slice_of_mut_at::<u64>(at, count))),
        ] {
            assert_eq!(error, expected);
            check_words(&error, &["reach past the end: there are 8192 bytes"]);
        }
        let error = view_error(sealed.as_slice_of_at::<u64>(at, count));
        assert!(matches!(error, ViewError::PastEnd { len_bytes: 4112, .. }), "{error}");
    }
    assert_eq!(sealed.as_slice_of_at::<u64>(ByteOffset::new(4104), 1).unwrap().len(), 1);
    let error = view_error(sealed.as_slice_of_at::<u64>(ByteOffset::new(4104), 2));
    assert!(matches!(error, ViewError::PastEnd { .. }), "padding is no payload: {error}");
    assert!(sealed.as_slice_of_at::<u64>(ByteOffset::new(4112), 0).unwrap().is_empty());
    let pages = file.pages(..).unwrap();
    assert_eq!(pages.as_slice_of_at::<u64>(ByteOffset::ZERO, 1024).unwrap(), [0; 1024]);
}

#[test]
fn items_without_a_size() {
    let (file, folder) = (store(), tempfile::tempdir().unwrap());
    let sealed = sealed(folder.path(), 10);
    let start = ByteOffset::ZERO;
    for error in [
        read(&file, |pages| view_error(pages.as_slice_of::<()>())),
        read(&file, |pages| view_error(pages.as_slice_of_at::<()>(start, 5))),
        write(&file, |pages| view_error(pages.as_slice_of_mut::<()>())),
        write(&file, |pages| view_error(pages.as_slice_of_mut_at::<[u64; 0]>(start, 5))),
        view_error(sealed.as_slice_of::<()>(..)),
        view_error(sealed.as_slice_of_at::<()>(start, 0)),
    ] {
        assert_eq!(error, ViewError::ZeroSized);
        check_words(&error, &["pass a type of at least one byte"]);
    }
}

#[test]
fn a_page_of_a_file_without_pages_says_which_file_and_to_grow_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("counters");
    let file = PageFile::create(&path).unwrap();
    let named = path.to_str().unwrap();
    let words = ["pages 0..1 were asked for", named, "has no pages yet", "`grow`"];
    for error in [
        file.page(PageId::new(0)).map(drop).unwrap_err(),
        file.page_mut(PageId::new(0)).map(drop).unwrap_err(),
        file.pages(..=PageId::new(0)).map(drop).unwrap_err(),
    ] {
        check_words(&error, &words);
    }
    let memory = PageFile::anonymous(file.page_size()).unwrap();
    let error = memory.page(PageId::new(0)).map(drop).unwrap_err();
    check_words(&error, &["anonymous memory has no pages yet", "`grow`"]);
    let sealed = sealed(folder.path(), 8192);
    let reversed = sealed.pages(PageId::new(2)..PageId::new(1)).map(drop).unwrap_err();
    let named = sealed.path().to_str().unwrap();
    check_words(&reversed, &["pages 2..1 of", named, "does not end before it starts"]);
}

#[test]
fn pages_that_are_not_there() {
    let (file, folder) = (store(), tempfile::tempdir().unwrap());
    let sealed = sealed(folder.path(), 8192);
    for number in [2, 3, 64, 1 << 20, u64::MAX - 1, u64::MAX] {
        let page = PageId::new(number);
        for error in [
            file.page(page).map(drop).unwrap_err(),
            file.page_mut(page).map(drop).unwrap_err(),
            file.try_page(page).map(drop).unwrap_err(),
            file.try_page_mut(page).map(drop).unwrap_err(),
            file.pages(page..=page).map(drop).unwrap_err(),
            file.pages_mut(..=page).map(drop).unwrap_err(),
            file.try_pages(..=page).map(drop).unwrap_err(),
            file.try_pages_mut(..=page).map(drop).unwrap_err(),
            sealed.page(page).map(drop).unwrap_err(),
            sealed.pages(page..=page).map(drop).unwrap_err(),
            sealed.pages_unverified(..=page).map(drop).unwrap_err(),
            sealed.bytes(page..=page).map(drop).unwrap_err(),
            sealed.as_slice_of::<u8>(..=page).map(drop).unwrap_err(),
            sealed.evict(..=page).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Range(_)), "{error}");
            check_words(&error, &["has 2 pages (0..2)"]);
        }
        assert!(!file.is_dirty(page));
    }
}

#[test]
fn ranges_that_end_before_they_start() {
    let (file, folder) = (store(), tempfile::tempdir().unwrap());
    let sealed = sealed(folder.path(), 8192);
    let reversed = || PageId::new(1)..PageId::new(0);
    for error in [
        file.pages(reversed()).map(drop).unwrap_err(),
        file.pages_mut(reversed()).map(drop).unwrap_err(),
        file.try_pages(reversed()).map(drop).unwrap_err(),
        file.try_pages_mut(reversed()).map(drop).unwrap_err(),
        sealed.pages(reversed()).map(drop).unwrap_err(),
        sealed.bytes(reversed()).map(drop).unwrap_err(),
        sealed.evict(reversed()).unwrap_err(),
        sealed.pages(PageId::new(3)..).map(drop).unwrap_err(),
    ] {
        check_words(&error, &["does not end before it starts"]);
    }
    let empty = PageId::new(2)..PageId::new(2);
    assert!(file.pages(empty.clone()).unwrap().is_empty());
    assert!(file.pages_mut(empty.clone()).unwrap().is_empty());
    assert!(sealed.pages(empty.clone()).unwrap().is_empty());
    assert!(sealed.bytes(empty.clone()).unwrap().is_empty());
    sealed.evict(empty).unwrap();
}

#[test]
fn growth_beyond_the_reserved_addresses_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let small = PageFile::options().address_space_bytes(3 * 4096 + 4095);
    for file in [small.create(&path).unwrap(), small.anonymous().unwrap()] {
        file.grow(PageCount::new(2)).unwrap();
        for more in [2, 1000, 1 << 52, u64::MAX - 2, u64::MAX] {
            let error = file.grow(PageCount::new(more)).unwrap_err();
            assert!(matches!(error, Error::AddressSpaceFull { .. }), "{error}");
            check_words(&error, &["16383 bytes", "open with a larger `address_space_bytes`"]);
            assert_eq!(file.page_count().get(), 2);
        }
        assert_eq!(file.grow(PageCount::new(1)).unwrap().start().get(), 2);
        assert!(file.grow(PageCount::ZERO).unwrap().is_empty());
        file.grow(PageCount::new(1)).unwrap_err();
    }
    assert_eq!(path.metadata().unwrap().len(), 8192 + 3 * 4096);

    let error = PageFile::options().address_space_bytes(2 * 4096).open(&path).unwrap_err();
    assert!(matches!(error, Error::AddressSpaceFull { needed_bytes: 12_288, .. }), "{error}");
    OpenOptions::new().write(true).open(&path).unwrap().set_len(3 << 40).unwrap();
    let error = PageFile::options().address_space_bytes(1 << 40).open(&path).unwrap_err();
    assert!(matches!(error, Error::AddressSpaceFull { .. }), "3 TiB of holes: {error}");
}

#[test]
fn a_store_without_addresses_holds_nothing() {
    let file = PageFile::options().address_space_bytes(0).anonymous().unwrap();
    assert!(matches!(file.grow(PageCount::new(1)), Err(Error::AddressSpaceFull { .. })));
    assert!(file.grow(PageCount::ZERO).unwrap().is_empty());
}

#[test]
fn a_writer_asked_for_more_than_a_file_can_hold_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = PageWriter::create(folder.path().join("file")).unwrap();
    writer.append(&[1; 5000]).unwrap();
    for far in [1 << 63, (1 << 63) - (1 << 20), 1 << 60] {
        let error = writer.align_to(std::num::NonZeroU64::new(far).unwrap()).unwrap_err();
        assert!(matches!(error, Error::DiskFull { .. } | Error::Io { .. }), "{error}");
        assert_eq!(writer.payload_len(), 5000, "nothing was appended");
    }
    assert_eq!(writer.append(&[3; 3192]).unwrap().get(), 5000);
    writer.append(&[]).unwrap();
    let sealed = writer.seal().unwrap();
    assert_eq!(sealed.pages(..).unwrap()[..], [vec![1; 5000], vec![3; 3192]].concat());
    assert!(sealed.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
}

/// Without looking first, the kernel's answer would be SIGXFSZ, which ends the process.
#[test]
fn a_limit_on_the_length_of_files_is_an_error_and_small_files_work() {
    let test = "a_limit_on_the_length_of_files_is_an_error_and_small_files_work";
    if let Some(folder) = child::path() {
        let too_large = |error: Error| {
            check_words(&error, &["too large", "ulimit -f"]);
            assert!(matches!(&error, Error::Io { .. }), "{error:?}");
            assert_eq!(io::Error::from(error).kind(), io::ErrorKind::FileTooLarge);
        };
        let mut writer = PageWriter::create(folder.join("sealed")).unwrap();
        writer.append(b"bytes").unwrap();
        too_large(writer.append(&[1; 1 << 20]).unwrap_err());
        too_large(writer.reserve(1 << 20).unwrap_err());
        writer.append(b" and more").unwrap();
        let sealed = writer.seal().unwrap();
        assert_eq!(sealed.as_slice_of_at::<u8>(ByteOffset::ZERO, 14).unwrap(), b"bytes and more");

        let file = PageFile::create(folder.join("file")).unwrap();
        file.grow(PageCount::new(2)).unwrap();
        too_large(file.grow(PageCount::new(256)).unwrap_err());
        file.page_mut(PageId::new(1)).unwrap().fill(7);
        file.flush().unwrap();

        let path = folder.join("raw");
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o600);
        let raw = RawFile::open(options.open(&path).unwrap(), &path).unwrap();
        raw.write_at(0, &[IoSlice::new(b"bytes")]).unwrap();
        too_large(raw.write_at(1 << 20, &[IoSlice::new(b"far")]).unwrap_err());
        too_large(raw.set_len(1 << 20).unwrap_err());
        assert_eq!(raw.len().unwrap(), 5);
        return child::done();
    }
    let folder = tempfile::tempdir().unwrap();
    // 64 or 128 KiB: shells count blocks of 512 or 1024 bytes.
    child::check(&mut child::command("ulimit -f 128;", test, folder.path()));
}

/// Where there is no limit to raise, none is blamed.
#[test]
fn a_file_too_long_for_its_filesystem_is_not_blamed_on_a_limit() {
    // On a disk: tmpfs takes any length.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("raw");
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(0o600);
    let raw = RawFile::open(options.open(&path).unwrap(), &path).unwrap();
    let Err(too_long) = raw.set_len((1 << 63) - 1) else {
        let test = "a_file_too_long_for_its_filesystem_is_not_blamed_on_a_limit";
        skip::skipped(test, "this filesystem takes files of any length, as XFS does");
        return;
    };
    let too_far = raw.write_at((1 << 63) - 4096, &[IoSlice::new(b"far")]).unwrap_err();
    for error in [too_long, too_far] {
        check_words(&error, &["too large", "its filesystem takes no longer files"]);
        assert!(!pagestore::WithCauses(&error).to_string().contains("ulimit"), "{error}");
    }
}
