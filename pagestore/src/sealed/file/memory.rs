//! What of a sealed file is in memory, and how that can be steered.

use std::ops::RangeBounds;

use layout::PageId;

use super::SealedFile;
use crate::{
    error::Result,
    file::access::Access,
    map::place,
    residency::{
        cache::{self, Residency},
        read_ahead::{self, Part},
    },
};

impl SealedFile {
    /// Says how pages are going to be read; `..` is the whole file. The last advice for a page counts. Under a
    /// budget this store reads ahead, and otherwise the kernel does. To the kernel, each run of pages with its
    /// own advice is a mapping, and a process may have 65,530 of those (`vm.max_map_count`).
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range).
    pub fn advise(&self, range: impl RangeBounds<PageId>, access: Access) -> Result<()> {
        let shared = &*self.shared;
        let pages = (range.start_bound().cloned(), range.end_bound().cloned());
        let span = shared.span(shared.resolve(pages)?);
        let part = Part::of(&range, span);
        match &part {
            Part::Whole => shared.advised.set(access),
            Part::Span(span) => shared.advised.set_part(span.clone(), access),
        }
        read_ahead::advise(shared.budgeted.as_ref(), shared.mapped(), part, access);
        Ok(())
    }

    /// Makes the kernel start reading all of these pages, without waiting, so that the disk gets as many
    /// requests at once as it takes. Borrowing a page then waits for that page alone. This is `MADV_WILLNEED`
    /// of madvise(2) without its length limit, at which the kernel stops silently.
    ///
    /// Under a budget the pages are charged now. Pages beyond half of the budget are left out: they would evict
    /// the first ones before those are used.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range); under a budget, what hinders the eviction of others.
    pub fn prefetch<R: RangeBounds<PageId>>(
        &self,
        ranges: impl IntoIterator<Item = R>,
    ) -> Result<()> {
        let shared = &*self.shared;
        let spans = ranges.into_iter().map(|range| {
            let range = shared.resolve(range)?;
            Ok(shared.span(range))
        });
        read_ahead::prefetch(shared.budgeted.as_ref(), shared.claim(), spans)
    }

    /// Reads these pages into memory and waits for them. Where the filesystem has large folios (ext4, xfs,
    /// btrfs of a recent kernel), missing pages are read in blocks of 2 MiB. A block is read by one request,
    /// mapped by one entry of the page table, and dropped as a whole. That costs a fraction of what single
    /// pages do, now and when they are later read at random. On other filesystems it does what
    /// [`prefetch`](Self::prefetch) and a borrow do. An evicted page also comes back as a whole block, even if
    /// only that page is borrowed: load what is going to stay.
    ///
    /// Under a budget of at least 16 MiB, the whole blocks of these pages are charged and read. They may be
    /// evicted before they are borrowed, and then come back page by page; so load no more than a fraction of
    /// the budget at a time. With [`Access::Sequential`](crate::Access::Sequential), borrows under such a
    /// budget load blocks by themselves.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range); [`Error::Fault`](crate::Error::Fault) where pages cannot be read;
    /// [`Error::Poisoned`](crate::Error::Poisoned); under a budget, what hinders the eviction of others.
    pub fn load(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        let range = self.shared.resolve(range)?;
        if range.is_empty() { Ok(()) } else { self.shared.load(range) }
    }

    /// The size of the blocks in which a file under a budget is loaded: 2 MiB. `None` if there is no budget, it
    /// is too small for blocks, or the system's pages are not of 4 KiB.
    #[must_use]
    pub fn budget_block_bytes(&self) -> Option<u64> {
        self.shared.budgeted.as_ref()?.block_bytes()
    }

    /// Whether all of these pages are in the page cache now, so that a borrow does not wait for the disk; one
    /// system call. Where the kernel does not tell (see [`Residency`](crate::Residency)), each page is looked
    /// up in the mapping.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range); [`Error::Io`](crate::Error::Io) where the kernel tells in neither way.
    pub fn is_resident(&self, range: impl RangeBounds<PageId>) -> Result<bool> {
        let shared = &*self.shared;
        let range = shared.resolve(range)?;
        cache::covers(shared.claim(), shared.mapped(), shared.span(range))
    }

    /// What the page cache holds of the whole file; `None` where the kernel does not tell. One
    /// system call (0.4 us).
    #[must_use]
    pub fn residency(&self) -> Option<Residency> {
        cache::of_file(self.shared.claim().file())
    }

    /// Tells the kernel that these pages will not be used soon (`MADV_COLD`): they stay until memory is short,
    /// and go first then. A budget evicts them first, too.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range).
    pub fn cool(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        let shared = &*self.shared;
        let range = shared.resolve(range)?;
        if range.is_empty() {
            return Ok(());
        }
        if let Some(budgeted) = &shared.budgeted {
            budgeted.member().unreference(shared.span(range));
        }
        let (offset, len) = place::place(range, shared.page_size);
        shared.mapping.advise_cold(offset, len);
        Ok(())
    }

    /// Drops pages from memory: from this mapping, and from the page cache unless somebody else maps them.
    /// Slices borrowed before stay valid; touching them reads the pages again. The next borrow verifies their
    /// checksums again. With all pages (`..`), the file's header and its table of checksums go too.
    ///
    /// Under a budget, whole extents of 256 KiB go, and their charge is given back.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range); [`Error::Io`](crate::Error::Io).
    pub fn evict(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        let shared = &*self.shared;
        let range = shared.resolve(range)?;
        if range.is_empty() {
            return Ok(());
        }
        let is_whole = range.count() == shared.page_count;
        let span = if is_whole {
            0..shared.superblock.geometry().file_len_sealed()
        } else {
            shared.span(range)
        };
        if let Some(budgeted) = &shared.budgeted {
            return budgeted.member().evict(span);
        }
        shared.drop_pages(span);
        // After the drop, whatever came of it: another thread may verify a page before it goes.
        shared.forget_verified(range);
        if is_whole {
            shared.forget_checksums();
        }
        Ok(())
    }
}
