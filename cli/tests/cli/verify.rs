//! `verify` finds a flipped bit wherever it is, and says where.

use std::{fs, path::Path};

use crate::command::{Folder, Ran, run, some_bytes};

const PAYLOAD_LEN: usize = (3 << 20) + 7;

/// Where the parts of a file with that payload begin and end, by `docs/format.md`.
struct Places {
    page_size: usize,
    data_start: usize,
    data_end: usize,
    table_end: usize,
    seal_start: usize,
}

impl Places {
    fn new(page_size: usize) -> Self {
        let page_count = PAYLOAD_LEN.div_ceil(page_size);
        let data_start = page_size.max(8192);
        let data_end = data_start + page_count * page_size;
        let table_end = data_end + page_count * 4;
        let seal_start = table_end.next_multiple_of(4096);
        Self { page_size, data_start, data_end, table_end, seal_start }
    }
}

fn verify(path: &Path) -> Ran {
    run(["verify".as_ref(), path.as_os_str()])
}

/// Verifies the file with one bit flipped, and flips it back.
fn verify_flipped(path: &Path, bytes: &mut [u8], offset: usize, bit: u32) -> Ran {
    bytes[offset] ^= 1 << bit;
    fs::write(path, &*bytes).unwrap();
    bytes[offset] ^= 1 << bit;
    verify(path)
}

#[test]
fn a_flipped_bit_in_every_region() {
    for (page_size, name) in [(4096, "4KiB"), (65_536, "64KiB")] {
        let folder = Folder::new();
        let path = folder.packed("packed", &some_bytes(PAYLOAD_LEN), name);
        let mut bytes = fs::read(&path).unwrap();
        let at = Places::new(page_size);
        assert_eq!(bytes.len(), at.seal_start + 4096, "the places are right");
        let mut regions = vec![
            ("slot 0, magic", 0, "superblock slot 0 is damaged: it begins with [88,"),
            ("slot 0, a field", 16, "superblock slot 0 is damaged"),
            ("slot 0, checksum", 255, "superblock slot 0 is damaged"),
            ("slot 0, padding", 256, "byte 256 of the file must be zero"),
            ("slot 0, end", 4095, "byte 4095 of the file must be zero"),
            ("slot 1, a field", 4096 + 40, "superblock slot 1 is damaged"),
            ("slot 1, padding", 8191, "byte 8191 of the file must be zero"),
            ("table, first entry", at.data_end, "page 0 is damaged"),
            ("table, and as a whole", at.data_end, "the checksum table is damaged"),
            ("table padding", at.table_end, "must be zero"),
            ("table padding, end", at.seal_start - 1, "must be zero"),
            ("seal record, magic", at.seal_start, "the seal record is damaged"),
            ("seal record, payload length", at.seal_start + 32, "the seal record is damaged"),
            ("seal record, reserved", at.seal_start + 100, "the seal record is damaged"),
            ("seal padding", at.seal_start + 128, "must be zero"),
            ("seal padding, end", at.seal_start + 4095, "must be zero"),
        ];
        if at.data_start > 8192 {
            regions.push(("header padding", 8192, "byte 8192 of the file must be zero"));
            regions.push(("header padding, end", at.data_start - 1, "must be zero"));
        }
        for (region, offset, words) in regions {
            let ran = verify_flipped(&path, &mut bytes, offset, 0);
            assert_eq!(ran.code, Some(3), "{region}: {ran:?}");
            ran.damaged(&[words]);
        }
    }
}

#[test]
fn a_flipped_bit_in_a_page_names_the_page_and_its_bytes() {
    for (page_size, name) in [(4096, "4KiB"), (65_536, "64KiB")] {
        let folder = Folder::new();
        let path = folder.packed("packed", &some_bytes(PAYLOAD_LEN), name);
        let mut bytes = fs::read(&path).unwrap();
        let at = Places::new(page_size);
        let last = (at.data_end - at.data_start) / at.page_size - 1;
        for page in [0, 1, last / 2, last] {
            let start = at.data_start + page * at.page_size;
            let end = start + at.page_size;
            for (offset, bit) in [(start, 0), (start + 1234, 3), (end - 1, 7)] {
                let ran = verify_flipped(&path, &mut bytes, offset, bit);
                let place = format!("page {page} is damaged (bytes {start}..{end} of the file)");
                ran.damaged(&[&place, "expected checksum 0x", "actual 0x", "nothing outside"]);
                assert_eq!(ran.told().matches("is damaged (").count(), 1, "no other is named");
                let unpacked = folder.join("unpacked");
                let ran = run(["unpack".as_ref(), path.as_os_str(), unpacked.as_os_str()]);
                ran.refused(&[&format!("page {page} of "), "restore the file from a good copy"]);
                assert!(!unpacked.exists(), "nothing appears that is not whole");
            }
        }
        assert_eq!(folder.names(), ["input", "packed"], "no temporary file is left");
    }
}

#[test]
fn every_bad_page_is_named() {
    let folder = Folder::new();
    let path = folder.packed("packed", &some_bytes(PAYLOAD_LEN), "4KiB");
    let mut bytes = fs::read(&path).unwrap();
    let at = Places::new(4096);
    for page in (0..700).step_by(7) {
        bytes[at.data_start + page * 4096] ^= 1;
    }
    // Two pages that changed places: their own bytes are whole.
    let (left, right) = bytes.split_at_mut(at.data_start + 702 * 4096);
    left[at.data_start + 701 * 4096..].swap_with_slice(&mut right[..4096]);
    fs::write(&path, &bytes).unwrap();
    let ran = verify(&path);
    ran.damaged(&["102 of 769 pages"]);
    for page in (0..700).step_by(7).chain([701, 702]) {
        assert!(ran.told().contains(&format!("page {page} is damaged")), "page {page}");
    }
}
