//! Where the last version of each page is that the log has anything of.

use std::collections::BTreeMap;

use layout::{CommitId, PageChange, PageId};

use super::Replay;

impl Replay {
    /// The last change of each page that a recovery would leave, and the commit that made it.
    pub(in super::super) fn last_changes(&self) -> BTreeMap<PageId, (CommitId, PageChange)> {
        let end = self.version.page_count.get();
        let mut last = BTreeMap::new();
        for record in &self.records {
            let kept = record.changes.iter().filter(|change| change.page.get() < end);
            last.extend(kept.map(|change| (change.page, (record.head.commit, *change))));
        }
        last
    }

    /// The commits that only the log has.
    pub(in super::super) fn commit_count(&self) -> u64 {
        self.records.len() as u64
    }
}
