//! The bytes of a superblock, written and judged.

use std::mem::{offset_of, size_of};

use uuid::Uuid;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

use super::{
    FORMAT_VERSION, Features, LogState, MAGIC, Superblock, VersionedState, check_versioned,
};
use crate::{
    CommitId, FormatError, Geometry, Metadata, PageCount, PageSize, VersionedGeometry,
    checksum::crc32c,
};

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

const LOG_CLEAN: u32 = 1;
const LOG_NEEDED: u32 = 2;

impl Superblock {
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
