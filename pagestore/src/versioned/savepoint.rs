//! What takes a change back alone, without those before it in the same transaction.

use std::collections::BTreeMap;

use layout::{PageCount, PageId, PageRange};

use super::sheet::Sheet;

/// What takes a change back without those before it in the same transaction.
#[derive(Debug)]
pub(super) struct Savepoint {
    pub(super) page_count: PageCount,
    /// Pages that were changed before, as they were then.
    pub(super) saved: BTreeMap<PageId, Box<[u8]>>,
    /// Pages that were not.
    pub(super) new: Vec<PageRange>,
}

impl Savepoint {
    pub(super) fn new(page_count: PageCount) -> Self {
        Self { page_count, saved: BTreeMap::new(), new: Vec::new() }
    }

    /// Saves what is about to be changed.
    pub(super) fn save(&mut self, sheet: &mut Sheet, range: PageRange) {
        self.save_copied(sheet, range);
        self.new.extend(sheet.copies().data.missing_runs(range));
    }

    /// Saves what is about to be dropped.
    pub(super) fn save_copied(&mut self, sheet: &mut Sheet, range: PageRange) {
        let is_new = |page| self.new.iter().any(|run| run.start() <= page && page < run.end());
        let copied = sheet.copied_runs(range);
        for page in copied.iter().flat_map(|run| run.iter()).filter(|&page| !is_new(page)) {
            self.saved.entry(page).or_insert_with(|| sheet.pages.bytes_of(page).into());
        }
    }
}
