//! What the two superblock slots say together.
//!
//! Method: a real header is changed, either as damage does it (a byte, the checksum left wrong) or
//! as a stranger's writer could (a field, the checksum made right again), and parsed. What is
//! expected follows from `docs/format.md` alone.

use layout::{
    FORMAT_VERSION, Features, FormatError, Header, PageCount, PageSize, Slot, Superblock,
};
use uuid::Uuid;

use crate::forge::forge;

/// The fields of a superblock, by their offsets in the slot.
mod field {
    pub(crate) const VERSION: usize = 8;
    pub(crate) const PAGE_SIZE: usize = 16;
    pub(crate) const PAGE_COUNT: usize = 24;
    pub(crate) const FILE_UUID: usize = 32;
    pub(crate) const GENERATION: usize = 48;
    pub(crate) const COMPATIBLE: usize = 56;
    pub(crate) const INCOMPATIBLE: usize = 64;
    pub(crate) const CRC32C: usize = 252;
}

const SLOT_LEN: usize = 4096;
const UUID: Uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

/// Generation 2 in slot 0 with five pages, generation 1 in slot 1 with none.
fn two_slots() -> (Vec<u8>, Superblock, Superblock) {
    let older = Superblock::new_mutable(UUID, PageSize::DEFAULT);
    let newer = older.next_generation(PageCount::new(5)).unwrap();
    (Header::encode([Some(&newer), Some(&older)]).to_vec(), newer, older)
}

fn forge_slot(header: &mut [u8], slot: Slot, offset: usize, bytes: &[u8]) {
    let start = usize::try_from(slot.offset_bytes()).unwrap();
    forge(&mut header[start..start + SLOT_LEN], field::CRC32C, offset, bytes);
}

/// A header whose only slot has `bytes` at `offset`, with the right checksum.
fn forged(offset: usize, bytes: &[u8]) -> Result<Header, FormatError> {
    let superblock = Superblock::new_mutable(UUID, PageSize::DEFAULT);
    let mut header = Header::encode([Some(&superblock), None]);
    forge_slot(&mut header, Slot::First, offset, bytes);
    Header::parse(&header)
}

#[test]
fn the_forger_computes_the_checksum_of_the_format() {
    let (mut header, ..) = two_slots();
    let before = header.clone();
    forge_slot(&mut header, Slot::First, field::VERSION, &FORMAT_VERSION.to_le_bytes());
    assert_eq!(header, before, "putting back what is there changes nothing");
}

#[test]
fn any_changed_byte_of_the_only_superblock_is_an_error_that_names_what_is_wrong() {
    let superblock = Superblock::new_mutable(UUID, PageSize::DEFAULT);
    let good = Header::encode([Some(&superblock), None]);
    for offset in 0..Superblock::LEN_BYTES {
        for value in 0..=u8::MAX {
            let mut header = good;
            header[offset] = value;
            match Header::parse(&header) {
                Ok(parsed) => {
                    assert_eq!(value, good[offset], "byte {offset} changed and went unnoticed");
                    assert_eq!(parsed.superblock(), &superblock);
                }
                Err(FormatError::Magic { found, .. }) => {
                    assert!(offset < 8 && found[offset] == value, "byte {offset} = {value}");
                }
                Err(error @ FormatError::RecordChecksum { part, .. }) => {
                    assert!(offset >= 8, "byte {offset}: {error}");
                    assert_eq!(part, "superblock slot 0");
                }
                Err(error) => panic!("byte {offset} = {value}: {error}"),
            }
        }
    }
}

#[test]
fn any_changed_byte_of_one_superblock_leaves_the_other() {
    let (good, newer, older) = two_slots();
    for (slot, left) in [(Slot::First, older), (Slot::Second, newer)] {
        let start = usize::try_from(slot.offset_bytes()).unwrap();
        for offset in start..start + Superblock::LEN_BYTES {
            for flip in 1..=u8::MAX {
                let mut header = good.clone();
                header[offset] ^= flip;
                let parsed = Header::parse(&header).unwrap();
                assert_eq!((parsed.superblock(), parsed.slot()), (&left, slot.other()));
                assert!(parsed.other_slot_error().is_some(), "the damage must be told");
            }
        }
    }
}

