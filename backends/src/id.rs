//! Which backend is which.

use std::sync::atomic::{AtomicU64, Ordering};

/// Tells a backend from all others of this process, also from those that are gone.
///
/// A backend makes one for itself when it is made ([`unique`](Self::unique)), and says it by
/// [`StorageBackend::id`](crate::StorageBackend::id); its clones say the same. A backend on top of another one,
/// under whose names the same files are, says that one's. So layers that were made apart find out that they
/// are on the same files: two that compress, for instance, come to one order of their calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BackendId(u64);

impl BackendId {
    /// One that no other backend has.
    #[must_use]
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // No program makes 2^64 of them.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
