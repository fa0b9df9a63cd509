//! Where the last version of each page is that the log has anything of.

use std::collections::BTreeMap;

use layout::{CommitId, PageChange, PageId};

use super::Replay;

impl Replay {
    /// The last change of each page that a recovery would leave, and the commit that made it.
    pub(in super::super) fn last_changes(&self) -> BTreeMap<PageId, (CommitId, PageChange)> {
        let end = self.version.page_count.get();
        let mut last = self.changes_until(self.version.commit);
        last.retain(|page, _| page.get() < end);
        last
    }

    /// The last change of each page up to a commit, and the commit that made it.
    pub(in super::super) fn changes_until(
        &self,
        commit: CommitId,
    ) -> BTreeMap<PageId, (CommitId, PageChange)> {
        let mut last = BTreeMap::new();
        for record in self.records.iter().filter(|record| record.head.commit <= commit) {
            let changes = record.changes.iter();
            last.extend(changes.map(|change| (change.page, (record.head.commit, *change))));
        }
        last
    }

    /// The commits that only the log has.
    pub(in super::super) fn commit_count(&self) -> u64 {
        self.records.len() as u64
    }
}
