//! The superblock: what a page file says about itself.

mod record;

use uuid::Uuid;

use crate::{CommitId, FormatError, Geometry, Metadata, PageCount, PageSize, VersionedGeometry};

pub(crate) use record::IntactSuperblock;

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

/// Whether the pages of a versioned file are all there is of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LogState {
    /// They are: every commit is in them, and the log is not looked at.
    Clean,
    /// The log may have commits of the file's epoch that are not in the pages yet.
    Needed,
}

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
