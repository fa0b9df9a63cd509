//! What a budget asks of a file: what of it is in memory, and to let go of it.

use std::{fs::File, ops::Range};

use crate::{
    error::Result,
    residency::cache::{self, Residency},
    sync::atomic::{AtomicU64, Ordering},
};

/// A file that lives under a budget, as far as the budget needs to know it.
pub(crate) trait Budgeted: Send + Sync {
    /// The file.
    fn file(&self) -> &File;

    /// How many bytes of `span`, a range of the file, are in memory by the word of mincore(2); `None`
    /// where there is no mapping to ask about.
    fn mincore_bytes(&self, span: Range<u64>) -> Option<u64>;

    /// Has the bytes of `span`, a range of the file, leave memory: writes what is dirty there and
    /// waits for it, forgets what lets borrows of these pages take the fast path, and then gives
    /// the pages back to the kernel ([`drop_pages`](Pass::drop_pages) does that last part).
    ///
    /// The caller holds the latch of the extent exclusively, so nobody charges pages of it
    /// meanwhile. This must wait for nobody who could wait for room.
    ///
    /// # Errors
    /// Where something dirty could not be written. Nothing of it may have been dropped then.
    fn evict(&self, pass: &Pass<'_>, span: Range<u64>) -> Result<Left>;
}

/// What an eviction left in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    Nothing,
    /// Pages that another program maps too, or a filesystem that is memory. They are not ours.
    Theirs {
        bytes: u64,
    },
    /// Pages that somebody stored to meanwhile. They stay charged.
    Dirty,
    /// Pages that the disk is still bringing, which the kernel does not let go before it has them.
    /// They stay charged.
    Reading,
}

impl Left {
    /// Asks the kernel about a range of a file.
    pub(crate) fn look(file: &File, span: Range<u64>) -> Self {
        match cache::of_range(file, span) {
            Some(residency) if residency.dirty_bytes > 0 => Self::Dirty,
            Some(residency) => Self::clean(residency.resident_bytes),
            None => Self::Nothing,
        }
    }

    /// Clean pages that would not leave.
    fn clean(bytes: u64) -> Self {
        if bytes > 0 { Self::Theirs { bytes } } else { Self::Nothing }
    }

    /// The same of a file that is read through a mapping. cachestat(2) counts pages from when their
    /// reading begins, and mincore(2) from when it is done.
    pub(crate) fn look_mapped(owner: &dyn Budgeted, span: Range<u64>) -> Self {
        let held = cache::of_range(owner.file(), span.clone()).unwrap_or_default();
        if held.dirty_bytes > 0 {
            return Self::Dirty;
        }
        let is_reading = held.resident_bytes > 0
            && owner.mincore_bytes(span).is_some_and(|there| there < held.resident_bytes);
        if is_reading { Self::Reading } else { Self::clean(held.resident_bytes) }
    }
}

/// What a file may use while it evicts something of itself.
pub(crate) struct Pass<'clock> {
    pub(super) counts: &'clock Counts,
}

impl Pass<'_> {
    /// Counts bytes that were written to the disk to make room.
    pub(crate) fn note_written_back(&self, bytes: u64) {
        self.counts.written_back_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What was done, for the statistics.
pub(crate) struct Counts {
    pub(crate) written_back_bytes: AtomicU64,
    pub(crate) evicted_bytes: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) evictions: AtomicU64,
}

/// What the page cache holds of a range of a file under a budget. By mincore(2) where cachestat(2) is refused;
/// then nothing is known of what is dirty.
pub(super) fn residency_of(owner: &dyn Budgeted, span: Range<u64>) -> Option<Residency> {
    cache::of_range(owner.file(), span.clone()).or_else(|| {
        let resident_bytes = owner.mincore_bytes(span)?;
        Some(Residency { resident_bytes, dirty_bytes: 0 })
    })
}
