//! Files whose pages say which ones they are.

use std::path::Path;

use pagestore::PageWriter;
use tempfile::TempDir;

/// A folder on a disk.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The words of a page.
pub(crate) fn fill(page: u64) -> Vec<u64> {
    (0..512).map(|at| page << 16 | at).collect()
}

/// Checks that these are the bytes of a page.
#[track_caller]
pub(crate) fn check(page: u64, bytes: &[u8]) {
    let words: &[u64] = bytemuck::cast_slice(bytes);
    let right = words.len() == 512 && words.iter().zip(0..).all(|(&w, at)| w == page << 16 | at);
    assert!(right, "page {page}");
}

/// A sealed file of so many pages of 4 KiB, of which nothing is in memory.
pub(crate) fn seal(path: &Path, pages: u64) {
    let mut writer = PageWriter::create(path).unwrap();
    for page in 0..pages {
        writer.append(bytemuck::cast_slice(&fill(page))).unwrap();
    }
    writer.seal().unwrap().evict(..).unwrap();
}
