//! How files come to their names: whole or not at all.
//!
//! Method: after every way a writer can end, the folder is listed and what is there is opened. The
//! finished file is compared, byte for byte, with one composed from the format's own functions.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod elsewhere;
mod loop_disk;
mod nameless;
#[expect(dead_code, reason = "`LoopDisk` asks for root itself")]
mod skip;

use std::{
    fs,
    ops::ControlFlow,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
};

use nameless::the_nameless_in;

use layout::{Header, PageHasher, TableHasher};
use pagestore::{
    Error, Existing, PageCount, PageFile, PageId, PageRange, PageSize, PageWriter, SealRecord,
    SealedFile, Superblock, inspect,
};

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn write_sealed(path: &Path, bytes: &[u8]) -> SealedFile {
    let mut writer = PageWriter::options().existing(Existing::Replace).create(path).unwrap();
    writer.append(bytes).unwrap();
    writer.seal().unwrap()
}

/// The sealed file that holds `payload`, from the format's own functions.
fn composed(sealed: &SealedFile, payload: &[u8]) -> Vec<u8> {
    let (uuid, page_size) = (sealed.file_uuid(), sealed.page_size());
    let page_count = page_size.pages_for(payload.len() as u64);
    let superblock = Superblock::new_sealed(uuid, page_size, page_count).unwrap();
    let geometry = superblock.geometry();
    let mut file = Header::encode([Some(&superblock), Some(&superblock)]).to_vec();
    file.resize(page_size.get_usize().max(8192), 0);
    file.extend(payload);
    file.resize(usize::try_from(geometry.data_end()).unwrap(), 0);
    let hasher = PageHasher::new(uuid);
    let pages = file[page_size.get_usize().max(8192)..].chunks(page_size.get_usize());
    let table: Vec<u8> = (0..)
        .map(PageId::new)
        .zip(pages)
        .flat_map(|(page, bytes)| hasher.checksum(page, bytes).to_le_bytes())
        .collect();
    let mut table_hasher = TableHasher::new();
    table_hasher.update(&table);
    let seal = SealRecord::new(&superblock, payload.len() as u64, table_hasher.finish()).unwrap();
    file.extend(table);
    file.resize(usize::try_from(geometry.seal_start()).unwrap(), 0);
    file.extend(seal.encode_block(&superblock));
    file
}

#[test]
fn a_sealed_file_is_what_the_format_says_in_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for page_len in [4096, 8192, 16_384, 2 << 20] {
        // Over 1,024 pages of 4 KiB the checksum table takes more than one block.
        for payload_len in [0, 1, 4095, 4096, 4097, 65_536, 1024 * 4096, 1024 * 4096 + 1] {
            let payload: Vec<u8> = (0..=250).cycle().take(payload_len).collect();
            let options = PageWriter::options().existing(Existing::Replace);
            let options = options.page_size(PageSize::new(page_len).unwrap());
            let mut writer = options.create(&path).unwrap();
            writer.append(&payload).unwrap();
            let sealed = writer.seal().unwrap();
            let same = fs::read(&path).unwrap() == composed(&sealed, &payload);
            assert!(same, "{payload_len} bytes in pages of {page_len}");
        }
    }
}

#[test]
fn a_mutable_file_is_what_the_format_says_in_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let page_size = PageSize::new(16_384).unwrap();
    let file = PageFile::options().page_size(page_size).create(&path).unwrap();
    let uuid = inspect(&path).unwrap().superblock.file_uuid();
    let first = Superblock::new_mutable(uuid, page_size);
    let mut expected = Header::encode([Some(&first), None]).to_vec();
    expected.resize(16_384, 0);
    assert!(fs::read(&path).unwrap() == expected, "without pages");

    file.grow(PageCount::new(3)).unwrap();
    file.page_mut(PageId::new(2)).unwrap().fill(0xcd);
    file.close().unwrap();
    let second = first.next_generation(PageCount::new(3)).unwrap();
    let header = Header::encode([Some(&first), Some(&second)]);
    expected[..header.len()].copy_from_slice(&header);
    expected.resize(3 * 16_384, 0);
    expected.resize(4 * 16_384, 0xcd);
    assert!(fs::read(&path).unwrap() == expected, "with three pages");
}