#[test]
fn a_slot_torn_at_any_byte_falls_back_to_the_other() {
    let (before, _, older) = two_slots();
    let newest = older.next_generation(PageCount::new(5)).unwrap();
    let newest = newest.next_generation(PageCount::new(9)).unwrap();
    let written = Header::encode_slot(&newest);
    // The write of generation 3 goes into slot 1, over generation 1, and stops after `torn` bytes.
    for torn in 0..Superblock::LEN_BYTES {
        let mut header = before.clone();
        header[SLOT_LEN..SLOT_LEN + torn].copy_from_slice(&written[..torn]);
        let parsed = Header::parse(&header).unwrap();
        assert_eq!(parsed.slot(), Slot::First, "torn after {torn} bytes");
        assert_eq!(parsed.superblock().generation(), 2);
    }
    let mut header = before;
    header[SLOT_LEN..].copy_from_slice(&written);
    let parsed = Header::parse(&header).unwrap();
    assert_eq!((parsed.slot(), parsed.superblock().page_count().get()), (Slot::Second, 9));
    assert_eq!(parsed.other_slot_error(), None);
}

#[test]
fn the_higher_generation_wins_in_either_slot_and_slot_0_a_tie() {
    let (_, newer, older) = two_slots();
    for (slots, expected) in [
        ([&newer, &older], Slot::First),
        ([&older, &newer], Slot::Second),
        ([&newer, &newer], Slot::First),
    ] {
        let parsed = Header::parse(&Header::encode(slots.map(Some))).unwrap();
        assert_eq!(parsed.slot(), expected);
    }
    let (mut header, ..) = two_slots();
    forge_slot(&mut header, Slot::Second, field::GENERATION, &u64::MAX.to_le_bytes());
    let parsed = Header::parse(&header).unwrap();
    assert_eq!((parsed.slot(), parsed.superblock().generation()), (Slot::Second, u64::MAX));
}

/// Falling back to what an older slot says would undo whatever the newer writer did.
#[test]
fn a_newest_slot_that_cannot_be_read_is_refused_and_the_older_one_not_taken() {
    for (offset, bytes) in [
        (field::VERSION, 2_u32.to_le_bytes().to_vec()),
        (field::INCOMPATIBLE, 2_u64.to_le_bytes().to_vec()),
        (field::PAGE_SIZE, 3_u64.to_le_bytes().to_vec()),
        (field::PAGE_COUNT, u64::MAX.to_le_bytes().to_vec()),
    ] {
        let (mut header, ..) = two_slots();
        forge_slot(&mut header, Slot::First, offset, &bytes);
        assert!(Header::parse(&header).is_err(), "field at {offset}, newest slot");
        let (mut header, newer, _) = two_slots();
        forge_slot(&mut header, Slot::Second, offset, &bytes);
        let parsed = Header::parse(&header).unwrap();
        assert_eq!(parsed.superblock(), &newer, "field at {offset}, older slot: no concern");
    }
}

#[test]
fn unknown_incompatible_features_are_refused_one_by_one() {
    for bit in 2..u64::BITS {
        let flags = 1_u64 << bit | Features::SEALED;
        let error = forged(field::INCOMPATIBLE, &flags.to_le_bytes()).unwrap_err();
        let known = Features::SEALED | Features::VERSIONED;
        let expected = FormatError::Features { found: 1 << bit, known };
        assert_eq!(error, expected, "bit {bit}");
        assert!(error.to_string().contains("newer build"), "says what to do: {error}");
    }
}

