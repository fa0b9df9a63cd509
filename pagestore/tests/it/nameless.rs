//! Finding files that have no name yet, by the descriptors that are open on them (proc(5)).

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The nameless files in `folder` that process `pid` has open, as paths by which they can be opened
/// once more.
pub(crate) fn nameless_in(folder: &Path, pid: u32) -> Vec<PathBuf> {
    let folder = folder.canonicalize().unwrap();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let descriptors = descriptors.map(|entry| entry.unwrap().path());
    let is_nameless = |path: &PathBuf| {
        // A descriptor that was closed meanwhile is none of ours.
        let Ok(target) = fs::read_link(path) else { return false };
        target.parent() == Some(&folder) && target.to_string_lossy().ends_with(" (deleted)")
    };
    descriptors.filter(is_nameless).collect()
}

/// The one nameless file in `folder` that this process has open.
#[track_caller]
pub(crate) fn the_nameless_in(folder: &Path) -> PathBuf {
    let mut found = nameless_in(folder, std::process::id());
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}
