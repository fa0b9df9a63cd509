//! Making a backup of a snapshot.

use std::{ops::ControlFlow, path::Path};

use layout::{CommitId, PageId, PageRange, PageStamp, TableHasher};
use pagestore::{Existing, PageWriterOptions, Unsealed};

use super::{
    Backup, BackupError, BackupProgress, KIND, Result, WINDOW_BYTES,
    head::{HEAD, Head, PAGES, RUNS, STAMPS, specs},
};
use crate::{AppendOrder, ColumnsWriter, Snapshot};

/// Stamps that are handed over at once.
const STAMPS_AT_ONCE: usize = 4096;

/// How to make a [`Backup`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct BackupOptions {
    since: Option<Backup>,
    existing: Existing,
}

impl BackupOptions {
    /// The default options: a whole backup, and no file is replaced.
    pub const fn new() -> Self {
        Self { since: None, existing: Existing::Refuse }
    }

    /// Makes an increment: only pages that were changed after this backup. Default: a whole backup.
    pub fn since(mut self, earlier: &Backup) -> Self {
        self.since = Some(earlier.clone());
        self
    }

    /// What to do where the name is taken. Default: [`Existing::Refuse`].
    pub const fn existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// Makes a backup of what a snapshot shows. It appears at `path` when it is whole and durable; each page is
    /// verified before it goes there. `progress` is told how far it is, and can stop it.
    ///
    /// # Errors
    /// [`BackupError::OtherFile`], [`BackupError::Ahead`] and [`BackupError::OtherHistory`] where the snapshot
    /// is no later state of what the earlier backup is of; [`BackupError::Store`] where a page or a stamp is damaged; [`BackupError::Columns`] as
    /// [`ColumnsWriter::seal`]; [`BackupError::Stopped`]. Nothing is left behind.
    pub fn create(
        &self,
        snapshot: &Snapshot,
        path: impl AsRef<Path>,
        mut progress: impl FnMut(BackupProgress) -> ControlFlow<()>,
    ) -> Result<Backup> {
        let earlier = self.since.as_ref();
        earlier.map_or(Ok(()), |earlier| earlier.check_is_before(snapshot))?;
        let since = earlier.map_or(CommitId::ZERO, Backup::commit);
        let runs = snapshot.changed_since(since)?;
        let options = ColumnsWriter::options().kind(KIND).order(AppendOrder::ColumnByColumn);
        let pages = PageWriterOptions::new().existing(self.existing);
        let mut writer = options.pages(pages).create(path, &specs())?;
        for run in &runs {
            writer.append(RUNS, &[[run.start().get(), run.count().get()]])?;
        }
        let stamps_crc32c = write_stamps(snapshot, since, earlier, &mut writer)?;
        write_pages(snapshot, &runs, &mut writer, &mut progress)?;
        writer.append(HEAD, &[Head::new(snapshot, since, stamps_crc32c).encode()])?;
        // What was copied is what the commit left, or nothing gets a name.
        snapshot.still_valid()?;
        Backup::of(writer.seal().map_err(Unsealed::into_error)?)
    }
}

/// Takes in the stamps of all pages: hands over those of pages that were changed, and compares the others with
/// those that the earlier backup has of the same pages.
fn write_stamps(
    snapshot: &Snapshot,
    since: CommitId,
    earlier: Option<&Backup>,
    writer: &mut ColumnsWriter,
) -> Result<u32> {
    let mut hasher = TableHasher::new();
    let mut earlier = earlier.map(Earlier::new);
    let mut changed = Vec::with_capacity(STAMPS_AT_ONCE);
    for number in 0..snapshot.page_count().get() {
        let page = PageId::new(number);
        let stamp = snapshot.stamp(page)?;
        if let Some(stamp) = stamp {
            take_in(&mut hasher, page, stamp);
        }
        match stamp {
            Some(PageStamp { commit, checksum }) if commit > since => {
                changed.push([commit.get(), checksum.get().into()]);
                if changed.len() == STAMPS_AT_ONCE {
                    writer.append(STAMPS, &changed)?;
                    changed.clear();
                }
            }
            unchanged => {
                earlier.as_mut().map_or(Ok(()), |earlier| earlier.check(page, unchanged))?;
            }
        }
    }
    writer.append(STAMPS, &changed)?;
    Ok(hasher.finish())
}

/// Has a stamp be part of the checksum of all.
pub(super) fn take_in(hasher: &mut TableHasher, page: PageId, stamp: PageStamp) {
    hasher.update(&page.get().to_le_bytes());
    hasher.update(&stamp.commit.get().to_le_bytes());
    hasher.update(&stamp.checksum.to_le_bytes());
}

fn write_pages(
    snapshot: &Snapshot,
    runs: &[PageRange],
    writer: &mut ColumnsWriter,
    progress: &mut dyn FnMut(BackupProgress) -> ControlFlow<()>,
) -> Result<()> {
    let page_size = snapshot.page_size();
    let count: u64 = runs.iter().map(|run| run.count().get()).sum();
    // No overflow: they are pages of a file.
    let bytes = count * page_size.get();
    let window_pages = page_size.pages_for(WINDOW_BYTES).get();
    let mut so_far = BackupProgress { bytes_done: 0, bytes };
    for run in runs {
        let (mut start, end) = (run.start().get(), run.end().get());
        while start < end {
            let window_end = end.min(start + window_pages);
            let window = snapshot.pages(PageId::new(start)..PageId::new(window_end))?;
            writer.append(PAGES, window)?;
            so_far.bytes_done += window.len() as u64;
            start = window_end;
            if progress(so_far).is_break() {
                return Err(BackupError::Stopped);
            }
        }
    }
    Ok(())
}

/// The stamps of an earlier backup, gone through beside those of the file.
struct Earlier<'a> {
    backup: &'a Backup,
    run: usize,
    /// How many pages the runs before have.
    before: u64,
}

impl<'a> Earlier<'a> {
    fn new(backup: &'a Backup) -> Self {
        Self { backup, run: 0, before: 0 }
    }

    /// Compares what the file says of a page that did not change since with what the backup has of it.
    fn check(&mut self, page: PageId, found: Option<PageStamp>) -> Result<()> {
        let runs = self.backup.runs();
        while let Some(run) = runs.get(self.run).filter(|run| run.end() <= page) {
            self.before += run.count().get();
            self.run += 1;
        }
        let own = match runs.get(self.run).filter(|run| run.start() <= page) {
            None => None,
            Some(run) => {
                let place = self.before + (page.get() - run.start().get());
                self.backup.stamps(place, 1)?.first().copied()
            }
        };
        // What is older than the backup's own part, it does not have.
        let since = self.backup.since().unwrap_or(CommitId::ZERO);
        let covered = found.filter(|stamp| stamp.commit > since);
        if own == covered {
            return Ok(());
        }
        Err(BackupError::OtherHistory { path: self.backup.path().into(), page })
    }
}
