//! The directory of columns: the last block of the payload of a file of columns.

use std::{
    fmt,
    mem::{offset_of, size_of},
};

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

use crate::{ByteOffset, FormatError, ItemLayout, ItemName};

const MAGIC: [u8; 8] = *b"\x89COLS\x1a\r\n";
const VERSION: u32 = 1;
const PART: &str = "the directory of columns";
/// What a column's offset is a multiple of: the smallest page size.
const COLUMN_ALIGN_BYTES: u64 = 4096;

/// The bytes at the beginning of a directory; this struct *is* the format.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Preamble {
    magic: [u8; 8],
    version: U32,
    column_count: U32,
    kind: [u8; 8],
    reserved: [u8; 40],
}

const _: () = assert!(size_of::<Preamble>() == 64);
const _: () = assert!(offset_of!(Preamble, version) == 8);
const _: () = assert!(offset_of!(Preamble, column_count) == 12);
const _: () = assert!(offset_of!(Preamble, kind) == 16);
const _: () = assert!(offset_of!(Preamble, reserved) == 24);

/// The bytes that describe a column; this struct *is* the format.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Record {
    offset: U64,
    count: U64,
    item_size: U32,
    item_align: U32,
    fingerprint: U64,
    name: [u8; ItemName::LEN_BYTES],
}

const _: () = assert!(size_of::<Record>() == 64);
const _: () = assert!(offset_of!(Record, count) == 8);
const _: () = assert!(offset_of!(Record, item_size) == 16);
const _: () = assert!(offset_of!(Record, item_align) == 20);
const _: () = assert!(offset_of!(Record, fingerprint) == 24);
const _: () = assert!(offset_of!(Record, name) == 32);

/// What the columns of a file are together, as whoever wrote it calls them: up to eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ColumnsKind([u8; 8]);

impl ColumnsKind {
    /// Columns that are nothing in particular together.
    pub const PLAIN: Self = Self::new(*b"plain\0\0\0");

    /// A kind of one's own; choose a word, and fill it up with zeros.
    #[must_use]
    pub const fn new(kind: [u8; 8]) -> Self {
        Self(kind)
    }
}

/// What is not printable ASCII is escaped: the bytes may be anybody's.
impl fmt::Display for ColumnsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.0.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        write!(f, "`{}`", self.0[..len].escape_ascii())
    }
}

impl fmt::Debug for ColumnsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Where a column lies in the payload, and what its items look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ColumnEntry {
    /// Where the first item begins.
    pub offset: ByteOffset,
    /// How many items there are.
    pub count: u64,
    /// What the items look like.
    pub layout: ItemLayout,
    /// What the items were called.
    pub name: ItemName,
}

impl ColumnEntry {
    /// Where the column ends; `None` where no file is that long.
    fn end(&self) -> Option<u64> {
        let len = self.count.checked_mul(self.layout.size_bytes().into())?;
        self.offset.get().checked_add(len)
    }
}

/// The columns of a file. A value of this type is in order: every column lies in front of the
/// directory, aligned, and no two overlap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnDirectory {
    kind: ColumnsKind,
    /// The first `count` are columns, the others `None`.
    entries: [Option<ColumnEntry>; Self::COLUMNS_MAX],
    count: u32,
}

impl ColumnDirectory {
    /// The bytes of a directory: the last of the payload.
    pub const LEN_BYTES: usize = 4096;
    /// How many columns a file can have.
    pub const COLUMNS_MAX: usize = (Self::LEN_BYTES - size_of::<Preamble>()) / size_of::<Record>();

    /// The directory of `columns`, standing at `start` in the payload.
    ///
    /// # Errors
    /// [`FormatError::ColumnCount`]; [`FormatError::Column`] where one is misplaced.
    pub fn new(
        kind: ColumnsKind,
        columns: &[ColumnEntry],
        start: ByteOffset,
    ) -> Result<Self, FormatError> {
        let mut directory = Self::with_count(kind, columns.len() as u64)?;
        for (column, entry) in (0..).zip(columns) {
            directory.put(column, *entry, start)?;
        }
        Ok(directory)
    }

    /// A directory without columns as yet.
    fn with_count(kind: ColumnsKind, count: u64) -> Result<Self, FormatError> {
        let most = Self::COLUMNS_MAX as u64;
        let fits = u32::try_from(count).ok().filter(|_| count <= most);
        let count = fits.ok_or(FormatError::ColumnCount { found: count })?;
        Ok(Self { kind, entries: [None; Self::COLUMNS_MAX], count })
    }

    fn put(
        &mut self,
        column: u32,
        entry: ColumnEntry,
        start: ByteOffset,
    ) -> Result<(), FormatError> {
        check(column, &entry, start)?;
        check_apart(column, &entry, self.columns())?;
        self.entries[column as usize] = Some(entry);
        Ok(())
    }

