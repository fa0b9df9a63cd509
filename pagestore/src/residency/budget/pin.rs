//! Extents that stay in memory as long as somebody wants.

use std::{ops::Range, sync::Arc};

use super::{charged::Charged, clock::Clock, core::Core};
use crate::sync::atomic::Ordering;

/// Keeps extents of a file in memory until it is dropped. What a cursor lends it keeps so: evicted behind its
/// back, it would come back with the next touch, and be charged to nobody.
#[must_use = "the extents can be evicted as soon as this is dropped"]
pub(crate) struct Pin {
    pub(super) core: Arc<Core>,
    pub(super) clock: Arc<Clock>,
    /// Adjacent extents, each of which was counted in its `pins` once.
    pub(super) kept: Range<usize>,
    /// What the budget counts as pinned for it.
    pub(super) bytes: u64,
}

impl Pin {
    /// Keeps what was charged, and what lies in the same extents. It is adjacent to what was kept before.
    pub(crate) fn keep(&mut self, charged: &Charged<'_>) {
        let extents = charged.extents();
        for index in extents.start.max(self.kept.end)..extents.end {
            // Under the shared latch, which `charged` has.
            self.core.extent(index).pins.fetch_add(1, Ordering::Relaxed);
        }
        self.kept.end = self.kept.end.max(extents.end);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        for index in self.kept.clone() {
            self.core.extent(index).pins.fetch_sub(1, Ordering::Relaxed);
        }
        self.clock.unpin(self.bytes);
    }
}
