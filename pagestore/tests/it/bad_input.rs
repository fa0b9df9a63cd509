//! Paths that name no page file, and page files whose bytes are wrong, through everything that
//! opens one: `PageFile::open`, `SealedFile::open` and `inspect`.
//!
//! Method: real files are cut, extended, or given fields that a stranger's writer could have
//! written (with the right checksum), and opened. The error must be the expected one and its words
//! must say what to do.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::{fs::FileExt, net::UnixListener},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use pagestore::{
    Error, FormatError, Inspection, PageCount, PageFile, PageId, PageSize, PageWriter, Result,
    SealedFile, inspect,
};
use tempfile::TempDir;

use crate::forge;

/// A mutable file of three pages, page `i` filled with `i + 1`, flushed and closed.
fn mutable(folder: &TempDir, page_size: PageSize) -> PathBuf {
    let path = folder.path().join("mutable");
    let file = PageFile::options().page_size(page_size).create(&path).unwrap();
    for number in 1..=3 {
        let page = file.grow(PageCount::new(1)).unwrap();
        file.pages_mut(page.start()..page.end()).unwrap().fill(number);
    }
    file.close().unwrap();
    path
}

/// A sealed file of three pages, the last one filled to a half.
fn sealed(folder: &TempDir, page_size: PageSize) -> PathBuf {
    let path = folder.path().join("sealed");
    let mut writer = PageWriter::options().page_size(page_size).create(&path).unwrap();
    writer.append(&vec![7; page_size.get_usize() * 5 / 2]).unwrap();
    writer.seal().unwrap();
    path
}

