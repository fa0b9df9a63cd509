//! What of a mutable file is in memory: advice, reading ahead, eviction.

use std::{
    fs::File,
    ops::{Range, RangeBounds},
};

use layout::{Geometry, PageId};

use super::{PageFile, Shared};
use crate::{
    error::{Error, Result},
    file::{access::Access, claim::Claim, disk},
    map::place,
    mutable::states::Which,
    residency::{
        budget::{Budgeted, Left, Pass},
        cache::{self, Residency},
        read_ahead::{self, Part},
    },
};

impl PageFile {
    /// Says how pages are going to be used; `..` is the whole file, including pages that it grows by. See
    /// [`SealedFile::advise`](crate::SealedFile::advise) and
    /// [`PageFileOptions::access`](crate::PageFileOptions::access). It splits no folios, and does nothing for
    /// anonymous memory.
    ///
    /// # Errors
    /// [`Error::Range`]; [`Error::Io`].
    pub fn advise(&self, range: impl RangeBounds<PageId>, access: Access) -> Result<()> {
        let pages = &self.shared.pages;
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        let span = place::span(pages.resolve(bounds)?, self.page_size());
        let mapped = (pages.mapping(), Geometry::data_start(self.page_size()));
        read_ahead::advise(pages.budgeted(), mapped, Part::of(&range, span), access);
        Ok(())
    }

    /// Makes the kernel start reading all of these pages, without waiting; see
    /// [`SealedFile::prefetch`](crate::SealedFile::prefetch). Anonymous memory is not read.
    ///
    /// # Errors
    /// [`Error::Range`]; [`Error::Io`]; under a budget, what hinders the eviction of others.
    pub fn prefetch<R: RangeBounds<PageId>>(
        &self,
        ranges: impl IntoIterator<Item = R>,
    ) -> Result<()> {
        let pages = &self.shared.pages;
        let mut spans = ranges
            .into_iter()
            .map(|range| Ok(place::span(pages.resolve(range)?, self.page_size())));
        match self.file() {
            Some((_, claim)) => read_ahead::prefetch(pages.budgeted(), claim, spans),
            None => spans.try_for_each(|span| span.map(drop)),
        }
    }

    /// Whether all of these pages are in memory now, so that borrowing them waits for no disk; see
    /// [`SealedFile::is_resident`](crate::SealedFile::is_resident). Anonymous memory always is, as
    /// far as it is not swapped out.
    ///
    /// # Errors
    /// [`Error::Range`]; [`Error::Io`] where the kernel does not tell.
    pub fn is_resident(&self, range: impl RangeBounds<PageId>) -> Result<bool> {
        let pages = &self.shared.pages;
        let span = place::span(pages.resolve(range)?, self.page_size());
        let mapped = (pages.mapping(), Geometry::data_start(self.page_size()));
        self.file().map_or(Ok(true), |(_, claim)| cache::covers(claim, mapped, span))
    }

    /// What the page cache holds of the whole file; `None` where the kernel does not tell, and for
    /// anonymous memory. One system call (0.4 us).
    #[must_use]
    pub fn residency(&self) -> Option<Residency> {
        cache::of_file(self.file()?.1.file())
    }

    /// Tells the kernel that these pages will not be used soon; see
    /// [`SealedFile::cool`](crate::SealedFile::cool).
    ///
    /// # Errors
    /// [`Error::Range`].
    pub fn cool(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        let pages = &self.shared.pages;
        let range = pages.resolve(range)?;
        if range.is_empty() {
            return Ok(());
        }
        if let Some(budgeted) = pages.budgeted() {
            budgeted.member().unreference(place::span(range, self.page_size()));
        }
        let (offset, len) = pages.place(range);
        pages.mapping().advise_cold(offset, len);
        Ok(())
    }

    /// Drops pages from memory, after a [`flush`](Self::flush) if some of them are dirty. Open guards stay
    /// valid: touching their pages brings them back from the disk, and a page that is stored to meanwhile stays
    /// in memory. Anonymous memory has no disk to go to, and stays.
    ///
    /// Under a budget, whole extents of 256 KiB go, and what was charged for them is given back.
    ///
    /// # Errors
    /// [`Error::Range`]; those of [`flush`](Self::flush); [`Error::Io`].
    pub fn evict(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        let pages = &self.shared.pages;
        let range = pages.resolve(range)?;
        let span = place::span(range, self.page_size());
        match (self.file(), pages.budgeted()) {
            _ if range.is_empty() => Ok(()),
            (None, _) => Ok(()),
            (Some(_), Some(budgeted)) => budgeted.member().evict(span),
            (Some((_, claim)), None) => self.shared.evict_pages(claim, span).map(drop),
        }
    }
}

impl Shared {
    /// Flushes where something of a range of the file is dirty, and gives its pages back to the
    /// kernel. Gives the bytes that the flush wrote.
    fn evict_pages(&self, claim: &Claim, span: Range<u64>) -> Result<u64> {
        let page_count = self.pages.page_count();
        let pages = place::pages_in(self.pages.page_size(), page_count, &span);
        let states = self.pages.states();
        let mut is_dirty = states.is_any_dirty(pages);
        // Populating to write makes pages dirty for the kernel that nobody stored to.
        let file_span = self.span_of_pages(span.clone());
        if !is_dirty && Left::look(claim.file(), file_span.clone()) == Left::Dirty {
            // Nothing is dirty in a hole, of which there can be terabytes.
            for piece in disk::pieces_in(claim.file(), file_span) {
                let piece = piece.map_err(Error::io("find what there is of", claim.path()))?;
                states.mark_dirty(place::pages_in(self.pages.page_size(), page_count, &piece));
            }
            is_dirty = true;
        }
        let written_bytes = if is_dirty { self.flush(Which::All)?.bytes } else { 0 };
        self.pages.drop_pages(span);
        Ok(written_bytes)
    }

    /// A range of the file without the header, which no flush of pages writes.
    fn span_of_pages(&self, span: Range<u64>) -> Range<u64> {
        let start = span.start.max(Geometry::data_start(self.pages.page_size()));
        start..span.end.max(start)
    }
}

impl Budgeted for Shared {
    fn file(&self) -> &File {
        self.pages.mapping().claim().expect("anonymous memory has no budget").file()
    }

    fn mincore_bytes(&self, span: Range<u64>) -> Option<u64> {
        let start = Geometry::data_start(self.pages.page_size());
        cache::by_mincore((self.pages.mapping(), start), span)
    }

    fn evict(&self, pass: &Pass<'_>, span: Range<u64>) -> Result<Left> {
        let claim = self.pages.mapping().claim().expect("anonymous memory has no budget");
        pass.note_written_back(self.evict_pages(claim, span.clone())?);
        Ok(Left::look_mapped(self, self.span_of_pages(span)))
    }
}
