//! The manifest of a store: what comes back, what is refused, and what `docs/store.md` says of it.
//!
//! Method: real manifests are damaged byte by byte, cut and lengthened; fields are forged with a right
//! checksum; arbitrary bytes are parsed. The dump of the document is read with a reader written from
//! its table alone.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod forge;

use forge::{crc32c, forge};
use layout::{Manifest, ManifestError, StoredContent};
use proptest::{collection::vec, prelude::*};

const CONTENTS: [StoredContent; 2] = [StoredContent::Plain, StoredContent::Lz4Blocks];
const CRC32C: usize = 60;

fn forged(offset: usize, field: &[u8]) -> Result<Manifest, ManifestError> {
    let mut bytes = Manifest::new(StoredContent::Lz4Blocks).encode();
    forge(&mut bytes, CRC32C, offset, field);
    Manifest::parse(&bytes)
}

#[test]
fn a_manifest_comes_back_as_it_was_written() {
    for content in CONTENTS {
        let manifest = Manifest::new(content);
        assert_eq!(Manifest::parse(&manifest.encode()), Ok(manifest));
    }
    assert_eq!(forged(12, &2_u32.to_le_bytes()), Ok(Manifest::new(StoredContent::Lz4Blocks)));
}

#[test]
fn any_changed_byte_is_an_error() {
    for content in CONTENTS {
        let good = Manifest::new(content).encode();
        for at in 0..good.len() {
            for value in (0..=u8::MAX).filter(|value| *value != good[at]) {
                let mut bytes = good;
                bytes[at] = value;
                Manifest::parse(&bytes).unwrap_err();
            }
        }
    }
}

#[test]
fn a_manifest_of_any_other_length_is_an_error() {
    let good = Manifest::new(StoredContent::Plain).encode();
    for len in (0..good.len()).chain([65, 4096]) {
        let mut bytes = good.to_vec();
        bytes.resize(len, 0);
        assert_eq!(Manifest::parse(&bytes), Err(ManifestError::Length { found: len }));
    }
}

#[test]
fn what_a_newer_build_wrote_is_told_by_its_field() {
    let unknown = |field, found| Err(ManifestError::Unknown { field, found });
    assert_eq!(forged(8, &2_u32.to_le_bytes()), unknown("version", 2));
    assert_eq!(forged(12, &0_u32.to_le_bytes()), unknown("content", 0));
    assert_eq!(forged(12, &3_u32.to_le_bytes()), unknown("content", 3));
    assert_eq!(forged(16, &2_u32.to_le_bytes()), unknown("content version", 2));
    assert_eq!(forged(24, &(1_u64 << 63).to_le_bytes()), unknown("features", 1 << 63));
    assert!(matches!(forged(0, b"\x89PAGES\r\n"), Err(ManifestError::Magic { .. })));
    // Room for what a reader need not know.
    forged(20, &[7; 4]).unwrap();
    forged(32, &[7; 28]).unwrap();
}

#[test]
fn errors_say_what_was_found_and_what_was_expected() {
    let short = Manifest::parse(b"12345").unwrap_err().to_string();
    assert_eq!(short, "it has 5 bytes, and a manifest has 64");
    let long = Manifest::parse(&[0; 65]).unwrap_err().to_string();
    assert_eq!(long, "it has more than 64 bytes, and a manifest has 64");
    let damaged = ManifestError::Checksum { found: 0x12, expected: 0x34 }.to_string();
    assert!(damaged.contains("is 0x00000034") && damaged.contains("give 0x00000012"), "{damaged}");
    let newer = forged(8, &9_u32.to_le_bytes()).unwrap_err().to_string();
    assert_eq!(newer, "its version is 9, which this build does not know");
}

#[test]
fn files_are_told_apart_by_their_first_bytes() {
    let (plain, lz4) = (StoredContent::Plain, StoredContent::Lz4Blocks);
    for start in [&b"hello, w"[..], b"\x89PAGES\r\n", b"x", &[0; 8]] {
        assert!(plain.fits(start) && !lz4.fits(start), "{start:?}");
    }
    assert!(lz4.fits(b"\x89BLOCK\r\n") && !plain.fits(b"\x89BLOCK\r\n"));
    for cut in 0..8 {
        let start = &StoredContent::LZ4_BLOCKS_MAGIC[..cut];
        assert!(plain.fits(start) && lz4.fits(start), "{start:?} may become either");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_have_an_answer(mut bytes in vec(any::<u8>(), 0..130), real in any::<bool>()) {
        if real && bytes.len() >= 64 {
            bytes.truncate(64);
            bytes[..8].copy_from_slice(b"\x89STORE\r\n");
            let crc = crc32c(&bytes[..CRC32C]);
            bytes[CRC32C..].copy_from_slice(&crc.to_le_bytes());
        }
        match Manifest::parse(&bytes) {
            Ok(manifest) => prop_assert!(CONTENTS.contains(&manifest.content())),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

/// The bytes of the document's dump.
fn documented() -> Vec<u8> {
    let document = include_str!("../../docs/store.md");
    let (_, dump) = document.split_once("```text\n00000000  ").unwrap();
    let (dump, _) = dump.split_once("```").unwrap();
    let lines = format!("00000000  {dump}");
    let byte = |word: &str| u8::from_str_radix(word, 16).unwrap();
    lines
        .lines()
        .flat_map(|line| line.get(10..58).unwrap_or("").split_whitespace().map(byte))
        .collect()
}

#[test]
fn the_document_shows_the_bytes_of_a_compressed_store() {
    let bytes = documented();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(bytes.len(), 64);
    assert_eq!(bytes[..8], *b"\x89STORE\r\n");
    assert_eq!((number(8), number(12), number(16)), (1, 2, 1));
    assert!(bytes[20..60].iter().all(|&byte| byte == 0));
    assert_eq!(number(60), crc32c(&bytes[..60]));
    assert_eq!(bytes, Manifest::new(StoredContent::Lz4Blocks).encode());
}
