//! Checking a whole versioned file, without a change to it: also one that was not closed.
//!
//! Where the log is needed, a page that it has an image of may be anything in its place: a recovery writes
//! over it. So the image is what is checked, and the other pages where they lie.

use std::{collections::BTreeMap, fs::File, ops::ControlFlow, path::Path, time::Instant};

use layout::{
    CommitId, FormatError, Header, LogState, PageChange, PageCount, PageHasher, PageId, PageRange,
    PageSource, PageStamp, VersionedGeometry, VersionedState,
};

use super::{
    file::VersionedFile,
    opening, recovery,
    report::{BadVersionedPage, PageDamage, VersionedReport},
};
use crate::{
    error::{Error, Result},
    file::{
        claim::Claim,
        header,
        progress::VerifyProgress,
        purpose::{Purpose, Trust},
    },
    map::place,
};

/// What is read at once, and between two reports of progress.
const WINDOW_BYTES: u64 = 4 << 20;

/// What the log says that the pages are.
#[derive(Default)]
struct Found {
    commit: CommitId,
    page_count: PageCount,
    commits: u64,
    changes: BTreeMap<PageId, (CommitId, PageChange)>,
    damage: Option<FormatError>,
}

impl VersionedFile {
    /// Checks the header, the mark, the log and every page of the last commit of a file that nobody has open to
    /// write. Nothing is written, also where the file was not closed and its log is needed.
    ///
    /// `progress` is told how far it is, every few MiB, and can stop it.
    ///
    /// # Errors
    /// As [`VersionedFileOptions::open`](crate::VersionedFileOptions::open), where the file cannot be read as
    /// one. Damage is no error: it is in the report.
    pub fn verify(
        path: impl AsRef<Path>,
        mut progress: impl FnMut(VerifyProgress) -> ControlFlow<()>,
    ) -> Result<VersionedReport> {
        let (path, started) = (path.as_ref(), Instant::now());
        let claim = Claim::open(path, Purpose::Read, Trust::Evidence)?;
        let header = header::read(claim.file(), path)?;
        let state = opening::versioned(&header, path)?;
        let found = look_at_log(&claim, &header, &state)?;
        let slot = header.other_slot_error().filter(|error| !opening::is_never_written(error));
        let mut report = VersionedReport {
            commit: found.commit,
            log_state: state.log_state,
            log_commits: found.commits,
            log_pages: PageCount::new(found.changes.len() as u64),
            pages: PageCount::ZERO,
            page_count: found.page_count,
            bad_pages: Vec::new(),
            damage: slot.into_iter().chain(found.damage).collect(),
            elapsed: started.elapsed(),
        };
        // Without the log nobody knows what the pages should be.
        if found.damage.is_none() {
            let pages = Pages {
                file: claim.file(),
                path,
                geometry: state.geometry,
                hasher: PageHasher::new(header.superblock().file_uuid()),
                found: &found,
            };
            pages.check(&mut report, &mut progress)?;
        }
        report.elapsed = started.elapsed();
        Ok(report)
    }
}

/// Finds out what the last commit is, and what the log has of it.
fn look_at_log(claim: &Claim, header: &Header, state: &VersionedState) -> Result<Found> {
    let (superblock, file, path) = (header.superblock(), claim.file(), claim.path());
    let mut found =
        Found { commit: state.commit, page_count: superblock.page_count(), ..Found::default() };
    let looked = match state.log_state {
        LogState::Clean => opening::check_clean(claim.len_bytes()?, (file, path), header, state),
        LogState::Needed => recovery::read(file, path, superblock, state).and_then(|replay| {
            let len = claim.len_bytes()?;
            replay.check_len(&state.geometry, len).map_err(Error::format(path))?;
            (found.commit, found.page_count) = (replay.version.commit, replay.version.page_count);
            found.commits = replay.commit_count();
            found.changes = replay.last_changes();
            Ok(())
        }),
    };
    match looked {
        Ok(()) => {}
        Err(Error::Format { source, .. }) => found.damage = Some(source),
        Err(other) => return Err(other),
    }
    Ok(found)
}

