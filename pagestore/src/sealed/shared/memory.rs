//! How the pages of a sealed file come into memory, and leave it.

use std::{fs::File, ops::Range, sync::atomic::Ordering};

use layout::{PageChecksum, PageCount, PageId, PageRange};

use super::Shared;
use crate::{
    error::{Error, Result},
    file::{access::Access, disk},
    map::{place, poison},
    residency::{
        budget::{Budgeted, Charged, Left, Pass},
        cache, folios,
        read_ahead::ReadAhead,
        stream,
    },
    tables::bits::locate,
};

/// How much is brought into memory by one system call, ahead of its checksums. Measured over a
/// file in the page cache: 12.0 GB/s with it, 9.3 GB/s by page faults.
const POPULATE_WINDOW_BYTES: u64 = 2 << 20;

/// How much of the checksum table is brought in together. It comes while the disk is asked for a page
/// anyway; each 4 KiB by a page fault of its own would make the reader wait twice for one page in four of a
/// large file that is read at random.
pub(super) const TABLE_PART_BYTES: u64 = 64 << 10;

/// The pages that a part of the table is about.
const TABLE_PART_PAGES: u64 = TABLE_PART_BYTES / PageChecksum::LEN_BYTES as u64;

/// How many parts the checksum table of so many pages has.
pub(super) fn table_parts(page_count: PageCount) -> PageCount {
    PageCount::new(page_count.get().div_ceil(TABLE_PART_PAGES))
}

/// What is done about the pages behind those that are brought in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::sealed) enum Behind {
    Nothing,
    /// They are read too, where the file is read in order.
    ReadAhead,
}

