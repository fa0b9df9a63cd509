//! What of a raw file is not durable yet.

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What was done to the file since it was last made durable.
///
/// Whoever changes the file notes it afterwards, and a sync takes the notes before it begins: so a
/// note that a sync takes is of a change that it makes durable, and a change whose note is still to
/// come is of an operation that is not completed.
pub(super) struct Unsynced {
    pub(super) bytes: AtomicU64,
    /// The length changed, or nobody knows what was done to the file before it was opened.
    pub(super) length: AtomicBool,
}

impl Unsynced {
    /// For a file that was just opened: another process may have written it and not have synced it.
    pub(super) fn unknown() -> Self {
        Self { bytes: AtomicU64::new(0), length: AtomicBool::new(true) }
    }

    pub(super) fn note_bytes(&self, count: u64) {
        self.bytes.fetch_add(count, Ordering::AcqRel);
    }

    /// Notes that the length changed. It counts as one byte, so that the file does not look synced.
    pub(super) fn note_length(&self) {
        self.length.store(true, Ordering::Release);
        self.note_bytes(1);
    }
}
