//! A new versioned file that has its pages, and its last commit, from the beginning.

use std::path::{Path, PathBuf};

use layout::{
    CommitId, Header, PageCount, PageHasher, PageId, PageRange, PageStamp, Superblock,
    VersionedGeometry, VersionedState,
};
use uuid::Uuid;

use super::options::VersionedFileOptions;
use crate::{
    error::{Error, Result},
    file::{
        claim::Claim,
        disk,
        durable::sync_file,
        header,
        pending::{Existing, PendingFile},
        purpose::{Purpose, Trust},
    },
    map::place,
};

/// What a file is to be that a [`VersionedWriter`] makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionedContent {
    /// The uuid of the file that the pages are of.
    pub file_uuid: Uuid,
    /// The commit that the pages are of.
    pub commit: CommitId,
    /// How many pages there are.
    pub page_count: PageCount,
}

/// Makes a versioned file out of the pages of another one: a restored backup.
///
/// The file has no name while it is written, so a process that is killed leaves nothing behind; see
/// [`publish`](Self::publish). Pages that are not written are zero.
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{Existing, PageCount, PageId, VersionedContent, VersionedFile};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("copy");
/// let file = VersionedFile::in_memory()?;
/// file.update(|transaction| transaction.grow(PageCount::new(2)).map(drop))?;
/// file.update(|transaction| transaction.page_mut(1).map(|page| page.fill(7)))?;
///
/// let snapshot = file.snapshot()?;
/// let content = VersionedContent {
///     file_uuid: snapshot.file_uuid(),
///     commit: snapshot.commit(),
///     page_count: snapshot.page_count(),
/// };
/// let mut writer = VersionedFile::options().write(&path, Existing::Refuse, &content)?;
/// writer.append(PageId::new(1), &[snapshot.stamp(1)?.unwrap()], snapshot.page(1)?)?;
/// writer.publish()?;
/// let copy = VersionedFile::open(&path)?;
/// assert_eq!((copy.commit_id(), copy.snapshot()?.page(1)?[0]), (snapshot.commit(), 7));
/// # Ok::<(), pagestore::Error>(())
/// ```
#[derive(Debug)]
pub struct VersionedWriter {
    pending: PendingFile,
    claim: Claim,
    path: PathBuf,
    geometry: VersionedGeometry,
    hasher: PageHasher,
    superblock: Superblock,
    commit: CommitId,
    /// Behind the last page that was written.
    next: PageId,
}

impl VersionedFileOptions {
    /// Begins a new file that is to have these pages. Its size of pages and the length of its log are those of
    /// these options; its space is reserved at once.
    ///
    /// # Errors
    /// As [`create`](Self::create), but where `existing` lets it replace a file.
    pub fn write(
        &self,
        path: impl AsRef<Path>,
        existing: Existing,
        content: &VersionedContent,
    ) -> Result<VersionedWriter> {
        let path = path.as_ref();
        place::check_page_size(self.page_size)?;
        let VersionedContent { file_uuid, commit, page_count } = *content;
        let geometry =
            VersionedGeometry::new(self.page_size, self.log_bytes).map_err(Error::format(path))?;
        let file_len = geometry.file_len(page_count).map_err(Error::format(path))?;
        let empty = Superblock::new_versioned(file_uuid, geometry);
        let superblock = match empty.versioned() {
            Some(state) => {
                let state = VersionedState { commit, page_count_max: page_count, ..*state };
                empty.next_version(page_count, state).map_err(Error::format(path))?
            }
            None => return Err(Error::NotVersioned { path: path.into() }),
        };
        let (pending, file) = PendingFile::create_nameless(path, existing)?;
        let claim = Claim::new(file, path, Purpose::Write, Trust::Evidence)?;
        disk::extend(&claim, 0, file_len)?;
        let hasher = PageHasher::new(file_uuid);
        let (path, next) = (path.into(), PageId::new(0));
        Ok(VersionedWriter { pending, claim, path, geometry, hasher, superblock, commit, next })
    }
}

impl VersionedWriter {
    /// Writes adjacent pages behind those that were written before, each with its stamp.
    ///
    /// # Errors
    /// [`Error::Range`] where there are no such pages; [`Error::Checksum`] where a page is not what its stamp
    /// says; [`Error::Format`](crate::Error::Format) where a stamp tells of a commit that the file has not seen;
    /// [`Error::Io`].
    ///
    /// # Panics
    /// Where `bytes` are not as many pages as there are stamps, or pages come out of order.
    pub fn append(&mut self, first: PageId, stamps: &[PageStamp], bytes: &[u8]) -> Result<()> {
        let page_len = self.geometry.page_size().get_usize();
        assert_eq!(bytes.len(), stamps.len() * page_len, "each page has a stamp");
        assert!(first >= self.next, "pages come in order");
        let page_count = self.superblock.page_count();
        let end = first.checked_add(PageCount::new(stamps.len() as u64));
        let end = end.unwrap_or(PageId::new(u64::MAX));
        let range =
            PageRange::resolve(first..end, page_count).map_err(Error::no_pages(&self.path))?;
        let mut encoded = Vec::with_capacity(stamps.len() * PageStamp::LEN_BYTES);
        for ((page, stamp), bytes) in range.iter().zip(stamps).zip(bytes.chunks_exact(page_len)) {
            self.check(page, stamp, bytes)?;
            encoded.extend(stamp.encode(page, &self.hasher));
        }
        let (mut at, mut encoded, mut bytes) = (range.start(), &encoded[..], bytes);
        while at < range.end() {
            // Pages of two groups do not lie side by side.
            let group = self.geometry.group_of(at);
            let group_end = PageId::new(group.first.get() + group.page_count.get());
            let count = range.end().min(group_end).get() - at.get();
            let count_here = usize::try_from(count).unwrap_or(usize::MAX);
            let (stamps_here, later_stamps) = encoded.split_at(count_here * PageStamp::LEN_BYTES);
            let (bytes_here, later_bytes) = bytes.split_at(count_here * page_len);
            header::write(&self.claim, self.geometry.stamp_offset(at), stamps_here)?;
            header::write(&self.claim, self.geometry.page_offset(at), bytes_here)?;
            (encoded, bytes) = (later_stamps, later_bytes);
            at = PageId::new(at.get() + count);
        }
        self.next = range.end();
        Ok(())
    }

    fn check(&self, page: PageId, stamp: &PageStamp, bytes: &[u8]) -> Result<()> {
        let (newest, path) = (self.commit, &self.path);
        if stamp.commit > newest {
            let found = stamp.commit;
            let ahead = layout::FormatError::StampAhead { page, found, newest };
            return Err(Error::format(path)(ahead));
        }
        let found = self.hasher.versioned(page, stamp.commit, bytes);
        if found != stamp.checksum {
            let expected = stamp.checksum;
            return Err(Error::Checksum { path: path.clone(), page, found, expected });
        }
        Ok(())
    }

    /// Makes the file durable, gives it its name and makes that durable. It can be opened then.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] where somebody took the name meanwhile; [`Error::Io`].
    pub fn publish(mut self) -> Result<()> {
        header::write(&self.claim, 0, &Header::encode([Some(&self.superblock), None]))?;
        self.pending.give_temporary_name(self.claim.file())?;
        sync_file(self.claim.file()).map_err(Error::io("make durable", &self.path))?;
        self.pending.publish()
    }
}