fn set_len(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

fn len(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}

/// The three ways to open a file; none may wait for anything.
fn open_all(path: &Path) -> (Result<PageFile>, Result<SealedFile>, Result<Inspection>) {
    let (send, receive) = mpsc::channel();
    let owned = path.to_path_buf();
    thread::spawn(move || {
        let opened = (PageFile::open(&owned), SealedFile::open(&owned), inspect(&owned));
        send.send(opened).is_ok()
    });
    let opened = receive.recv_timeout(Duration::from_secs(20));
    opened.unwrap_or_else(|_| panic!("opening {} waits for something", path.display()))
}

/// The errors of all three ways.
fn errors(path: &Path) -> [Error; 3] {
    let (file, sealed, inspection) = open_all(path);
    [file.map(drop), sealed.map(drop), inspection.map(drop)].map(|result| result.unwrap_err())
}

#[track_caller]
fn check_words(error: &Error, words: &[&str]) {
    let message = pagestore::WithCauses(error).to_string();
    for part in words {
        assert!(message.contains(part), "{message:?} should say {part:?}");
    }
}

fn format_error(error: Error) -> FormatError {
    match error {
        Error::Format { source, .. } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn files_of_another_kind_are_called_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stranger");
    let program = fs::read("/bin/sh").unwrap();
    let contents: [&[u8]; 6] =
        [b"short text", &[b'x'; 300], &[b'x'; 8192], &[0; 100_000], &program, &[0x89; 8191]];
    for bytes in contents {
        fs::write(&path, bytes).unwrap();
        for error in errors(&path) {
            check_words(&error, &["stranger", "not a page file"]);
            assert!(matches!(format_error(error), FormatError::Magic { .. }));
        }
    }
    for (bytes, words) in [
        (&b""[..], &["stranger", "not a page file", "it is empty"][..]),
        (b"text\n", &["stranger", "not a page file", "has 5 bytes"]),
        // The beginning of a page file.
        (b"\x89PAGES", &["stranger", "takes 8192 bytes", "cut short"]),
    ] {
        fs::write(&path, bytes).unwrap();
        for error in errors(&path) {
            check_words(&error, words);
        }
    }
}

#[test]
fn a_header_cut_at_every_byte_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for path in [mutable(&folder, PageSize::DEFAULT), sealed(&folder, PageSize::DEFAULT)] {
        for len in (1..8192).rev() {
            set_len(&path, len);
            let results = [
                PageFile::open(&path).map(drop),
                SealedFile::open(&path).map(drop),
                inspect(&path).map(drop),
            ];
            for result in results {
                let error = format_error(result.unwrap_err());
                let FormatError::Short { found, expected: 8192, .. } = error else {
                    panic!("{len} bytes: {error}");
                };
                assert_eq!(found, len);
            }
        }
    }
}

#[test]
fn a_mutable_file_cut_before_its_counted_pages_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for page_size in [PageSize::DEFAULT, PageSize::new(64 << 10).unwrap()] {
        let path = mutable(&folder, page_size);
        let (whole, size) = (len(&path), page_size.get());
        let edges = [8192, size, 2 * size, 3 * size, whole - size, whole - size / 2, whole];
        for found in edges.into_iter().flat_map(|edge| [edge - 1, edge, edge + 1]).rev() {
            if !(8192..whole).contains(&found) {
                continue;
            }
            set_len(&path, found);
            let error = PageFile::open(&path).unwrap_err();
            check_words(&error, &["cut short", &found.to_string()]);
            assert_eq!(format_error(error), FormatError::Length { found, expected: whole });
            assert!(matches!(SealedFile::open(&path), Err(Error::NotSealed { .. })));
            let seen = inspect(&path).unwrap();
            let data_len = found.saturating_sub(size.max(8192));
            assert_eq!((seen.file_len, seen.page_count.get()), (found, data_len / size));
            assert_eq!(seen.superblock.page_count().get(), 3);
        }
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_sealed_file_of_another_length_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for page_size in [PageSize::DEFAULT, PageSize::new(64 << 10).unwrap()] {
        let path = sealed(&folder, page_size);
        let (good, whole) = (fs::read(&path).unwrap(), len(&path));
        let data_end = whole - 8192;
        let edges = [8192, page_size.get(), data_end - page_size.get() / 2, data_end];
        let edges = edges.into_iter().chain([data_end + 12, data_end + 4096, whole]);
        for found in edges.flat_map(|edge| [edge - 1, edge, edge + 1]).chain([whole + 4096]) {
            if found < 8192 || found == whole {
                continue;
            }
            fs::write(&path, &good).unwrap();
            set_len(&path, found);
            let error = SealedFile::open(&path).unwrap_err();
            check_words(&error, &["cut short or written to from outside"]);
            assert_eq!(format_error(error), FormatError::Length { found, expected: whole });
            assert!(matches!(PageFile::open(&path), Err(Error::Sealed { .. })));
            let seen = inspect(&path).unwrap();
            assert_eq!(seen.file_len, found);
            let record_is_there = found >= data_end + 4096 + 128;
            assert_eq!(seen.seal.unwrap().is_ok(), record_is_there, "{found} of {whole} bytes");
        }
        fs::remove_file(&path).unwrap();
    }
}

/// What lies behind the counted pages is pages of an unflushed growth, as far as they are whole.
/// Whatever stood behind those must not show in a page that is said to be zero.
#[test]
fn bytes_behind_the_last_whole_page_never_become_part_of_a_new_page() {
    let folder = tempfile::tempdir().unwrap();
    for (extra, pages) in [(1, 3), (4095, 3), (4096, 4), (4097, 4), (3 * 4096 + 77, 6)] {
        let path = mutable(&folder, PageSize::DEFAULT);
        let whole = len(&path);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&vec![0xff; extra], whole).unwrap();
        let file = PageFile::open(&path).unwrap();
        assert_eq!(file.page_count().get(), pages, "{extra} bytes more");
        let grown = file.grow(PageCount::new(2)).unwrap();
        let new = file.pages(grown.start()..).unwrap();
        assert!(new.iter().all(|&byte| byte == 0), "{extra} bytes more: a new page is zero");
        drop(new);
        file.close().unwrap();
        assert_eq!(len(&path), 8192 + (pages + 2) * 4096);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let good = mutable(&folder, PageSize::DEFAULT);
    let fifo = folder.path().join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let (link, dangling) = (folder.path().join("link"), folder.path().join("dangling"));
    std::os::unix::fs::symlink(&good, &link).unwrap();
    std::os::unix::fs::symlink(folder.path().join("nowhere"), &dangling).unwrap();
    for (path, found) in [
        (folder.path(), "is a folder"),
        (Path::new("/"), "is a folder"),
        (&fifo, "is a FIFO"),
        (&socket, "is a socket"),
        (&link, "is a symlink (they are not followed, name the file itself)"),
        (&dangling, "is a symlink"),
        (Path::new("/dev/null"), "is a device"),
        (Path::new("/dev/zero"), "is a device"),
        (Path::new("/dev/loop-control"), "is a device"),
    ] {
        if !path.is_symlink() && !path.exists() {
            continue;
        }
        for error in errors(path) {
            assert!(matches!(error, Error::NotAFile { .. }), "{error}");
            check_words(&error, &[found, "pass the path of a regular file"]);
        }
    }
    PageFile::open(&good).unwrap();
}

#[test]
fn a_path_that_leads_nowhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let good = mutable(&folder, PageSize::DEFAULT);
    for path in [folder.path().join("missing"), folder.path().join("no/where"), PathBuf::new()] {
        for error in errors(&path) {
            check_words(&error, &["cannot open", "check the path"]);
        }
        let created = PageFile::create(&path);
        assert_eq!(created.is_ok(), path.ends_with("missing"), "{}", path.display());
        drop(created);
        fs::remove_file(&path).ok();
    }
    for path in [good.join("below"), folder.path().join("nul\0nul"), "x".repeat(300).into()] {
        for error in errors(&path) {
            assert!(matches!(error, Error::Io { .. }), "{error}");
        }
        assert!(matches!(PageFile::create(&path), Err(Error::Io { .. })));
        assert!(matches!(PageWriter::create(&path), Err(Error::Io { .. })));
    }
    for path in ["/", "..", "."] {
        let error = PageFile::create(path).unwrap_err();
        assert!(matches!(error, Error::Io { .. } | Error::AlreadyExists { .. }), "{error}");
    }
}