#[test]
fn a_file_is_not_both_sealed_and_versioned() {
    let flags = Features::SEALED | Features::VERSIONED;
    let error = forged(field::INCOMPATIBLE, &flags.to_le_bytes()).unwrap_err();
    assert!(matches!(error, FormatError::Versioned { found: 3, .. }), "{error}");
}

#[test]
fn unknown_compatible_features_are_accepted_and_kept() {
    let header = forged(field::COMPATIBLE, &u64::MAX.to_le_bytes()).unwrap();
    let superblock = *header.superblock();
    assert_eq!(superblock.features().compatible, u64::MAX);
    let next = superblock.next_generation(PageCount::new(1)).unwrap();
    let reread = Header::parse(&Header::encode([None, Some(&next)])).unwrap();
    assert_eq!(reread.superblock().features().compatible, u64::MAX, "an update must not lose them");
}

#[test]
fn other_versions_are_refused() {
    for version in [0, 2, u32::MAX] {
        let error = forged(field::VERSION, &version.to_le_bytes()).unwrap_err();
        assert_eq!(error, FormatError::Version { found: version, expected: FORMAT_VERSION });
        assert!(error.to_string().contains("open the file with the build that wrote it"));
    }
}

/// A later version may give every other field another meaning.
#[test]
fn the_version_is_judged_before_anything_else() {
    let superblock = Superblock::new_mutable(UUID, PageSize::DEFAULT);
    let mut header = Header::encode([Some(&superblock), None]);
    for (offset, value) in [(field::INCOMPATIBLE, u64::MAX), (field::PAGE_SIZE, 3)] {
        forge_slot(&mut header, Slot::First, offset, &value.to_le_bytes());
    }
    forge_slot(&mut header, Slot::First, field::VERSION, &9_u32.to_le_bytes());
    let error = Header::parse(&header).unwrap_err();
    assert!(matches!(error, FormatError::Version { found: 9, .. }), "{error}");
}

