//! The seal record: parsing gives an answer for all bytes, and one that agrees with the superblock.

use arbitrary::{Arbitrary, Unstructured};
use layout::{PageCount, PageSize, SealRecord, Superblock};
use uuid::Uuid;

use crate::forge::{Checksums, Patch, make_right};

const CRC_AT: usize = 124;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    page_size_log2: u8,
    page_count: u64,
    uuid: u8,
    /// How much of the last page is no payload.
    unused: u32,
    table_crc32c: u32,
    patches: Vec<Patch>,
    checksums: Checksums,
    damage: Option<Patch>,
    len: Option<u16>,
    raw: &'a [u8],
}

/// Parses what a fuzzer made up, alone and as changes to a real record.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(input) = Input::arbitrary(&mut input) else { return };
    let page_size = PageSize::new(1 << (12 + input.page_size_log2 % 10)).unwrap();
    let uuid = Uuid::from_u128(input.uuid.into());
    let pages = PageCount::new(input.page_count);
    let Ok(superblock) = Superblock::new_sealed(uuid, page_size, pages) else { return };
    check(data, &superblock);
    check(input.raw, &superblock);
    check_padding(input.raw, &superblock);

    let data_len = superblock.geometry().data_len();
    let payload_len = data_len.saturating_sub(u64::from(input.unused) % page_size.get());
    let seal = SealRecord::new(&superblock, payload_len, input.table_crc32c).unwrap();
    let mut block = seal.encode_block(&superblock).to_vec();
    assert_eq!(SealRecord::parse(&block, &superblock), Ok(seal));
    SealRecord::check_block(&block, &superblock).unwrap();
    for patch in &input.patches {
        patch.apply_within(&mut block, SealRecord::LEN_BYTES);
    }
    if input.checksums == Checksums::MadeRight {
        make_right(&mut block, CRC_AT);
    }
    if let Some(damage) = input.damage {
        damage.apply(&mut block);
    }
    block.truncate(input.len.map_or(usize::MAX, usize::from));
    check(&block, &superblock);
}

fn check(block: &[u8], superblock: &Superblock) {
    let whole = SealRecord::check_block(block, superblock);
    let parsed = match SealRecord::parse(block, superblock) {
        Ok(parsed) => parsed,
        Err(error) => {
            assert_eq!(whole, Err(error), "the check of the block is at least as strict");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let (page_size, geometry) = (superblock.page_size(), superblock.geometry());
    assert!(parsed.payload_len() <= geometry.data_len());
    assert_eq!(page_size.pages_for(parsed.payload_len()), superblock.page_count());
    let again = SealRecord::parse(&parsed.encode_block(superblock), superblock);
    assert_eq!(again, Ok(parsed));
}

fn check_padding(bytes: &[u8], superblock: &Superblock) {
    let is_zero = bytes.iter().all(|&byte| byte == 0);
    assert_eq!(superblock.geometry().check_table_padding(bytes).is_ok(), is_zero);
}
