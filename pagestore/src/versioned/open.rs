//! What a transaction has that has not ended.

use layout::PageCount;

use super::{
    pages::Version,
    savepoint::Savepoint,
    sheet::{Sheet, SheetView},
    writer::Writer,
};
use crate::sync::Shared;

/// What a transaction has that has not ended.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) writer: Box<Writer>,
    /// Its copies are the pages that were borrowed to be written.
    pub(super) sheet: Sheet,
    /// The commit before, where that was on its way into the file when this began: its pages are read here.
    pub(super) base: Option<Shared<SheetView>>,
    pub(super) page_count: PageCount,
    /// Where an update begins.
    pub(super) savepoint: Option<Savepoint>,
}

impl Open {
    pub(super) fn version(&self) -> Version {
        Version { commit: self.writer.version.commit, page_count: self.page_count }
    }

    pub(super) fn changed_count(&self) -> PageCount {
        self.sheet.copied_count()
    }
}
