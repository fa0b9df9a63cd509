//! The records of versioned files: what is written is read, and what is not whole is refused.

use layout::{
    CommitHead, CommitId, CommitMark, FormatError, Header, LogState, PageChange, PageChecksum,
    PageCount, PageHasher, PageId, PageSize, PageSource, PageStamp, Superblock, VersionedGeometry,
    VersionedState,
};
use proptest::prelude::*;
use uuid::Uuid;

const FILE_UUID: Uuid = Uuid::from_u128(0x1234);
const OTHER_UUID: Uuid = Uuid::from_u128(0x5678);

fn changes(count: u64) -> Vec<PageChange> {
    let source = |n: u64| if n.is_multiple_of(3) { PageSource::InPlace } else { PageSource::Image };
    let change = |n: u64| PageChange {
        page: PageId::new(n * 7),
        checksum: PageChecksum::from_le_bytes([n.to_le_bytes()[0], n.to_le_bytes()[1], 7, 9]),
        source: source(n),
    };
    (0..count).map(change).collect()
}

fn head(count: u64) -> (CommitHead, Vec<PageChange>, Vec<u8>) {
    let changes = changes(count);
    let counts = (PageCount::new(5), PageCount::new(9));
    let head = CommitHead::new(3, CommitId::new(12), counts, &changes);
    let bytes = head.encode(FILE_UUID, PageSize::DEFAULT, &changes);
    (head, changes, bytes)
}

fn parse(bytes: &[u8]) -> Result<CommitHead, FormatError> {
    CommitHead::parse(bytes, FILE_UUID, PageSize::DEFAULT, 1 << 30)
}

#[test]
fn a_head_is_read_as_it_was_written() {
    for count in [0, 1, 248, 249, 1000] {
        let (head, changes, bytes) = head(count);
        assert_eq!(bytes.len() as u64, head.head_len());
        assert!(bytes.len().is_multiple_of(CommitHead::ALIGN_BYTES));
        let read = parse(&bytes).unwrap();
        assert_eq!(read, head);
        assert_eq!(read.changes(&bytes).unwrap(), changes);
    }
    assert_eq!((head(248).0.head_len(), head(249).0.head_len()), (4096, 8192));
}

#[test]
fn every_flipped_bit_of_a_head_is_found() {
    let (_, _, bytes) = head(10);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let read = parse(&damaged).and_then(|head| head.changes(&damaged));
        assert!(read.is_err(), "bit {bit}");
    }
}

#[test]
fn a_record_of_another_file_or_longer_than_its_room_is_refused() {
    let (head, _, bytes) = head(10);
    let other = CommitHead::parse(&bytes, OTHER_UUID, PageSize::DEFAULT, 1 << 30);
    assert!(matches!(other, Err(FormatError::ForeignPart { .. })), "{other:?}");
    let len = head.record_len(PageSize::DEFAULT);
    let read = |room| CommitHead::parse(&bytes, FILE_UUID, PageSize::DEFAULT, room);
    assert!(read(len).is_ok());
    let longer = read(len - 1);
    assert!(matches!(longer, Err(FormatError::Versioned { .. })), "{longer:?}");
    let short = parse(&bytes[..100]);
    assert!(matches!(short, Err(FormatError::Short { .. })), "{short:?}");
    assert!(matches!(head.changes(&bytes[..200]), Err(FormatError::Short { .. })));
}

