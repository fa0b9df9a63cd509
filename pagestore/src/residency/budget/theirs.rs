//! What of a file stays in memory for others, when to believe it, and when to try again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// After how many comparisons with the kernel it is tried again, at first; each time in vain doubles it.
const PATIENCE_MIN: u32 = 16;
const PATIENCE_MAX: u32 = 1 << 16;

/// Pages that another program maps, or has locked into memory, do not leave when they are evicted. Trying again
/// and again would cost more the larger the file is, each time that the budget compares itself with the kernel.
///
/// The numbers are the standard library's also under loom: they guard nothing.
pub(super) struct Theirs {
    bytes: AtomicU64,
    looks: AtomicU32,
    patience: AtomicU32,
}

impl Theirs {
    pub(super) fn new() -> Self {
        let (looks, patience) = (AtomicU32::new(0), AtomicU32::new(PATIENCE_MIN));
        Self { bytes: AtomicU64::new(0), looks, patience }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Notes that of some extents so many bytes were theirs, and how many are now.
    pub(super) fn change(&self, before: u64, now: u64) {
        if before != now {
            let change = |bytes: u64| Some(bytes.saturating_sub(before) + now);
            // It always changes.
            let _changed = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        }
    }

    /// Takes in what the kernel says: with so much in memory and so much of it charged, others have no more
    /// than the rest.
    pub(super) fn at_most(&self, bytes: u64) -> u64 {
        self.bytes.fetch_min(bytes, Ordering::Relaxed).min(bytes)
    }

    /// Whether it is time to try again. Each time that it is, the next is twice as far.
    pub(super) fn is_due(&self) -> bool {
        if self.bytes() == 0 {
            self.patience.store(PATIENCE_MIN, Ordering::Relaxed);
            return false;
        }
        let patience = self.patience.load(Ordering::Relaxed);
        if self.looks.fetch_add(1, Ordering::Relaxed) + 1 < patience {
            return false;
        }
        self.looks.store(0, Ordering::Relaxed);
        self.patience.store((2 * patience).min(PATIENCE_MAX), Ordering::Relaxed);
        true
    }
}
