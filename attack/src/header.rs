//! The two superblock slots: parsing gives an answer for all bytes, and never a contradiction.

use arbitrary::{Arbitrary, Unstructured};
use layout::{Header, PageCount, PageSize, Slot, Superblock};
use uuid::Uuid;

use crate::forge::{Checksums, Patch, make_right};

/// Where a slot's checksum stands.
const CRC_AT: usize = 252;
const SLOT_LEN: usize = 4096;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    page_size_log2: u8,
    page_count: u64,
    uuids: [u8; 2],
    sealed: bool,
    slots: [bool; 2],
    generations: u8,
    /// Within the records, and the slot.
    patches: Vec<(bool, Patch)>,
    checksums: Checksums,
    /// Anywhere, checksums left as they are.
    damage: Option<Patch>,
    len: Option<u16>,
    raw: &'a [u8],
}

/// Parses what a fuzzer made up, alone and as changes to a real header.
pub fn run(data: &[u8]) {
    check(data);
    let mut input = Unstructured::new(data);
    let Ok(input) = Input::arbitrary(&mut input) else { return };
    check(input.raw);
    if let Some(header) = forged(&input) {
        check(&header);
    }
}

fn forged(input: &Input<'_>) -> Option<Vec<u8>> {
    let page_size = PageSize::new(1 << (12 + input.page_size_log2 % 10)).unwrap();
    let pages = PageCount::new(input.page_count);
    let superblock = |uuid: u8| {
        let uuid = Uuid::from_u128(uuid.into());
        if input.sealed {
            return Superblock::new_sealed(uuid, page_size, pages).ok();
        }
        let new = Superblock::new_mutable(uuid, page_size);
        let mut last = new.next_generation(pages).ok()?;
        for _ in 0..input.generations % 4 {
            last = last.next_generation(pages).ok()?;
        }
        Some(last)
    };
    let [first, second] = input.uuids.map(superblock);
    let slot =
        |index: usize, superblock: &Option<Superblock>| superblock.filter(|_| input.slots[index]);
    let (first, second) = (slot(0, &first), slot(1, &second));
    let mut header = Header::encode([first.as_ref(), second.as_ref()]).to_vec();
    for (second, patch) in &input.patches {
        let start = if *second { SLOT_LEN } else { 0 };
        patch.apply_within(&mut header[start..], Superblock::LEN_BYTES);
    }
    if input.checksums == Checksums::MadeRight {
        header.chunks_mut(SLOT_LEN).for_each(|slot| make_right(slot, CRC_AT));
    }
    if let Some(damage) = input.damage {
        damage.apply(&mut header);
    }
    header.truncate(input.len.map_or(usize::MAX, usize::from));
    Some(header)
}

fn check(bytes: &[u8]) {
    let whole = Header::check_sealed(bytes);
    let parsed = match Header::parse(bytes) {
        Ok(parsed) => parsed,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let superblock = *parsed.superblock();
    let geometry = superblock.geometry();
    assert_eq!(geometry.page_count(), superblock.page_count());
    assert_eq!(geometry.page_size(), superblock.page_size());
    assert!(Superblock::LEN_BYTES as u64 <= geometry.data_end());
    assert!(geometry.data_end() + geometry.table_len() <= geometry.seal_start());
    assert!(geometry.file_len_sealed() <= i64::MAX.unsigned_abs());
    if whole.is_ok() {
        assert_eq!(parsed.other_slot_error(), None, "a whole header has two intact slots");
    }
    // What was understood is written as what is understood again.
    let slots = match parsed.slot() {
        Slot::First => [Some(&superblock), None],
        Slot::Second => [None, Some(&superblock)],
    };
    let again = Header::parse(&Header::encode(slots)).unwrap();
    assert_eq!((again.superblock(), again.slot()), (&superblock, parsed.slot()));
    // The next one wins, in the other slot.
    if let Ok(next) = superblock.next_generation(superblock.page_count()) {
        let slots = match parsed.slot() {
            Slot::First => [Some(&superblock), Some(&next)],
            Slot::Second => [Some(&next), Some(&superblock)],
        };
        let later = Header::parse(&Header::encode(slots)).unwrap();
        let is_last = superblock.generation() == u64::MAX;
        assert!(is_last || later.slot() == parsed.slot().other());
        assert_eq!(later.superblock().page_count(), superblock.page_count());
    }
}
