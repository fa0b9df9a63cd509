//! The manifest: what the root of a store says about the files in it.
//!
//! A store is a folder of files that something may stand in front of, as compression does. Whoever
//! opens the folder without it would take the stored bytes for the content. So the folder says what
//! its files hold, in a small file of its own. `docs/store.md` has every byte.

use std::{
    fmt,
    mem::{offset_of, size_of},
};

use thiserror::Error;
use zerocopy::{
    FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

use crate::checksum::crc32c;

const MAGIC: [u8; 8] = *b"\x89STORE\r\n";
const VERSION: u32 = 1;

/// The bytes of a manifest; this struct *is* the format.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Record {
    magic: [u8; 8],
    version: U32,
    content: U32,
    content_version: U32,
    reserved_0: [u8; 4],
    features: U64,
    reserved_1: [u8; 28],
    /// CRC32C of all bytes before it. It stands here in every version.
    crc32c: U32,
}

const _: () = assert!(size_of::<Record>() == Manifest::LEN_BYTES);
const _: () = assert!(offset_of!(Record, version) == 8);
const _: () = assert!(offset_of!(Record, content) == 12);
const _: () = assert!(offset_of!(Record, content_version) == 16);
const _: () = assert!(offset_of!(Record, features) == 24);
const _: () = assert!(offset_of!(Record, crc32c) == 60);

/// What the stored bytes of a store's files are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum StoredContent {
    /// The content itself. A file can hold any bytes then, so no file can contradict it.
    Plain,
    /// Blocks that are compressed each by itself with LZ4, as `docs/compression.md` says.
    Lz4Blocks,
}

impl StoredContent {
    /// What each file of [`Lz4Blocks`](Self::Lz4Blocks) begins with.
    pub const LZ4_BLOCKS_MAGIC: [u8; 8] = *b"\x89BLOCK\r\n";
    /// The version of the format of such files.
    pub const LZ4_BLOCKS_VERSION: u32 = 1;

    /// Whether a file that begins with `start` (its first 8 bytes, or all of a shorter one) looks as
    /// one that holds this. One that ends within the magic bytes looks like both.
    #[must_use]
    pub fn fits(self, start: &[u8]) -> bool {
        let magic = Self::LZ4_BLOCKS_MAGIC;
        match self {
            Self::Plain => !start.starts_with(&magic),
            Self::Lz4Blocks => start.starts_with(&magic) || magic.starts_with(start),
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::Plain => 1,
            Self::Lz4Blocks => 2,
        }
    }

    const fn version(self) -> u32 {
        match self {
            Self::Plain => 1,
            Self::Lz4Blocks => Self::LZ4_BLOCKS_VERSION,
        }
    }
}

impl fmt::Display for StoredContent {
    /// Goes behind "its files are", and names the setting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "stored as they are (`compression = \"none\"`)",
            Self::Lz4Blocks => "stored compressed (`compression = \"lz4\"`)",
        })
    }
}

/// What the root of a store says about its files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manifest {
    content: StoredContent,
}

impl Manifest {
    /// The bytes of a manifest: all of its file.
    pub const LEN_BYTES: usize = 64;

    /// The manifest of a store whose files hold `content`.
    #[must_use]
    pub const fn new(content: StoredContent) -> Self {
        Self { content }
    }

    /// What the files hold.
    #[must_use]
    pub const fn content(&self) -> StoredContent {
        self.content
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN_BYTES] {
        let mut record = Record {
            magic: MAGIC,
            version: U32::new(VERSION),
            content: U32::new(self.content.number()),
            content_version: U32::new(self.content.version()),
            ..Record::new_zeroed()
        };
        record.crc32c = U32::new(record.computed_crc32c());
        let mut bytes = [0; Self::LEN_BYTES];
        bytes.copy_from_slice(record.as_bytes());
        bytes
    }

    /// Reads all bytes of a manifest's file, or at least one more than it can have.
    ///
    /// # Errors
    /// [`ManifestError`] with what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let record = Record::read_from_bytes(bytes)
            .map_err(|_| ManifestError::Length { found: bytes.len() })?;
        if record.magic != MAGIC {
            return Err(ManifestError::Magic { found: record.magic });
        }
        let (found, expected) = (record.computed_crc32c(), record.crc32c.get());
        if found != expected {
            return Err(ManifestError::Checksum { found, expected });
        }
        let known = |field, found: u64, is_known: bool| match is_known {
            true => Ok(()),
            false => Err(ManifestError::Unknown { field, found }),
        };
        known("version", record.version.get().into(), record.version.get() == VERSION)?;
        known("features", record.features.get(), record.features.get() == 0)?;
        let number = record.content.get();
        let content = [StoredContent::Plain, StoredContent::Lz4Blocks]
            .into_iter()
            .find(|content| content.number() == number);
        let content =
            content.ok_or(ManifestError::Unknown { field: "content", found: number.into() })?;
        let version = record.content_version.get();
        known("content version", version.into(), version == content.version())?;
        Ok(Self { content })
    }
}

impl Record {
    fn computed_crc32c(&self) -> u32 {
        crc32c(&self.as_bytes()[..offset_of!(Self, crc32c)])
    }
}

/// Bytes that are no manifest, or one that this version cannot read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Fewer or more bytes than a manifest has.
    #[error("it has {}, and a manifest has {}", counted(*found), Manifest::LEN_BYTES)]
    Length {
        /// How many bytes were read; of a longer file, not all.
        found: usize,
    },
    /// It does not begin as a manifest does.
    #[error("it begins with {found:02x?}, and a manifest with {MAGIC:02x?}")]
    Magic {
        /// The first bytes.
        found: [u8; 8],
    },
    /// Its checksum does not match.
    #[error("its checksum is {expected:#010x}, but its bytes give {found:#010x}")]
    Checksum {
        /// What its bytes give.
        found: u32,
        /// What it says.
        expected: u32,
    },
    /// It is whole, and says something that this build does not know.
    #[error("its {field} is {found}, which this build does not know")]
    Unknown {
        /// Which field.
        field: &'static str,
        /// What it holds.
        found: u64,
    },
}

fn counted(found: usize) -> String {
    match found > Manifest::LEN_BYTES {
        true => format!("more than {} bytes", Manifest::LEN_BYTES),
        false => format!("{found} bytes"),
    }
}
