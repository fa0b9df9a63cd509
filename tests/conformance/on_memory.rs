//! The conformance suite against `MemoryBackend`: files in anonymous memory.
//!
//! Purpose and method: see `main.rs`. Nothing outlives the backend, so the subject cannot
//! be reopened.

use storage::MemoryBackend;

use crate::{Holes, Kind, Sealed, Subject, conformance};

const MEMORY: Kind = Kind {
    make: |limits| Subject::passing(MemoryBackend::with_budget(256 << 20, limits).unwrap()),
    sealed: Sealed::Viewed,
    // Only pages that are written to take memory.
    holes: Holes::Free,
};

mod several_threads {
    use super::*;
    conformance!(MEMORY, "multi_thread");
}

mod one_thread {
    use super::*;
    conformance!(MEMORY, "current_thread");
}
