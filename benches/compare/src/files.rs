//! Where things lie: what is measured in, and what is published.

use std::path::{Path, PathBuf};

/// The root of the repository that this was built from.
pub(crate) fn root() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.ancestors().nth(2).expect("this crate lies two folders below the root")
}

/// The target folder that this program was built into.
pub(crate) fn target() -> PathBuf {
    let here = std::env::current_exe().ok();
    let profile = here.as_deref().and_then(Path::parent);
    profile.map_or_else(|| root().join("target"), Path::to_path_buf)
}

/// Where results go by default: beside this program, whose name is taken.
pub(crate) fn results() -> PathBuf {
    target().join("comparison/results.json")
}

/// What the tables in the documents are made from.
pub(crate) fn published() -> PathBuf {
    root().join("docs/comparison.json")
}
