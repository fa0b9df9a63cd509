//! `docs/format.md` says what the code does, of versioned files.
//!
//! Method: as in `format_doc.rs`, with the document's second dump. The reader below is written from the document's
//! tables alone; it does what a recovery does.

use layout::{
    CommitHead, CommitId, CommitMark, Header, LogHalf, LogState, PageChange, PageCount, PageHasher,
    PageId, PageSize, PageSource, PageStamp, Superblock, VersionedGeometry, VersionedState,
};
use uuid::{Uuid, uuid};

use crate::{
    dump::{self, hexdump, parse},
    forge::crc32c,
};

const DOCUMENT: &str = include_str!("../../../docs/format.md");
const FILE_UUID: Uuid = uuid!("00112233-4455-6677-8899-aabbccddeeff");

/// The first page after the first commit.
fn page() -> Vec<u8> {
    let mut page = b"hello, pages\n".to_vec();
    page.resize(4096, 0);
    page
}

/// The file of the example, as it is while it is open after its first commit, which grew it to two pages and
/// wrote to the first.
fn composed() -> Vec<u8> {
    let geometry = VersionedGeometry::new(PageSize::DEFAULT, 128 << 10).unwrap();
    let made = Superblock::new_versioned(FILE_UUID, geometry);
    let state =
        VersionedState { epoch: 1, log_state: LogState::Needed, ..*made.versioned().unwrap() };
    let begun = made.next_version(PageCount::ZERO, state).unwrap();
    let hasher = PageHasher::new(FILE_UUID);
    let (first, commit) = (PageId::new(0), CommitId::new(1));
    let checksum = hasher.versioned(first, commit, &page());
    let changes = [PageChange { page: first, checksum, source: PageSource::Image }];
    let two = PageCount::new(2);
    let head = CommitHead::new(1, commit, (two, two), &changes);
    let at = |offset: u64| usize::try_from(offset).unwrap();

    let mut file = vec![0; at(geometry.file_len(two).unwrap())];
    let mut put = |offset: u64, bytes: &[u8]| {
        file[at(offset)..at(offset) + bytes.len()].copy_from_slice(bytes);
    };
    put(0, &Header::encode([Some(&made), Some(&begun)]));
    put(8192, &CommitMark { epoch: 1, commit }.encode(FILE_UUID));
    let log = geometry.half_start(LogHalf::First);
    put(log, &head.encode(FILE_UUID, PageSize::DEFAULT, &changes));
    put(log + head.head_len(), &page());
    put(geometry.stamp_offset(first), &PageStamp { commit, checksum }.encode(first, &hasher));
    put(geometry.page_offset(first), &page());
    file
}

#[test]
fn the_hexdump_is_that_of_a_real_file() {
    let (composed, dump) = (composed(), dump::of_the_document(DOCUMENT, 1));
    let same = parse(dump) == composed;
    assert!(same, "docs/format.md should have this dump:\n{}", hexdump(&composed));
    assert_eq!(dump, hexdump(&composed), "as `hexdump -C` writes it");
}

