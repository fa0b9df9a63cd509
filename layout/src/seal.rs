//! The seal record: the last block of a sealed file.

use std::mem::{offset_of, size_of};

use uuid::Uuid;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

use crate::{FormatError, SEAL_BLOCK_LEN_BYTES, Superblock, checksum::crc32c, header::check_zero};

const MAGIC: [u8; 8] = *b"\x89SEAL\x1a\r\n";
const PART: &str = "the seal record";
const BLOCK_LEN: usize = 4096;
const _: () = assert!(BLOCK_LEN as u64 == SEAL_BLOCK_LEN_BYTES);

/// The only kind of page checksum in version 1: CRC32C.
const CHECKSUM_CRC32C: u32 = 1;

/// The bytes of a seal record; this struct *is* the format.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Record {
    magic: [u8; 8],
    file_uuid: [u8; 16],
    page_count: U64,
    payload_len: U64,
    table_start: U64,
    table_crc32c: U32,
    checksum_kind: U32,
    reserved: [u8; 68],
    /// CRC32C of all bytes before it.
    crc32c: U32,
}

const _: () = assert!(size_of::<Record>() == SealRecord::LEN_BYTES);
const _: () = assert!(offset_of!(Record, file_uuid) == 8);
const _: () = assert!(offset_of!(Record, page_count) == 24);
const _: () = assert!(offset_of!(Record, payload_len) == 32);
const _: () = assert!(offset_of!(Record, table_start) == 40);
const _: () = assert!(offset_of!(Record, table_crc32c) == 48);
const _: () = assert!(offset_of!(Record, checksum_kind) == 52);
const _: () = assert!(offset_of!(Record, reserved) == 56);
const _: () = assert!(offset_of!(Record, crc32c) == 124);

/// What a seal record adds to the superblock. A value of this type agrees with the superblock it
/// was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealRecord {
    payload_len: u64,
    table_crc32c: u32,
}

impl SealRecord {
    /// The bytes of the record; the rest of its block is zero.
    pub const LEN_BYTES: usize = 128;

    /// The record of a file whose pages hold `payload_len` bytes (the last page is zero behind
    /// them) and whose checksum table has the checksum `table_crc32c`.
    ///
    /// # Errors
    /// [`FormatError::Seal`] where `payload_len` does not need exactly the pages that `superblock`
    /// counts.
    pub fn new(
        superblock: &Superblock,
        payload_len: u64,
        table_crc32c: u32,
    ) -> Result<Self, FormatError> {
        if superblock.page_size().pages_for(payload_len) != superblock.page_count() {
            let expected = superblock.geometry().data_len();
            return Err(FormatError::Seal { field: "payload_len", found: payload_len, expected });
        }
        Ok(Self { payload_len, table_crc32c })
    }

    /// Reads the record from the block at [`Geometry::seal_start`](crate::Geometry::seal_start).
    ///
    /// # Errors
    /// [`FormatError`]: fewer bytes than a record, wrong magic, a wrong checksum, or a field that
    /// contradicts `superblock`.
    pub fn parse(block: &[u8], superblock: &Superblock) -> Result<Self, FormatError> {
        let (record, _) = Record::read_from_prefix(block).map_err(|_| FormatError::Short {
            part: PART,
            found: block.len() as u64,
            expected: Self::LEN_BYTES as u64,
        })?;
        let (found, expected) = (record.computed_crc32c(), record.crc32c.get());
        if record.magic != MAGIC || found != expected {
            return Err(FormatError::RecordChecksum { part: PART, found, expected });
        }
        let uuid = Uuid::from_bytes(record.file_uuid);
        if uuid != superblock.file_uuid() {
            let expected = superblock.file_uuid();
            return Err(FormatError::SealUuid { found: uuid, expected });
        }
        let geometry = superblock.geometry();
        for (field, found, expected) in [
            ("page_count", record.page_count.get(), superblock.page_count().get()),
            ("table_start", record.table_start.get(), geometry.data_end()),
            ("checksum_kind", record.checksum_kind.get().into(), CHECKSUM_CRC32C.into()),
        ] {
            if found != expected {
                return Err(FormatError::Seal { field, found, expected });
            }
        }
        Self::new(superblock, record.payload_len.get(), record.table_crc32c.get())
    }

    /// The block that ends the file.
    #[must_use]
    pub fn encode_block(&self, superblock: &Superblock) -> [u8; BLOCK_LEN] {
        let mut record = Record {
            magic: MAGIC,
            file_uuid: superblock.file_uuid().into_bytes(),
            page_count: U64::new(superblock.page_count().get()),
            payload_len: U64::new(self.payload_len),
            table_start: U64::new(superblock.geometry().data_end()),
            table_crc32c: U32::new(self.table_crc32c),
            checksum_kind: U32::new(CHECKSUM_CRC32C),
            reserved: [0; 68],
            crc32c: U32::ZERO,
        };
        record.crc32c = U32::new(record.computed_crc32c());
        let mut block = [0; BLOCK_LEN];
        block[..Self::LEN_BYTES].copy_from_slice(record.as_bytes());
        block
    }

    /// Checks the whole block at the end of a sealed file: the record is right and every byte
    /// behind it is zero.
    ///
    /// # Errors
    /// [`FormatError`] naming what is wrong; an offset in it counts from the file's beginning.
    pub fn check_block(block: &[u8], superblock: &Superblock) -> Result<(), FormatError> {
        Self::parse(block, superblock)?;
        let padding_start = superblock.geometry().seal_start() + Self::LEN_BYTES as u64;
        check_zero(&block[Self::LEN_BYTES..], padding_start)
    }

    /// The bytes that were written into the file; the last page is zero behind them.
    #[must_use]
    pub const fn payload_len(&self) -> u64 {
        self.payload_len
    }

    /// The checksum of the checksum table.
    #[must_use]
    pub const fn table_crc32c(&self) -> u32 {
        self.table_crc32c
    }
}

impl Record {
    fn computed_crc32c(&self) -> u32 {
        crc32c(&self.as_bytes()[..offset_of!(Self, crc32c)])
    }
}
