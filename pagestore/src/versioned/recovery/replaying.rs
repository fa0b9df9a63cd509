//! Putting into the pages what only the log has.

use std::{
    fs::File,
    io::{self, IoSlice},
    path::Path,
};

use layout::{
    CommitHead, CommitId, CommitMark, PageChange, PageCount, PageId, PageSize, PageStamp,
    Superblock, VersionedGeometry, VersionedState,
};

use super::{READ_LEN, ReadError, Reader, RecoveryReport, Replay, Whole};
use crate::{error::Result, versioned::medium::Medium};

/// The bytes of a table of stamps that are read at a time.
const STAMPS_READ_LEN: u64 = 64 << 10;

impl Replay {
    /// Sees to it that no crash takes away a commit that was found, or brings back one that was not: whoever
    /// goes on from here relies on it.
    pub(in super::super) fn make_durable(
        &self,
        (file, path): (&File, &Path),
        medium: &dyn Medium,
        superblock: &Superblock,
        state: &VersionedState,
    ) -> Result<()> {
        let reader = self.reader(file, superblock, state);
        // Whoever committed it may have been killed before it was durable, and it is read out of the page
        // cache now. Those before it were durable before it was written.
        let durable = self
            .records
            .last()
            .map_or(Ok(()), |record| reader.make_durable(record, medium))
            .and_then(|()| reader.erase(&self.cut_off, medium));
        self.window.swap(&reader.window);
        durable.map_err(|error| error.with("make durable the log of", path))
    }

    /// Writes into the pages what only the log has, as their commits would have. The log is left as it is, so
    /// a crash in here changes nothing. It is durable by now.
    pub(in super::super) fn apply(
        &self,
        (file, path): (&File, &Path),
        medium: &dyn Medium,
        superblock: &Superblock,
        state: &VersionedState,
    ) -> Result<RecoveryReport> {
        let written = self.reader(file, superblock, state).write(self, medium);
        let pages =
            written.map_err(|error| error.with("write the commits of the log into", path))?;
        let commits = self.records.len() as u64;
        Ok(RecoveryReport { commit: self.version.commit, commits, pages })
    }

    /// Reads the log, beginning with what was read of it: what lies there of records that are whole stays as it is.
    fn reader<'file>(
        &self,
        file: &'file File,
        superblock: &Superblock,
        state: &VersionedState,
    ) -> Reader<'file> {
        let reader = Reader::new(file, superblock, state, state.epoch);
        reader.window.swap(&self.window);
        reader
    }
}

impl Reader<'_> {
    /// Writes a record over itself, durably.
    fn make_durable(&self, record: &Whole, medium: &dyn Medium) -> Result<(), ReadError> {
        let end = record.images_start + record.images_len(self.geometry.page_size());
        let mut at = record.images_start - record.head.head_len();
        while at < end {
            let mut bytes = vec![0; READ_LEN.min(usize::try_from(end - at).unwrap_or(READ_LEN))];
            if !self.read_at(&mut bytes, at)? {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            medium.write_durably(at, &[IoSlice::new(&bytes)])?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// Makes records of a commit that never ended unreadable. Each lacks a part, and the next commit has the
    /// same number: a part of what that writes may be what was lacking, and a crash in it would leave a whole
    /// record of what was given up.
    ///
    /// No byte but those of the preamble, which lie in one sector: zeros may be just what was lacking elsewhere,
    /// where a crash in here lets them reach the disk and not the preamble's.
    fn erase(&self, cut_off: &[u64], medium: &dyn Medium) -> Result<(), ReadError> {
        let zeros = [0; CommitHead::PREAMBLE_BYTES];
        for &offset in cut_off {
            medium.write_durably(offset, &[IoSlice::new(&zeros)])?;
        }
        Ok(())
    }

    /// Writes the mark, and pages and stamps in ascending order as far as one record goes.
    fn write(&self, replay: &Replay, medium: &dyn Medium) -> Result<PageCount, ReadError> {
        let Some(newest) = replay.records.last() else { return Ok(PageCount::ZERO) };
        let mark = CommitMark { epoch: self.epoch, commit: newest.head.commit };
        let mark = mark.encode(self.file_uuid);
        medium.write(VersionedGeometry::MARK_START, &[IoSlice::new(&mark)])?;
        // The last change of each page is the one that counts: an earlier image must not be put over a
        // page that was written in its place later.
        let last = replay.last_changes();
        for record in &replay.records {
            let commit = record.head.commit;
            self.images(record, |page, _, bytes| {
                if last.get(&page).is_some_and(|(last, _)| *last == commit) {
                    medium.write(self.geometry.page_offset(page), &[IoSlice::new(bytes)])?;
                }
                Ok(true)
            })?;
        }
        let last: Vec<_> = last.into_iter().collect();
        let block = |page: PageId| self.geometry.stamp_offset(page) / STAMPS_READ_LEN;
        for near in last.chunk_by(|(one, _), (other, _)| block(*one) == block(*other)) {
            self.write_stamps(near, medium)?;
        }
        Ok(PageCount::new(last.len() as u64))
    }

    /// Writes stamps that lie near one another: those of one page of the system by one call, with those
    /// between them as they are.
    fn write_stamps(
        &self,
        near: &[(PageId, (CommitId, PageChange))],
        medium: &dyn Medium,
    ) -> Result<(), ReadError> {
        let (Some((first, _)), Some((last, _))) = (near.first(), near.last()) else {
            return Ok(());
        };
        let start = self.geometry.stamp_offset(*first);
        let place = |page: PageId| {
            usize::try_from(self.geometry.stamp_offset(page) - start)
                .expect("they lie near one another")
        };
        let mut bytes = vec![0; place(*last) + PageStamp::LEN_BYTES];
        if !self.read_at(&mut bytes, start)? {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        for (page, (commit, change)) in near {
            let stamp = PageStamp { commit: *commit, checksum: change.checksum };
            bytes[place(*page)..][..PageStamp::LEN_BYTES]
                .copy_from_slice(&stamp.encode(*page, &self.hasher));
        }
        let os_page = rustix::param::page_size() as u64;
        let table_page = |page: PageId| self.geometry.stamp_offset(page) / os_page;
        for part in near.chunk_by(|(one, _), (other, _)| table_page(*one) == table_page(*other)) {
            let (Some((first, _)), Some((last, _))) = (part.first(), part.last()) else { continue };
            let stamps = &bytes[place(*first)..place(*last) + PageStamp::LEN_BYTES];
            medium.write(self.geometry.stamp_offset(*first), &[IoSlice::new(stamps)])?;
        }
        Ok(())
    }
}

impl Whole {
    fn images_len(&self, page_size: PageSize) -> u64 {
        self.head.record_len(page_size) - self.head.head_len()
    }
}
