//! Where each part of a page file lies.
//!
//! ```text
//! 0          slot 0      (4 KiB: one superblock, the rest zero)
//! 4096       slot 1
//! ..         zero, up to the first page boundary at or after 8192
//! data       page 0, page 1, ... page n-1, nothing between them
//! table      (sealed) one checksum a page, 4 bytes each, then zero up to a multiple of 4096
//! seal       (sealed) 4 KiB: the seal record, the rest zero; the file ends here
//! ```

use crate::{FormatError, PageChecksum, PageCount, PageSize, header::check_zero};

/// The bytes of a superblock slot. Each lies in a 4 KiB block of its own, so that a torn write of
/// one cannot touch the other.
pub const SLOT_LEN_BYTES: u64 = 4096;

/// The bytes of both slots.
pub const HEADER_LEN_BYTES: u64 = 2 * SLOT_LEN_BYTES;

/// The bytes of the block that holds the seal record.
pub const SEAL_BLOCK_LEN_BYTES: u64 = 4096;

/// The places of the parts of one file, as byte offsets from its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    page_size: PageSize,
    page_count: PageCount,
    data_end: u64,
    file_len_sealed: u64,
}

impl Geometry {
    /// The places in a file of `page_count` pages.
    ///
    /// # Errors
    /// [`FormatError::TooLarge`] where the file would pass 2^63 bytes, the most a file can have.
    pub fn new(page_size: PageSize, page_count: PageCount) -> Result<Self, FormatError> {
        let too_large =
            FormatError::TooLarge { page_count: page_count.get(), page_size: page_size.get() };
        Self::checked(page_size, page_count).ok_or(too_large)
    }

    fn checked(page_size: PageSize, page_count: PageCount) -> Option<Self> {
        let data_end = Self::data_start(page_size).checked_add(page_count.bytes(page_size)?)?;
        let table_len = page_count.get().checked_mul(PageChecksum::LEN_BYTES as u64)?;
        let seal_start =
            data_end.checked_add(table_len)?.checked_next_multiple_of(SEAL_BLOCK_LEN_BYTES)?;
        let file_len_sealed = seal_start.checked_add(SEAL_BLOCK_LEN_BYTES)?;
        (i64::try_from(file_len_sealed).is_ok()).then_some(Self {
            page_size,
            page_count,
            data_end,
            file_len_sealed,
        })
    }

    /// Where page 0 begins: the first multiple of the page size that leaves room for both slots.
    #[must_use]
    pub const fn data_start(page_size: PageSize) -> u64 {
        let size = page_size.get();
        if size < HEADER_LEN_BYTES { HEADER_LEN_BYTES } else { size }
    }

    /// The page size.
    #[must_use]
    pub const fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// The page count.
    #[must_use]
    pub const fn page_count(&self) -> PageCount {
        self.page_count
    }

    /// Where the data ends: the length of a mutable file, and where the checksum table of a sealed
    /// one begins.
    #[must_use]
    pub const fn data_end(&self) -> u64 {
        self.data_end
    }

    /// The bytes of the data pages.
    #[must_use]
    pub const fn data_len(&self) -> u64 {
        self.data_end - Self::data_start(self.page_size)
    }

    /// The bytes of the checksum table, without the zeros behind it.
    #[must_use]
    pub const fn table_len(&self) -> u64 {
        // No overflow: `checked` computed the same product.
        self.page_count.get() * PageChecksum::LEN_BYTES as u64
    }

    /// Checks the bytes between the end of the checksum table and the seal block: all zero.
    ///
    /// # Errors
    /// [`FormatError::Padding`] names the first byte that is not, by its place in the file.
    pub fn check_table_padding(&self, bytes: &[u8]) -> Result<(), FormatError> {
        check_zero(bytes, self.data_end + self.table_len())
    }

    /// Where the block of the seal record begins.
    #[must_use]
    pub const fn seal_start(&self) -> u64 {
        self.file_len_sealed - SEAL_BLOCK_LEN_BYTES
    }

    /// The length of the sealed file.
    #[must_use]
    pub const fn file_len_sealed(&self) -> u64 {
        self.file_len_sealed
    }
}

const _: () = assert!(HEADER_LEN_BYTES == 8192);
const _: () = assert!(Geometry::data_start(PageSize::MIN) == 8192);
const _: () = assert!(Geometry::data_start(PageSize::MAX) == 2 << 20);
