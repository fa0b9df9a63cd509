//! The sealed page file.

mod memory;
mod opening;
mod pinned;

use std::{
    fmt,
    ops::{ControlFlow, RangeBounds},
    path::Path,
};

use bytemuck::Pod;
use bytes::Bytes;
use layout::{ByteOffset, Metadata, PageCount, PageId, PageRange, PageSize};
use uuid::Uuid;

use crate::{
    error::Result,
    file::progress::VerifyProgress,
    file::{evidence::Evidence, lease::Lease},
    map::place,
    residency::budget::Held,
    sealed::{options::SealedFileOptions, report::VerifyReport, shared::Shared, verify},
    typed,
};
pub use pinned::PinnedPages;

/// A file that never changes: its pages are borrowed as plain slices, with no latch.
///
/// Opening reads the header and the seal record, whatever the size of the file. A page's checksum is verified
/// when the page is first borrowed; borrowing it again looks at one bit.
///
/// Cloning is cheap and shares the mapping and what was verified. [`bytes`](Self::bytes) gives
/// owned views that keep the mapping alive.
#[derive(Clone)]
pub struct SealedFile {
    shared: Held<Shared>,
}

impl SealedFile {
    /// How to open a file otherwise than by default.
    pub const fn options() -> SealedFileOptions {
        SealedFileOptions::new()
    }

