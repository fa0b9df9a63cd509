//! Restoring a file from a whole backup and increments.

use std::{ops::ControlFlow, path::Path};

use layout::{CommitId, PageCount, PageId, PageRange, PageSize, TableHasher};
use pagestore::{Existing, VersionedContent, VersionedFile};

use super::{Backup, BackupError, BackupProgress, Result, WINDOW_BYTES, create::take_in};

/// A whole backup and the increments to it, each since the commit of the one before.
#[derive(Clone, Debug)]
pub struct Chain {
    /// At least one, in order.
    backups: Vec<Backup>,
}

/// Pages that one of the backups has the last version of.
struct Part {
    backup: usize,
    pages: PageRange,
    /// The place of the first one in the backup.
    place: u64,
}

impl Chain {
    /// Opens backups and puts them in order.
    ///
    /// # Errors
    /// As [`Backup::open`] and [`new`](Self::new).
    pub fn open<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self> {
        Self::new(paths.into_iter().map(Backup::open).collect::<Result<_>>()?)
    }

    /// Puts backups in order, in whatever order they come.
    ///
    /// # Errors
    /// [`BackupError::Empty`]; [`BackupError::OtherFile`]; [`BackupError::NoWhole`];
    /// [`BackupError::TwoWhole`]; [`BackupError::MissingLink`].
    pub fn new(mut backups: Vec<Backup>) -> Result<Self> {
        // An increment without a change is of the commit that it is since, and comes behind.
        backups.sort_by_key(|backup| (backup.commit(), backup.since()));
        let first = backups.first().ok_or(BackupError::Empty)?;
        if let Some(since) = first.since() {
            return Err(BackupError::NoWhole { path: first.path().into(), since });
        }
        for two in backups.windows(2) {
            let [before, later] = two else { continue };
            let path = later.path().into();
            let (found, expected) = (later.file_uuid(), before.file_uuid());
            if found != expected || later.page_size() != before.page_size() {
                return Err(BackupError::OtherFile { path, found, expected });
            }
            // A backup of a file without commits has nothing, so what is whole is an increment to it.
            if later.head.since == before.commit() {
                continue;
            }
            match later.since() {
                Some(since) => {
                    let (before, found) = (before.path().into(), before.commit());
                    return Err(BackupError::MissingLink { path, since, before, found });
                }
                None => {
                    return Err(BackupError::TwoWhole { path, other: before.path().into() });
                }
            }
        }
        Ok(Self { backups })
    }

    fn last(&self) -> &Backup {
        self.backups.last().expect("a chain has a backup")
    }

    /// The commit that it leads to.
    #[must_use]
    pub fn commit(&self) -> CommitId {
        self.last().commit()
    }

    /// The size of the file's pages.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.last().page_size()
    }

    /// How many pages the file has at that commit.
    #[must_use]
    pub fn page_count(&self) -> PageCount {
        self.last().page_count()
    }

    /// Makes a versioned file at `path` that is what the backed-up one was at the last backup's commit, to the
    /// uuid and the stamp of each page; so increments can go on from there. It appears when it is whole and
    /// durable, with its checksums compared. `progress` is told how far it is, and can stop it.
    ///
    /// # Errors
    /// [`BackupError::Columns`] where a backup is damaged; [`BackupError::NotOneHistory`];
    /// [`BackupError::Store`] as [`VersionedFileOptions::create`](crate::VersionedFileOptions::create);
    /// [`BackupError::Stopped`]. Nothing is left behind.
    pub fn restore(
        &self,
        path: impl AsRef<Path>,
        existing: Existing,
        mut progress: impl FnMut(BackupProgress) -> ControlFlow<()>,
    ) -> Result<()> {
        let head = &self.last().head;
        let content = VersionedContent {
            file_uuid: head.file_uuid,
            commit: head.commit,
            page_count: head.page_count,
        };
        let options = VersionedFile::options().page_size(head.page_size).log_bytes(head.log_bytes);
        let mut writer = options.write(path, existing, &content)?;
        let mut hasher = TableHasher::new();
        let page_bytes = head.page_size.get();
        let pages: u64 = self.parts().map(|part| part.pages.count().get()).sum();
        let mut so_far = BackupProgress { bytes_done: 0, bytes: pages * page_bytes };
        let window_pages = head.page_size.pages_for(WINDOW_BYTES).get();
        for part in self.parts() {
            let backup = &self.backups[part.backup];
            let (start, count) = (part.pages.start().get(), part.pages.count().get());
            for done in (0..count).step_by(super::index(window_pages)) {
                let window = window_pages.min(count - done);
                let first = PageId::new(start + done);
                let stamps = backup.stamps(part.place + done, window)?;
                let bytes = backup.pages(part.place + done, window)?;
                for (page, stamp) in (first.get()..).map(PageId::new).zip(&stamps) {
                    take_in(&mut hasher, page, *stamp);
                }
                writer.append(first, &stamps, bytes)?;
                so_far.bytes_done += window * page_bytes;
                if progress(so_far).is_break() {
                    return Err(BackupError::Stopped);
                }
            }
        }
        if hasher.finish() != head.stamps_crc32c {
            return Err(BackupError::NotOneHistory { path: self.last().path().into() });
        }
        Ok(writer.publish()?)
    }

    /// The pages of the last commit that were ever written, in order, each where its last version is.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let end = self.page_count().get();
        // The run of each backup that the walk has come to, and how many pages the runs before it have.
        let mut cursors = vec![(0_usize, 0_u64); self.backups.len()];
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < end {
                let (mut next, mut found) = (end, None);
                for (index, backup) in self.backups.iter().enumerate().rev() {
                    let (run, before) = &mut cursors[index];
                    while let Some(passed) =
                        backup.runs.get(*run).filter(|run| run.end().get() <= at)
                    {
                        *before += passed.count().get();
                        *run += 1;
                    }
                    let Some(own) = backup.runs.get(*run) else { continue };
                    if own.start().get() <= at {
                        next = next.min(own.end().get());
                        found = Some((index, *before + at - own.start().get()));
                        break;
                    }
                    // A later backup has the pages from there on.
                    next = next.min(own.start().get());
                }
                let (start, stop) = (PageId::new(at), PageId::new(next));
                at = next;
                let pages = PageRange::resolve(start..stop, PageCount::new(end));
                if let (Some((backup, place)), Ok(pages)) = (found, pages) {
                    return Some(Part { backup, pages, place });
                }
            }
            None
        })
    }
}
