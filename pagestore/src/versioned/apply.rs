//! Putting a commit that is durable in the log into the pages, and what follows it.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use layout::{PageChange, PageCount, PageRange, PageSource, PageStamp, VersionedGeometry};

use super::{
    core::Core,
    log::Applied,
    pages::Pages,
    runs::{hull, runs_of},
    sheet::SheetView,
    unapplied::Unapplied,
    writer::Writer,
};
use crate::{
    error::{Error, PoisonCause, Result},
    sync::Shared,
};

/// The changes of a commit from which on a thread writes them into the file, and the next transaction does not
/// wait for that: what passing them on takes, two threads being woken, is little beside it then.
const PASSED_ON_MIN: usize = 64;

impl Core {
    /// Writes a published commit into the file: here, or by the thread that is there for that.
    pub(super) fn apply_somewhere(self: &Arc<Self>, unapplied: Unapplied, writer: &mut Writer) {
        let page_count = unapplied.view.version().page_count;
        // Where space is to be given back, the next transaction must find the file's new length.
        let is_fitting = self.geometry.file_len(page_count).is_ok_and(|len| len == writer.file_len);
        let is_large = unapplied.changes.len() >= PASSED_ON_MIN;
        if is_large && is_fitting && self.has_threads && !self.has_failed() && self.has_applier() {
            writer.unapplied = Some(Shared::clone(&unapplied.view));
            self.applier.hand_over(unapplied);
            return;
        }
        self.apply_now(unapplied);
        if let Err(error) = self.give_space_back(writer) {
            // The next transaction would work with a length that it knows wrongly.
            self.poison(PageRange::EMPTY, PoisonCause::Commit(error.to_string()));
        }
    }

    /// Writes a published commit into the file; a failure is remembered.
    pub(super) fn apply_now(&self, unapplied: Unapplied) {
        match self.apply(&unapplied.view, &unapplied.changes) {
            Ok(()) => {
                let Unapplied { view, page_count_max, .. } = unapplied;
                if let Some(log) = &self.log {
                    log.set_applied(Applied { version: view.version(), page_count_max });
                }
                // SAFETY: the pages of this view's own commit have just been written into the file, and no
                // other commit is written there before this one is done; so the file has the same bytes.
                unsafe { view.mapped().drop_own_copies() };
            }
            Err(error) => self.not_applied(&unapplied, &error),
        }
    }

    /// Remembers that the file lacks a commit, which only the log has.
    pub(super) fn not_applied(&self, unapplied: &Unapplied, error: &Error) {
        self.poison(hull(unapplied.view.own()), PoisonCause::Commit(error.to_string()));
    }

    /// Writes pages into the page cache, one by one: a longer write would have the kernel keep them in one
    /// large folio, of which each later store to one page costs the walk through all of its blocks, and
    /// writes all of it (docs/facts.md).
    pub(super) fn write_runs(&self, pages: &Pages, runs: &[PageRange]) -> io::Result<()> {
        for page in runs.iter().flat_map(|run| run.iter()) {
            let bytes = [IoSlice::new(pages.bytes_of(page))];
            self.medium.write(self.geometry.page_offset(page), &bytes)?;
        }
        Ok(())
    }

    /// Writes a commit that is durable in the log into its pages, and their stamps.
    fn apply(&self, view: &SheetView, changes: &[PageChange]) -> Result<()> {
        let failed = || Error::io("write a commit into", self.backing.path());
        if let Some(log) = &self.log {
            let mark = log.mark(view.version().commit).encode(self.file_uuid);
            self.medium
                .write(VersionedGeometry::MARK_START, &[IoSlice::new(&mark)])
                .map_err(failed())?;
        }
        {
            let mut unsynced = self.unsynced.lock();
            for &run in view.own() {
                unsynced.insert(run);
            }
        }
        for run in runs_of(changes, |change| change.source == PageSource::Image) {
            self.write_runs(&view.mapped().pages, &[run]).map_err(failed())?;
        }
        self.write_stamps(view, changes)
    }

    /// Writes the stamps of changed pages: those that lie in one page of the system by one call, with the
    /// stamps that lie between them, as they are.
    fn write_stamps(&self, view: &SheetView, changes: &[PageChange]) -> Result<()> {
        let (pages, commit) = (&view.mapped().pages, view.version().commit);
        let table_page = |change: &PageChange| pages.map.table_pages(change.page.into());
        for part in changes.chunk_by(|one, other| table_page(one) == table_page(other)) {
            let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
            let hull = PageRange::from(first.page).hull(PageRange::from(last.page));
            let mut stamps = pages.stamp_bytes(hull).to_vec();
            for change in part {
                let stamp = PageStamp { commit, checksum: change.checksum };
                let place = usize::try_from(change.page.get() - first.page.get())
                    .expect("a page of the system has few stamps")
                    * PageStamp::LEN_BYTES;
                stamps[place..place + PageStamp::LEN_BYTES]
                    .copy_from_slice(&stamp.encode(change.page, &self.hasher));
            }
            // Stamps that could not be read show as zeros, which must not be written over them.
            pages.map.check()?;
            self.medium
                .write(self.geometry.stamp_offset(first.page), &[IoSlice::new(&stamps)])
                .map_err(Error::io("write a commit into", self.backing.path()))?;
        }
        Ok(())
    }

    /// Reserves the place of pages on the disk.
    pub(super) fn reserve(&self, writer: &mut Writer, page_count: PageCount) -> Result<()> {
        let path = self.backing.path();
        let needed = self.geometry.file_len(page_count).map_err(Error::format(path))?;
        if needed <= writer.file_len {
            return Ok(());
        }
        let (old_len, needed_bytes) = (writer.file_len, needed - writer.file_len);
        self.medium.extend(old_len, needed).map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::DiskFull { path: path.into(), needed_bytes, source }
            }
            _ => Error::io("reserve disk space for", path)(source),
        })?;
        writer.file_len = needed;
        Ok(())
    }

    /// Cuts off pages that were taken away, once no snapshot has them: cutting a file takes the copies of
    /// its pages from everybody.
    fn give_space_back(&self, writer: &mut Writer) -> Result<()> {
        let path = self.backing.path();
        let page_count = writer.version.page_count;
        if self.views.page_count_max() > page_count {
            return Ok(());
        }
        let needed = self.geometry.file_len(page_count).map_err(Error::format(path))?;
        if needed < writer.file_len {
            self.medium.cut(needed).map_err(Error::io("cut", path))?;
            writer.file_len = needed;
        }
        Ok(())
    }
}
