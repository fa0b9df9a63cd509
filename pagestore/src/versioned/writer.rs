//! What the one transaction of a file has to itself.

use layout::PageCount;

use super::{pages::Version, sheet::SheetView};
use crate::sync::Shared;

/// What one transaction hands to the next.
#[derive(Debug)]
pub(super) struct Writer {
    /// The last commit.
    pub(super) version: Version,
    /// How many pages the file had at most so far.
    pub(super) page_count_max: PageCount,
    /// The file's length.
    pub(super) file_len: u64,
    /// The last commit, where it may still be on its way into the file.
    pub(super) unapplied: Option<Shared<SheetView>>,
}
