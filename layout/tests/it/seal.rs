//! The seal record: the last block of a sealed file.
//!
//! Method: as in `header.rs`, a real block is damaged or forged, and parsed against the superblock
//! it was made for.

use layout::{FormatError, Geometry, PageCount, PageSize, SealRecord, Superblock};
use uuid::Uuid;

use crate::forge::forge;

const PAGE_COUNT: usize = 24;
const PAYLOAD_LEN: usize = 32;
const TABLE_START: usize = 40;
const TABLE_CRC32C: usize = 48;
const CHECKSUM_KIND: usize = 52;
const CRC32C: usize = 124;

fn superblock() -> Superblock {
    Superblock::new_sealed(Uuid::from_u128(7), PageSize::DEFAULT, PageCount::new(3)).unwrap()
}

fn block() -> Vec<u8> {
    let superblock = superblock();
    SealRecord::new(&superblock, 10_000, 0xfeed).unwrap().encode_block(&superblock).to_vec()
}

fn forged(offset: usize, field: &[u8]) -> Result<SealRecord, FormatError> {
    let mut block = block();
    forge(&mut block, CRC32C, offset, field);
    SealRecord::parse(&block, &superblock())
}

#[test]
fn a_record_comes_back_as_it_was_written() {
    let parsed = SealRecord::parse(&block(), &superblock()).unwrap();
    assert_eq!((parsed.payload_len(), parsed.table_crc32c()), (10_000, 0xfeed));
    assert_eq!(forged(TABLE_CRC32C, &0xfeed_u32.to_le_bytes()), Ok(parsed), "the forger is right");
}

#[test]
fn any_changed_byte_of_the_record_is_an_error() {
    let good = block();
    for offset in 0..SealRecord::LEN_BYTES {
        for value in 0..=u8::MAX {
            let mut block = good.clone();
            block[offset] = value;
            match SealRecord::parse(&block, &superblock()) {
                Ok(_) => assert_eq!(value, good[offset], "byte {offset} went unnoticed"),
                Err(FormatError::RecordChecksum { part: "the seal record", .. }) => {
                    assert_ne!(value, good[offset]);
                }
                Err(error) => panic!("byte {offset} = {value}: {error}"),
            }
        }
    }
}

#[test]
fn any_changed_byte_behind_the_record_is_found_by_the_full_check() {
    let mut block = block();
    SealRecord::check_block(&block, &superblock()).unwrap();
    for at in SealRecord::LEN_BYTES..block.len() {
        block[at] = 1;
        let offset = superblock().geometry().seal_start() + at as u64;
        let error = SealRecord::check_block(&block, &superblock()).unwrap_err();
        assert_eq!(error, FormatError::Padding { offset, found: 1 });
        block[at] = 0;
    }
}

#[test]
fn a_record_cut_at_any_length_is_an_error() {
    for len in 0..SealRecord::LEN_BYTES {
        let error = SealRecord::parse(&block()[..len], &superblock()).unwrap_err();
        let expected = FormatError::Short {
            part: "the seal record",
            found: len as u64,
            expected: SealRecord::LEN_BYTES as u64,
        };
        assert_eq!(error, expected);
        SealRecord::check_block(&block()[..len], &superblock()).unwrap_err();
    }
}

#[test]
fn a_record_that_contradicts_the_superblock_is_refused_field_by_field() {
    for (name, offset, value) in [
        ("page_count", PAGE_COUNT, 4),
        ("payload_len", PAYLOAD_LEN, 3 * 4096 + 1),
        ("payload_len", PAYLOAD_LEN, 2 * 4096),
        ("payload_len", PAYLOAD_LEN, 0),
        ("payload_len", PAYLOAD_LEN, u64::MAX),
        ("table_start", TABLE_START, 8192),
        ("table_start", TABLE_START, u64::MAX),
    ] {
        match forged(offset, &value.to_le_bytes()).unwrap_err() {
            FormatError::Seal { field, found, .. } => assert_eq!((field, found), (name, value)),
            error => panic!("{name} = {value}: {error}"),
        }
    }
    for kind in [0_u32, 2, u32::MAX] {
        let error = forged(CHECKSUM_KIND, &kind.to_le_bytes()).unwrap_err();
        let found = u64::from(kind);
        assert_eq!(error, FormatError::Seal { field: "checksum_kind", found, expected: 1 });
    }
    let error = forged(8, Uuid::from_u128(8).as_bytes()).unwrap_err();
    let (found, expected) = (Uuid::from_u128(8), Uuid::from_u128(7));
    assert_eq!(error, FormatError::SealUuid { found, expected });
}

#[test]
fn any_payload_that_ends_in_the_last_page_is_possible() {
    for len in [2 * 4096 + 1, 3 * 4096 - 1, 3 * 4096] {
        assert_eq!(SealRecord::new(&superblock(), len, 0).unwrap().payload_len(), len);
    }
    let empty = Superblock::new_sealed(Uuid::nil(), PageSize::MAX, PageCount::ZERO).unwrap();
    SealRecord::new(&empty, 0, 0).unwrap();
    SealRecord::new(&empty, 1, 0).unwrap_err();
}

#[test]
fn the_padding_of_the_table_is_checked_byte_by_byte() {
    let geometry = Geometry::new(PageSize::DEFAULT, PageCount::new(3)).unwrap();
    let len = usize::try_from(geometry.seal_start() - geometry.data_end()).unwrap();
    let mut padding = vec![0; len - usize::try_from(geometry.table_len()).unwrap()];
    geometry.check_table_padding(&padding).unwrap();
    for at in 0..padding.len() {
        padding[at] = 0x80;
        let offset = geometry.data_end() + geometry.table_len() + at as u64;
        let error = geometry.check_table_padding(&padding).unwrap_err();
        assert_eq!(error, FormatError::Padding { offset, found: 0x80 });
        padding[at] = 0;
    }
}

/// Reserved bytes are for later versions that this one can still read, so they are not looked at.
#[test]
fn any_value_of_any_byte_with_a_right_checksum_means_what_the_format_says() {
    let good = block();
    let real = SealRecord::parse(&good, &superblock()).unwrap();
    for (offset, &stood_there) in good.iter().enumerate().take(CRC32C) {
        for value in 0..=u8::MAX {
            let changed = value != stood_there;
            match (offset, forged(offset, &[value])) {
                (0..8, Err(FormatError::RecordChecksum { part: "the seal record", .. }))
                | (8..24, Err(FormatError::SealUuid { .. })) => assert!(changed),
                (_, Err(FormatError::Seal { field, .. })) => {
                    let named = match offset {
                        24..32 => "page_count",
                        32..40 => "payload_len",
                        40..48 => "table_start",
                        52..56 => "checksum_kind",
                        _ => panic!("byte {offset} = {value} is no number: {field}"),
                    };
                    assert!(changed && field == named, "byte {offset} = {value}: {field}");
                }
                (_, Ok(parsed)) => {
                    let told = matches!(offset, 32..40 | 48..52);
                    assert_eq!(parsed != real, told && changed, "byte {offset} = {value}");
                    assert!(told || offset >= 56 || !changed, "byte {offset} = {value}");
                }
                (_, Err(error)) => panic!("byte {offset} = {value}: {error}"),
            }
        }
    }
}