#[test]
fn stamps_and_marks_are_of_their_page_and_file() {
    let hasher = PageHasher::new(FILE_UUID);
    let (page, commit) = (PageId::new(77), CommitId::new(5));
    let stamp = PageStamp { commit, checksum: hasher.versioned(page, commit, &[1; 4096]) };
    let bytes = stamp.encode(page, &hasher);
    assert_eq!(PageStamp::parse(bytes, page, &hasher), Ok(Some(stamp)));
    assert_eq!(PageStamp::parse([0; 16], page, &hasher), Ok(None));
    let moved = PageStamp::parse(bytes, PageId::new(78), &hasher);
    assert!(matches!(moved, Err(FormatError::Stamp { .. })), "{moved:?}");
    let foreign = PageStamp::parse(bytes, page, &PageHasher::new(OTHER_UUID));
    assert!(matches!(foreign, Err(FormatError::Stamp { .. })), "{foreign:?}");
    for bit in 0..128 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(PageStamp::parse(damaged, page, &hasher).is_err(), "bit {bit}");
    }

    let mark = CommitMark { epoch: 2, commit };
    let bytes = mark.encode(FILE_UUID);
    assert_eq!(CommitMark::parse(&bytes, FILE_UUID), Ok(Some(mark)));
    assert_eq!(CommitMark::parse(&[0; 64], FILE_UUID), Ok(None));
    assert!(matches!(CommitMark::parse(&bytes, OTHER_UUID), Err(FormatError::ForeignPart { .. })));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(CommitMark::parse(&damaged, FILE_UUID).is_err(), "bit {bit}");
    }
}

#[test]
fn a_superblock_says_what_only_versioned_files_say() {
    let geometry = VersionedGeometry::new(PageSize::DEFAULT, 64 << 20).unwrap();
    let made = Superblock::new_versioned(FILE_UUID, geometry);
    let state = VersionedState {
        geometry,
        epoch: 7,
        commit: CommitId::new(100),
        page_count_max: PageCount::new(30),
        log_state: LogState::Needed,
    };
    let later = made.next_version(PageCount::new(20), state).unwrap();
    let header = Header::parse(&Header::encode([Some(&made), Some(&later)])).unwrap();
    assert_eq!(header.superblock(), &later);
    assert_eq!(header.superblock().versioned(), Some(&state));
    let more = made.next_version(PageCount::new(31), state);
    assert!(matches!(more, Err(FormatError::Versioned { .. })), "{more:?}");
    assert!(Superblock::new_mutable(FILE_UUID, PageSize::DEFAULT).versioned().is_none());
}

#[test]
fn a_log_that_cannot_be_is_refused() {
    for log_len in [0, 4096, (128 << 10) - 4096, (128 << 10) + 4096, (1 << 40) + (128 << 10)] {
        let refused = VersionedGeometry::new(PageSize::DEFAULT, log_len);
        assert!(matches!(refused, Err(FormatError::Versioned { .. })), "{log_len}");
    }
    let geometry = VersionedGeometry::new(PageSize::MAX, 1 << 40).unwrap();
    let too_large = geometry.file_len(PageCount::new(u64::MAX));
    assert!(matches!(too_large, Err(FormatError::TooLarge { .. })), "{too_large:?}");
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..5000), room in any::<u64>()) {
        let mut bytes = bytes;
        let head = CommitHead::parse(&bytes, FILE_UUID, PageSize::DEFAULT, room);
        prop_assert!(head.is_err());
        let _parsed = CommitMark::parse(&bytes, FILE_UUID);
        bytes.resize(4096, 0);
        let (head, _, _) = self::head(3);
        prop_assert!(head.changes(&bytes).is_err());
    }

    #[test]
    fn every_page_has_a_place_of_its_own(page in 0_u64..1 << 40, log2 in 12_u32..=21) {
        let page_size = PageSize::new(1 << log2).unwrap();
        let geometry = VersionedGeometry::new(page_size, 1 << 20).unwrap();
        let group = geometry.group_of(PageId::new(page));
        prop_assert!(group.first.get() <= page && page < group.first.get() + group.page_count.get());
        let (here, next) = (PageId::new(page), PageId::new(page + 1));
        let data = geometry.page_offset(here);
        prop_assert!(data >= group.data_start && geometry.stamp_offset(here) + 16 <= group.data_start);
        prop_assert!(geometry.page_offset(next) >= data + page_size.get());
        prop_assert!(geometry.stamp_offset(next) >= geometry.stamp_offset(here) + 16);
        // Both can be mapped on every machine.
        prop_assert!(group.data_start.is_multiple_of(65_536) && group.table_start.is_multiple_of(65_536));
    }
}
