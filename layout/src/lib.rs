//! The on-disk format of a page file, as pure functions over bytes.
//!
//! This crate does no input or output, starts no thread and has no `unsafe`. It knows six things:
//! the numbers that name pages ([`PageSize`], [`PageId`], [`PageCount`], [`ByteOffset`],
//! [`PageRange`]), where each part of a file lies ([`Geometry`]), the two records that describe a
//! file ([`Superblock`], [`SealRecord`]), the checksum of a page ([`PageChecksum`]), the directory
//! of a file of columns ([`ColumnDirectory`]), and what the root of a store says about its files
//! ([`Manifest`]).
//!
//! Parsing takes `&[u8]`, never panics for any input, and never allocates. `docs/format.md` in the
//! repository shows every byte of a small file; a test holds it against this crate.
//!
//! ```
//! # extern crate layout as storage;
//! use storage::{Header, PageCount, PageSize, Superblock};
//! use uuid::Uuid;
//!
//! let superblock = Superblock::new_mutable(Uuid::from_u128(7), PageSize::DEFAULT);
//! let header = Header::encode([Some(&superblock), None]);
//! let parsed = Header::parse(&header)?;
//! assert_eq!(parsed.superblock(), &superblock);
//! assert_eq!(parsed.superblock().page_count(), PageCount::ZERO);
//! # Ok::<(), layout::FormatError>(())
//! ```
#![forbid(unsafe_code)]

mod checksum;
mod columns;
mod error;
mod geometry;
mod header;
mod item;
mod manifest;
mod metadata;
mod page;
mod range;
mod seal;
mod superblock;
mod versioned;

pub use checksum::{PageChecksum, PageHasher, TableHasher};
pub use columns::{ColumnDirectory, ColumnEntry, ColumnsKind};
pub use error::{FormatError, PageSizeError, RangeError};
pub use geometry::{Geometry, HEADER_LEN_BYTES, SEAL_BLOCK_LEN_BYTES, SLOT_LEN_BYTES};
pub use header::{Header, Slot};
pub use item::{ItemLayout, ItemName};
pub use manifest::{Manifest, ManifestError, StoredContent};
pub use metadata::Metadata;
pub use page::{ByteOffset, PageCount, PageId, PageSize};
pub use range::PageRange;
pub use seal::SealRecord;
pub use superblock::{FORMAT_VERSION, Features, LogState, Superblock, VersionedState};
pub use versioned::{
    CommitHead, CommitId, CommitMark, Group, LogHalf, PageChange, PageSource, PageStamp,
    VersionedGeometry,
};
