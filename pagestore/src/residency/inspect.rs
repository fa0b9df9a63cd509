//! Looking at a page file from outside, while it is in use or not.

use std::path::Path;

use layout::{
    CommitMark, FormatError, Geometry, Header, PageCount, SEAL_BLOCK_LEN_BYTES, SealRecord, Slot,
    Superblock, VersionedGeometry,
};

use crate::{
    error::Result,
    file::{claim::open_to_look, header},
    residency::cache::{self, Residency},
};

/// What a page file says about itself, without locking or mapping it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// The newest intact superblock.
    pub superblock: Superblock,
    /// The slot that it stands in.
    pub slot: Slot,
    /// Why the other slot is not intact, or `None` where it is. That of a mutable file is all zero
    /// until the first flush after it grew.
    pub other_slot_error: Option<FormatError>,
    /// The file's length in bytes.
    pub file_len: u64,
    /// The pages that the file holds. In a mutable file that is in use, or was not flushed before
    /// its process ended, that can be more than the superblock says. Those of a versioned file are the pages
    /// of the commit that the superblock tells of.
    pub page_count: PageCount,
    /// The seal record, or what is wrong with it; `None` where the file is not sealed.
    pub seal: Option<std::result::Result<SealRecord, FormatError>>,
    /// The mark of a versioned file, which tells of the last commit that was put into the pages, or what is
    /// wrong with it; `None` where the file is not versioned, or never saw a commit.
    pub mark: Option<std::result::Result<CommitMark, FormatError>>,
    /// What the page cache holds of the file; `None` where the kernel does not tell.
    pub residency: Option<Residency>,
}

/// Looks at the page file at `path`. It takes no lock, so it works on a file that is in use; the result may be
/// out of date at once.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io), [`Error::NotAFile`](crate::Error::NotAFile);
/// [`Error::Format`](crate::Error::Format) where the header cannot be read as one.
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection> {
    let path = path.as_ref();
    let (file, file_len) = open_to_look(path)?;
    let header: Header = header::read(&file, path)?;
    let superblock = *header.superblock();
    let page_size = superblock.page_size();
    let data_len = file_len.saturating_sub(Geometry::data_start(page_size));
    let seal = if superblock.is_sealed() {
        let start = superblock.geometry().seal_start();
        let block = header::read_at(&file, path, start, SEAL_BLOCK_LEN_BYTES)?;
        Some(SealRecord::parse(&block, &superblock))
    } else {
        None
    };
    let mark = if superblock.versioned().is_some() {
        let start = VersionedGeometry::MARK_START;
        let block = header::read_at(&file, path, start, CommitMark::LEN_BYTES as u64)?;
        CommitMark::parse(&block, superblock.file_uuid()).transpose()
    } else {
        None
    };
    let page_count = match seal {
        Some(_) => superblock.page_count(),
        None if superblock.versioned().is_some() => superblock.page_count(),
        None => PageCount::new(data_len / page_size.get()),
    };
    Ok(Inspection {
        superblock,
        slot: header.slot(),
        other_slot_error: header.other_slot_error(),
        file_len,
        page_count,
        seal,
        mark,
        residency: cache::of_file(&file),
    })
}