#[test]
fn impossible_page_sizes_are_refused() {
    for found in [0, 1, 3, 2048, 4095, 4097, 12_288, (2 << 20) + 1, 4 << 20, 1 << 63, u64::MAX] {
        let error = forged(field::PAGE_SIZE, &found.to_le_bytes()).unwrap_err();
        assert!(matches!(error, FormatError::PageSize(error) if error.found == found), "{error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("power of two from 4096"), "{cause}");
    }
    for log2 in 12..=21 {
        let header = forged(field::PAGE_SIZE, &(1_u64 << log2).to_le_bytes()).unwrap();
        assert_eq!(header.superblock().page_size().get(), 1 << log2);
    }
}

#[test]
fn page_counts_that_no_file_can_hold_are_refused() {
    // 2^52 pages of 4 KiB are 2^64 bytes, 2^51 are 2^63: the product overflows, then the sum does,
    // then the length is no `i64`.
    for found in [u64::MAX, 1 << 52, (1 << 52) + 1, 1 << 51, (1 << 51) - 1] {
        let error = forged(field::PAGE_COUNT, &found.to_le_bytes()).unwrap_err();
        assert_eq!(error, FormatError::TooLarge { page_count: found, page_size: 4096 });
        assert!(error.to_string().contains("do not fit a file"), "{error}");
    }
    let header = forged(field::PAGE_COUNT, &(1_u64 << 50).to_le_bytes()).unwrap();
    assert_eq!(header.superblock().geometry().data_len(), 1 << 62);
}

#[test]
fn slots_of_different_files_are_refused() {
    let (mut header, ..) = two_slots();
    let other = Uuid::from_u128(1);
    forge_slot(&mut header, Slot::Second, field::FILE_UUID, other.as_bytes());
    let error = Header::parse(&header).unwrap_err();
    assert_eq!(error, FormatError::SlotsDisagree { first: UUID, second: other });
}

/// Reserved bytes are for later versions that this one can still read, so they are not looked at.
#[test]
fn any_value_of_any_byte_with_a_right_checksum_means_what_the_format_says() {
    let (good, newer, _) = two_slots();
    for offset in 8..field::CRC32C {
        for value in 0..=u8::MAX {
            let mut header = good.clone();
            forge_slot(&mut header, Slot::First, offset, &[value]);
            let changed = value != good[offset];
            match (offset, Header::parse(&header)) {
                (8..12, Err(FormatError::Version { .. }))
                | (16..24, Err(FormatError::PageSize(_)))
                | (24..32, Err(FormatError::TooLarge { .. }))
                | (32..48, Err(FormatError::SlotsDisagree { .. }))
                // Its log has no length, for instance.
                | (64, Err(FormatError::Versioned { .. }))
                | (64..72, Err(FormatError::Features { .. })) => {
                    assert!(changed, "byte {offset} = {value} is what stood there");
                }
                (_, Ok(parsed)) => {
                    let same = parsed.superblock() == &newer;
                    let ignored = (12..16).contains(&offset) || offset >= 72;
                    assert_eq!(same, ignored || !changed, "byte {offset} = {value}: {parsed:?}");
                }
                (_, Err(error)) => panic!("byte {offset} = {value}: {error}"),
            }
        }
    }
}

#[test]
fn a_header_cut_at_any_length_is_an_error_and_a_stranger_is_called_one() {
    let (good, ..) = two_slots();
    for stranger in [&b""[..], b"text\n", &good[1..5]] {
        let found = stranger.len() as u64;
        assert_eq!(Header::parse(stranger).unwrap_err(), FormatError::NoHeader { found });
    }
    for len in 1..good.len() {
        let error = Header::parse(&good[..len]).unwrap_err();
        let FormatError::Short { found, expected: 8192, .. } = error else {
            panic!("{len} bytes: {error}");
        };
        assert_eq!(found, len as u64);
    }
    let text = b"#!/bin/sh\necho a script is no page file\n".repeat(300);
    for len in 8..text.len() {
        let error = Header::parse(&text[..len]).unwrap_err();
        assert!(matches!(error, FormatError::Magic { .. }), "{len} bytes of text: {error}");
        assert!(error.to_string().starts_with("this is not a page file"), "{error}");
    }
}

#[test]
fn the_better_of_two_reasons_is_given_where_no_slot_is_whole() {
    let (mut header, ..) = two_slots();
    header[..8].fill(0);
    header[SLOT_LEN + 100] ^= 1;
    let error = Header::parse(&header).unwrap_err();
    let expected = "superblock slot 1";
    assert!(matches!(error, FormatError::RecordChecksum { part, .. } if part == expected));
    header[SLOT_LEN..SLOT_LEN + 8].fill(0);
    assert!(matches!(Header::parse(&header), Err(FormatError::Magic { .. })));
}

#[test]
fn a_sealed_header_has_every_byte_checked() {
    let page_size = PageSize::new(16 << 10).unwrap();
    let superblock = Superblock::new_sealed(UUID, page_size, PageCount::new(1)).unwrap();
    let mut header = Header::encode([Some(&superblock), Some(&superblock)]).to_vec();
    header.resize(16 << 10, 0);
    assert!(superblock.is_sealed() && !Superblock::new_mutable(UUID, page_size).is_sealed());
    Header::check_sealed(&header).unwrap();
    Header::check_sealed(&header[..2 * SLOT_LEN]).unwrap();
    for offset in 0..header.len() {
        header[offset] ^= 0x10;
        let error = Header::check_sealed(&header).unwrap_err();
        if offset % SLOT_LEN >= Superblock::LEN_BYTES || offset >= 2 * SLOT_LEN {
            let expected = FormatError::Padding { offset: offset as u64, found: 0x10 };
            assert_eq!(error, expected);
        }
        header[offset] ^= 0x10;
    }
    for len in 0..8192 {
        let error = Header::check_sealed(&header[..len]).unwrap_err();
        assert!(matches!(error, FormatError::Short { .. }), "{len} bytes: {error}");
    }
}
