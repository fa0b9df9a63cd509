//! The record of a commit in the log: a head, which lists the pages that it changes, and their images.

use std::mem::{offset_of, size_of};

use uuid::Uuid;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

use crate::{CommitId, FormatError, PageChecksum, PageCount, PageId, PageSize, checksum::crc32c};

const MAGIC: [u8; 8] = *b"\x89COMMIT\n";
const PART: &str = "the record of a commit";

/// The bytes that a head begins with; this struct *is* the format.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Preamble {
    magic: [u8; 8],
    file_uuid: [u8; 16],
    epoch: U64,
    commit: U64,
    page_count: U64,
    page_count_max: U64,
    /// The whole record, in bytes.
    len: U64,
    change_count: U32,
    image_count: U32,
    /// CRC32C of the rest of the head.
    changes_crc32c: U32,
    reserved: [u8; 48],
    /// CRC32C of all bytes before it.
    crc32c: U32,
}

const PREAMBLE_LEN: usize = 128;
const _: () = assert!(size_of::<Preamble>() == PREAMBLE_LEN);
const _: () = assert!(offset_of!(Preamble, epoch) == 24);
const _: () = assert!(offset_of!(Preamble, len) == 56);
const _: () = assert!(offset_of!(Preamble, change_count) == 64);
const _: () = assert!(offset_of!(Preamble, reserved) == 76);
const _: () = assert!(offset_of!(Preamble, crc32c) == 124);

/// One page in the list of a head; this struct *is* the format.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Change {
    page: U64,
    checksum: U32,
    source: U32,
}

const CHANGE_LEN: usize = 16;
const _: () = assert!(size_of::<Change>() == CHANGE_LEN);

const SOURCE_IMAGE: u32 = 1;
const SOURCE_IN_PLACE: u32 = 2;

/// Where a changed page's bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageSource {
    /// In the record: an image of the page.
    Image,
    /// In the page's own place, where they were made durable before the record was written. Only for
    /// pages behind the end of the file before the commit, which nobody could see.
    InPlace,
}

/// A page that a commit changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageChange {
    /// The page.
    pub page: PageId,
    /// Its new checksum.
    pub checksum: PageChecksum,
    /// Where its new bytes are.
    pub source: PageSource,
}

/// What the record of a commit begins with. The bytes of the head are a multiple of 4096; the images
/// follow, in the order of the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitHead {
    /// The file's epoch; see [`VersionedState`](crate::VersionedState).
    pub epoch: u64,
    /// The commit.
    pub commit: CommitId,
    /// How many pages the file has after it.
    pub page_count: PageCount,
    /// How many pages the file had at most so far.
    pub page_count_max: PageCount,
    /// How many pages the commit changes.
    pub change_count: u32,
    /// How many images the record has.
    pub image_count: u32,
    changes_crc32c: u32,
}

impl CommitHead {
    /// Records begin at multiples of this, and so do their images.
    pub const ALIGN_BYTES: usize = 4096;

    /// The bytes of a record's beginning that say how long it is.
    pub const PREAMBLE_BYTES: usize = PREAMBLE_LEN;

    /// The head of a record that lists `changes`.
    ///
    /// # Panics
    /// With 2^32 changes or more, which no log has room for.
    #[must_use]
    pub fn new(
        epoch: u64,
        commit: CommitId,
        (page_count, page_count_max): (PageCount, PageCount),
        changes: &[PageChange],
    ) -> Self {
        let images = changes.iter().filter(|change| change.source == PageSource::Image).count();
        let count = |n: usize| u32::try_from(n).expect("a log has room for fewer pages");
        let (change_count, image_count) = (count(changes.len()), count(images));
        Self {
            epoch,
            commit,
            page_count,
            page_count_max,
            change_count,
            image_count,
            changes_crc32c: crc32c(&encode_changes(changes)),
        }
    }

    /// The bytes of a head that lists so many pages.
    #[must_use]
    pub const fn len_of(change_count: u64) -> u64 {
        let bytes = PREAMBLE_LEN as u64 + change_count * CHANGE_LEN as u64;
        bytes.next_multiple_of(Self::ALIGN_BYTES as u64)
    }

    /// The bytes of this head.
    #[must_use]
    pub const fn head_len(&self) -> u64 {
        Self::len_of(self.change_count as u64)
    }

    /// The bytes of the whole record.
    #[must_use]
    pub const fn record_len(&self, page_size: PageSize) -> u64 {
        self.head_len() + self.image_count as u64 * page_size.get()
    }

    /// The bytes of the head, with the list that it was made of.
    #[must_use]
    pub fn encode(&self, file_uuid: Uuid, page_size: PageSize, changes: &[PageChange]) -> Vec<u8> {
        let mut preamble = Preamble {
            magic: MAGIC,
            file_uuid: file_uuid.into_bytes(),
            epoch: U64::new(self.epoch),
            commit: U64::new(self.commit.get()),
            page_count: U64::new(self.page_count.get()),
            page_count_max: U64::new(self.page_count_max.get()),
            len: U64::new(self.record_len(page_size)),
            change_count: U32::new(self.change_count),
            image_count: U32::new(self.image_count),
            changes_crc32c: U32::new(self.changes_crc32c),
            reserved: [0; 48],
            crc32c: U32::ZERO,
        };
        preamble.crc32c = U32::new(preamble.computed_crc32c());
        let mut bytes = preamble.as_bytes().to_vec();
        bytes.extend(encode_changes(changes));
        bytes
    }

