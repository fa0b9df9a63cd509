//! Making a mutable file durable, and saving it where that failed.

use std::{ops::RangeBounds, path::Path, time::Duration};

use layout::{Metadata, PageCount, PageId};

use super::{PageFile, Shared};
use crate::{
    error::{Error, Result},
    mutable::{
        flush::{FlushReport, FlushTarget, RecoverReport},
        states::Which,
    },
};

impl PageFile {
    /// Makes durable all changes made through guards that were dropped before this call, and the pages that
    /// [`grow`](Self::grow) added.
    ///
    /// One msync(2) covers the range from the first dirty page to the last, of which the kernel writes the
    /// pages that it knows to be dirty. A call for each run of pages would take many times as long, since each
    /// is an fsync(2). If nothing is dirty and the file has not grown, no system call is made.
    ///
    /// Pages under open guards are written as they are now, and again by the next flush; see
    /// [`PageMut`](crate::PageMut). The call waits for a flush that another thread is in.
    ///
    /// # Errors
    /// [`Error::FlushFailed`]: the kernel could not write. What is on the disk is unknown, and the file is
    /// poisoned: from then on every flush and every write fails with [`Error::Poisoned`]. There is no second
    /// try, because the kernel reports a failure once, then counts the pages as clean, and would let a second
    /// try succeed without writing them.
    pub fn flush(&self) -> Result<FlushReport> {
        self.shared.flush(Which::All)
    }

    /// Makes these pages durable, as [`flush`](Self::flush) does all. The others stay dirty. Use it where much
    /// is dirty and little of it has to be waited for; two calls take twice as long as one for both ranges.
    ///
    /// # Errors
    /// [`Error::Range`]; otherwise as [`flush`](Self::flush).
    pub fn flush_range(&self, range: impl RangeBounds<PageId>) -> Result<FlushReport> {
        self.shared.flush(Which::Range(self.shared.pages.resolve(range)?))
    }

    /// Your own bytes in the file's header, as they were set last.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        *self.shared.metadata.lock()
    }

    /// Sets your own bytes in the file's header. The next [`flush`](Self::flush) makes them durable; a crash
    /// before that leaves the old ones or the new ones, whole. They are not tied to changes of pages.
    ///
    /// # Errors
    /// [`Error::Poisoned`].
    pub fn set_metadata(&self, metadata: Metadata) -> Result<()> {
        self.check_writable()?;
        let mut set = self.shared.metadata.lock();
        *set = metadata;
        if let Some((write_back, _)) = self.file() {
            write_back.set_metadata(metadata);
        }
        Ok(())
    }

    /// Flushes and closes the file. Dropping it instead also closes it, without a flush.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn close(self) -> Result<FlushReport> {
        self.flush()
    }

    /// Writes all pages, as they are in memory, to a new file at `path`, durably. This is the way out after a
    /// failed [`flush`](Self::flush), which keeps its pages in memory; it copies a healthy file too. Pages are
    /// latched one by one, so the copy may or may not have changes made meanwhile.
    ///
    /// # Errors
    /// [`Error::Poisoned`] where bytes were lost by a page fault that could not be served, so memory cannot be
    /// trusted; otherwise as [`PageFileOptions::create`](crate::PageFileOptions::create), [`grow`](Self::grow)
    /// and [`flush`](Self::flush) of the new file. A new file that could not be finished is removed.
    pub fn recover_into(&self, path: impl AsRef<Path>) -> Result<RecoverReport> {
        let path = path.as_ref();
        let pages_unprotected = match self.file() {
            None => PageCount::ZERO,
            Some((write_back, claim)) => write_back.unprotected(claim)?,
        };
        let options = Self::options().page_size(self.page_size()).metadata(self.metadata());
        let copy = options.create(path)?;
        let copied = self.copy_into(&copy);
        if copied.is_err() {
            drop(copy);
            // What went wrong first is what to tell.
            let _removed = std::fs::remove_file(path);
        }
        copied.map(|pages| RecoverReport { pages, pages_unprotected })
    }

    fn copy_into(&self, copy: &Self) -> Result<PageCount> {
        let pages = self.page_count();
        for page in copy.grow(pages)?.iter() {
            let own = self.shared.pages.rescue(self.shared.pages.single(page)?)?;
            copy.page_mut(page)?.copy_from_slice(&own);
        }
        self.shared.pages.still_in_memory()?;
        if let Some((write_back, claim)) = self.file() {
            let own = &self.shared.pages;
            let check = || write_back.check_len(own, claim, own.page_count());
            own.states().without_flush(check)?;
        }
        copy.flush()?;
        Ok(pages)
    }
}

impl Shared {
    /// See [`PageFile::flush`] and [`PageFile::flush_range`].
    pub(super) fn flush(&self, which: Which) -> Result<FlushReport> {
        self.check_writable()?;
        let mut elapsed = Duration::ZERO;
        let page_count = || self.pages.page_count();
        let flushed = self.pages.states().flush(which, page_count, |dirty, page_count| {
            if let Some((write_back, claim)) = self.file() {
                elapsed = write_back.run(&self.pages, claim, dirty, page_count)?;
            }
            Ok::<_, Error>(())
        })?;
        Ok(FlushReport {
            pages: PageCount::new(flushed.pages),
            runs: flushed.runs,
            bytes: flushed.pages * self.pages.page_size().get(),
            pages_still_open: PageCount::new(flushed.open),
            elapsed,
            target: match self.write_back {
                None => FlushTarget::Memory,
                Some(_) => FlushTarget::File,
            },
        })
    }
}
