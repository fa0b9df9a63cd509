//! `docs/format.md` says what the code does.
//!
//! Method: the worked hexdump is parsed back to bytes and held against a file composed from this
//! crate's public functions. Then a small reader that uses nothing of this crate, written from the
//! document's tables alone, reads the same bytes.

use layout::{
    Header, Metadata, PageCount, PageHasher, PageId, PageSize, SealRecord, Superblock, TableHasher,
};
use uuid::{Uuid, uuid};

use crate::{
    dump::{self, hexdump, parse},
    forge::{crc32c, forge},
};

const DOCUMENT: &str = include_str!("../../../docs/format.md");
const FILE_UUID: Uuid = uuid!("00112233-4455-6677-8899-aabbccddeeff");
const PAYLOAD: &[u8] = b"hello, pages\n";
const METADATA: &[u8] = b"greeting";

/// The file of the example, from the functions that write real ones.
fn composed() -> Vec<u8> {
    let superblock =
        Superblock::new_sealed(FILE_UUID, PageSize::DEFAULT, PageCount::new(1)).unwrap();
    let superblock = superblock.with_metadata(Metadata::new(METADATA).unwrap());
    let mut page = PAYLOAD.to_vec();
    page.resize(PageSize::DEFAULT.get_usize(), 0);
    let table = PageHasher::new(FILE_UUID).checksum(PageId::new(0), &page).to_le_bytes();
    let mut table_hasher = TableHasher::new();
    table_hasher.update(&table);
    let seal = SealRecord::new(&superblock, PAYLOAD.len() as u64, table_hasher.finish()).unwrap();
    let mut file = Header::encode([Some(&superblock), Some(&superblock)]).to_vec();
    file.extend(page);
    file.extend(table);
    file.resize(usize::try_from(superblock.geometry().seal_start()).unwrap(), 0);
    file.extend(seal.encode_block(&superblock));
    file
}

#[test]
fn the_hexdump_is_that_of_a_real_file() {
    let composed = composed();
    let same = parse(dump::of_the_document(DOCUMENT, 0)) == composed;
    assert!(same, "docs/format.md should have this dump:\n{}", hexdump(&composed));
    assert_eq!(dump::of_the_document(DOCUMENT, 0), hexdump(&composed), "as `hexdump -C` writes it");
}

fn number(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

fn number_32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

/// The metadata of a slot, by its superblock; none where the bytes are not those that the checksum is of.
fn metadata(slot: &[u8]) -> Option<&[u8]> {
    if number(slot, 56) & 1 == 0 {
        return Some(&[]);
    }
    let len = usize::try_from(number_32(slot, 244)).unwrap();
    let bytes = slot[256..].get(..len).filter(|bytes| bytes.len() <= 1024)?;
    (crc32c(bytes) == number_32(slot, 248)).then_some(bytes)
}

/// A reader of sealed files in forty lines: gives the payload.
fn read_sealed(file: &[u8]) -> Result<Vec<u8>, &'static str> {
    let check = |right: bool, what: &'static str| if right { Ok(()) } else { Err(what) };
    check(file.len() >= 8192, "shorter than a header")?;
    let intact = |slot: &&[u8]| {
        slot[..8] == *b"\x89PAGES\r\n"
            && crc32c(&slot[..252]) == number_32(slot, 252)
            && metadata(slot).is_some()
    };
    let slots = [&file[..4096], &file[4096..8192]].into_iter().filter(intact);
    // `rev`, since `max_by_key` gives the last of equals and slot 0 is to win.
    let superblock =
        slots.rev().max_by_key(|slot| number(slot, 48)).ok_or("no intact superblock")?;
    check(number_32(superblock, 8) == 1, "another version")?;
    check(number(superblock, 64) == 1, "not sealed, or features unknown")?;
    let page_size = usize::try_from(number(superblock, 16)).unwrap();
    let page_count = usize::try_from(number(superblock, 24)).unwrap();
    let uuid = &superblock[32..48];

    let data_start = page_size.max(8192);
    let table_start = data_start + page_count * page_size;
    let seal_start = (table_start + 4 * page_count).next_multiple_of(4096);
    check(file.len() == seal_start + 4096, "another length")?;
    let seal = &file[seal_start..];
    check(seal[..8] == *b"\x89SEAL\x1a\r\n", "no seal")?;
    check(crc32c(&seal[..124]) == number_32(seal, 124), "damaged seal")?;
    check(&seal[8..24] == uuid, "the seal of another file")?;
    check(number(seal, 24) == page_count as u64, "another page count")?;
    check(number(seal, 40) == table_start as u64, "another table")?;
    check(number_32(seal, 52) == 1, "another kind of checksum")?;
    let table = &file[table_start..table_start + 4 * page_count];
    check(crc32c(table) == number_32(seal, 48), "damaged table")?;

    let pages = &file[data_start..table_start];
    for (index, page) in pages.chunks(page_size).enumerate() {
        let bound = [uuid, &(index as u64).to_le_bytes(), page].concat();
        check(crc32c(&bound) == number_32(table, 4 * index), "damaged page")?;
    }
    let payload_len = usize::try_from(number(seal, 32)).unwrap();
    Ok(pages[..payload_len].to_vec())
}

#[test]
fn a_reader_written_from_the_document_reads_the_example() {
    let mut file = parse(dump::of_the_document(DOCUMENT, 0));
    assert_eq!(read_sealed(&file).as_deref(), Ok(PAYLOAD));
    assert_eq!(metadata(&file), Some(METADATA));
    assert_eq!(metadata(&file[4096..]), Some(METADATA));
    assert_eq!(crc32c(b"123456789"), 0xe306_9283, "the document's test vector");
    file[8192] ^= 1;
    assert_eq!(read_sealed(&file), Err("damaged page"));
    forge(&mut file, 252, 8, &2_u32.to_le_bytes());
    forge(&mut file[4096..], 252, 8, &2_u32.to_le_bytes());
    assert_eq!(read_sealed(&file), Err("another version"));
}
