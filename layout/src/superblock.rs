//! The superblock: what a page file says about itself.

use std::mem::{offset_of, size_of};

use uuid::Uuid;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

use crate::{
    CommitId, FormatError, Geometry, Metadata, PageCount, PageSize, VersionedGeometry,
    checksum::crc32c,
};

/// The version of the format that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// A byte above 127, a name, and both kinds of line end: a file that went through a text-mode copy
/// or a 7-bit channel is told apart at once (the idea is PNG's signature).
pub(crate) const MAGIC: [u8; 8] = *b"\x89PAGES\r\n";

/// Feature flags of a file, in two sets.
///
/// A reader may ignore a *compatible* feature that it does not know. It must refuse a file with an
/// *incompatible* one that it does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features {
    /// Features that a reader may ignore: [`Features::METADATA`].
    pub compatible: u64,
    /// Features that a reader must know: [`Features::SEALED`], [`Features::VERSIONED`].
    pub incompatible: u64,
}

impl Features {
    /// Incompatible feature: the file is sealed. A checksum table and a seal record follow the data
    /// and nothing in the file changes any more.
    pub const SEALED: u64 = 1;

    /// Incompatible feature: the file is versioned. It has a log and a stamp for each page.
    pub const VERSIONED: u64 = 2;

    /// Compatible feature: bytes of the user's own follow the superblock in its slot. Set where there are
    /// any.
    pub const METADATA: u64 = 1;

    /// All incompatible features that this crate knows.
    pub const KNOWN_INCOMPATIBLE: u64 = Self::SEALED | Self::VERSIONED;
}

/// The bytes of a superblock; this struct *is* the format.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Record {
    magic: [u8; 8],
    format_version: U32,
    reserved_0: U32,
    page_size: U64,
    page_count: U64,
    file_uuid: [u8; 16],
    generation: U64,
    features_compatible: U64,
    features_incompatible: U64,
    /// The fields up to `reserved_1` are those of a versioned file, zero in others.
    log_len: U64,
    epoch: U64,
    commit: U64,
    page_count_max: U64,
    log_state: U32,
    reserved_1: [u8; 136],
    /// The bytes of the user's own behind the record, and their CRC32C; zero where the feature is not set.
    metadata_len: U32,
    metadata_crc32c: U32,
    /// CRC32C of all bytes before it. It stands here in every version.
    crc32c: U32,
}

const _: () = assert!(size_of::<Record>() == Superblock::LEN_BYTES);
const _: () = assert!(offset_of!(Record, magic) == 0);
const _: () = assert!(offset_of!(Record, format_version) == 8);
const _: () = assert!(offset_of!(Record, page_size) == 16);
const _: () = assert!(offset_of!(Record, page_count) == 24);
const _: () = assert!(offset_of!(Record, file_uuid) == 32);
const _: () = assert!(offset_of!(Record, generation) == 48);
const _: () = assert!(offset_of!(Record, features_compatible) == 56);
const _: () = assert!(offset_of!(Record, features_incompatible) == 64);
const _: () = assert!(offset_of!(Record, log_len) == 72);
const _: () = assert!(offset_of!(Record, epoch) == 80);
const _: () = assert!(offset_of!(Record, commit) == 88);
const _: () = assert!(offset_of!(Record, page_count_max) == 96);
const _: () = assert!(offset_of!(Record, log_state) == 104);
const _: () = assert!(offset_of!(Record, reserved_1) == 108);
const _: () = assert!(offset_of!(Record, metadata_len) == 244);
const _: () = assert!(offset_of!(Record, metadata_crc32c) == 248);
const _: () = assert!(offset_of!(Record, crc32c) == 252);

/// Whether the pages of a versioned file are all there is of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LogState {
    /// They are: every commit is in them, and the log is not looked at.
    Clean,
    /// The log may have commits of the file's epoch that are not in the pages yet.
    Needed,
}

const LOG_CLEAN: u32 = 1;
const LOG_NEEDED: u32 = 2;

