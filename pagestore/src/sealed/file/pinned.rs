//! Pages that stay in memory as long as somebody wants.

use std::{fmt, ops::RangeBounds};

use layout::{PageId, PageRange};

use super::SealedFile;
use crate::{
    error::Result,
    residency::budget::{Pin, ResidencyBudget},
    sealed::shared::{memory::Behind, verifying::Bringing},
};

/// Pages that a budget does not evict as long as this lives: [`SealedFile::pin`].
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
    /// The budget that its pages in memory count against, where there is one.
    #[must_use]
    pub fn budget(&self) -> Option<ResidencyBudget> {
        Some(ResidencyBudget::of(self.shared.budgeted.as_ref()?.member()))
    }

    /// Brings pages in, verifies them, and keeps them in memory until what is returned is dropped. What is read
    /// for long is pinned, piece by piece: else its pages may be evicted for others, and come back with the
    /// next touch, read twice and charged to nobody.
    ///
    /// Whole extents are pinned (256 KiB of the file, header included), and three quarters of a budget at the
    /// most; [`BudgetShare`](crate::BudgetShare) says how much each of several should take. Without a budget
    /// this only verifies.
    ///
    /// # Errors
    /// [`Error::BudgetExceeded`](crate::Error::BudgetExceeded) where so much cannot be pinned, at once and
    /// without an eviction; otherwise as [`pages`](Self::pages).
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

    /// Has the kernel begin to read pages, and keeps them in memory as [`pin`](Self::pin) does: what is to be
    /// pinned next. Verifies nothing and waits for nothing but room. Without a budget this is a
    /// [`prefetch`](Self::prefetch).
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
