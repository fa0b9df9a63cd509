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
    /// Makes durable everything that was written through guards dropped before this call, and the
    /// pages that [`grow`](Self::grow) added.
    ///
    /// One msync(2) covers the dirty pages from the first to the last; the kernel writes those that
    /// it knows to be dirty. One call for each run of pages would be durable no sooner and takes
    /// many times as long, since each is an fsync(2). Where nothing is dirty and the file has not
    /// grown, no system call is made.
    ///
    /// Pages under guards that are open now are written as they stand, and again by the next flush;
    /// see [`PageMut`](crate::PageMut). A flush that another thread has under way is waited for.
    ///
    /// # Errors
    /// [`Error::FlushFailed`]: the kernel could not write. What is on disk is unknown, and the file
    /// is poisoned: this and all that writes fails with [`Error::Poisoned`] from then on. It is
    /// never tried again, because the kernel reports a failure once, then counts the pages as clean
    /// and would let a second try succeed without having written them.
    pub fn flush(&self) -> Result<FlushReport> {
        self.shared.flush(Which::All)
    }

    /// Makes durable what was written to these pages alone, as [`flush`](Self::flush) does for all. The
    /// others stay dirty. It is for who has much that is dirty and waits for little of it; two calls
    /// take twice as long as one for both.
    ///
    /// # Errors
    /// [`Error::Range`]; otherwise as [`flush`](Self::flush).
    pub fn flush_range(&self, range: impl RangeBounds<PageId>) -> Result<FlushReport> {
        self.shared.flush(Which::Range(self.shared.pages.resolve(range)?))
    }

    /// The bytes of the user's own in the file's header, as they were set last.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        *self.shared.metadata.lock()
    }

    /// Sets the bytes of the user's own in the file's header. They are durable with the next
    /// [`flush`](Self::flush): a crash before that leaves the old ones or the new ones, whole. They
    /// are not tied to what is written to pages meanwhile.
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

    /// Writes all pages, as they are in memory, to a new file at `path`, and makes that durable. This
    /// is the way out after a failed [`flush`](Self::flush), whose pages are kept in memory for it;
    /// it also copies a healthy file. Pages are latched one by one, so what is written to them
    /// meanwhile may be in the copy or not.
    ///
    /// # Errors
    /// [`Error::Poisoned`] where a page fault could not be answered and bytes were lost, so that memory is
    /// not to be trusted; otherwise as [`PageFileOptions::create`](crate::PageFileOptions::create), [`grow`](Self::grow) and
    /// [`flush`](Self::flush) of the new file. A new file that could not be finished is removed.
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
