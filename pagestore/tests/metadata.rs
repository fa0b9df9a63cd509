//! The user's own bytes in a header: set when a file is made and later, durable with a flush, whole after a crash,
//! and a length that a file claims is not believed.
//!
//! Method: files are made, changed, reopened and copied through the public interface; a crash is a header with one of
//! its two slots torn at each byte; a hostile file is one whose header was forged, with its checksum right.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, ops::ControlFlow, path::Path};

use pagestore::{
    Error, Features, FormatError, Metadata, PageCount, PageFile, PageId, PageSize, PageWriter,
    SealedFile, inspect,
};

fn metadata(bytes: &[u8]) -> Metadata {
    Metadata::new(bytes).unwrap()
}

fn reopened(path: &Path) -> Vec<u8> {
    PageFile::open(path).unwrap().metadata().as_bytes().to_vec()
}

#[test]
fn they_are_set_when_a_file_is_made_and_later_and_are_durable_with_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = PageFile::options().metadata(metadata(b"schema 1")).create(&path).unwrap();
    assert_eq!(file.metadata().as_bytes(), b"schema 1");
    drop(file);
    assert_eq!(reopened(&path), b"schema 1");
    assert_eq!(inspect(&path).unwrap().superblock.metadata().as_bytes(), b"schema 1");

    for (round, bytes) in [&b"schema 2"[..], &[7; 1024], b"", b"x"].into_iter().enumerate() {
        let file = PageFile::open(&path).unwrap();
        file.grow(PageCount::new(3)).unwrap();
        file.page_mut(PageId::new(0)).unwrap().fill(1);
        file.set_metadata(metadata(bytes)).unwrap();
        assert_eq!(file.metadata().as_bytes(), bytes, "at once");
        let report = file.flush().unwrap();
        assert_eq!(report.pages.get(), 1);
        drop(file);
        assert_eq!(reopened(&path), bytes);
        let superblock = inspect(&path).unwrap().superblock;
        assert_eq!(superblock.page_count().get(), 3 * (round as u64 + 1));
        let has_bytes = superblock.features().compatible & Features::METADATA != 0;
        assert_eq!(has_bytes, !bytes.is_empty());
    }
    // Without a flush the file keeps what it had.
    let file = PageFile::open(&path).unwrap();
    file.set_metadata(metadata(b"never flushed")).unwrap();
    drop(file);
    assert_eq!(reopened(&path), b"x");
    // A flush of nothing else writes them, and only once.
    let file = PageFile::open(&path).unwrap();
    file.set_metadata(metadata(b"alone")).unwrap();
    file.flush().unwrap();
    let generation = inspect(&path).unwrap().superblock.generation();
    file.flush().unwrap();
    assert_eq!(inspect(&path).unwrap().superblock.generation(), generation);
    // A copy has them too.
    file.recover_into(folder.path().join("copy")).unwrap();
    drop(file);
    assert_eq!(reopened(&path), b"alone");
    assert_eq!(reopened(&folder.path().join("copy")), b"alone");

    let anonymous = PageFile::anonymous(PageSize::DEFAULT).unwrap();
    anonymous.set_metadata(metadata(b"in memory")).unwrap();
    anonymous.flush().unwrap();
    assert_eq!(anonymous.metadata().as_bytes(), b"in memory");
}

#[test]
fn a_sealed_file_has_those_that_its_writer_had_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sealed");
    let options = PageWriter::options().metadata(metadata(b"of the options"));
    for last in [None, Some(&b"of the end"[..]), Some(&[255; 1024])] {
        let mut writer = options.create(&path).unwrap();
        writer.append(&[3; 9000]).unwrap();
        if let Some(last) = last {
            writer.set_metadata(metadata(last));
        }
        let expected = last.unwrap_or(b"of the options");
        assert_eq!(writer.seal().unwrap().metadata().as_bytes(), expected);
        let sealed = SealedFile::open(&path).unwrap();
        assert_eq!(sealed.metadata().as_bytes(), expected);
        assert!(sealed.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
        drop(sealed);

        // A changed byte of one slot is found by the full check, and the other slot has them.
        let mut bytes = fs::read(&path).unwrap();
        bytes[256] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let sealed = SealedFile::open(&path).unwrap();
        assert_eq!(sealed.metadata().as_bytes(), expected);
        let report = sealed.verify(|_| ControlFlow::Continue(())).unwrap();
        assert_eq!(report.damage.len(), 1, "{:?}", report.damage);
        drop(sealed);
        fs::remove_file(&path).unwrap();
    }
}

/// The slot that is written is not the one that counts: torn at any byte, the file has the old ones.
#[test]
fn a_torn_write_leaves_the_old_ones_or_the_new_ones_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = PageFile::options().metadata(metadata(&[1; 700])).create(&path).unwrap();
    let old = fs::read(&path).unwrap();
    file.set_metadata(metadata(&[2; 900])).unwrap();
    file.flush().unwrap();
    drop(file);
    let new = fs::read(&path).unwrap();
    assert_eq!(old[..4096], new[..4096], "the first slot counted, the second was written");
    for torn in 0..=4096 {
        // The first bytes of the slot are new, or the last ones.
        for (front, back) in [(&new, &old), (&old, &new)] {
            let slot = [&front[4096..4096 + torn], &back[4096 + torn..8192]].concat();
            let header = [&old[..4096], &slot].concat();
            let parsed = layout::Header::parse(&header).unwrap();
            let found = *parsed.superblock().metadata();
            let is_whole = found == metadata(&[1; 700]) || found == metadata(&[2; 900]);
            assert!(is_whole, "torn at {torn}: {found:?}");
            let is_new = slot == new[4096..8192];
            assert_eq!(found == metadata(&[2; 900]), is_new, "torn at {torn}");
        }
    }
}

/// CRC32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn a_length_that_no_header_holds_is_refused() {
    assert!(matches!(
        Metadata::new(&[0; 1025]),
        Err(FormatError::MetadataTooLong { found: 1025, max: 1024 })
    ));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    drop(PageFile::options().metadata(metadata(b"few")).create(&path).unwrap());
    let good = fs::read(&path).unwrap();
    for len in [1025, 3840, 3841, 4096, u32::MAX] {
        let mut forged = good.clone();
        forged[244..248].copy_from_slice(&len.to_le_bytes());
        let crc = crc32c(&forged[..252]);
        forged[252..256].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, &forged).unwrap();
        let refused = PageFile::open(&path).unwrap_err();
        let is_it = matches!(&refused, Error::Format { source: FormatError::MetadataTooLong { found, .. }, .. }
            if *found == u64::from(len));
        assert!(is_it, "{refused}");
    }
    // Without the feature these bytes are reserved, and not looked at.
    let mut plain = good;
    plain[56] = 0;
    plain[244..248].copy_from_slice(&u32::MAX.to_le_bytes());
    let crc = crc32c(&plain[..252]);
    plain[252..256].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &plain).unwrap();
    assert!(PageFile::open(&path).unwrap().metadata().is_empty());
}
