//! After a crash: which commits the log has, and their pages put where they belong.
//!
//! A record counts only if it is whole: its head, its list and each image match their checksums, it is of
//! this file and epoch, and it follows the one before. Where the records end, a commit may have been cut
//! off by the crash; that is no damage. But it is, where a later commit is whole, where the mark or a
//! page's stamp tells of a commit that is not there, or where the first one that is needed is missing.

mod last_changes;
mod replaying;

use std::{cell::RefCell, fs::File, io, os::unix::fs::FileExt, path::Path};

use layout::{
    CommitHead, CommitId, CommitMark, FormatError, LogHalf, PageChange, PageCount, PageHasher,
    PageId, PageSource, PageStamp, Superblock, VersionedGeometry, VersionedState,
};
use uuid::Uuid;

use super::{log::HalfEnd, pages::Version};
use crate::{Error, Result};

/// The bytes of a half that are read at a time.
const READ_LEN: usize = 1 << 20;

/// What a recovery found and did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The last commit.
    pub commit: CommitId,
    /// The commits that were only in the log.
    pub commits: u64,
    /// The pages that were written from it.
    pub pages: PageCount,
}

/// Reads one log.
struct Reader<'file> {
    file: &'file File,
    /// What was read last, and where it lies: most reads follow one another.
    window: RefCell<(u64, Vec<u8>)>,
    file_uuid: Uuid,
    geometry: VersionedGeometry,
    epoch: u64,
    hasher: PageHasher,
}

/// A record that is whole.
struct Whole {
    head: CommitHead,
    changes: Vec<PageChange>,
    /// Where in the file its images begin.
    images_start: u64,
}

/// The records of one half, each following the one before, and where they end.
struct Chain {
    records: Vec<Whole>,
    end: u64,
}

/// What the log adds to the pages.
pub(super) struct Replay {
    records: Vec<Whole>,
    pub(super) version: Version,
    pub(super) page_count_max: PageCount,
    /// The fewest pages that the file had at any time since the checkpoint.
    page_count_min: PageCount,
    pub(super) ends: [HalfEnd; 2],
    /// Where records begin of a next commit that never ended.
    cut_off: Vec<u64>,
}

/// Finds out what the log has of commits after the superblock's.
pub(super) fn read(
    file: &File,
    path: &Path,
    superblock: &Superblock,
    state: &VersionedState,
) -> Result<Replay> {
    let reader = Reader::new(file, superblock, state, state.epoch);
    reader
        .replay(superblock.page_count(), state)
        .map_err(|error| error.with("read the log of", path))
}

/// Checks that there is no trace of a commit after the one that a closed file ends with: neither the mark,
/// nor, where a slot of the header is damaged that might have told of it, a record of the epoch `later`.
pub(super) fn check_closed(
    (file, path): (&File, &Path),
    superblock: &Superblock,
    state: &VersionedState,
    later: Option<u64>,
) -> Result<()> {
    let reader = Reader::new(file, superblock, state, later.unwrap_or(state.epoch));
    let behind = |half| match later {
        None => Ok(()),
        Some(_) => reader.check_behind(half, 0, state.commit).map(drop),
    };
    LogHalf::BOTH
        .into_iter()
        .try_for_each(behind)
        .and_then(|()| reader.check_mark(state.commit))
        .map_err(|error| error.with("read the log of", path))
}

enum ReadError {
    Io(io::Error),
    Format(FormatError),
}

