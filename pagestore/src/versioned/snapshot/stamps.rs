//! What a snapshot knows of its pages without reading them.

use layout::{PageId, PageStamp};
use uuid::Uuid;

use super::Snapshot;
use crate::error::Result;

impl Snapshot {
    /// The uuid that the file got when it was made.
    #[must_use]
    pub fn file_uuid(&self) -> Uuid {
        self.pages_of().hasher.file_uuid()
    }

    /// The bytes of the file's log.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.pages_of().map.geometry().log_len()
    }

    /// The stamp of a page: which commit changed it last, and the checksum of what that wrote. `None` where
    /// the page was never written, and so is zero.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range) where there is no such page;
    /// [`Error::Format`](crate::Error::Format) where the stamp is damaged; otherwise as
    /// [`page`](Self::page).
    pub fn stamp(&self, page: impl Into<PageId>) -> Result<Option<PageStamp>> {
        let page = page.into();
        let (pages, version) = (self.pages_of(), self.view().version());
        pages.map.resolve(page..=page, version.page_count)?;
        let own = self.view().own();
        let index = own.partition_point(|run| run.end() <= page);
        if own.get(index).is_none_or(|run| run.start() > page) {
            return self.view().stamp(page);
        }
        // It may be on its way into the file; the page itself is here.
        let commit = version.commit;
        let checksum = pages.hasher.versioned(page, commit, self.page(page)?);
        Ok(Some(PageStamp { commit, checksum }))
    }
}