    /// Reads the directory that stands at `start` in the payload, from its bytes.
    ///
    /// # Errors
    /// [`FormatError`]: fewer bytes than a directory, wrong magic, another version, or a column that
    /// does not lie where a column can.
    pub fn parse(block: &[u8], start: ByteOffset) -> Result<Self, FormatError> {
        let short = || FormatError::Short {
            part: PART,
            found: block.len() as u64,
            expected: Self::LEN_BYTES as u64,
        };
        let block = block.first_chunk::<{ Self::LEN_BYTES }>().ok_or_else(short)?;
        let (preamble, records) =
            Preamble::ref_from_prefix(block.as_slice()).map_err(|_| short())?;
        if preamble.magic != MAGIC {
            let (found, expected) = (preamble.magic, MAGIC);
            return Err(FormatError::DirectoryMagic { found, expected });
        }
        let version = preamble.version.get();
        if version != VERSION {
            return Err(FormatError::DirectoryVersion { found: version, expected: VERSION });
        }
        let records = <[Record]>::ref_from_bytes(records).map_err(|_| short())?;
        let mut directory =
            Self::with_count(ColumnsKind(preamble.kind), preamble.column_count.get().into())?;
        for (column, record) in (0..).zip(&records[..directory.column_count()]) {
            let (size, align) = (record.item_size.get(), record.item_align.get());
            let entry = ColumnEntry {
                offset: ByteOffset::new(record.offset.get()),
                count: record.count.get(),
                layout: ItemLayout::parse(column, size, align, record.fingerprint.get())?,
                name: ItemName::from_bytes(record.name),
            };
            directory.put(column, entry, start)?;
        }
        Ok(directory)
    }

    /// The bytes of the directory.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN_BYTES] {
        let mut block = [0; Self::LEN_BYTES];
        let (preamble, records) = block.split_at_mut(size_of::<Preamble>());
        preamble.copy_from_slice(
            Preamble {
                magic: MAGIC,
                version: U32::new(VERSION),
                column_count: U32::new(self.count),
                kind: self.kind.0,
                reserved: [0; 40],
            }
            .as_bytes(),
        );
        for (bytes, entry) in records.chunks_exact_mut(size_of::<Record>()).zip(self.columns()) {
            let record = Record {
                offset: U64::new(entry.offset.get()),
                count: U64::new(entry.count),
                item_size: U32::new(entry.layout.size_bytes()),
                item_align: U32::new(entry.layout.align_bytes()),
                fingerprint: U64::new(entry.layout.fingerprint()),
                name: *entry.name.as_bytes(),
            };
            bytes.copy_from_slice(record.as_bytes());
        }
        block
    }

    /// What the columns are together.
    #[must_use]
    pub const fn kind(&self) -> ColumnsKind {
        self.kind
    }

    /// How many columns there are.
    #[must_use]
    pub const fn column_count(&self) -> usize {
        self.count as usize
    }

    /// A column; `None` where there are not so many.
    #[must_use]
    pub fn column(&self, index: usize) -> Option<&ColumnEntry> {
        self.entries.get(index)?.as_ref()
    }

    /// The columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = &ColumnEntry> {
        self.entries.iter().flatten()
    }
}

/// Checks that a column lies in front of the directory, aligned.
fn check(column: u32, entry: &ColumnEntry, start: ByteOffset) -> Result<(), FormatError> {
    let wrong = |field, found, allowed| FormatError::Column { column, field, found, allowed };
    let offset = entry.offset.get();
    if !offset.is_multiple_of(COLUMN_ALIGN_BYTES) {
        return Err(wrong("offset", offset, "a multiple of 4096"));
    }
    if entry.end().is_none_or(|end| end > start.get()) {
        let allowed = "as many as fit between the column's offset and the directory";
        return Err(wrong("item count", entry.count, allowed));
    }
    Ok(())
}

/// Checks that a column shares no byte with those before it.
fn check_apart<'a>(
    column: u32,
    entry: &ColumnEntry,
    mut before: impl Iterator<Item = &'a ColumnEntry>,
) -> Result<(), FormatError> {
    let overlaps = |other: &ColumnEntry| {
        let begins_inside = |a: &ColumnEntry, b: &ColumnEntry| {
            a.offset <= b.offset && a.end().is_some_and(|end| b.offset.get() < end)
        };
        entry.count > 0
            && other.count > 0
            && (begins_inside(entry, other) || begins_inside(other, entry))
    };
    if before.any(overlaps) {
        let (field, found) = ("offset", entry.offset.get());
        let allowed = "one outside the columns before it";
        return Err(FormatError::Column { column, field, found, allowed });
    }
    Ok(())
}
