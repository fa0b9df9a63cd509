//! The pages of one commit, as they were.

mod stamps;

use std::{fmt, ops::RangeBounds};

use bytemuck::Pod;
use bytes::Bytes;
use layout::{ByteOffset, CommitId, PageCount, PageId, PageRange, PageSize};

use super::{
    pages::Pages,
    sheet::{SheetReader, SheetView},
};
use crate::{error::Result, map::place, typed};

/// The pages of a [`VersionedFile`](crate::VersionedFile) as one commit left them, borrowed as plain slices with no
/// latch. They stay as they are for as long as this, or a clone of it, lives, whatever is committed
/// meanwhile; and no commit waits for it.
///
/// What is changed after it was taken is kept for it as copies in memory; see
/// [`kept_bytes_max`](crate::VersionedFileOptions::kept_bytes_max). So hold no snapshot for longer than it
/// is read.
#[derive(Clone)]
pub struct Snapshot {
    reader: SheetReader,
}

impl Snapshot {
    pub(super) fn new(reader: SheetReader) -> Self {
        Self { reader }
    }

    #[inline]
    fn view(&self) -> &SheetView {
        self.reader.view()
    }

    #[inline]
    fn pages_of(&self) -> &Pages {
        &self.view().mapped().pages
    }

    /// The commit.
    #[must_use]
    pub fn commit(&self) -> CommitId {
        self.view().version().commit
    }

    /// The size of a page.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.pages_of().map.geometry().page_size()
    }

    /// How many pages there are.
    #[must_use]
    pub fn page_count(&self) -> PageCount {
        self.view().version().page_count
    }

    /// Borrows a page; verifies it the first time.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range) where there is no such page;
    /// [`Error::Checksum`](crate::Error::Checksum) and [`Error::Format`](crate::Error::Format) where it or
    /// its stamp is damaged; [`Error::Poisoned`](crate::Error::Poisoned) where a page could not be reached.
    #[inline]
    pub fn page(&self, page: impl Into<PageId>) -> Result<&[u8]> {
        let page = page.into();
        let pages = self.pages_of();
        // There are never more free pages than the view has.
        if page.get() < pages.map.free_pages() {
            return Ok(pages.bytes_of(page));
        }
        self.page_with_care(page)
    }

    fn page_with_care(&self, page: PageId) -> Result<&[u8]> {
        let (pages, version) = (self.pages_of(), self.view().version());
        let range = pages.map.resolve(page..=page, version.page_count)?;
        if pages.is_right(page) {
            pages.map.check()?;
        } else {
            pages.verify(range, version, self.view().own())?;
        }
        pages.note_free(version.page_count);
        Ok(pages.bytes_of(page))
    }

    /// Borrows adjacent pages as one slice; verifies those that were not yet.
    ///
    /// # Errors
    /// As [`page`](Self::page).
    pub fn pages(&self, range: impl RangeBounds<PageId>) -> Result<&[u8]> {
        let (pages, version) = (self.pages_of(), self.view().version());
        let range = pages.map.resolve(range, version.page_count)?;
        pages.verify(range, version, self.view().own())?;
        pages.note_free(version.page_count);
        Ok(pages.bytes(range))
    }

    /// Borrows adjacent pages as items of plain data, across page boundaries.
    ///
    /// # Errors
    /// As [`page`](Self::page); [`ViewError`](crate::ViewError) where the pages are no whole number of
    /// items, or items have no size.
    pub fn as_slice_of<T: Pod>(&self, range: impl RangeBounds<PageId>) -> Result<&[T]> {
        Ok(typed::as_slice_of(self.pages(range)?)?)
    }

    /// Borrows `count` items of plain data, the first at byte `offset` of the pages.
    ///
    /// # Errors
    /// As [`page`](Self::page); [`ViewError`](crate::ViewError) where the first item would not be aligned,
    /// the items reach past the end, or have no size.
    pub fn as_slice_of_at<T: Pod>(&self, offset: ByteOffset, count: usize) -> Result<&[T]> {
        let (page_size, page_count) = (self.page_size(), self.page_count());
        let len_bytes = page_count.bytes(page_size).unwrap_or(u64::MAX);
        let window = typed::window::<T>(offset, count, len_bytes)?;
        if window.is_empty() {
            return Ok(&[]);
        }
        let first = page_size.page_of(offset);
        let last = page_size.page_of(ByteOffset::new(window.end as u64 - 1));
        let range = self.pages_of().map.resolve(first..=last, page_count)?;
        let skipped = window.start - place::place(range, page_size).0;
        let bytes = &self.pages(first..=last)?[skipped..skipped + window.len()];
        Ok(typed::cast_window(bytes, offset)?)
    }

    /// Adjacent pages as an owned view that outlives this snapshot, and keeps what it shows; cloning or
    /// slicing it copies nothing.
    ///
    /// # Errors
    /// As [`page`](Self::page).
    pub fn bytes(&self, range: impl RangeBounds<PageId>) -> Result<Bytes> {
        let version = self.view().version();
        let range = self.pages_of().map.resolve(range, version.page_count)?;
        self.pages_of().verify(range, version, self.view().own())?;
        Ok(Bytes::from_owner(SnapshotBytes { reader: self.reader.clone(), range }))
    }

    /// The runs of pages that were changed by commits after `commit`, in ascending order, as far as they are
    /// there now. Pages that grew since and were never written to are zero, and in no run.
    ///
    /// It reads 16 bytes for each page of the file, not the pages.
    ///
    /// # Errors
    /// [`Error::Format`](crate::Error::Format) where a stamp is damaged; otherwise as [`page`](Self::page).
    pub fn changed_since(&self, commit: CommitId) -> Result<Vec<PageRange>> {
        let version = self.view().version();
        let mut runs: Vec<PageRange> = Vec::new();
        let mut own = self.view().own().iter().copied().peekable();
        let all = self.pages_of().map.resolve(.., version.page_count)?;
        for page in all.iter() {
            while own.next_if(|run| run.end() <= page).is_some() {}
            // The stamps of the last commit may be on their way into the file.
            let changed = match own.peek() {
                Some(run) if run.start() <= page => version.commit,
                _ => self.view().stamp(page)?.map_or(CommitId::ZERO, |stamp| stamp.commit),
            };
            if changed <= commit {
                continue;
            }
            match runs.last_mut() {
                Some(run) if run.end() == page => *run = run.with_next(),
                _ => runs.push(PageRange::from(page)),
            }
        }
        Ok(runs)
    }

    /// Verifies all pages, but for those that were found right before, or that a commit wrote, since the file was
    /// opened. [`VersionedFile::verify`](crate::VersionedFile::verify) reads every one of a file.
    ///
    /// # Errors
    /// As [`page`](Self::page), for the first page that is damaged.
    pub fn verify(&self) -> Result<()> {
        self.pages(..).map(drop)?;
        self.still_valid()
    }

    /// Says whether all that was read so far, by whatever slice or [`Bytes`] view of this snapshot, is what
    /// the commit left: no page could not be reached, and the file has all its pages.
    ///
    /// # Errors
    /// [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn still_valid(&self) -> Result<()> {
        self.view().still_valid()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("commit", &self.commit())
            .field("page_count", &self.page_count())
            .finish()
    }
}

/// Pages of a snapshot, for [`Bytes`].
struct SnapshotBytes {
    reader: SheetReader,
    range: PageRange,
}

impl AsRef<[u8]> for SnapshotBytes {
    fn as_ref(&self) -> &[u8] {
        self.reader.view().mapped().pages.bytes(self.range)
    }
}
