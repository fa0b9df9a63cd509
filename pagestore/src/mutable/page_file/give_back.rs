//! Giving space back: pages at the end, and holes in the middle.

use std::ops::RangeBounds;

use layout::{Geometry, PageCount, PageId, PageRange};

use super::{PageFile, Shared};
use crate::{
    error::{Error, Result},
    file::disk,
    map::place,
};

impl PageFile {
    /// Removes the pages from `page_count` on, with their content, and frees their space.
    ///
    /// None of them may be borrowed. A thread that waits for one of them gets [`Error::Range`]. Pages that
    /// [`grow`](Self::grow) adds afterwards are zero. The change is durable when the call returns; a crash
    /// before that leaves the file as it was, or without these pages.
    ///
    /// # Errors
    /// [`Error::Range`] where the file has fewer pages; [`Error::Latched`] where one of them is borrowed,
    /// also by this thread; [`Error::Io`]: nothing has changed then; [`Error::FlushFailed`];
    /// [`Error::Poisoned`].
    ///
    /// ```
    /// # extern crate pagestore as storage;
    /// use storage::{PageCount, PageFile, PageSize};
    ///
    /// let file = PageFile::anonymous(PageSize::DEFAULT)?;
    /// file.grow(10)?;
    /// file.shrink_to(4)?;
    /// assert_eq!(file.page_count(), PageCount::new(4));
    /// # Ok::<(), pagestore::Error>(())
    /// ```
    pub fn shrink_to(&self, page_count: impl Into<PageCount>) -> Result<()> {
        let page_count = page_count.into();
        let _no_growth = self.shared.growing.lock();
        self.check_writable()?;
        let pages = &self.shared.pages;
        let removed = pages.resolve(PageId::new(page_count.get())..)?;
        if removed.is_empty() {
            return Ok(());
        }
        // A flush knows how many pages there are; there is none meanwhile.
        pages.states().without_flush(|| {
            pages.remove(removed, || match self.file() {
                None => discard(&self.shared, removed),
                Some((write_back, claim)) => {
                    let geometry = Geometry::new(self.page_size(), page_count);
                    let len = geometry.map_err(Error::format(claim.path()))?.data_end();
                    // First the header: a file that is shorter than its header says is refused.
                    write_back.record_fewer(pages, claim, page_count)?;
                    disk::truncate(claim, len)?;
                    write_back.sync_len(pages, claim)
                }
            })
        })?;
        match pages.budgeted() {
            None => Ok(()),
            Some(budgeted) => budgeted.member().evict(place::span(removed, self.page_size())),
        }
    }

    /// Makes pages zero and frees their space: holes in the middle of the file (`FALLOC_FL_PUNCH_HOLE`). The
    /// call waits while one of them is borrowed. The next [`flush`](Self::flush) makes the change durable, like
    /// any other.
    ///
    /// The next [`page_mut`](Self::page_mut) of such a page reserves its space again, and fails with
    /// [`Error::Fault`] if the disk has none.
    ///
    /// # Errors
    /// [`Error::Range`]; [`Error::Io`] where the filesystem has no holes; [`Error::Poisoned`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn punch(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        self.check_writable()?;
        let pages = &self.shared.pages;
        let range = pages.resolve(range)?;
        if range.is_empty() {
            return Ok(());
        }
        pages.clear(range, || match self.file() {
            None => discard(&self.shared, range),
            Some((_, claim)) => disk::punch(claim, place::span(range, self.page_size())),
        })?;
        // Under a budget they are among the next to be given back. To do so now would need a flush.
        if let Some(budgeted) = pages.budgeted() {
            budgeted.member().unreference(place::span(range, self.page_size()));
        }
        Ok(())
    }
}

/// Makes anonymous memory zero and gives it back.
fn discard(shared: &Shared, range: PageRange) -> Result<()> {
    let (offset, len) = shared.pages.place(range);
    let mapping = shared.pages.mapping();
    mapping.discard(offset, len).map_err(Error::io("give back pages of", mapping.path()))
}
