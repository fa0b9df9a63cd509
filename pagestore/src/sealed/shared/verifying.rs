//! A sealed file's pages are compared with their checksums once, before they are lent.

use layout::{PageChecksum, PageId, PageRange};

use super::{Shared, index, memory::Behind};
use crate::{
    error::{Error, Result},
    map::{place, poison},
    residency::read_ahead::ReadAhead,
    tables::bits::{Word, locate, words_of},
};

/// Who brings in the pages that are to be verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::sealed) enum Bringing {
    Populates,
    Done,
}

impl Shared {
    /// A page that lies under a budget, was not verified yet, is not there, or cannot be reached.
    pub(in crate::sealed) fn page_with_care(&self, page: PageId) -> Result<&[u8]> {
        let range = PageRange::single(page, self.page_count);
        let range = range.map_err(Error::no_pages(self.mapping.path()))?;
        self.check()?;
        match &self.budgeted {
            Some(budgeted) if self.verified.has(page) => {
                budgeted.member().reference(self.span(range));
            }
            _ => self.verify_page(page)?,
        }
        Ok(self.bytes(range))
    }

    /// Verifies the pages of `range` that were not verified yet.
    pub(in crate::sealed) fn verify_pages(&self, range: PageRange) -> Result<()> {
        self.check()?;
        match &self.budgeted {
            None => self.verify_words(range, Bringing::Populates),
            Some(budgeted) => self.verify_budgeted(budgeted, range, Behind::ReadAhead),
        }
    }

    fn verify_budgeted(
        &self,
        budgeted: &ReadAhead,
        range: PageRange,
        behind: Behind,
    ) -> Result<()> {
        self.windows(range, budgeted.window_bytes()).try_for_each(|window| {
            if self.verified.has_all(window) {
                budgeted.member().reference(self.span(window));
                return Ok(());
            }
            let _charged = self.charge(budgeted, window, behind)?;
            self.verify_words(window, Bringing::Done)
        })
    }

    /// Verifies the pages of `range` that were not verified yet.
    pub(in crate::sealed) fn verify_words(
        &self,
        range: PageRange,
        bringing: Bringing,
    ) -> Result<()> {
        let mut present_end = range.start();
        for word in words_of(range) {
            let missing = Word { bits: self.verified.missing(word), ..word };
            if missing.bits == 0 {
                continue;
            }
            // Noted once a word: a locked instruction after each page would keep the processor
            // from fetching the next one meanwhile.
            let mut verified = Word { bits: 0, ..word };
            let outcome: Result<()> = missing.pages().try_for_each(|page| {
                if bringing == Bringing::Populates && page >= present_end {
                    present_end = self.populate_window(page, range.end())?;
                }
                self.check_page(page)?;
                verified.bits |= 1 << locate(page.get()).1;
                Ok(())
            });
            self.verified.add(verified, self.mapping.watch());
            outcome?;
        }
        Ok(())
    }

    /// Verifies one page and notes it.
    #[cold]
    pub(in crate::sealed) fn verify_page(&self, page: PageId) -> Result<()> {
        let _charged = match &self.budgeted {
            Some(budgeted) => {
                Some(self.charge(budgeted, PageRange::from(page), Behind::ReadAhead)?)
            }
            None => {
                self.begin_checksums(PageRange::from(page), 0)?;
                // What is one page to the kernel too is left to its page fault.
                if self.page_size.get() > rustix::param::page_size() as u64 {
                    self.populate_now(PageRange::from(page))?;
                }
                None
            }
        };
        self.check_page(page)?;
        words_of(PageRange::from(page))
            .for_each(|word| self.verified.add(word, self.mapping.watch()));
        Ok(())
    }

    /// Computes a page's checksum and compares it with the table's.
    fn check_page(&self, page: PageId) -> Result<()> {
        let found = self.hasher.checksum(page, self.bytes(PageRange::from(page)));
        let expected = self.expected_checksum(page);
        // Every byte was touched by now. Where one could not be reached, zeros were summed.
        self.check()?;
        if found == expected {
            return Ok(());
        }
        let path = self.claim().path().into();
        Err(Error::Checksum { path, page, found, expected })
    }

    /// What the checksum table says of a page.
    fn expected_checksum(&self, page: PageId) -> PageChecksum {
        const LEN: usize = PageChecksum::LEN_BYTES;
        let entry = index(page.get()) * LEN;
        let bytes = self.trailer()[entry..entry + LEN].try_into();
        let bytes = bytes.expect("the slice has that length");
        PageChecksum::from_le_bytes(bytes)
    }

    /// Reads pages into memory, in large folios where the kernel makes them; under a budget, and nothing behind
    /// them, it verifies them too.
    pub(in crate::sealed) fn load(&self, range: PageRange) -> Result<()> {
        self.check()?;
        match &self.budgeted {
            Some(budgeted) => {
                self.load_blocks(budgeted, &self.span(range), |_| true)?;
                self.verify_budgeted(budgeted, range, Behind::Nothing)
            }
            None => {
                let (offset, len) = place::place(range, self.page_size);
                self.mapping.populate_huge(offset, len).map_err(|source| {
                    poison::unreachable(&self.mapping, self.page_size, range, source)
                })
            }
        }
    }
}
