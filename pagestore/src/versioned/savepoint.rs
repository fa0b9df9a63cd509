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

    /// Saves what is about to be changed, or dropped.
    pub(super) fn save(&mut self, sheet: &mut Sheet, range: PageRange) {
        let new = |page| self.new.iter().any(|run| run.start() <= page && page < run.end());
        let missing = sheet.copies().data.missing_runs(range);
        let is_missing = |page| missing.iter().any(|run| run.start() <= page && page < run.end());
        for page in range.iter().filter(|&page| !is_missing(page) && !new(page)) {
            self.saved.entry(page).or_insert_with(|| sheet.pages.bytes_of(page).into());
        }
        self.new.extend(missing);
    }
}