fn number(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

fn number_32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

/// Where the stamp of a page lies, and the page.
fn places(page: u64, page_size: u64, log_len: u64) -> (usize, usize) {
    let (mut start, mut first, mut pages) = (65_536 + log_len, 0, 16_384);
    while page >= first + pages {
        start += pages * (16 + page_size);
        (first, pages) = (first + pages, pages * 2);
    }
    let stamp = start + (page - first) * 16;
    let data = start + pages * 16 + (page - first) * page_size;
    (usize::try_from(stamp).unwrap(), usize::try_from(data).unwrap())
}

/// The pages of a file whose log is read from its first half alone, after its commits are put into them.
fn recovered(mut file: Vec<u8>) -> Result<Vec<Vec<u8>>, &'static str> {
    let check = |right: bool, what: &'static str| if right { Ok(()) } else { Err(what) };
    let superblock = file[4096..4096 + 256].to_vec();
    check(crc32c(&superblock[..252]) == number_32(&superblock, 252), "damaged superblock")?;
    check(number(&superblock, 64) == 2, "not versioned")?;
    let (page_size, log_len) = (number(&superblock, 16), number(&superblock, 72));
    let page_len = usize::try_from(page_size).unwrap();
    let (epoch, mut commit) = (number(&superblock, 80), number(&superblock, 88));
    check(number_32(&superblock, 104) == 2, "the log is not needed")?;
    let (uuid, mut page_count) = (superblock[32..48].to_vec(), number(&superblock, 24));
    let mut at = 65_536;
    loop {
        let head = file[at..].to_vec();
        let is_record = head[..8] == *b"\x89COMMIT\n"
            && crc32c(&head[..124]) == number_32(&head, 124)
            && head[8..24] == uuid
            && number(&head, 24) == epoch
            && number(&head, 32) == commit + 1;
        if !is_record {
            break;
        }
        let changes = usize::try_from(number_32(&head, 64)).unwrap();
        let head_len = (128 + 16 * changes).next_multiple_of(4096);
        check(crc32c(&head[128..head_len]) == number_32(&head, 72), "damaged list")?;
        (commit, page_count) = (number(&head, 32), number(&head, 40));
        let mut image = head_len;
        for change in head[128..128 + 16 * changes].chunks(16) {
            let (page, checksum) = (number(change, 0), number_32(change, 8));
            check(number_32(change, 12) == 1, "no image")?;
            let bytes = &head[image..image + page_len];
            let numbers = [page.to_le_bytes(), commit.to_le_bytes()].concat();
            check(crc32c(&[&uuid, &numbers, bytes].concat()) == checksum, "damaged image")?;
            let mut stamp = [&commit.to_le_bytes()[..], &checksum.to_le_bytes()].concat();
            let of_stamp = crc32c(&[&uuid, &numbers, &checksum.to_le_bytes()[..]].concat());
            stamp.extend(of_stamp.to_le_bytes());
            let (stamp_at, data_at) = places(page, page_size, log_len);
            file[stamp_at..stamp_at + 16].copy_from_slice(&stamp);
            file[data_at..data_at + page_len].copy_from_slice(bytes);
            image += page_len;
        }
        check(number(&head, 56) == image as u64, "another length")?;
        at += image;
    }
    let pages = (0..page_count).map(|page| {
        let data = places(page, page_size, log_len).1;
        file[data..data + page_len].to_vec()
    });
    Ok(pages.collect())
}

#[test]
fn a_recovery_written_from_the_document_recovers_the_example() {
    let file = parse(dump::of_the_document(DOCUMENT, 1));
    let pages = vec![page(), vec![0; 4096]];
    assert_eq!(recovered(file.clone()).as_ref(), Ok(&pages));
    let (stamp, data) = places(0, 4096, 128 << 10);
    let mut lost = file.clone();
    lost[data..data + 4096].fill(0);
    lost[stamp..stamp + 16].fill(0);
    assert_eq!(recovered(lost).as_ref(), Ok(&pages), "the log has it");
    let mut damaged = file;
    damaged[65_536 + 4096] ^= 1;
    assert_eq!(recovered(damaged), Err("damaged image"));
}

/// The places that the document gives in its table of groups.
#[test]
fn pages_lie_where_the_document_says() {
    for log_len in [128 << 10, 64 << 20] {
        for page_size in [PageSize::MIN, PageSize::MAX] {
            let geometry = VersionedGeometry::new(page_size, log_len).unwrap();
            for page in [0, 1, 16_383, 16_384, 49_151, 49_152, 1 << 20, 1 << 30] {
                let (stamp, data) = places(page, page_size.get(), log_len);
                let id = PageId::new(page);
                assert_eq!(geometry.stamp_offset(id), stamp as u64);
                assert_eq!(geometry.page_offset(id), data as u64);
                let len = geometry.file_len(PageCount::new(page + 1)).unwrap();
                assert_eq!(len, data as u64 + page_size.get());
            }
        }
    }
}
