//! What a sealed file gives: the bytes that were appended, in every form, verified.
//!
//! Method: random appends against a `Vec<u8>`; damage done to an open file by a write past its
//! mapping (which breaks its contract on purpose, while nothing is borrowed) to see what was
//! verified when.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod elsewhere;
mod loop_disk;
#[expect(dead_code, reason = "`LoopDisk` asks for root itself")]
mod skip;
mod unleased;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    num::NonZeroU64,
    ops::ControlFlow,
    os::unix::fs::FileExt,
    path::Path,
    thread,
    time::Duration,
};

use bytes::Bytes;
use pagestore::{
    Access, ByteOffset, Error, Existing, PageCount, PageId, PageSize, PageWriter, SealedFile,
    VerifyProgress, VerifyReport,
};
use proptest::{collection::vec, prelude::*};
use unleased::open_unleased;

fn id(number: u64) -> PageId {
    PageId::new(number)
}

fn sizes() -> impl Iterator<Item = PageSize> {
    (12..=21).map(|log2| PageSize::new(1 << log2).unwrap())
}

/// A file of pages of 4 KiB, page `i` filled with `i + 1`.
fn numbered(path: &Path, pages: u8) -> SealedFile {
    let mut writer = PageWriter::create(path).unwrap();
    for number in 1..=pages {
        writer.append(&[number; 4096]).unwrap();
    }
    writer.seal().unwrap()
}

/// Changes one byte of a page, past every mapping.
fn damage(path: &Path, page: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let (mut byte, at) = ([0], 8192 + page * 4096 + 77);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

/// The same, opened so that [`damage`] can be done to it meanwhile.
fn numbered_unleased(path: &Path, pages: u8) -> SealedFile {
    drop(numbered(path, pages));
    open_unleased(&SealedFile::options(), path)
}

fn bad_pages(report: &VerifyReport) -> Vec<u64> {
    report.bad_pages.iter().map(|bad| bad.page.get()).collect()
}

#[track_caller]
fn check_damaged<T>(result: pagestore::Result<T>, expected: u64) {
    match result.map(drop).unwrap_err() {
        error @ Error::Checksum { page, .. } => {
            assert_eq!(page.get(), expected);
            assert!(error.to_string().contains("restore the file from a good copy"), "{error}");
        }
        error => panic!("{error}"),
    }
}

#[derive(Clone, Debug)]
enum Piece {
    Append(Vec<u8>),
    Align(u64),
    Write(Vec<u8>),
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let bytes = || {
        let len = prop_oneof![0..50_usize, 4090..4102_usize, 0..40_000_usize];
        (len, any::<u8>()).prop_map(|(len, seed)| {
            (0..239).map(|at: u8| at ^ seed).cycle().take(len).collect::<Vec<_>>()
        })
    };
    let piece = prop_oneof![
        4 => bytes().prop_map(Piece::Append),
        2 => prop_oneof![Just(8), Just(64), Just(4096), 1..5000_u64].prop_map(Piece::Align),
        2 => bytes().prop_map(Piece::Write),
    ];
    vec(piece, 0..12)
}

/// Appends the pieces to a file and to `model`; every piece must begin where the model's does.
fn write_pieces(writer: &mut PageWriter, pieces: &[Piece]) -> Vec<u8> {
    let mut model = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Append(bytes) => {
                let at = writer.append(bytes).unwrap();
                assert_eq!(at.get(), model.len() as u64);
                model.extend(bytes);
            }
            Piece::Align(align) => {
                let at = writer.align_to(NonZeroU64::new(*align).unwrap()).unwrap();
                model.resize(model.len().next_multiple_of(usize::try_from(*align).unwrap()), 0);
                assert_eq!(at.get(), model.len() as u64);
            }
            Piece::Write(bytes) => {
                assert_eq!(io::copy(&mut &bytes[..], writer).unwrap(), bytes.len() as u64);
                writer.flush().unwrap();
                model.extend(bytes);
            }
        }
        assert_eq!(writer.payload_len(), model.len() as u64);
    }
    model
}

