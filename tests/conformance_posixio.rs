//! The conformance suite against `PosixBackend`: files in a folder, read through positioned system calls.
//!
//! Purpose and method: see `conformance/mod.rs`. Each test has a folder of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use storage::{Limits, PosixBackend, PosixMedium, StorageError};

use crate::{
    conformance::{Erased, conformance},
    in_folder::{InFolder, Kind},
};

mod conformance;
#[path = "conformance/in_folder.rs"]
mod in_folder;

struct Posix;

impl Kind for Posix {
    type Medium = PosixMedium;

    const SEALED_IS_ZERO_COPY: bool = false;

    fn open(root: &Path, limits: Limits) -> Result<PosixBackend, StorageError> {
        PosixBackend::open(root, limits)
    }
}

mod plain {
    use super::*;
    conformance!(InFolder<Posix>, "multi_thread");
}

mod erased {
    use super::*;
    conformance!(Erased<InFolder<Posix>>, "current_thread");
}
