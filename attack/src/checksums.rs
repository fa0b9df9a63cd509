//! Checksums of pages and of their table: no changed bit, page number or file goes unnoticed, and
//! the table's is the same however it is cut.

use arbitrary::{Arbitrary, Unstructured};
use layout::{PageChecksum, PageHasher, PageId, TableHasher};
use uuid::Uuid;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    uuid: u128,
    page: u64,
    flip: u32,
    other_page: u64,
    other_uuid: u128,
    cuts: Vec<u16>,
    bytes: &'a [u8],
}

/// Computes the same in different ways, and different things that must differ.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(input) = Input::arbitrary(&mut input) else { return };
    let page = PageId::new(input.page);
    let hasher = PageHasher::new(Uuid::from_u128(input.uuid));
    let sum = hasher.checksum(page, input.bytes);
    assert_eq!(PageChecksum::from_le_bytes(sum.to_le_bytes()), sum);
    assert_eq!(PageHasher::new(Uuid::from_u128(input.uuid)).checksum(page, input.bytes), sum);
    if !input.bytes.is_empty() {
        let mut flipped = input.bytes.to_vec();
        let bit = input.flip as usize % (flipped.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(hasher.checksum(page, &flipped), sum, "bit {bit}");
    }
    // A CRC finds every burst of up to 32 bits, and a page number that differs in its lower or upper
    // half alone is one.
    let differs = input.page ^ input.other_page;
    if differs != 0 && (differs >> 32 == 0 || differs.trailing_zeros() >= 32) {
        assert_ne!(hasher.checksum(PageId::new(input.other_page), input.bytes), sum);
    }
    let differs = input.uuid ^ input.other_uuid;
    if differs != 0 && 128 - differs.leading_zeros() - differs.trailing_zeros() <= 24 {
        let other = PageHasher::new(Uuid::from_u128(input.other_uuid));
        assert_ne!(other.checksum(page, input.bytes), sum);
    }

    let mut whole = TableHasher::new();
    whole.update(input.bytes);
    let (mut pieces, mut rest) = (TableHasher::default(), input.bytes);
    for cut in &input.cuts {
        let (piece, behind) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.update(piece);
        rest = behind;
    }
    pieces.update(rest);
    assert_eq!(pieces.finish(), whole.finish());
    assert_eq!(pieces.finish(), crate::forge::crc32c(input.bytes), "it is a plain CRC32C");
}