/// What the superblock of a versioned file says on top.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionedState {
    /// Where the parts of the file lie.
    pub geometry: VersionedGeometry,
    /// Counts how often the log was begun anew: with each open that writes. Records of other epochs
    /// are none.
    pub epoch: u64,
    /// The last commit that is known to be durable in the pages themselves. The superblock's page
    /// count is that of this commit.
    pub commit: CommitId,
    /// How many pages the file had at most up to this commit. Pages behind were never written.
    pub page_count_max: PageCount,
    /// Whether the log is needed.
    pub log_state: LogState,
}

/// What a page file says about itself. A value of this type is consistent: its numbers are
/// possible and describe a file of at most 2^63 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Superblock {
    geometry: Geometry,
    file_uuid: Uuid,
    generation: u64,
    features: Features,
    versioned: Option<VersionedState>,
    metadata: Metadata,
}

impl Superblock {
    /// The bytes of a superblock. In its slot the metadata follow, and then zeros.
    pub const LEN_BYTES: usize = 256;

    /// The superblock of a new mutable file without pages.
    ///
    /// # Panics
    /// Never: a file without pages is always small enough.
    #[must_use]
    pub fn new_mutable(file_uuid: Uuid, page_size: PageSize) -> Self {
        let geometry =
            Geometry::new(page_size, PageCount::ZERO).expect("a file without pages is small");
        let (features, metadata) = (Features::default(), Metadata::EMPTY);
        Self { geometry, file_uuid, generation: 1, features, versioned: None, metadata }
    }

    /// The superblock of a sealed file of `page_count` pages.
    ///
    /// # Errors
    /// [`FormatError::TooLarge`] where the file would pass 2^63 bytes.
    pub fn new_sealed(
        file_uuid: Uuid,
        page_size: PageSize,
        page_count: PageCount,
    ) -> Result<Self, FormatError> {
        let geometry = Geometry::new(page_size, page_count)?;
        let features = Features { compatible: 0, incompatible: Features::SEALED };
        let (versioned, metadata) = (None, Metadata::EMPTY);
        Ok(Self { geometry, file_uuid, generation: 1, features, versioned, metadata })
    }

    /// The superblock of a new versioned file without pages.
    ///
    /// # Panics
    /// Never: a file without pages is always small enough.
    #[must_use]
    pub fn new_versioned(file_uuid: Uuid, geometry: VersionedGeometry) -> Self {
        let versioned = VersionedState {
            geometry,
            epoch: 0,
            commit: CommitId::ZERO,
            page_count_max: PageCount::ZERO,
            log_state: LogState::Clean,
        };
        let features = Features { compatible: 0, incompatible: Features::VERSIONED };
        let versioned = Some(versioned);
        Self { features, versioned, ..Self::new_mutable(file_uuid, geometry.page_size()) }
    }

    /// The same versioned file, later.
    ///
    /// # Errors
    /// [`FormatError`] where the file would pass 2^63 bytes, or has had fewer pages than it has.
    pub fn next_version(
        &self,
        page_count: PageCount,
        versioned: VersionedState,
    ) -> Result<Self, FormatError> {
        check_versioned(page_count, &versioned)?;
        let next = self.next_generation(page_count)?;
        Ok(Self { versioned: Some(versioned), ..next })
    }

    /// The same file, later, with `page_count` pages.
    ///
    /// # Errors
    /// [`FormatError::TooLarge`] where the file would pass 2^63 bytes.
    pub fn next_generation(&self, page_count: PageCount) -> Result<Self, FormatError> {
        let geometry = Geometry::new(self.page_size(), page_count)?;
        // At the last generation, both slots end up with the same one. Then slot 0 wins, which may
        // be the older; its page count is a lower bound all the same.
        Ok(Self { geometry, generation: self.generation.saturating_add(1), ..*self })
    }

