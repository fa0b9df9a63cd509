//! What a snapshot knows of its pages without reading them.

use layout::{PageId, PageStamp};
use uuid::Uuid;

use super::Snapshot;
use crate::{error::Result, map::place, versioned::writing::VersionedWriter};

/// What is copied at a time.
const COPIED_BYTES: u64 = 1 << 20;

impl Snapshot {
    /// Writes all pages that were ever written to another file, a MiB at a time.
    pub(in super::super) fn copy_to(&self, writer: &mut VersionedWriter) -> Result<()> {
        let (page_count, page_size) = (self.page_count(), self.page_size());
        let mut stamps = Vec::new();
        let all = self.pages_of().map.resolve(.., page_count)?;
        for window in place::windows(all, page_size, COPIED_BYTES) {
            let mut first = window.start();
            for page in window.iter() {
                match self.stamp(page)? {
                    Some(stamp) => stamps.push(stamp),
                    None => {
                        // It is zero there as well.
                        self.copy_run(writer, first, &mut stamps)?;
                        first = PageId::new(page.get() + 1);
                    }
                }
            }
            self.copy_run(writer, first, &mut stamps)?;
        }
        Ok(())
    }

    fn copy_run(
        &self,
        writer: &mut VersionedWriter,
        first: PageId,
        stamps: &mut Vec<PageStamp>,
    ) -> Result<()> {
        if stamps.is_empty() {
            return Ok(());
        }
        let end = PageId::new(first.get() + stamps.len() as u64);
        writer.append(first, stamps, self.pages(first..end)?)?;
        stamps.clear();
        Ok(())
    }

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