    /// Opens a file by default options; see [`SealedFileOptions::open`].
    ///
    /// # Errors
    /// As [`SealedFileOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().open(path)
    }

    /// The size of a page.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.shared.page_size
    }

    /// How many pages there are.
    #[must_use]
    pub fn page_count(&self) -> PageCount {
        self.shared.page_count
    }

    /// The bytes that were appended before the file was sealed. The last page is zero behind them.
    #[must_use]
    pub fn payload_len(&self) -> u64 {
        self.shared.seal.payload_len()
    }

    /// The uuid that the file got when it was made.
    #[must_use]
    pub fn file_uuid(&self) -> Uuid {
        self.shared.superblock.file_uuid()
    }

    /// Your own bytes in the file's header.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        self.shared.superblock.metadata()
    }

    /// The file's path when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.claim().path()
    }

    /// Borrows one page; verifies it the first time.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range) where the file has no such page; [`Error::Checksum`](crate::Error::Checksum) where it is damaged;
    /// [`Error::Poisoned`](crate::Error::Poisoned) where it, or another one earlier, could not be reached.
    #[inline]
    pub fn page(&self, page: impl Into<PageId>) -> Result<&[u8]> {
        let page = page.into();
        let shared = &*self.shared;
        // As little as it takes, and inlined where it is called: the fewer instructions a page
        // takes, the more pages the processor fetches at a time.
        // There are never more free pages than the file has.
        if page.get() < shared.mapping.free_pages() {
            return Ok(shared.bytes_of(page));
        }
        if shared.verified.is_free(page) && shared.mapping.fault_offset().is_none() {
            return Ok(shared.bytes_of(page));
        }
        shared.page_with_care(page)
    }

    /// Borrows adjacent pages as one slice; verifies those that were not yet.
    ///
    /// # Errors
    /// As [`page`](Self::page); [`Error::Checksum`](crate::Error::Checksum) names the first one that is damaged.
    pub fn pages(&self, range: impl RangeBounds<PageId>) -> Result<&[u8]> {
        let shared = &*self.shared;
        let range = shared.resolve(range)?;
        shared.verify_pages(range)?;
        Ok(shared.bytes(range))
    }

    /// Calls `read` with adjacent pages and returns its result, unless a page could not be reached meanwhile.
    ///
    /// A slice alone cannot promise that. All its bytes were right when it was borrowed. But the kernel may
    /// evict pages and read them again later, when the file was cut short or the disk fails; the fault handler
    /// then shows zeros. Compute in here what depends on the bytes being right, or ask
    /// [`still_valid`](Self::still_valid) afterwards.
    ///
    /// # Errors
    /// As [`pages`](Self::pages); [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn with_pages<R>(
        &self,
        range: impl RangeBounds<PageId>,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<R> {
        let result = read(self.pages(range)?);
        self.still_valid()?;
        Ok(result)
    }

    /// Checks that all bytes read so far, by any slice or [`Bytes`] view of this file, came from the file.
    ///
    /// They did unless a page fault could not be served, or the file is shorter than it was: cut in the middle
    /// of a page, it shows zeros in the rest of that page without a fault. The check of the length is one
    /// system call (0.3 us). For a [temporary](crate::TempWriter) file one more asks whether the kernel could write
    /// all of it to the disk: what it could not, it may have dropped, and read again as it was before.
    ///
    /// # Errors
    /// [`Error::Poisoned`](crate::Error::Poisoned) where a page could not be reached, or not be written, or the file was
    /// cut short.
    pub fn still_valid(&self) -> Result<()> {
        self.shared.still_valid()
    }

    /// Whether the kernel still keeps writers away from the file; one system call (0.2 us).
    ///
    /// A program that reads one file for long can ask now and then, and drop the handle, its clones and its
    /// views at [`Lease::WriterWaits`]. Borrowed bytes stay right until the writer has waited for
    /// `/proc/sys/fs/lease-break-time` seconds; so [`still_valid`](Self::still_valid) does not fail for it.
    ///
    /// A thread of this process that opens the file for writing waits too. Removing the file, changing its mode
    /// and renaming another file over it need no wait, and neither does
    /// [`Existing::Replace`](crate::Existing::Replace): the handle keeps the old file.
    ///
    /// After a fork(2), parent and child share one lease. It ends when the parent drops its last handle.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.shared.claim().lease()
    }

    /// What shows that nobody else writes to the file.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.shared.claim().evidence()
    }

    /// Borrows adjacent pages without verifying them, for a caller that has verified the file or does not care.
    /// They do not count as verified afterwards.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range) where the file does not have them all; [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn pages_unverified(&self, range: impl RangeBounds<PageId>) -> Result<&[u8]> {
        let shared = &*self.shared;
        shared.check()?;
        let range = shared.resolve(range)?;
        if let Some(budgeted) = &shared.budgeted
            && !range.is_empty()
            && !budgeted.member().is_charged(shared.span(range))
        {
            shared.populate(range)?;
        }
        Ok(shared.bytes(range))
    }

    /// Borrows adjacent pages as items of plain data, across page boundaries.
    ///
    /// # Errors
    /// As [`pages`](Self::pages); [`ViewError`](crate::ViewError) where the pages are no whole
    /// number of items, or items have no size.
    pub fn as_slice_of<T: Pod>(&self, range: impl RangeBounds<PageId>) -> Result<&[T]> {
        Ok(typed::as_slice_of(self.pages(range)?)?)
    }

    /// Borrows `count` items of plain data, the first at byte `offset` of the payload; verifies the
    /// pages they lie in. With `u8` items, this borrows any range of bytes.
    ///
    /// # Errors
    /// [`ViewError`](crate::ViewError) where the first item would not be aligned, the items reach
    /// past the payload's end, or have no size; [`Error::Checksum`](crate::Error::Checksum).
    ///
    /// ```
    /// # extern crate pagestore as storage;
    /// use storage::{ByteOffset, PageWriter};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("batch");
    /// let mut writer = PageWriter::create(&path)?;
    /// let at = writer.append(&[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0])?;
    /// let sealed = writer.seal()?;
    /// assert_eq!(sealed.as_slice_of_at::<u32>(at, 3)?, [1, 2, 3]);
    /// assert!(sealed.as_slice_of_at::<u32>(ByteOffset::new(4), 3).is_err());
    /// # Ok::<(), pagestore::Error>(())
    /// ```
    pub fn as_slice_of_at<T: Pod>(&self, offset: ByteOffset, count: usize) -> Result<&[T]> {
        let shared = &*self.shared;
        let window = typed::window::<T>(offset, count, self.payload_len())?;
        if window.is_empty() {
            return Ok(&[]);
        }
        let first = shared.page_size.page_of(offset);
        let last = shared.page_size.page_of(ByteOffset::new(window.end as u64 - 1));
        let range = shared.resolve(first..=last)?;
        shared.verify_pages(range)?;
        let skipped = window.start - place::place(range, shared.page_size).0;
        let bytes = &shared.bytes(range)[skipped..skipped + window.len()];
        Ok(typed::cast_window(bytes, offset)?)
    }

    /// Adjacent pages as an owned view. It keeps the mapping and the file's lock alive; cloning or slicing it
    /// copies nothing.
    ///
    /// # Errors
    /// As [`pages`](Self::pages).
    pub fn bytes(&self, range: impl RangeBounds<PageId>) -> Result<Bytes> {
        let range = self.shared.resolve(range)?;
        self.shared.verify_pages(range)?;
        Ok(Bytes::from_owner(View { shared: self.shared.clone(), range }))
    }

    /// Checks every byte of the file: each page against its checksum, the checksum table, the seal record, both
    /// superblock slots, and the bytes that must be zero. `progress` is called after each 4 MiB and at the end,
    /// and may stop the check; the report then covers the pages up to there.
    ///
    /// It verifies again what was verified before, and remembers what it finds.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) where the file cannot be read. Damage is not an error here: it is in the
    /// report.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let sealed = pagestore::PageWriter::create(folder.path().join("batch"))?.seal()?;
    /// let report = sealed.verify(|_| ControlFlow::Continue(()))?;
    /// assert!(report.is_ok());
    /// # Ok::<(), pagestore::Error>(())
    /// ```
    pub fn verify(
        &self,
        mut progress: impl FnMut(VerifyProgress) -> ControlFlow<()>,
    ) -> Result<VerifyReport> {
        verify::verify(&self.shared, &mut progress)
    }
}

impl fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedFile")
            .field("path", &self.path())
            .field("page_size", &self.page_size())
            .field("page_count", &self.page_count())
            .field("payload_len", &self.payload_len())
            .finish_non_exhaustive()
    }
}

/// What a [`Bytes`] view of some pages owns.
struct View {
    shared: Held<Shared>,
    range: PageRange,
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        self.shared.bytes(self.range)
    }
}