    /// The same with these bytes of the user's own in the place of those that it has.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.features.compatible &= !Features::METADATA;
        if !metadata.is_empty() {
            self.features.compatible |= Features::METADATA;
        }
        self.metadata = metadata;
        self
    }

    /// The user's own bytes.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The page size.
    #[must_use]
    pub const fn page_size(&self) -> PageSize {
        self.geometry.page_size()
    }

    /// The page count. In a mutable file it is what the last completed flush knew, so the file may
    /// hold more pages by now, but never fewer; in a sealed file it is exact.
    #[must_use]
    pub const fn page_count(&self) -> PageCount {
        self.geometry.page_count()
    }

    /// Where the parts of the file lie.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The file's uuid, made when the file is made.
    #[must_use]
    pub const fn file_uuid(&self) -> Uuid {
        self.file_uuid
    }

    /// Counts the superblocks written to this file, from 1. The valid slot with the higher
    /// generation is the file's superblock.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The file's feature flags.
    #[must_use]
    pub const fn features(&self) -> Features {
        self.features
    }

    /// Whether the file is sealed.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.features.incompatible & Features::SEALED != 0
    }

    /// What only a versioned file says.
    #[must_use]
    pub const fn versioned(&self) -> Option<&VersionedState> {
        self.versioned.as_ref()
    }

    /// The bytes of the record.
    pub(crate) fn encode(&self) -> [u8; Self::LEN_BYTES] {
        let (log_len, epoch, commit, page_count_max, log_state) = match &self.versioned {
            None => (0, 0, 0, 0, 0),
            Some(versioned) => (
                versioned.geometry.log_len(),
                versioned.epoch,
                versioned.commit.get(),
                versioned.page_count_max.get(),
                match versioned.log_state {
                    LogState::Clean => LOG_CLEAN,
                    LogState::Needed => LOG_NEEDED,
                },
            ),
        };
        let metadata = self.metadata.as_bytes();
        let (metadata_len, metadata_crc32c) = match u32::try_from(metadata.len()) {
            Ok(0) | Err(_) => (U32::ZERO, U32::ZERO),
            Ok(len) => (U32::new(len), U32::new(crc32c(metadata))),
        };
        let mut record = Record {
            magic: MAGIC,
            format_version: U32::new(FORMAT_VERSION),
            reserved_0: U32::ZERO,
            page_size: U64::new(self.page_size().get()),
            page_count: U64::new(self.page_count().get()),
            file_uuid: self.file_uuid.into_bytes(),
            generation: U64::new(self.generation),
            features_compatible: U64::new(self.features.compatible),
            features_incompatible: U64::new(self.features.incompatible),
            log_len: U64::new(log_len),
            epoch: U64::new(epoch),
            commit: U64::new(commit),
            page_count_max: U64::new(page_count_max),
            log_state: U32::new(log_state),
            reserved_1: [0; 136],
            metadata_len,
            metadata_crc32c,
            crc32c: U32::ZERO,
        };
        record.crc32c = U32::new(record.computed_crc32c());
        zerocopy::transmute!(record)
    }
}

/// A superblock whose magic and checksum are right, and its metadata's; what it says is not judged yet. The newest one
/// of a file is chosen among these, so that an old slot is never taken for a newer one that this
/// build cannot read.
#[derive(Clone, Copy)]
pub(crate) struct IntactSuperblock {
    record: Record,
    metadata: Result<Metadata, FormatError>,
}

impl IntactSuperblock {
    /// Reads the record at the beginning of a slot.
    pub(crate) fn read(slot: &[u8], part: &'static str) -> Result<Self, FormatError> {
        let (record, rest) = Record::read_from_prefix(slot).map_err(|_| FormatError::Short {
            part,
            found: slot.len() as u64,
            expected: Superblock::LEN_BYTES as u64,
        })?;
        if record.magic != MAGIC {
            return Err(FormatError::Magic { found: record.magic, expected: MAGIC });
        }
        let (found, expected) = (record.computed_crc32c(), record.crc32c.get());
        if found != expected {
            return Err(FormatError::RecordChecksum { part, found, expected });
        }
        let metadata = record.metadata(rest);
        // Record and metadata are written together. Where they do not belong together, the write did
        // not come to its end.
        if let Ok(metadata) = &metadata
            && record.has_metadata()
        {
            let (found, expected) = (crc32c(metadata.as_bytes()), record.metadata_crc32c.get());
            if found != expected {
                return Err(FormatError::RecordChecksum { part, found, expected });
            }
        }
        Ok(Self { record, metadata })
    }

