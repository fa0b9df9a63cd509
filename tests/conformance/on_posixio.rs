//! The conformance suite against `PosixBackend`: files in a folder, read through positioned system calls.
//!
//! Purpose and method: see `main.rs`. Each test has a folder of its own.

use storage::PosixBackend;

use crate::{Holes, Kind, Sealed, conformance, in_folder::in_folder};

const POSITIONED: Kind = Kind {
    make: |limits| in_folder(|root, limits| PosixBackend::open(root, limits), limits),
    sealed: Sealed::Copied,
    holes: Holes::Free,
};

mod several_threads {
    use super::*;
    conformance!(POSITIONED, "multi_thread");
}

mod one_thread {
    use super::*;
    conformance!(POSITIONED, "current_thread");
}
