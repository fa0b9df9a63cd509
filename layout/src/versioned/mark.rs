//! The mark: which commit was the last that was written into the pages.

use std::mem::{offset_of, size_of};

use uuid::Uuid;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

use crate::{CommitId, FormatError, checksum::crc32c};

const MAGIC: [u8; 8] = *b"\x89MARK\x1a\r\n";
const PART: &str = "the mark of the last commit";

/// The bytes of a mark; this struct *is* the format. It lies within one sector, so it is never torn.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Record {
    magic: [u8; 8],
    file_uuid: [u8; 16],
    epoch: U64,
    commit: U64,
    reserved: [u8; 20],
    /// CRC32C of all bytes before it.
    crc32c: U32,
}

const _: () = assert!(size_of::<Record>() == CommitMark::LEN_BYTES);
const _: () = assert!(offset_of!(Record, crc32c) == 60);

/// Says up to which commit the pages were written. It is written after the commit is durable in the
/// log and before the first page is, without a sync. So where it tells of a commit that the log does
/// not have any more, the log is damaged; without it that would look like a commit that never ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitMark {
    /// The file's epoch; see [`VersionedState`](crate::VersionedState).
    pub epoch: u64,
    /// The commit.
    pub commit: CommitId,
}

impl CommitMark {
    /// The bytes of the record.
    pub const LEN_BYTES: usize = 64;

    /// Reads the mark; `None` where there was never one.
    ///
    /// # Errors
    /// [`FormatError`]: fewer bytes than a mark, a damaged one, or one of another file.
    pub fn parse(bytes: &[u8], file_uuid: Uuid) -> Result<Option<Self>, FormatError> {
        let (record, _) = Record::read_from_prefix(bytes).map_err(|_| FormatError::Short {
            part: PART,
            found: bytes.len() as u64,
            expected: Self::LEN_BYTES as u64,
        })?;
        if record.as_bytes().iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let (found, expected) = (record.computed_crc32c(), record.crc32c.get());
        if record.magic != MAGIC || found != expected {
            return Err(FormatError::RecordChecksum { part: PART, found, expected });
        }
        let found = Uuid::from_bytes(record.file_uuid);
        if found != file_uuid {
            return Err(FormatError::ForeignPart { part: PART, found, expected: file_uuid });
        }
        Ok(Some(Self { epoch: record.epoch.get(), commit: CommitId::new(record.commit.get()) }))
    }

    /// The bytes of the mark.
    #[must_use]
    pub fn encode(&self, file_uuid: Uuid) -> [u8; Self::LEN_BYTES] {
        let mut record = Record {
            magic: MAGIC,
            file_uuid: file_uuid.into_bytes(),
            epoch: U64::new(self.epoch),
            commit: U64::new(self.commit.get()),
            reserved: [0; 20],
            crc32c: U32::ZERO,
        };
        record.crc32c = U32::new(record.computed_crc32c());
        zerocopy::transmute!(record)
    }
}

impl Record {
    fn computed_crc32c(&self) -> u32 {
        crc32c(&self.as_bytes()[..offset_of!(Self, crc32c)])
    }
}