    pub(crate) fn generation(&self) -> u64 {
        self.record.generation.get()
    }

    pub(crate) fn file_uuid(&self) -> Uuid {
        Uuid::from_bytes(self.record.file_uuid)
    }

    /// The bytes of the slot that are not zero: those of the record, and of the metadata behind it.
    pub(crate) fn used_len(&self) -> usize {
        Superblock::LEN_BYTES + self.metadata.map_or(0, |metadata| metadata.as_bytes().len())
    }

    /// Judges what the record says.
    pub(crate) fn check(&self) -> Result<Superblock, FormatError> {
        let record = &self.record;
        let version = record.format_version.get();
        if version != FORMAT_VERSION {
            return Err(FormatError::Version { found: version, expected: FORMAT_VERSION });
        }
        let features = Features {
            compatible: record.features_compatible.get(),
            incompatible: record.features_incompatible.get(),
        };
        let unknown = features.incompatible & !Features::KNOWN_INCOMPATIBLE;
        if unknown != 0 {
            let known = Features::KNOWN_INCOMPATIBLE;
            return Err(FormatError::Features { found: unknown, known });
        }
        let page_size = PageSize::new(record.page_size.get())?;
        let geometry = Geometry::new(page_size, PageCount::new(record.page_count.get()))?;
        Ok(Superblock {
            geometry,
            file_uuid: self.file_uuid(),
            generation: self.generation(),
            features,
            versioned: self.check_versioned(features, page_size)?,
            metadata: self.metadata?,
        })
    }

    /// Judges what the record of a versioned file says on top.
    fn check_versioned(
        &self,
        features: Features,
        page_size: PageSize,
    ) -> Result<Option<VersionedState>, FormatError> {
        if features.incompatible & Features::VERSIONED == 0 {
            return Ok(None);
        }
        if features.incompatible & Features::SEALED != 0 {
            let (found, allowed) = (features.incompatible, "sealed or versioned, not both");
            return Err(FormatError::Versioned { field: "set of features", found, allowed });
        }
        let record = &self.record;
        let log_state = match record.log_state.get() {
            LOG_CLEAN => LogState::Clean,
            LOG_NEEDED => LogState::Needed,
            found => {
                let (found, allowed) = (found.into(), "1 (clean) or 2 (needed)");
                return Err(FormatError::Versioned { field: "state of the log", found, allowed });
            }
        };
        let versioned = VersionedState {
            geometry: VersionedGeometry::new(page_size, record.log_len.get())?,
            epoch: record.epoch.get(),
            commit: CommitId::new(record.commit.get()),
            page_count_max: PageCount::new(record.page_count_max.get()),
            log_state,
        };
        check_versioned(PageCount::new(record.page_count.get()), &versioned)?;
        Ok(Some(versioned))
    }
}

/// Checks that a versioned file can be as its superblock says.
fn check_versioned(page_count: PageCount, state: &VersionedState) -> Result<(), FormatError> {
    state.geometry.file_len(state.page_count_max)?;
    if page_count > state.page_count_max {
        let (found, allowed) = (page_count.get(), "at most the count that there ever was");
        return Err(FormatError::Versioned { field: "page count", found, allowed });
    }
    Ok(())
}

impl Record {
    /// Whether this is a version that knows of metadata, and there are some.
    fn has_metadata(&self) -> bool {
        self.format_version.get() == FORMAT_VERSION
            && self.features_compatible.get() & Features::METADATA != 0
    }

    /// The metadata among the bytes behind the record.
    fn metadata(&self, rest: &[u8]) -> Result<Metadata, FormatError> {
        if !self.has_metadata() {
            return Ok(Metadata::EMPTY);
        }
        let (found, max) = (u64::from(self.metadata_len.get()), Metadata::LEN_MAX as u64);
        let bytes = usize::try_from(found).ok().and_then(|len| rest.get(..len));
        bytes.map_or(Err(FormatError::MetadataTooLong { found, max }), Metadata::new)
    }

    fn computed_crc32c(&self) -> u32 {
        crc32c(&self.as_bytes()[..offset_of!(Self, crc32c)])
    }
}
