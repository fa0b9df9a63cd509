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
    /// Tells how pages are going to be read; `..` is the whole file. What is said last of a page
    /// counts. Under a budget it is this store that reads ahead, and otherwise the kernel, to which
    /// each run of pages with an advice of its own is a mapping of its own, of which a process may have
    /// 65,530 (`vm.max_map_count`).
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

    /// Has the kernel begin to read all of these pages at once, and does not wait for it: the disk
    /// gets as many requests together as it takes. Borrowing a page then waits for that page alone.
    /// This is the advice "will need" of madvise(2), without the limit at which the kernel silently
    /// cuts that off.
    ///
    /// Under a budget the pages are charged now. More than half of the budget at a time would evict
    /// what is used before what was asked for first, so what goes beyond that is left out.
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

    /// Reads these pages into memory and waits for them. What is missing is read by blocks of 2 MiB, where the
    /// filesystem has large folios (ext4, xfs, btrfs of a recent kernel): each is read by one request, mapped by one
    /// entry of the page table, and dropped at once, which costs a fraction of what single pages do, now and
    /// when pages are read at random later. Elsewhere it is as good as [`prefetch`](Self::prefetch) and
    /// borrowing them. Pages that leave memory again come back by such blocks too, also where a single one is
    /// borrowed: load what is going to stay.
    ///
    /// Under a budget of at least 16 MiB, the whole blocks that the pages lie in are charged and read. They may
    /// leave again before they are borrowed, so load no more than a fraction of the budget at a time; single
    /// ones come back alone. With [`Access::Sequential`](crate::Access::Sequential), borrows under such a budget
    /// do so by themselves.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range); [`Error::Fault`](crate::Error::Fault) where pages cannot be read;
    /// [`Error::Poisoned`](crate::Error::Poisoned); under a budget, what hinders the eviction of others.
    pub fn load(&self, range: impl RangeBounds<PageId>) -> Result<()> {
        let range = self.shared.resolve(range)?;
        if range.is_empty() { Ok(()) } else { self.shared.load(range) }
    }

    /// The size of the blocks that a file under a budget is loaded by: 2 MiB. `None` where the budget is too small
    /// for them, pages of the operating system have not 4 KiB, or there is no budget.
    #[must_use]
    pub fn budget_block_bytes(&self) -> Option<u64> {
        self.shared.budgeted.as_ref()?.block_bytes()
    }

    /// Whether all of these pages are in the page cache now, so that borrowing them waits for no
    /// disk; one system call. Where the kernel does not tell (see
    /// [`Residency`](crate::Residency)), each page is looked for in the mapping.
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

    /// Tells the kernel that these pages will not be used soon (`MADV_COLD`): they are the first to
    /// go when memory is short, and stay until then. Under a budget, too, they are among the next.
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

    /// Drops pages from memory: from this mapping, and from the page cache where nobody else maps
    /// them. Slices borrowed before stay valid; touching them brings the pages back from the disk.
    /// Their checksums will be verified again when they are next borrowed. With all pages (`..`), what
    /// the file has around them goes too: its header and the table of checksums.
    ///
    /// Under a budget, whole extents of 256 KiB go, and what was charged for them is given back.
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
