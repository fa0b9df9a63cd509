//! The conformance suite against `MmapBackend`: files in a folder, read through mappings.
//!
//! Purpose and method: see `main.rs`. Each test has a folder of its own.

use storage::MmapBackend;

use crate::{Holes, Kind, Sealed, conformance, in_folder::in_folder};

const MAPPED: Kind = Kind {
    make: |limits| in_folder(|root, limits| MmapBackend::open(root, limits), limits),
    sealed: Sealed::Viewed,
    holes: Holes::Free,
};

mod several_threads {
    use super::*;
    conformance!(MAPPED, "multi_thread");
}

mod one_thread {
    use super::*;
    conformance!(MAPPED, "current_thread");
}