/// The pages of a file, read by read(2).
struct Pages<'a> {
    file: &'a File,
    path: &'a Path,
    geometry: VersionedGeometry,
    hasher: PageHasher,
    found: &'a Found,
}

impl Pages<'_> {
    fn check(
        &self,
        report: &mut VersionedReport,
        progress: &mut dyn FnMut(VerifyProgress) -> ControlFlow<()>,
    ) -> Result<()> {
        let page_count = self.found.page_count;
        let all = PageRange::resolve(.., page_count).map_err(Error::no_pages(self.path))?;
        for window in place::windows(all, self.geometry.page_size(), WINDOW_BYTES) {
            let mut rest = window;
            while !rest.is_empty() {
                // A window may reach into the next group.
                let group = self.geometry.group_of(rest.start());
                let group_end = PageId::new(group.first.get() + group.page_count.get());
                let end = rest.end().min(group_end);
                let split = PageRange::resolve(rest.start()..end, page_count)
                    .and_then(|part| Ok((part, PageRange::resolve(end..rest.end(), page_count)?)));
                let (part, later) = split.map_err(Error::no_pages(self.path))?;
                self.check_part(part, report)?;
                rest = later;
            }
            report.pages = PageCount::new(window.end().get());
            let so_far = VerifyProgress { pages_done: report.pages, page_count };
            if progress(so_far).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Checks adjacent pages of one group.
    fn check_part(&self, part: PageRange, report: &mut VersionedReport) -> Result<()> {
        let page_size = self.geometry.page_size();
        let page_len = page_size.get_usize();
        let stamps_len = part.count().get() * PageStamp::LEN_BYTES as u64;
        let stamps = self.read(self.geometry.stamp_offset(part.start()), stamps_len)?;
        let start = self.geometry.page_offset(part.start());
        let pages = self.read(start, part.count().get() * page_size.get())?;
        let stamps = stamps.chunks_exact(PageStamp::LEN_BYTES);
        for ((page, stamp), bytes) in part.iter().zip(stamps).zip(pages.chunks_exact(page_len)) {
            let mut own = [0; PageStamp::LEN_BYTES];
            own.copy_from_slice(stamp);
            if let Err(damage) = self.check_page(page, own, bytes) {
                let offset = self.geometry.page_offset(page);
                report.bad_pages.push(BadVersionedPage { page, offset, damage });
            }
        }
        Ok(())
    }

    fn check_page(
        &self,
        page: PageId,
        stamp: [u8; PageStamp::LEN_BYTES],
        bytes: &[u8],
    ) -> Result<(), PageDamage> {
        let expected = match self.found.changes.get(&page) {
            // The image was found right with its record.
            Some((_, PageChange { source: PageSource::Image, .. })) => return Ok(()),
            Some((commit, change)) => {
                Some(PageStamp { commit: *commit, checksum: change.checksum })
            }
            None => PageStamp::parse(stamp, page, &self.hasher).map_err(PageDamage::Stamp)?,
        };
        let newest = self.found.commit;
        match expected {
            None if bytes.iter().all(|&byte| byte == 0) => Ok(()),
            None => Err(PageDamage::Stamp(FormatError::Unwritten { page })),
            Some(PageStamp { commit: found, .. }) if found > newest => {
                Err(PageDamage::Stamp(FormatError::StampAhead { page, found, newest }))
            }
            Some(PageStamp { commit, checksum: expected }) => {
                let found = self.hasher.versioned(page, commit, bytes);
                if found == expected {
                    return Ok(());
                }
                Err(PageDamage::Bytes { commit, found, expected })
            }
        }
    }

    /// Bytes of the file, and zeros where it ends before: of pages that a commit in the log adds.
    fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = header::read_at(self.file, self.path, offset, len)?;
        bytes.resize(usize::try_from(len).unwrap_or_default(), 0);
        Ok(bytes)
    }
}