impl Shared {
    /// Charges pages and what of the checksum table is about them, and brings the pages in.
    ///
    /// They cannot be evicted as long as what is returned lives.
    pub(in crate::sealed) fn charge<'shared>(
        &self,
        budgeted: &'shared ReadAhead,
        window: PageRange,
        behind: Behind,
    ) -> Result<Charged<'shared>> {
        let table = self.checksums_of(window);
        // One after the other, since nothing is to be held while room is waited for.
        if budgeted.member().is_charged(table.clone()) {
            budgeted.member().reference(table);
        } else {
            drop(budgeted.member().charge(table)?);
        }
        let (span, data_end) = (self.span(window), self.superblock.geometry().data_end());
        let end = match (behind, budgeted.block_end(span.start)) {
            (Behind::Nothing, _) => span.end,
            // What is read ahead page by page must not be in the way of the next block.
            (Behind::ReadAhead, Some(block_end)) => {
                let in_order = |block: &Range<u64>| budgeted.block_end(block.start).is_some();
                self.load_blocks(budgeted, &span, in_order)?;
                data_end.min(block_end.max(span.end))
            }
            (Behind::ReadAhead, None) => data_end,
        };
        let charged = budgeted.bring_in(self.claim(), span, end)?;
        if window.count() > PageCount::new(1) {
            self.populate_now(window)?;
        }
        Ok(charged)
    }

    /// Brings in the whole blocks that bytes lie in, those that are wanted, each as one folio, if a page of them is
    /// not charged yet.
    pub(super) fn load_blocks(
        &self,
        budgeted: &ReadAhead,
        span: &Range<u64>,
        is_wanted: impl Fn(&Range<u64>) -> bool,
    ) -> Result<()> {
        let data = self.mapped().1..self.superblock.geometry().data_end();
        for block in budgeted.blocks(span, data).filter(is_wanted) {
            let member = budgeted.member();
            if member.is_charged(block.clone()) {
                continue;
            }
            let charged = member.charge_block(block.clone())?;
            let place = self.mapping.place_of(self.mapped().1, block.clone());
            if let Some((offset, len)) = place.filter(|_| charged.is_new()) {
                let pages = place::pages_in(self.page_size, self.page_count, &block);
                self.mapping.populate_huge_once(offset, len).map_err(|source| {
                    poison::unreachable(&self.mapping, self.page_size, pages, source)
                })?;
            }
        }
        Ok(())
    }

    /// Adjacent pages in pieces of about so many bytes.
    pub(in crate::sealed) fn windows(
        &self,
        range: PageRange,
        bytes: u64,
    ) -> impl Iterator<Item = PageRange> + use<> {
        place::windows(range, self.page_size, bytes)
    }

    /// Brings the pages of the window from `first` on into memory, up to `end`; returns where the
    /// window ends. A single page is left to its page fault.
    pub(super) fn populate_window(&self, first: PageId, end: PageId) -> Result<PageId> {
        let window_pages = self.page_size.pages_for(POPULATE_WINDOW_BYTES);
        let window_end = first.checked_add(window_pages).map_or(end, |window| window.min(end));
        let window = self.resolve(first..window_end)?;
        if window.count() > PageCount::new(1) {
            self.populate(window)?;
        }
        Ok(window_end)
    }

    /// Brings pages in, under a budget window by window.
    pub(in crate::sealed) fn populate(&self, range: PageRange) -> Result<()> {
        match &self.budgeted {
            None => self.populate_now(range),
            Some(budgeted) => self
                .windows(range, budgeted.window_bytes())
                .try_for_each(|window| self.charge(budgeted, window, Behind::ReadAhead).map(drop)),
        }
    }

    /// Brings pages in, and has the kernel go on with those behind them where they are read in order.
    pub(super) fn populate_now(&self, range: PageRange) -> Result<()> {
        if self.budgeted.is_some() {
            return self.wait_for(range);
        }
        let (span, file) = (self.span(range), self.claim().file());
        self.begin_checksums(range, stream::AHEAD_BYTES_MAX)?;
        if self.advised.at(span.start).0 == Access::Random {
            // The kernel would read them one after the other, each when it is asked for.
            disk::will_need(file, span.start, span.end - span.start);
            return self.wait_for(range);
        }
        self.wait_for(range)?;
        self.stream.has_read(file, span, self.superblock.geometry().data_end());
        Ok(())
    }

    /// Has the kernel begin to read the checksums of pages and of those that may be read ahead, once. Later, they
    /// would wait for the disk behind those pages.
    pub(super) fn begin_checksums(&self, range: PageRange, ahead_bytes: u64) -> Result<()> {
        let ahead = self.page_size.pages_for(ahead_bytes);
        let last = PageId::new(self.page_count.get());
        let end = range.end().checked_add(ahead).map_or(last, |end| end.min(last));
        for part in range.start().get() / TABLE_PART_PAGES..end.get().div_ceil(TABLE_PART_PAGES) {
            let (word, bit) = locate(part);
            let asked = &self.asked[word];
            // Relaxed: who sees the bit does without the call, and nothing else.
            if asked.load(Ordering::Relaxed) & (1 << bit) != 0 {
                continue;
            }
            asked.fetch_or(1 << bit, Ordering::Relaxed);
            let start = PageId::new(part * TABLE_PART_PAGES);
            let end = PageId::new((part + 1) * TABLE_PART_PAGES).min(last);
            let span = self.checksums_of(self.resolve(start..end)?);
            disk::will_need(self.claim().file(), span.start, span.end - span.start);
        }
        Ok(())
    }

    /// Notes that the checksum table leaves memory.
    pub(in crate::sealed) fn forget_checksums(&self) {
        self.asked.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Has pages in memory and mapped when it returns.
    fn wait_for(&self, range: PageRange) -> Result<()> {
        let (offset, len) = place::place(range, self.page_size);
        let populated = self.mapping.populate_read(offset, len);
        populated
            .map_err(|source| poison::unreachable(&self.mapping, self.page_size, range, source))
    }

    /// Writes what is dirty in a range of the file to the disk, so that it can leave memory: of a
    /// temporary file nothing was made durable. Says how many bytes that were.
    fn write_dirty(&self, span: Range<u64>) -> Result<u64> {
        // Where the kernel does not tell, only what we wrote can be.
        let unknown_bytes = if self.claim().is_ours() { span.end - span.start } else { 0 };
        let dirty_bytes = cache::of_range(self.claim().file(), span.clone())
            .map_or(unknown_bytes, |residency| residency.dirty_bytes);
        if dirty_bytes > 0 {
            let len = span.end - span.start;
            let written = self.claim().note_lost(|file| disk::write_back(file, span.start, len));
            written.map_err(|source| {
                self.mapping.note_fault(0);
                Error::io("write to the disk", self.claim().path())(source)
            })?;
        }
        Ok(dirty_bytes)
    }

    /// Gives the pages of a range of the file back to the kernel.
    pub(in crate::sealed) fn drop_pages(&self, span: Range<u64>) {
        folios::drop_pages(self.mapped(), span);
    }
}

impl Budgeted for Shared {
    fn file(&self) -> &File {
        self.claim().file()
    }

    fn mincore_bytes(&self, span: Range<u64>) -> Option<u64> {
        cache::by_mincore(self.mapped(), span)
    }

    fn evict(&self, pass: &Pass<'_>, span: Range<u64>) -> Result<Left> {
        let pages = place::pages_in(self.page_size, self.page_count, &span);
        // Before the drop: nobody verifies a page of the extent meanwhile, and whoever borrows one
        // from now on charges it first.
        self.forget_verified(pages);
        pass.note_written_back(self.write_dirty(span.clone())?);
        self.drop_pages(span.clone());
        Ok(Left::look_mapped(self, span.start.max(self.mapped().1)..span.end))
    }
}
