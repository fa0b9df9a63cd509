//! Pages that stay in memory as long as somebody wants.

use std::{fmt, ops::RangeBounds};

use layout::{PageId, PageRange};

use super::SealedFile;
use crate::{
    error::Result,
    residency::budget::{Pin, ResidencyBudget},
    sealed::shared::{memory::Behind, verifying::Bringing},
};

/// Pages that the budget does not evict while this lives: [`SealedFile::pin`].
#[must_use = "the pages can be evicted as soon as this is dropped"]
pub struct PinnedPages {
    /// `None` where there is no budget.
    _pin: Option<Pin>,
    /// Behind the pin: it is of this file.
    file: SealedFile,
    range: PageRange,
}

impl PinnedPages {
    /// The pages.
    #[must_use]
    pub fn range(&self) -> PageRange {
        self.range
    }
}

impl fmt::Debug for PinnedPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedPages")
            .field("path", &self.file.path())
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl SealedFile {
    /// The budget that counts its pages in memory, if there is one.
    #[must_use]
    pub fn budget(&self) -> Option<ResidencyBudget> {
        Some(ResidencyBudget::of(self.shared.budgeted.as_ref()?.member()))
    }

    /// Brings pages in, verifies them, and keeps them in memory until the result is dropped. Pin what is read
    /// for long, piece by piece. Otherwise its pages may be evicted for others; the next touch then reads them
    /// a second time, and charges them to nobody.
    ///
    /// Whole extents are pinned (256 KiB of the file, counted from its header), and at most three quarters of a
    /// budget; [`BudgetShare`](crate::BudgetShare) says how much each of several readers should take. Without a
    /// budget, pages are only verified.
    ///
    /// # Errors
    /// [`Error::BudgetExceeded`](crate::Error::BudgetExceeded), at once and without an eviction, where so much
    /// cannot be pinned; otherwise as [`pages`](Self::pages).
    ///
    /// ```
    /// # extern crate pagestore as storage;
    /// use storage::{PageId, PageWriter, ResidencyBudget, SealedFile};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("batch");
    /// let mut writer = PageWriter::create(&path)?;
    /// writer.append(&vec![7; 8 << 20])?;
    /// writer.seal()?;
    /// let budget = ResidencyBudget::new(4 << 20)?;
    /// let sealed = SealedFile::options().budget(&budget).open(&path)?;
    /// let first = PageId::new(0)..PageId::new(256);
    /// let pinned = sealed.pin(first.clone())?;
    /// let slice = sealed.pages(first)?; // in memory until `pinned` is dropped
    /// assert!(sealed.pin(..).is_err(), "more than the budget");
    /// # Ok::<(), pagestore::Error>(())
    /// ```
    pub fn pin(&self, range: impl RangeBounds<PageId>) -> Result<PinnedPages> {
        let shared = &*self.shared;
        let range = shared.resolve(range)?;
        let Some(budgeted) = shared.budgeted.as_ref().filter(|_| !range.is_empty()) else {
            shared.verify_pages(range)?;
            return Ok(PinnedPages { _pin: None, file: self.clone(), range });
        };
        shared.check()?;
        let mut pin = budgeted.member().pin(&shared.span(range))?;
        for window in shared.windows(range, budgeted.window_bytes()) {
            let charged = shared.charge(budgeted, window, Behind::Nothing)?;
            pin.keep(&charged);
            shared.verify_words(window, Bringing::Done)?;
        }
        Ok(PinnedPages { _pin: Some(pin), file: self.clone(), range })
    }

    /// Makes the kernel start reading pages that are to be pinned next, and keeps them in memory as
    /// [`pin`](Self::pin) does. Verifies nothing, and waits only for room in the budget. Without a budget this
    /// is a [`prefetch`](Self::prefetch).
    ///
    /// # Errors
    /// As [`pin`](Self::pin).
    pub fn pin_ahead(&self, range: impl RangeBounds<PageId>) -> Result<PinnedPages> {
        let shared = &*self.shared;
        let range = shared.resolve(range)?;
        let Some(budgeted) = shared.budgeted.as_ref().filter(|_| !range.is_empty()) else {
            self.prefetch([range.start()..range.end()])?;
            return Ok(PinnedPages { _pin: None, file: self.clone(), range });
        };
        let mut pin = budgeted.member().pin(&shared.span(range))?;
        for window in shared.windows(range, budgeted.window_bytes()) {
            let span = shared.span(window);
            let charged = budgeted.bring_in(shared.claim(), span.clone(), span.end)?;
            pin.keep(&charged);
        }
        Ok(PinnedPages { _pin: Some(pin), file: self.clone(), range })
    }
}