#[test]
fn a_name_that_is_taken_is_refused_at_once_whatever_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_sealed(&path("sealed"), b"old");
    fs::create_dir(path("folder")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    symlink("sealed", path("link")).unwrap();
    fs::write(path("text"), "text").unwrap();
    let before = names(folder.path());
    for name in &before {
        for error in
            [PageFile::create(path(name)).unwrap_err(), PageWriter::create(path(name)).unwrap_err()]
        {
            assert!(matches!(error, Error::AlreadyExists { .. }), "{name}: {error}");
            let words = error.to_string();
            assert!(words.contains("choose another name") && words.contains("Existing::Replace"));
        }
    }
    assert_eq!(names(folder.path()), before);
}

#[test]
fn only_a_regular_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("folder")).unwrap();
    symlink("text", path("link")).unwrap();
    fs::write(path("text"), "text").unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), mode).unwrap();
    let before = names(folder.path());
    let options = PageWriter::options().existing(Existing::Replace);
    for name in ["folder", "link", "fifo"] {
        let error = options.create(path(name)).unwrap_err();
        assert!(matches!(error, Error::NotAFile { .. }), "{name}: {error}");
    }
    assert_eq!(names(folder.path()), before);
    options.create(path("text")).unwrap().seal().unwrap();
    SealedFile::open(path("text")).unwrap();
}

#[test]
fn nothing_is_under_the_name_until_it_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut writer = PageWriter::create(&path).unwrap();
    writer.append(&[1; 100_000]).unwrap();
    assert_eq!(names(folder.path()), [""; 0]);
    assert_eq!(the_nameless_in(folder.path()).metadata().unwrap().mode() & 0o7777, 0o600);
    drop(writer.seal().unwrap());
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut writer = PageWriter::create(&path).unwrap();
    writer.append(&[1; 100_000]).unwrap();
    drop(writer);
    assert_eq!(names(folder.path()), [""; 0]);

    write_sealed(&path, b"old");
    let mut writer = PageWriter::options().existing(Existing::Replace).create(&path).unwrap();
    writer.append(b"new").unwrap();
    drop(writer);
    assert_eq!(names(folder.path()), ["file"]);
    assert!(SealedFile::open(&path).unwrap().page(PageId::new(0)).unwrap().starts_with(b"old"));
}

#[test]
fn a_name_that_is_taken_meanwhile_stays_with_who_took_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let late = PageWriter::create(&path).unwrap();
    fs::write(&path, "somebody was faster").unwrap();
    let error = late.seal().unwrap_err().into_error();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(names(folder.path()), ["file"]);
    assert_eq!(fs::read(&path).unwrap(), b"somebody was faster");
}

#[test]
fn of_two_writers_of_one_name_the_second_to_seal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let writers = [b"first", b"later"].map(|bytes| {
        let mut writer = PageWriter::create(&path).unwrap();
        writer.append(bytes).unwrap();
        writer
    });
    let [first, later] = writers.map(PageWriter::seal);
    assert!(first.unwrap().page(PageId::new(0)).unwrap().starts_with(b"first"));
    assert!(matches!(later.unwrap_err().into_error(), Error::AlreadyExists { .. }));
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn who_has_the_old_file_open_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let old = write_sealed(&path, &[1; 3 * 4096]);
    let borrowed = old.page(PageId::new(0)).unwrap();
    let new = write_sealed(&path, &[2; 4096]);
    assert_eq!(borrowed, [1; 4096]);
    // A page that was not touched before, and all of them once more.
    assert_eq!(old.page(PageId::new(2)).unwrap(), [1; 4096]);
    old.evict(..).unwrap();
    assert!(old.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
    assert_eq!(new.page(PageId::new(0)).unwrap(), [2; 4096]);
    assert_eq!(SealedFile::open(&path).unwrap().page_count().get(), 1);
    assert_ne!(old.file_uuid(), new.file_uuid());
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn a_path_without_a_folder_means_the_working_folder() {
    let name = PathBuf::from(format!("pagestore-test-{}", std::process::id()));
    struct Removed<'path>(&'path Path);
    impl Drop for Removed<'_> {
        fn drop(&mut self) {
            let _gone = fs::remove_file(self.0);
        }
    }
    let _removed = Removed(&name);
    drop(PageFile::create(&name).unwrap());
    PageFile::open(&name).unwrap();
}

#[test]
fn a_failed_create_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let all = u64::MAX;
    let error = PageFile::options().address_space_bytes(all).create(&path).unwrap_err();
    assert!(matches!(error, Error::AddressSpace { bytes, .. } if bytes == all), "{error}");
    assert_eq!(names(folder.path()), [""; 0]);
    assert_eq!(PageRange::EMPTY.count(), PageCount::ZERO);
}

#[test]
fn the_suite_passes_on_other_filesystems() {
    elsewhere::run("publish::the_suite_passes_on_other_filesystems", &[]);
}