    /// Reads what a record begins with, from its first [`PREAMBLE_BYTES`](Self::PREAMBLE_BYTES) at least.
    /// `room` is how many bytes there are for the record.
    ///
    /// # Errors
    /// [`FormatError`]: no record, a damaged one, one of another file, or one that says impossible
    /// things.
    pub fn parse(
        block: &[u8],
        file_uuid: Uuid,
        page_size: PageSize,
        room: u64,
    ) -> Result<Self, FormatError> {
        let (preamble, _) = Preamble::read_from_prefix(block).map_err(|_| FormatError::Short {
            part: PART,
            found: block.len() as u64,
            expected: PREAMBLE_LEN as u64,
        })?;
        let (found, expected) = (preamble.computed_crc32c(), preamble.crc32c.get());
        if preamble.magic != MAGIC || found != expected {
            return Err(FormatError::RecordChecksum { part: PART, found, expected });
        }
        let found = Uuid::from_bytes(preamble.file_uuid);
        if found != file_uuid {
            return Err(FormatError::ForeignPart { part: PART, found, expected: file_uuid });
        }
        let head = Self {
            epoch: preamble.epoch.get(),
            commit: CommitId::new(preamble.commit.get()),
            page_count: PageCount::new(preamble.page_count.get()),
            page_count_max: PageCount::new(preamble.page_count_max.get()),
            change_count: preamble.change_count.get(),
            image_count: preamble.image_count.get(),
            changes_crc32c: preamble.changes_crc32c.get(),
        };
        let wrong = |field, found, allowed| Err(FormatError::Versioned { field, found, allowed });
        let len = preamble.len.get();
        if head.record_len(page_size) != len || len > room {
            return wrong(
                "length of a commit's record",
                len,
                "what its pages take, within the log",
            );
        }
        if head.image_count > head.change_count {
            let found = head.image_count.into();
            return wrong("count of a commit's images", found, "at most the count of its pages");
        }
        if head.page_count > head.page_count_max {
            let found = head.page_count.get();
            return wrong("page count of a commit", found, "at most the count that there ever was");
        }
        Ok(head)
    }

    /// Reads the list from the bytes of the whole head.
    ///
    /// # Errors
    /// [`FormatError`]: fewer bytes than the head has, a damaged list, or one that says impossible
    /// things.
    pub fn changes(&self, head: &[u8]) -> Result<Vec<PageChange>, FormatError> {
        let len = usize::try_from(self.head_len()).unwrap_or(usize::MAX);
        let bytes = head.get(PREAMBLE_LEN..len).ok_or(FormatError::Short {
            part: PART,
            found: head.len() as u64,
            expected: self.head_len(),
        })?;
        let (found, expected) = (crc32c(bytes), self.changes_crc32c);
        if found != expected {
            return Err(FormatError::RecordChecksum { part: PART, found, expected });
        }
        let count = self.change_count as usize;
        let parsed = bytes.chunks_exact(CHANGE_LEN).take(count).map(parse_change);
        // As many as the head's bytes hold: a stored number allocates nothing.
        let changes: Vec<_> = parsed.flatten().collect();
        let images = changes.iter().filter(|change| change.source == PageSource::Image);
        let found = images.count() as u64;
        if found != u64::from(self.image_count) || changes.len() != count {
            let (field, allowed) = ("list of a commit's pages", "as many images as the record has");
            return Err(FormatError::Versioned { field, found, allowed });
        }
        Ok(changes)
    }
}

fn parse_change(bytes: &[u8]) -> Option<PageChange> {
    let change = Change::read_from_bytes(bytes).ok()?;
    let source = match change.source.get() {
        SOURCE_IMAGE => PageSource::Image,
        SOURCE_IN_PLACE => PageSource::InPlace,
        _ => return None,
    };
    let checksum = PageChecksum::from_le_bytes(change.checksum.to_bytes());
    Some(PageChange { page: PageId::new(change.page.get()), checksum, source })
}

/// The list, and zeros up to the end of the head.
fn encode_changes(changes: &[PageChange]) -> Vec<u8> {
    let head_len = usize::try_from(CommitHead::len_of(changes.len() as u64))
        .expect("what lists things in memory fits memory");
    let mut bytes = Vec::with_capacity(head_len - PREAMBLE_LEN);
    for change in changes {
        let source = match change.source {
            PageSource::Image => SOURCE_IMAGE,
            PageSource::InPlace => SOURCE_IN_PLACE,
        };
        let record = Change {
            page: U64::new(change.page.get()),
            checksum: U32::from_bytes(change.checksum.to_le_bytes()),
            source: U32::new(source),
        };
        bytes.extend(record.as_bytes());
    }
    bytes.resize(head_len - PREAMBLE_LEN, 0);
    bytes
}

impl Preamble {
    fn computed_crc32c(&self) -> u32 {
        crc32c(&self.as_bytes()[..offset_of!(Self, crc32c)])
    }
}
