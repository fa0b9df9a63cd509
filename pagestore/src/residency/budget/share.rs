//! Those who share a budget at the same time.

use std::fmt;

use super::ResidencyBudget;

/// One of several readers that share what can be [pinned](crate::SealedFile::pin) of a budget: a cursor that
/// keeps the pages it lends, say. Each pins at most [`bytes`](Self::bytes), so that there is some for all.
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::ResidencyBudget;
///
/// let budget = ResidencyBudget::new(4 << 20)?;
/// let one = budget.share();
/// assert_eq!(one.bytes(), 3 << 20);
/// let other = budget.share();
/// assert_eq!((one.bytes(), other.bytes()), (3 << 19, 3 << 19));
/// # Ok::<(), pagestore::Error>(())
/// ```
#[must_use = "the share is given back when this is dropped"]
pub struct BudgetShare {
    budget: ResidencyBudget,
}

impl ResidencyBudget {
    /// Counts the caller among those who share what can be [pinned](crate::SealedFile::pin), while the result
    /// lives.
    pub fn share(&self) -> BudgetShare {
        BudgetShare::new(self.clone())
    }
}

impl BudgetShare {
    pub(super) fn new(budget: ResidencyBudget) -> Self {
        budget.clock.add_share();
        Self { budget }
    }

    /// What each can pin now, if all do.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.budget.clock.share_bytes()
    }

    /// The budget that is shared.
    #[must_use]
    pub fn budget(&self) -> &ResidencyBudget {
        &self.budget
    }
}

impl Clone for BudgetShare {
    /// One more share.
    fn clone(&self) -> Self {
        self.budget.share()
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        self.budget.clock.remove_share();
    }
}

impl fmt::Debug for BudgetShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BudgetShare").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
