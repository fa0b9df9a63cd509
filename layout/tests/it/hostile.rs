//! Bytes that somebody made up: parsing gives an answer for all of them.
//!
//! Method: proptest over arbitrary bytes (which seldom get past the magic), real records with a
//! few bytes changed, and real records whose changed bytes have a right checksum (which get
//! everywhere). A panic or an overflow fails the test; so does an accepted header whose numbers
//! contradict.

use layout::{Header, PageCount, PageSize, SealRecord, Superblock};
use proptest::{collection::vec, prelude::*, sample::Index};
use uuid::Uuid;

use crate::forge;

/// What a reader does first: everything that takes bytes from outside.
fn parse_all(header: &[u8], block: &[u8]) {
    let _sealed = Header::check_sealed(header);
    let Ok(header) = Header::parse(header) else { return };
    let superblock = header.superblock();
    let geometry = superblock.geometry();
    assert!(geometry.data_end() <= geometry.seal_start());
    assert!(geometry.file_len_sealed() <= 1 << 63);
    assert_eq!(geometry.page_count(), superblock.page_count());
    let _checked = SealRecord::check_block(block, superblock);
    let Ok(seal) = SealRecord::parse(block, superblock) else { return };
    assert!(seal.payload_len() <= geometry.data_len());
}

fn valid() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (12..=21_u32, 0..1000_u64, any::<bool>(), any::<u128>()).prop_map(
        |(log2, pages, both, uuid)| {
            let (uuid, size) = (Uuid::from_u128(uuid), PageSize::new(1 << log2).unwrap());
            let superblock = Superblock::new_sealed(uuid, size, PageCount::new(pages)).unwrap();
            let payload_len = superblock.geometry().data_len();
            let seal = SealRecord::new(&superblock, payload_len, 1).unwrap();
            let header = Header::encode([Some(&superblock), both.then_some(&superblock)]);
            (header.to_vec(), seal.encode_block(&superblock).to_vec())
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes(header in vec(any::<u8>(), 0..9000), block in vec(any::<u8>(), 0..5000)) {
        parse_all(&header, &block);
    }

    #[test]
    fn damaged_records(
        (mut header, mut block) in valid(),
        changes in vec((any::<Index>(), any::<u8>()), 0..8),
        lengths in (0..=8192_usize, 0..=4096_usize, any::<bool>()),
    ) {
        for (at, value) in changes {
            *at.get_mut(&mut header) = value;
            *at.get_mut(&mut block) = value;
        }
        if lengths.2 {
            header.truncate(lengths.0);
            block.truncate(lengths.1);
        }
        parse_all(&header, &block);
    }

    #[test]
    fn forged_records(
        (mut header, mut block) in valid(),
        fields in vec((0..31_usize, prop_oneof![
            any::<u64>(), (0..64_u32).prop_map(|bit| 1 << bit), Just(0), Just(u64::MAX)
        ]), 0..4),
        slot in 0..2_usize,
    ) {
        for (index, value) in fields {
            let slot = &mut header[slot * 4096..];
            forge::forge(slot, 252, index * 8, &value.to_le_bytes());
            forge::forge(&mut block, 124, index % 15 * 8, &value.to_le_bytes());
        }
        parse_all(&header, &block);
    }
}
