//! What is done with a mapping that one owner has for itself: copies dropped, knowledge forgotten.

use std::{io, ops::Range};

use layout::{PageCount, PageId, PageRange, VersionedGeometry};

use super::{
    checked::Checked,
    pages::{Copies, Pages},
    view::Sheet,
};
use crate::{PageSize, Result, tables::bits::words_of};

impl Pages {
    /// Forgets what was checked of pages that were changed, and of those that are no more.
    pub(super) fn forget(&mut self, changed: &[PageRange], gone: Range<PageCount>) {
        for &run in changed {
            self.checked.remove(run, self.map.watch());
        }
        let (first, end) = (PageId::new(gone.start.get()), gone.end);
        if let Ok(gone) = PageRange::resolve(first.., end) {
            self.checked.remove(gone, self.map.watch());
        }
    }

    /// Notes that pages are right, because they are about to be written.
    pub(super) fn note_checked(&self, range: PageRange, page_count: PageCount) {
        for word in words_of(range) {
            self.checked.add(word, self.map.watch(), page_count);
        }
    }

    /// Forgets everything that was checked.
    pub(super) fn forget_all(&mut self) {
        let groups = VersionedGeometry::pages_of_groups(self.map.groups());
        self.checked = Checked::none_of(groups);
        self.map.watch().set_free_pages(0);
    }
}

impl Copies {
    /// The bytes of copies that are still to be made of some pages, and of pages of stamps.
    pub(super) fn missing(&self, pages: &Pages, run: PageRange, table: PageRange) -> u64 {
        let data = self.data.missing_count(run) * pages.map.geometry().page_size().get();
        data + self.table.missing_count(table) * rustix::param::page_size() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.table.is_empty()
    }

    /// Makes the copies of pages that are missing, and of pages of stamps. What was copied is noted also
    /// where a later part fails.
    pub(super) fn make(&mut self, pages: &Pages, run: PageRange, table: PageRange) -> Result<()> {
        for part in self.table.missing_runs(table) {
            let place = pages.map.table_pages_place(part);
            pages.copy(place).map_err(|source| pages.map.unreachable(run, source))?;
            self.table.insert(part);
        }
        for part in self.data.missing_runs(run) {
            let place = pages.map.place(part);
            pages.copy(place).map_err(|source| pages.map.unreachable(part, source))?;
            self.data.insert(part);
        }
        Ok(())
    }

    /// The bytes of all copies.
    pub(super) fn bytes(&self, page_size: PageSize) -> u64 {
        let data = self.data.count().get() * page_size.get();
        data + self.table.count().get() * rustix::param::page_size() as u64
    }
}

impl Sheet {
    /// Gives the copies of some pages back to the kernel. Gives the bytes that they took.
    pub(super) fn drop_copies_of(&mut self, range: PageRange) -> io::Result<u64> {
        let before = self.copies.data.count().get();
        self.pages.drop_copies(&[range], &[])?;
        self.copies.data.remove(range);
        let count = before - self.copies.data.count().get();
        Ok(count * self.pages.map.geometry().page_size().get())
    }

    /// Gives all copies back to the kernel: the mapping shows the file again. What was checked of these
    /// pages is forgotten, since the file may have others. Gives the bytes that the copies took, also
    /// where it fails; the sheet is good for nothing then.
    pub(super) fn drop_copies(&mut self) -> Result<u64, (u64, io::Error)> {
        let bytes = self.copies.bytes(self.pages.map.geometry().page_size());
        let (data, table) = (self.copies.data.runs(), self.copies.table.runs());
        self.pages.forget(&data, PageCount::ZERO..PageCount::ZERO);
        self.pages.drop_copies(&data, &table).map_err(|error| (bytes, error))?;
        self.copies.data.clear();
        self.copies.table.clear();
        Ok(bytes)
    }
}
