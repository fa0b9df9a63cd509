//! A commit on its way from the log into the file.

use layout::{PageChange, PageCount};

use super::sheet::SheetView;
use crate::sync::Shared;

/// A commit that is durable and published, and not in the file yet.
pub(super) struct Unapplied {
    pub(super) view: Shared<SheetView>,
    pub(super) changes: Vec<PageChange>,
    pub(super) page_count_max: PageCount,
}