#[test]
fn each_kind_of_page_file_names_the_function_that_opens_it() {
    let folder = tempfile::tempdir().unwrap();
    let error = PageFile::open(sealed(&folder, PageSize::DEFAULT)).unwrap_err();
    assert!(matches!(error, Error::Sealed { .. }));
    check_words(&error, &["is sealed and never changes", "`SealedFile::open`"]);
    let error = SealedFile::open(mutable(&folder, PageSize::DEFAULT)).unwrap_err();
    assert!(matches!(error, Error::NotSealed { .. }));
    check_words(&error, &["is not sealed", "`PageFile::open`"]);
}

/// Puts a field into both superblocks that are there, with the right checksum.
fn forge_field(path: &Path, offset: usize, field: &[u8]) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    for start in [0, 4096] {
        let mut slot = [0; 4096];
        file.read_exact_at(&mut slot, start).unwrap();
        if slot[0] != 0 {
            forge::forge(&mut slot, 252, offset, field);
            file.write_all_at(&slot, start).unwrap();
        }
    }
}

#[test]
fn headers_that_say_impossible_things_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(usize, u64, &[&str]); 10] = [
        (8, 2, &["format version 2 cannot be read", "open the file with the build that wrote it"]),
        (8, 0, &["format version 0 cannot be read"]),
        (64, 0x8004, &["needs features 0x8004", "known: 0x3", "open it with a newer build"]),
        (16, 0, &["page size 0 is not possible", "pass a power of two"]),
        (16, 3, &["page size 3 is not possible"]),
        (16, 1 << 63, &["page size 9223372036854775808 is not possible"]),
        (24, u64::MAX, &["do not fit a file (2^63 bytes at most)"]),
        (24, 1 << 52, &["4503599627370496 pages of 4096 bytes do not fit"]),
        (24, (1 << 51) - 1, &["do not fit a file"]),
        (16, 2048, &["from 4096 (4 KiB) to 2097152 (2 MiB)"]),
    ];
    for (offset, value, words) in cases {
        let field = &value.to_le_bytes()[..if offset == 8 { 4 } else { 8 }];
        for path in [mutable(&folder, PageSize::DEFAULT), sealed(&folder, PageSize::DEFAULT)] {
            forge_field(&path, offset, field);
            for error in errors(&path) {
                check_words(&error, words);
            }
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_page_count_beyond_the_file_is_refused_and_nothing_is_allocated_by_it() {
    let folder = tempfile::tempdir().unwrap();
    for count in [4, 1000, 1 << 40, 1 << 50] {
        for path in [mutable(&folder, PageSize::DEFAULT), sealed(&folder, PageSize::DEFAULT)] {
            forge_field(&path, 24, &u64::to_le_bytes(count));
            let error = match PageFile::open(&path).unwrap_err() {
                Error::Sealed { .. } => SealedFile::open(&path).unwrap_err(),
                error => error,
            };
            assert!(matches!(format_error(error), FormatError::Length { .. }));
            inspect(&path).unwrap();
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_seal_that_contradicts_its_superblock_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (offset, word) in [(8, "belongs to file"), (24, "page_count"), (32, "payload_len")] {
        let path = sealed(&folder, PageSize::DEFAULT);
        let mut bytes = fs::read(&path).unwrap();
        let start = bytes.len() - 4096;
        forge::forge(&mut bytes[start..], 124, offset, &[0xee; 8]);
        fs::write(&path, &bytes).unwrap();
        check_words(&SealedFile::open(&path).unwrap_err(), &["the seal record", word]);
        assert!(inspect(&path).unwrap().seal.unwrap().is_err());
        fs::remove_file(path).unwrap();
    }
}

/// An unknown compatible feature is no reason to refuse, and survives a writer.
#[test]
fn a_compatible_feature_from_the_future_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = mutable(&folder, PageSize::DEFAULT);
    forge_field(&path, 56, &[0xa5; 8]);
    let file = PageFile::open(&path).unwrap();
    file.grow(PageCount::new(1)).unwrap();
    file.close().unwrap();
    let seen = inspect(&path).unwrap();
    assert_eq!(seen.superblock.features().compatible, 0xa5a5_a5a5_a5a5_a5a5);
    assert_eq!(seen.superblock.page_count().get(), 4);
}

#[test]
fn a_torn_superblock_falls_back_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = mutable(&folder, PageSize::DEFAULT);
    let before = inspect(&path).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xaa; 200], before.slot.offset_bytes() + 100).unwrap();
    let torn = inspect(&path).unwrap();
    assert_eq!(torn.slot, before.slot.other());
    let damage = torn.other_slot_error.unwrap();
    assert!(matches!(damage, FormatError::RecordChecksum { .. }), "{damage}");
    let file = PageFile::open(&path).unwrap();
    assert_eq!(file.page_count().get(), 3, "the file's length says it");
    assert_eq!(file.page(PageId::new(2)).unwrap()[0], 3);
    file.grow(PageCount::new(1)).unwrap();
    file.close().unwrap();
    let mended = inspect(&path).unwrap();
    assert_eq!((mended.slot, mended.other_slot_error), (before.slot, None));
}

#[test]
fn errors_keep_their_kind_as_io_errors() {
    let folder = tempfile::tempdir().unwrap();
    let kind = |error: Error| io::Error::from(error).kind();
    let missing = PageFile::open(folder.path().join("missing")).unwrap_err();
    assert_eq!(kind(missing), io::ErrorKind::NotFound);
    let path = mutable(&folder, PageSize::DEFAULT);
    assert_eq!(kind(PageFile::create(&path).unwrap_err()), io::ErrorKind::AlreadyExists);
    let open = PageFile::open(&path).unwrap();
    assert_eq!(kind(PageFile::open(&path).unwrap_err()), io::ErrorKind::WouldBlock);
    drop(open);
    set_len(&path, 10);
    assert_eq!(kind(PageFile::open(&path).unwrap_err()), io::ErrorKind::InvalidData);
}
