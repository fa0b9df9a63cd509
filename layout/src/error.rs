//! What can be wrong with bytes that should be a page file, and with numbers that should name
//! pages. Each error says what was found and what was expected.

use thiserror::Error;
use uuid::Uuid;

use crate::{CommitId, PageCount, PageId};

/// A page size that is not a power of two from 4 KiB to 2 MiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error(
    "page size {found} is not possible: pass a power of two from 4096 (4 KiB) to 2097152 (2 MiB)"
)]
#[non_exhaustive]
pub struct PageSizeError {
    /// The size asked for, in bytes.
    pub found: u64,
}

/// A range of pages that ends before it starts, or past the file's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error(
    "pages {start}..{end} were asked for, but there are {page_count} (0..{page_count}), and a range \
     must not end before it starts"
)]
#[non_exhaustive]
pub struct RangeError {
    /// The first page asked for.
    pub start: u64,
    /// The page after the last one asked for.
    pub end: u64,
    /// The pages there are.
    pub page_count: PageCount,
}

/// Bytes that are not a page file of ours, or one that this version cannot read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Fewer bytes than the part needs.
    #[error("{part} takes {expected} bytes, but there are only {found}: the file was cut short")]
    Short {
        /// Which part of the file.
        part: &'static str,
        /// The bytes there are.
        found: u64,
        /// The bytes it takes.
        expected: u64,
    },
    /// No header, nor the beginning of one.
    #[error("this is not a page file: {}", no_header(*found))]
    NoHeader {
        /// The bytes there are: fewer than the magic has.
        found: u64,
    },
    /// Neither superblock slot begins with the magic bytes.
    #[error(
        "this is not a page file: it begins with {found:02x?}, a page file with {expected:02x?}"
    )]
    Magic {
        /// The first bytes of the file.
        found: [u8; 8],
        /// The magic bytes.
        expected: [u8; 8],
    },
    /// A record's own checksum does not match.
    #[error(
        "{part} is damaged: its checksum is {expected:#010x}, but its bytes give {found:#010x}"
    )]
    RecordChecksum {
        /// Which record.
        part: &'static str,
        /// What its bytes give.
        found: u32,
        /// What it says.
        expected: u32,
    },
    /// Written by a version of the format that is not known here.
    #[error(
        "format version {found} cannot be read: this build reads version {expected}; open the \
         file with the build that wrote it"
    )]
    Version {
        /// The file's version.
        found: u32,
        /// The version that can be read.
        expected: u32,
    },
    /// The file uses features that a reader must know and this one does not.
    #[error(
        "the file needs features {found:#x} that this build does not know (known: {known:#x}); \
         open it with a newer build"
    )]
    Features {
        /// The unknown ones among the file's incompatible features.
        found: u64,
        /// All that are known.
        known: u64,
    },
    /// The stored page size is impossible.
    #[error("the superblock is wrong")]
    PageSize(#[from] PageSizeError),
    /// The stored numbers describe a file larger than 2^63 bytes.
    #[error(
        "the superblock is wrong: {page_count} pages of {page_size} bytes do not fit a file \
         (2^63 bytes at most)"
    )]
    TooLarge {
        /// The stored page count.
        page_count: u64,
        /// The stored page size, in bytes.
        page_size: u64,
    },
    /// The two slots belong to different files.
    #[error("the two superblock slots belong to different files: {first} and {second}")]
    SlotsDisagree {
        /// The uuid in slot 0.
        first: Uuid,
        /// The uuid in slot 1.
        second: Uuid,
    },
    /// A field of the seal record contradicts the superblock.
    #[error("the seal record is wrong: {field} is {found}, expected {expected}")]
    Seal {
        /// The field.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// What the superblock and the format ask for.
        expected: u64,
    },
    /// The seal record belongs to another file.
    #[error("the seal record belongs to file {found}, the superblock to file {expected}")]
    SealUuid {
        /// The uuid in the seal record.
        found: Uuid,
        /// The uuid in the superblock.
        expected: Uuid,
    },
    /// A part of a versioned file says something that cannot be.
    #[error("the {field} is wrong: {found}, expected {allowed}")]
    Versioned {
        /// What of it.
        field: &'static str,
        /// What the file says.
        found: u64,
        /// What it could say.
        allowed: &'static str,
    },
    /// A part of a file that belongs to another file.
    #[error("{part} belongs to file {found}, the superblock to file {expected}")]
    ForeignPart {
        /// Which part.
        part: &'static str,
        /// The uuid in it.
        found: Uuid,
        /// The uuid in the superblock.
        expected: Uuid,
    },
    /// The stamp of a page is damaged.
    #[error(
        "the stamp of page {page} is damaged: its checksum is {expected:#010x}, but its bytes give \
         {found:#010x}; restore the file from a good copy"
    )]
    Stamp {
        /// The page.
        page: PageId,
        /// What its bytes give.
        found: u32,
        /// What it says.
        expected: u32,
    },
    /// The log of a versioned file lacks a commit that was durable.
    #[error(
        "the log lacks commit {missing}, although the file has seen commit {later}: the log was \
         damaged, or is that of an older copy; restore the file from a good copy"
    )]
    CommitLost {
        /// The first commit that is missing or damaged.
        missing: CommitId,
        /// A later commit, or the same one, that there is a trace of.
        later: CommitId,
    },
    /// A page was changed by a commit that its file has not seen.
    #[error(
        "page {page} was changed by commit {found}, but the file ends with commit {newest}: its \
         log was damaged; restore the file from a good copy"
    )]
    StampAhead {
        /// The page.
        page: PageId,
        /// The commit that its stamp tells of.
        found: CommitId,
        /// The newest commit of the file.
        newest: CommitId,
    },
    /// A page that no commit wrote is not zero.
    #[error("page {page} was never written, but is not zero; restore the file from a good copy")]
    Unwritten {
        /// The page.
        page: PageId,
    },
    /// More bytes of a user's own than a header holds.
    #[error(
        "{found} bytes of metadata do not fit the header, which holds {max}: keep them in a page"
    )]
    MetadataTooLong {
        /// The bytes there are, or that a file says there are.
        found: u64,
        /// The most there can be.
        max: u64,
    },
    /// The file's length is not what its header says.
    #[error(
        "the file is {found} bytes long, but its header describes {expected} bytes: it was cut \
         short or written to from outside"
    )]
    Length {
        /// The file's length.
        found: u64,
        /// The length that the header describes.
        expected: u64,
    },
    /// A part that must be zero is not.
    #[error("byte {offset} of the file must be zero, but is {found:#04x}")]
    Padding {
        /// Where in the file.
        offset: u64,
        /// What stands there.
        found: u8,
    },
    /// The payload does not end with a directory of columns.
    #[error(
        "this is not a file of columns: the last block of its payload begins with {found:02x?}, a \
         directory of columns with {expected:02x?}; write it with `ColumnsWriter`"
    )]
    DirectoryMagic {
        /// The first bytes of the block.
        found: [u8; 8],
        /// The magic bytes.
        expected: [u8; 8],
    },
    /// The directory of columns was written by a version that is not known here.
    #[error(
        "version {found} of the directory of columns cannot be read: this build reads version \
         {expected}; open the file with the build that wrote it"
    )]
    DirectoryVersion {
        /// The directory's version.
        found: u32,
        /// The version that can be read.
        expected: u32,
    },
    /// More columns than a directory has room for.
    #[error(
        "{found} columns do not fit a directory: there can be {} at most",
        crate::ColumnDirectory::COLUMNS_MAX
    )]
    ColumnCount {
        /// How many columns were asked for, or told of by the file.
        found: u64,
    },
    /// A column that cannot be as its directory says.
    #[error("column {column} is wrong: its {field} is {found}, but must be {allowed}")]
    Column {
        /// Which column, from 0.
        column: u32,
        /// What of it.
        field: &'static str,
        /// What the directory says.
        found: u64,
        /// What it could say.
        allowed: &'static str,
    },
}

fn no_header(found: u64) -> String {
    match found {
        0 => "it is empty".to_owned(),
        _ => format!("it has {found} bytes, which are not the first ones of a header"),
    }
}