fn check_contents(file: &SealedFile, page_size: PageSize, model: &[u8]) {
    assert_eq!((file.page_size(), file.payload_len()), (page_size, model.len() as u64));
    assert_eq!(file.page_count(), page_size.pages_for(model.len() as u64));
    let all = file.pages(..).unwrap();
    assert!(all[..model.len()] == *model);
    assert!(all[model.len()..].iter().all(|&byte| byte == 0), "zero behind the payload");
    assert!(file.bytes(..).unwrap() == all);
    for (page, expected) in (0..).map(id).zip(all.chunks(page_size.get_usize())) {
        assert!(file.page(page).unwrap() == expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_appended_is_what_is_read(
        log2 in prop_oneof![Just(12), Just(13), Just(16), Just(21)],
        are_huge: bool,
        pieces in pieces(),
        views in vec((any::<usize>(), any::<usize>()), 20),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let page_size = PageSize::new(1 << log2).unwrap();
        let options = PageWriter::options().page_size(page_size).huge_pages(are_huge);
        let mut writer = options.create(&path).unwrap();
        let model = write_pieces(&mut writer, &pieces);
        check_contents(&writer.seal().unwrap(), page_size, &model);
        check_contents(&SealedFile::open(&path).unwrap(), page_size, &model);

        // Any range of bytes, and any range of aligned items, each in a file just opened.
        let file = SealedFile::open(&path).unwrap();
        for (start, len) in views {
            let start = start % (model.len() + 1);
            let len = len % (model.len() - start + 1);
            let at = |offset: usize| ByteOffset::new(offset as u64);
            let bytes = file.as_slice_of_at::<u8>(at(start), len).unwrap();
            prop_assert!(bytes == &model[start..][..len]);
            let (start, count) = (start / 4 * 4, len / 4);
            let expected: Vec<u32> = model[start..][..count * 4]
                .chunks_exact(4)
                .map(|word| u32::from_ne_bytes(word.try_into().unwrap()))
                .collect();
            prop_assert_eq!(file.as_slice_of_at::<u32>(at(start), count).unwrap(), expected);
        }
    }
}

#[test]
fn a_file_without_a_byte() {
    let folder = tempfile::tempdir().unwrap();
    for size in sizes() {
        let path = folder.path().join(size.get().to_string());
        let made = PageWriter::options().page_size(size).create(&path).unwrap().seal().unwrap();
        for file in [made, SealedFile::open(&path).unwrap()] {
            assert_eq!((file.page_count(), file.payload_len()), (PageCount::ZERO, 0));
            assert!(file.pages(..).unwrap().is_empty());
            assert!(file.bytes(..).unwrap().is_empty());
            assert!(file.as_slice_of::<u64>(..).unwrap().is_empty());
            assert!(file.as_slice_of_at::<u64>(ByteOffset::ZERO, 0).unwrap().is_empty());
            assert!(matches!(file.page(id(0)), Err(Error::Range(_))));
            file.evict(..).unwrap();
            assert!(file.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
        }
    }
}

#[test]
fn all_page_sizes_hold_full_and_partly_filled_pages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for size in sizes() {
        for len in [1, size.get_usize(), size.get_usize() + 1] {
            let options = PageWriter::options().page_size(size).existing(Existing::Replace);
            let mut writer = options.create(&path).unwrap();
            writer.append(&vec![0xab; len]).unwrap();
            check_contents(&writer.seal().unwrap(), size, &vec![0xab; len]);
        }
    }
}

/// More than what is reserved and populated at a time (16 MiB), in pieces that do not divide it.
#[test]
fn a_file_of_several_windows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let model: Vec<u8> =
        (0..35_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut writer = PageWriter::create(&path).unwrap();
    for piece in model.chunks(999_983) {
        writer.write_all(piece).unwrap();
    }
    let file = writer.seal().unwrap();
    assert!(file.pages(..).unwrap()[..model.len()] == model);
    assert!(file.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
}

#[test]
fn views_outlive_the_handle_and_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = numbered(&path, 3);
    let (all, second): (Bytes, Bytes) =
        (file.bytes(..).unwrap(), file.bytes(id(1)..id(2)).unwrap());
    let slice = all.slice(8190..8194);
    assert!(std::ptr::eq(all[4096..].as_ptr(), second.as_ptr()), "views of one mapping, no copies");
    drop((file, all));
    fs::remove_file(&path).unwrap();
    drop(folder);
    let read = thread::spawn(move || (second.to_vec(), slice)).join().unwrap();
    assert_eq!(read.0, [2; 4096]);
    assert_eq!(read.1[..], [2, 2, 3, 3]);
}

#[test]
fn clones_share_what_was_verified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let first = numbered_unleased(&path, 3);
    let second = first.clone();
    first.page(id(0)).unwrap();
    damage(&path, 0);
    damage(&path, 1);
    second.page(id(0)).expect("verified through the other handle before it was damaged");
    check_damaged(second.page(id(1)), 1);
    second.evict(..).unwrap();
    check_damaged(first.page(id(0)), 0);
    check_damaged(SealedFile::open(&path).unwrap().page(id(0)), 0);
}

/// Its header and its checksums too, which were read to borrow the pages.
#[test]
fn nothing_of_an_evicted_file_stays_in_memory() {
    // Memory is all that a file on tmpfs has.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("file");
    drop(numbered(&path, 200));
    let file = SealedFile::open(&path).unwrap();
    let resident_bytes = || file.residency().map_or(0, |held| held.resident_bytes);
    file.pages(..).unwrap();
    assert!(resident_bytes() > 200 * 4096);
    // The kernel may hold a page for a moment, on its way between two lists.
    for _ in 0..100 {
        file.evict(..).unwrap();
        if resident_bytes() == 0 {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(resident_bytes(), 0);
    assert_eq!(file.page(id(7)).unwrap(), [8; 4096]);
}

#[test]
fn every_borrow_that_touches_a_damaged_page_is_an_error_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    drop(numbered(&path, 5));
    damage(&path, 2);
    damage(&path, 3);
    let file = SealedFile::open(&path).unwrap();
    for _ in 0..2 {
        check_damaged(file.page(id(2)), 2);
        check_damaged(file.pages(..), 2);
        check_damaged(file.pages(id(3)..), 3);
        check_damaged(file.bytes(id(1)..=id(2)), 2);
        check_damaged(file.as_slice_of::<u64>(id(2)..id(3)), 2);
        check_damaged(file.as_slice_of_at::<u8>(ByteOffset::new(2 * 4096 - 1), 2), 2);
        check_damaged(file.as_slice_of_at::<u64>(ByteOffset::new(4 * 4096 - 8), 1), 3);
        assert_eq!(file.pages(..id(2)).unwrap().len(), 2 * 4096);
        assert_eq!(file.page(id(4)).unwrap(), [5; 4096]);
        let before = file.as_slice_of_at::<u8>(ByteOffset::new(2 * 4096 - 2), 2).unwrap();
        assert_eq!(before, [2, 2], "up to the damaged page");
    }
    let seen = file.pages_unverified(id(2)..id(3)).unwrap();
    assert_eq!(seen.iter().filter(|&&byte| byte != 3).count(), 1, "the damaged byte, for who asks");
    check_damaged(file.page(id(2)), 2);
    assert_eq!(bad_pages(&file.verify(|_| ControlFlow::Continue(())).unwrap()), [2, 3]);
}

#[test]
fn verifying_takes_nothing_for_granted_and_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = numbered_unleased(&path, 4);
    assert!(file.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
    damage(&path, 1);
    file.page(id(1)).expect("verified a moment ago");
    let report = file.verify(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!((bad_pages(&report), report.pages.get()), (vec![1], 4));
    assert!(!report.is_ok());
    check_damaged(file.page(id(1)), 1);
    // Damage that is repaired is no damage any more.
    damage(&path, 1);
    file.page(id(1)).unwrap();
    assert!(file.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
}

#[test]
fn an_evicted_page_comes_back_and_is_verified_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = numbered_unleased(&path, 200);
    let borrowed = file.page(id(150)).unwrap();
    file.advise(.., Access::Random).unwrap();
    file.evict(id(100)..).unwrap();
    assert_eq!(borrowed, [151; 4096], "a slice borrowed before just faults again");
    assert_eq!(file.page(id(199)).unwrap(), [200; 4096]);
    file.page(id(0)).unwrap();
    damage(&path, 0);
    damage(&path, 160);
    file.evict(id(160)..=id(160)).unwrap();
    check_damaged(file.page(id(160)), 160);
    file.page(id(0)).expect("was not evicted");
    file.evict(..).unwrap();
    check_damaged(file.page(id(0)), 0);
}

/// Where all pages are known to be right, a borrow looks at nothing else.
#[test]
fn a_page_of_a_wholly_verified_file_is_verified_again_after_it_was_evicted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = numbered_unleased(&path, 200);
    for round in 0..2 {
        file.pages(..).unwrap();
        for page in 0..200 {
            assert_eq!(file.page(id(page)).unwrap()[9], u8::try_from(page).unwrap() + 1);
        }
        for page in [200, 201, u64::MAX] {
            assert!(matches!(file.page(id(page)), Err(Error::Range(_))), "there is no page {page}");
        }
        damage(&path, 160);
        file.evict(id(160)..=id(160)).unwrap();
        check_damaged(file.page(id(160)), 160);
        assert_eq!(file.page(id(0)).unwrap(), [1; 4096], "round {round}");
        // Twice damaged is whole again.
        damage(&path, 160);
        file.evict(id(160)..=id(160)).unwrap();
    }
    assert_eq!(file.page(id(160)).unwrap(), [161; 4096]);
    // Looking at everything anew finds what was damaged since.
    damage(&path, 7);
    let report = file.verify(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!(bad_pages(&report), [7]);
    check_damaged(file.page(id(7)), 7);
}

#[test]
fn threads_that_touch_pages_first_agree() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    drop(numbered(&path, 200));
    damage(&path, 99);
    for _ in 0..10 {
        let file = SealedFile::open(&path).unwrap();
        thread::scope(|scope| {
            for start in [0, 50, 100, 150] {
                let file = &file;
                scope.spawn(move || {
                    for page in (0..200).map(|step| (start + step) % 200) {
                        match file.page(id(page)) {
                            Ok(bytes) => assert!(bytes.iter().all(|&b| u64::from(b) == page + 1)),
                            Err(Error::Checksum { page: bad, .. }) => {
                                assert_eq!((bad, page), (id(99), 99));
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
    }
}

#[test]
fn a_verification_that_is_stopped_tells_of_what_it_saw_and_is_not_ok() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut writer = PageWriter::create(&path).unwrap();
    writer.append(&vec![9; 5000 * 4096]).unwrap();
    drop(writer.seal().unwrap());
    damage(&path, 7);
    damage(&path, 4999);
    let file = SealedFile::open(&path).unwrap();
    let mut calls = 0;
    let report = file.verify(|progress| {
        calls += 1;
        if progress.pages_done.get() > 1500 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    let report = report.unwrap();
    assert_eq!((calls, report.pages.get(), report.page_count.get()), (2, 2048, 5000));
    assert_eq!(bad_pages(&report), [7]);
    assert!(!report.is_complete() && !report.is_ok());
    drop(file);
    // What was seen so far being right, the file is still not called so.
    damage(&path, 7);
    let file = SealedFile::open(&path).unwrap();
    let report = file.verify(|_| ControlFlow::Break(())).unwrap();
    assert!(report.bad_pages.is_empty() && report.damage.is_empty() && !report.is_ok());
    assert!(!file.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
}

#[test]
fn progress_rises_and_reaches_the_end_once() {
    let folder = tempfile::tempdir().unwrap();
    for (log2, pages) in
        [(12, 0), (12, 1), (12, 1023), (12, 1024), (12, 1025), (12, 2500), (21, 1), (21, 5)]
    {
        let size = PageSize::new(1 << log2).unwrap();
        let path = folder.path().join(format!("{log2}-{pages}"));
        let mut writer = PageWriter::options().page_size(size).create(&path).unwrap();
        writer.append(&vec![1; size.get_usize() * pages]).unwrap();
        let file = writer.seal().unwrap();
        let mut seen: Vec<VerifyProgress> = Vec::new();
        let report = file.verify(|progress| {
            seen.push(progress);
            ControlFlow::Continue(())
        });
        let report = report.unwrap();
        assert_eq!((report.pages.get(), report.is_ok()), (pages as u64, true));
        assert!(seen.iter().all(|now| now.page_count.get() == pages as u64));
        assert!(seen.windows(2).all(|pair| pair[0].pages_done < pair[1].pages_done), "{seen:?}");
        let at_end = seen.iter().filter(|now| now.pages_done == now.page_count).count();
        assert_eq!(at_end, 1, "{pages} pages: {seen:?}");
    }
}

#[test]
fn the_suite_passes_on_other_filesystems() {
    elsewhere::run("sealed::the_suite_passes_on_other_filesystems", &[]);
}
