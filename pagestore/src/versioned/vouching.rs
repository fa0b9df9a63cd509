//! What a snapshot shows after a failed write-back, held against the log.
//!
//! The kernel takes pages for clean that it could not write, and may drop them. What is read then, page and stamp, is
//! of an earlier commit, and agrees. The log has all that was committed since the last checkpoint.

use std::io;

use layout::{LogState, PageId, PageStamp};

use super::{core::Core, recovery, snapshot::Snapshot};
use crate::error::{Error, Result};

impl Core {
    /// Fails where writing has failed and a page of a snapshot is not what the log says, or the log cannot be read.
    /// What was copied of the snapshot before was then not right, or may not have been.
    pub(super) fn check_with_log(&self, snapshot: &Snapshot) -> Result<()> {
        let Some(log) = self.log.as_ref().filter(|_| self.has_failed()) else { return Ok(()) };
        // Nobody is writing there any more.
        let (_no_checkpoint, _no_record) = (self.checkpointing.lock(), self.logging.lock());
        let (superblock, path) = (log.superblock(), self.backing.path());
        let Some(state) =
            superblock.versioned().filter(|state| state.log_state == LogState::Needed)
        else {
            return Ok(());
        };
        let replay = recovery::read(self.backing.file(), path, &superblock, state)?;
        for (page, (commit, change)) in replay.changes_until(snapshot.commit()) {
            if page.get() >= snapshot.page_count().get() {
                continue;
            }
            let logged = PageStamp { commit, checksum: change.checksum };
            match self.shows(snapshot, page, logged) {
                Ok(true) => {}
                Ok(false) | Err(Error::Checksum { .. }) => {
                    let words = "the disk did not take pages that were committed, and they have left memory: close \
                                 the file and open it anew, here or a copy on another disk, since its log has them";
                    let source = io::Error::new(io::ErrorKind::InvalidData, words);
                    return Err(Error::io("vouch for all pages of", path)(source));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn shows(&self, snapshot: &Snapshot, page: PageId, logged: PageStamp) -> Result<bool> {
        let found = self.hasher.versioned(page, logged.commit, snapshot.page(page)?);
        Ok(found == logged.checksum && snapshot.stamp(page)? == Some(logged))
    }
}
