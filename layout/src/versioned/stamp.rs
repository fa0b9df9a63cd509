//! The stamp of a page: by which commit it was changed last, and its checksum.

use std::{fmt, mem::size_of};

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

use crate::{FormatError, PageChecksum, PageHasher, PageId};

/// The number of a commit. The commits of a file are counted from 1; 0 is the file as it was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CommitId(u64);

impl CommitId {
    /// Before the first commit.
    pub const ZERO: Self = Self(0);

    /// The commit with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The commit after this one.
    ///
    /// # Panics
    /// After 2^64 commits, which takes 10,000 years of one each 20 ns.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a file never sees 2^64 commits"))
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The bytes of a stamp; this struct *is* the format.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Record {
    commit: U64,
    page_crc32c: U32,
    /// CRC32C of the file's uuid, the page's number, and the fields before.
    crc32c: U32,
}

const _: () = assert!(size_of::<Record>() == PageStamp::LEN_BYTES);

/// What the table says of a page that was ever written: the commit that changed it last, and the
/// checksum of what that wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageStamp {
    /// The commit.
    pub commit: CommitId,
    /// The checksum of commit number and page.
    pub checksum: PageChecksum,
}

impl PageStamp {
    /// The bytes of a stamp.
    pub const LEN_BYTES: usize = 16;

    /// Reads the stamp of a page; `None` where the page was never written and so is all zero.
    ///
    /// # Errors
    /// [`FormatError::Stamp`] where the stamp is damaged or another page's.
    pub fn parse(
        bytes: [u8; Self::LEN_BYTES],
        page: PageId,
        hasher: &PageHasher,
    ) -> Result<Option<Self>, FormatError> {
        if bytes == [0; Self::LEN_BYTES] {
            return Ok(None);
        }
        let record: Record = zerocopy::transmute!(bytes);
        let commit = CommitId::new(record.commit.get());
        let checksum = PageChecksum::from_le_bytes(record.page_crc32c.to_bytes());
        let (found, expected) = (hasher.stamp(page, commit, checksum), record.crc32c.get());
        if found != expected {
            return Err(FormatError::Stamp { page, found, expected });
        }
        Ok(Some(Self { commit, checksum }))
    }

    /// The bytes of the stamp of a page.
    #[must_use]
    pub fn encode(&self, page: PageId, hasher: &PageHasher) -> [u8; Self::LEN_BYTES] {
        let record = Record {
            commit: U64::new(self.commit.get()),
            page_crc32c: U32::from_bytes(self.checksum.to_le_bytes()),
            crc32c: U32::new(hasher.stamp(page, self.commit, self.checksum)),
        };
        zerocopy::transmute!(record)
    }
}