impl ReadError {
    fn with(self, operation: &'static str, path: &Path) -> Error {
        match self {
            Self::Io(source) => Error::io(operation, path)(source),
            Self::Format(source) => Error::format(path)(source),
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FormatError> for ReadError {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl<'file> Reader<'file> {
    fn new(file: &'file File, superblock: &Superblock, state: &VersionedState, epoch: u64) -> Self {
        let (file_uuid, geometry) = (superblock.file_uuid(), state.geometry);
        let window = RefCell::default();
        Self { file, window, file_uuid, geometry, epoch, hasher: PageHasher::new(file_uuid) }
    }

    fn replay(&self, page_count: PageCount, state: &VersionedState) -> Result<Replay, ReadError> {
        let mut chains = Vec::with_capacity(2);
        for half in LogHalf::BOTH {
            chains.push((half, self.chain(half)?));
        }
        let end = |half, chain: &Chain| {
            let last = chain.records.last().map(|record| record.head.commit);
            HalfEnd { half, end: chain.end, last }
        };
        let ends = std::array::from_fn(|index| {
            let (half, chain) = &chains[index];
            end(*half, chain)
        });
        chains.sort_by_key(|(_, chain)| chain.records.first().map(|record| record.head.commit));
        let mut replay = Replay {
            records: Vec::new(),
            version: Version { commit: state.commit, page_count },
            page_count_max: state.page_count_max,
            page_count_min: page_count,
            ends,
            cut_off: Vec::new(),
        };
        for (_, chain) in chains {
            for record in chain.records {
                let commit = record.head.commit;
                if commit <= state.commit {
                    continue;
                }
                let missing = replay.version.commit.next();
                if commit != missing {
                    return Err(FormatError::CommitLost { missing, later: commit }.into());
                }
                replay.version = Version { commit, page_count: record.head.page_count };
                replay.page_count_max = record.head.page_count_max;
                replay.page_count_min = replay.page_count_min.min(record.head.page_count);
                self.geometry.file_len(replay.page_count_max)?;
                replay.records.push(record);
            }
        }
        let newest = replay.version.commit;
        for HalfEnd { half, end, .. } in ends {
            replay.cut_off.extend(self.check_behind(half, end, newest)?);
        }
        self.check_mark(newest)?;
        Ok(replay)
    }

    /// The whole records from the beginning of a half on.
    fn chain(&self, half: LogHalf) -> Result<Chain, ReadError> {
        let (start, len) = (self.geometry.half_start(half), self.geometry.half_len());
        let mut chain = Chain { records: Vec::<Whole>::new(), end: 0 };
        while chain.end < len {
            let room = len - chain.end;
            let Some(record) = self.record(start + chain.end, room)? else { break };
            let follows = chain
                .records
                .last()
                .is_none_or(|last| last.head.commit.next() == record.head.commit);
            if !follows {
                break;
            }
            chain.end += record.head.record_len(self.geometry.page_size());
            chain.records.push(record);
        }
        Ok(chain)
    }

    /// The record at a place, if there is a whole one of this epoch.
    fn record(&self, offset: u64, room: u64) -> Result<Option<Whole>, ReadError> {
        let Some(head) = self.head(offset, room)? else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(head.head_len()).unwrap_or(0)];
        if !self.read_at(&mut bytes, offset)? {
            return Ok(None);
        }
        let Ok(changes) = head.changes(&bytes) else { return Ok(None) };
        let images_start = offset + head.head_len();
        let record = Whole { head, changes, images_start };
        let mut is_whole = true;
        self.images(&record, |page, checksum, bytes| {
            is_whole &= self.hasher.versioned(page, record.head.commit, bytes) == checksum;
            Ok(is_whole)
        })?;
        Ok(is_whole.then_some(record))
    }

    /// What a record at a place begins with, if it does and is of this epoch.
    fn head(&self, offset: u64, room: u64) -> Result<Option<CommitHead>, ReadError> {
        let mut preamble = [0; CommitHead::PREAMBLE_BYTES];
        if room < CommitHead::ALIGN_BYTES as u64 || !self.read_at(&mut preamble, offset)? {
            return Ok(None);
        }
        let head = CommitHead::parse(&preamble, self.file_uuid, self.geometry.page_size(), room);
        Ok(head.ok().filter(|head| head.epoch == self.epoch))
    }

    /// Reads the images of a record, one page after the other, until told to stop.
    fn images(
        &self,
        record: &Whole,
        mut each: impl FnMut(PageId, layout::PageChecksum, &[u8]) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        let page_len = self.geometry.page_size().get_usize();
        let images = record.changes.iter().filter(|change| change.source == PageSource::Image);
        let images: Vec<_> = images.collect();
        let mut buffer = vec![0; page_len * (READ_LEN / page_len).max(1).min(images.len())];
        let mut offset = record.images_start;
        for group in images.chunks((READ_LEN / page_len).max(1)) {
            let bytes = &mut buffer[..group.len() * page_len];
            if !self.read_at(bytes, offset)? {
                // Cut off: not whole.
                bytes.fill(0);
            }
            offset += bytes.len() as u64;
            for (change, page) in group.iter().zip(bytes.chunks_exact(page_len)) {
                if !each(change.page, change.checksum, page)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Looks for a commit behind the place where the whole records of a half end.
    ///
    /// At the end itself the next commit may have been cut off; if it was never finished, no page has a
    /// stamp of it. Gives where such ones begin.
    fn check_behind(
        &self,
        half: LogHalf,
        end: u64,
        newest: CommitId,
    ) -> Result<Vec<u64>, ReadError> {
        let mut cut_off = Vec::new();
        let (start, len) = (self.geometry.half_start(half), self.geometry.half_len());
        let mut at = end;
        while at < len {
            if let Some(head) = self.head(start + at, len - at)?
                && head.commit > newest
            {
                let (missing, later) = (newest.next(), head.commit);
                if later > missing || self.was_applied(start + at, &head)? {
                    return Err(FormatError::CommitLost { missing, later }.into());
                }
                cut_off.push(start + at);
            }
            at += CommitHead::ALIGN_BYTES as u64;
        }
        Ok(cut_off)
    }

    /// Whether a page that a damaged record lists has its stamp.
    fn was_applied(&self, offset: u64, head: &CommitHead) -> Result<bool, ReadError> {
        let mut bytes = vec![0; usize::try_from(head.head_len()).unwrap_or(0)];
        if !self.read_at(&mut bytes, offset)? {
            return Ok(false);
        }
        let Ok(changes) = head.changes(&bytes) else { return Ok(false) };
        for change in changes {
            // What the list says of pages was checked, but not that the file can have them.
            let end = PageCount::new(change.page.get()).checked_add(PageCount::new(1));
            if end.is_none_or(|end| self.geometry.file_len(end).is_err()) {
                continue;
            }
            let mut stamp = [0; PageStamp::LEN_BYTES];
            if self.read_at(&mut stamp, self.geometry.stamp_offset(change.page))?
                && let Ok(Some(stamp)) = PageStamp::parse(stamp, change.page, &self.hasher)
                && stamp.commit == head.commit
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Checks that the mark tells of no later commit.
    fn check_mark(&self, newest: CommitId) -> Result<(), ReadError> {
        let mut bytes = [0; CommitMark::LEN_BYTES];
        if !self.read_at(&mut bytes, VersionedGeometry::MARK_START)? {
            return Ok(());
        }
        match CommitMark::parse(&bytes, self.file_uuid)? {
            Some(mark) if mark.commit > newest => {
                let missing = newest.next();
                Err(FormatError::CommitLost { missing, later: mark.commit }.into())
            }
            _ => Ok(()),
        }
    }

    /// Fills `bytes`; says whether the file has them all.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<bool, ReadError> {
        let log_end = self.geometry.groups_start();
        let is_in_log = VersionedGeometry::LOG_START <= offset && offset < log_end;
        if bytes.len() >= READ_LEN || !is_in_log {
            return self.read_through(bytes, offset);
        }
        // No more than the log: the mark and single stamps are not worth a window.
        let window_len = READ_LEN.min(usize::try_from(log_end - offset).unwrap_or(READ_LEN));
        let mut window = self.window.borrow_mut();
        let (start, content) = &mut *window;
        let end = offset + bytes.len() as u64;
        if offset < *start || end > *start + content.len() as u64 {
            content.resize(window_len, 0);
            *start = offset;
            let mut len = 0;
            while len < window_len {
                match self.file.read_at(&mut content[len..], offset + len as u64) {
                    Ok(0) => break,
                    Ok(count) => len += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        content.clear();
                        return Err(error.into());
                    }
                }
            }
            content.truncate(len);
        }
        let Ok(skipped) = usize::try_from(offset - *start) else { return Ok(false) };
        match content.get(skipped..skipped + bytes.len()) {
            None => Ok(false),
            Some(found) => {
                bytes.copy_from_slice(found);
                Ok(true)
            }
        }
    }

    fn read_through(&self, bytes: &mut [u8], offset: u64) -> Result<bool, ReadError> {
        match self.file.read_exact_at(bytes, offset) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Replay {
    /// Checks that the file has the pages that no commit of the log brings back.
    pub(super) fn check_len(
        &self,
        geometry: &VersionedGeometry,
        found: u64,
    ) -> Result<(), FormatError> {
        let expected = geometry.file_len(self.page_count_min)?;
        if found < expected { Err(FormatError::Length { found, expected }) } else { Ok(()) }
    }
}
