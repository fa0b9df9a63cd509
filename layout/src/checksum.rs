//! Checksums: CRC32C (Castagnoli; RFC 3720, section 12.1), computed by the processor's own
//! instructions where it has them.

use std::fmt;

use crc_fast::{CrcAlgorithm, Digest};
use uuid::Uuid;

use crate::{CommitId, PageId};

const ALGORITHM: CrcAlgorithm = CrcAlgorithm::Crc32Iscsi;

/// CRC32C of `bytes`.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    finish(crc_fast::checksum(ALGORITHM, bytes))
}

/// The crate computes every width in a `u64`; a 32-bit checksum fills its lower half.
fn finish(wide: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a CRC32C has 32 bits")]
    let narrow = wide as u32;
    narrow
}

/// The checksum of one page of one file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageChecksum(u32);

impl PageChecksum {
    /// The bytes an entry of the checksum table takes.
    pub const LEN_BYTES: usize = 4;

    /// Reads a table entry.
    #[inline]
    #[must_use]
    pub const fn from_le_bytes(bytes: [u8; Self::LEN_BYTES]) -> Self {
        Self(u32::from_le_bytes(bytes))
    }

    /// The table entry, little-endian.
    #[inline]
    #[must_use]
    pub const fn to_le_bytes(self) -> [u8; Self::LEN_BYTES] {
        self.0.to_le_bytes()
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for PageChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageChecksum({:#010x})", self.0)
    }
}

impl fmt::Display for PageChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// Computes the checksums of the pages of one file.
///
/// A page's checksum is CRC32C over the file's uuid (16 bytes), the page's number (8 bytes,
/// little-endian) and the page's bytes, in that order. So a page that was written to the wrong
/// place, or that belongs to another file or to an earlier one of the same name, does not match
/// although its own bytes are whole.
#[derive(Clone, Copy, Debug)]
pub struct PageHasher {
    uuid: Uuid,
    /// The state of the computation after the uuid, which all pages begin with.
    after_uuid: u64,
}

impl PageHasher {
    /// The hasher for the file `uuid`.
    #[must_use]
    pub fn new(uuid: Uuid) -> Self {
        let mut digest = Digest::new(ALGORITHM);
        digest.update(uuid.as_bytes());
        Self { uuid, after_uuid: digest.get_state() }
    }

    /// The uuid of the file.
    #[must_use]
    pub const fn file_uuid(&self) -> Uuid {
        self.uuid
    }

    /// The checksum of `bytes` as page `page`.
    #[must_use]
    pub fn checksum(&self, page: PageId, bytes: &[u8]) -> PageChecksum {
        let mut digest = Digest::new_with_init_state(ALGORITHM, self.after_uuid);
        digest.update(&page.get().to_le_bytes());
        digest.update(bytes);
        PageChecksum(finish(digest.finalize()))
    }

    /// The checksum of `bytes` as page `page` of a versioned file, written by `commit`: of uuid, page
    /// number, commit number and bytes, in that order.
    #[must_use]
    pub fn versioned(&self, page: PageId, commit: CommitId, bytes: &[u8]) -> PageChecksum {
        let mut digest = Digest::new_with_init_state(ALGORITHM, self.after_uuid);
        digest.update(&numbers(page, commit));
        digest.update(bytes);
        PageChecksum(finish(digest.finalize()))
    }

    /// The checksum of a page's stamp in the table of a versioned file.
    pub(crate) fn stamp(&self, page: PageId, commit: CommitId, checksum: PageChecksum) -> u32 {
        let mut digest = Digest::new_with_init_state(ALGORITHM, self.after_uuid);
        digest.update(&numbers(page, commit));
        digest.update(&checksum.to_le_bytes());
        finish(digest.finalize())
    }
}

fn numbers(page: PageId, commit: CommitId) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&page.get().to_le_bytes());
    bytes[8..].copy_from_slice(&commit.get().to_le_bytes());
    bytes
}

/// Computes CRC32C over the whole checksum table, piece by piece.
#[derive(Clone)]
pub struct TableHasher {
    digest: Digest,
}

impl TableHasher {
    /// A hasher that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { digest: Digest::new(ALGORITHM) }
    }

    /// Takes in the next bytes of the table.
    pub fn update(&mut self, table: &[u8]) {
        self.digest.update(table);
    }

    /// The checksum of all that was taken in.
    #[must_use]
    pub fn finish(&self) -> u32 {
        finish(self.digest.finalize())
    }
}

impl Default for TableHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TableHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableHasher").field("crc32c", &self.finish()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4: 32 bytes of zeros.
    #[test]
    fn matches_the_test_vector_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_page_checksum_is_of_uuid_number_and_bytes_in_that_order() {
        let (uuid, page, bytes) = (Uuid::from_u128(0x1234), PageId::new(77), [5; 4096]);
        let whole = [uuid.as_bytes().as_slice(), &77_u64.to_le_bytes(), &bytes].concat();
        assert_eq!(PageHasher::new(uuid).checksum(page, &bytes).get(), crc32c(&whole));
    }
}
