//! Pages that were charged, as long as they are being brought in.

use std::ops::Range;

use crate::sync::ReadGuard;

/// Pages that are charged and cannot be evicted as long as this lives.
#[must_use = "the pages can be evicted as soon as this is dropped"]
pub(crate) struct Charged<'member> {
    pub(super) is_new: bool,
    pub(super) extents: Range<usize>,
    pub(super) _latches: Vec<ReadGuard<'member, ()>>,
}

impl Charged<'_> {
    /// Whether any of the pages was not charged before.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// The extents that they lie in.
    pub(super) fn extents(&self) -> Range<usize> {
        self.extents.clone()
    }
}
