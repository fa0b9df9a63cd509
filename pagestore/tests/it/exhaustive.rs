//! Every value of every byte that describes a sealed file, and every length that it can be cut to.
//!
//! Purpose: what opens is right, and what is not right says so; there is no value in between that
//! somebody forgot. Method: a small sealed file is changed by writes past the mapping, once with the
//! checksum of the changed record left wrong (as damage does it) and once made right again (as a
//! stranger's writer could), and opened each time. `bit_flips.rs` has the bits of the whole file,
//! `layout/tests` the same values without a file.

use std::{
    fs::{self, File},
    ops::ControlFlow,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use pagestore::{Error, FormatError, PageFile, PageWriter, SealedFile, inspect};
use tempfile::TempDir;

use crate::forge;

/// Two pages, the second one filled to a half.
const PAYLOAD_LEN: usize = 6000;
/// Where the records stand, and their checksums in them.
const SLOTS: [usize; 2] = [0, 4096];
const SLOT_CRC_AT: usize = 252;
const SEAL_CRC_AT: usize = 124;

struct Sealed {
    path: PathBuf,
    good: Vec<u8>,
    _folder: TempDir,
}

impl Sealed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let payload: Vec<u8> = (0..PAYLOAD_LEN).map(|at| at.to_le_bytes()[0] ^ 0x5a).collect();
        let mut writer = PageWriter::create(&path).unwrap();
        writer.append(&payload).unwrap();
        drop(writer.seal().unwrap());
        let good = fs::read(&path).unwrap();
        Self { path, good, _folder: folder }
    }

    fn seal_start(&self) -> usize {
        self.good.len() - 4096
    }

    /// Writes past every mapping.
    fn write(&self, bytes: &[u8], at: usize) {
        File::options()
            .write(true)
            .open(&self.path)
            .unwrap()
            .write_all_at(bytes, at as u64)
            .unwrap();
    }

    /// Opens the file as it stands: an error, or what `verify` says, and then the payload is right.
    fn open(&self) -> Result<bool, Error> {
        let file = SealedFile::open(&self.path)?;
        let whole = file.verify(|_| ControlFlow::Continue(())).unwrap().is_ok();
        let pages = file.pages(..).unwrap();
        assert!(*pages == self.good[8192..8192 + pages.len()], "the pages are not the file's");
        Ok(whole)
    }
}

fn mutable_refuses(path: &Path) {
    assert!(PageFile::open(path).is_err());
}

#[test]
fn every_length_that_a_sealed_file_is_cut_to_is_refused() {
    let sealed = Sealed::new();
    let whole = sealed.good.len();
    assert!(sealed.open().unwrap());
    for len in (0..whole).rev() {
        File::options().write(true).open(&sealed.path).unwrap().set_len(len as u64).unwrap();
        let error = SealedFile::open(&sealed.path).unwrap_err();
        let Error::Format { source, .. } = &error else { panic!("{len}: {error}") };
        match *source {
            FormatError::NoHeader { found: 0 } => assert_eq!(len, 0),
            FormatError::Short { found, .. } => assert!(found == len as u64 && len < 8192),
            FormatError::Length { found, expected } => {
                assert_eq!((found, expected), (len as u64, whole as u64));
                assert!(len >= 8192);
            }
            other => panic!("{len}: {other}"),
        }
        mutable_refuses(&sealed.path);
        assert_eq!(inspect(&sealed.path).is_ok(), len >= 8192, "{len}");
    }
}

#[test]
fn every_value_of_every_byte_of_a_superblock_is_named_as_damage() {
    let sealed = Sealed::new();
    for slot in SLOTS {
        for at in slot..slot + 256 {
            for flip in 1..=u8::MAX {
                sealed.write(&[sealed.good[at] ^ flip], at);
                // The other slot says how to read the file.
                assert!(!sealed.open().unwrap(), "byte {at} changed by {flip:#04x} went unnoticed");
            }
            sealed.write(&sealed.good[at..=at], at);
        }
    }
    assert!(sealed.open().unwrap());
}

/// In both slots at once, so that no other one says how to read the file.
#[test]
fn every_value_of_every_byte_of_the_superblocks_with_right_checksums_is_refused_or_means_the_same()
{
    let sealed = Sealed::new();
    let (mut accepted, mut refused) = (0, 0);
    for at in 0..SLOT_CRC_AT {
        for value in 0..=u8::MAX {
            for slot in SLOTS {
                let mut record = sealed.good[slot..slot + 256].to_vec();
                forge::forge(&mut record, SLOT_CRC_AT, at, &[value]);
                sealed.write(&record, slot);
            }
            match sealed.open() {
                // `open` looked at the pages; what may differ is what this version does not read.
                Ok(whole) => {
                    let ignored = matches!(at, 12..16 | 48..64 | 72..);
                    assert!(whole && (ignored || value == sealed.good[at]), "byte {at} = {value}");
                    accepted += 1;
                }
                Err(error) => {
                    assert!(matches!(error, Error::Format { .. } | Error::NotSealed { .. }));
                    assert_ne!(value, sealed.good[at], "byte {at}: {error}");
                    refused += 1;
                }
            }
            mutable_refuses_unless_unsealed(&sealed.path, at, value);
        }
    }
    assert!(accepted > 10_000 && refused > 10_000, "{accepted} accepted, {refused} refused");
}

/// Only the bit that says "sealed" can make it a mutable file.
fn mutable_refuses_unless_unsealed(path: &Path, at: usize, value: u8) {
    if let Ok(file) = PageFile::options().address_space_bytes(1 << 20).open(path) {
        assert!(at == 64 && value & 1 == 0, "byte {at} = {value}");
        drop(file);
    }
}

#[test]
fn every_value_of_every_byte_of_the_seal_record_is_refused() {
    let sealed = Sealed::new();
    let start = sealed.seal_start();
    for at in start..start + 128 {
        for flip in 1..=u8::MAX {
            sealed.write(&[sealed.good[at] ^ flip], at);
            let error = sealed.open().unwrap_err();
            let message = pagestore::WithCauses(&error).to_string();
            assert!(message.contains("the seal record is damaged"), "{message}");
        }
        sealed.write(&sealed.good[at..=at], at);
    }
    assert!(sealed.open().unwrap());
}

#[test]
fn every_value_of_every_byte_of_the_seal_record_with_a_right_checksum_is_refused_or_means_the_same()
{
    let sealed = Sealed::new();
    let start = sealed.seal_start();
    let payload_len = |bytes: &[u8]| u64::from_le_bytes(bytes[32..40].try_into().unwrap());
    for at in 0..SEAL_CRC_AT {
        for value in 0..=u8::MAX {
            let mut record = sealed.good[start..start + 128].to_vec();
            let same = record[at] == value;
            forge::forge(&mut record, SEAL_CRC_AT, at, &[value]);
            sealed.write(&record, start);
            match sealed.open() {
                Ok(whole) => match at {
                    // Another length that ends in the same page is possible.
                    32..40 => assert!(whole && payload_len(&record).div_ceil(4096) == 2),
                    48..52 => assert_eq!(whole, same, "the table's checksum, byte {at}"),
                    56.. => assert!(whole, "reserved, byte {at}"),
                    _ => assert!(whole && same, "byte {at} = {value}"),
                },
                Err(error) => {
                    assert!(matches!(error, Error::Format { .. }), "{error}");
                    assert!(!same && !(48..52).contains(&at) && at < 56, "byte {at} = {value}");
                }
            }
        }
    }
}
