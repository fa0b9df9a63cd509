//! The conformance suite against `MmapBackend`: files in a folder, read through mappings.
//!
//! Purpose and method: see `conformance/mod.rs`. Each test has a folder of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use storage::{Limits, MmapBackend, MmapMedium, StorageError};

use crate::{
    conformance::{Erased, conformance},
    in_folder::{InFolder, Kind},
};

mod conformance;
#[path = "conformance/in_folder.rs"]
mod in_folder;

struct Mapped;

impl Kind for Mapped {
    type Medium = MmapMedium;

    const SEALED_IS_ZERO_COPY: bool = true;

    fn open(root: &Path, limits: Limits) -> Result<MmapBackend, StorageError> {
        MmapBackend::open(root, limits)
    }
}

mod plain {
    use super::*;
    conformance!(InFolder<Mapped>, "multi_thread");
}

mod erased {
    use super::*;
    conformance!(Erased<InFolder<Mapped>>, "current_thread");
}
