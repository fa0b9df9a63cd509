//! Group commit: small changes of many threads share one wait for the disk.
//!
//! Each thread makes its change itself, in a transaction that goes from one to the next for as long as
//! somebody waits to make one. The last one commits for all. While it waits for the disk, others come and
//! wait, so the busier the file is, the more of them share the next commit.
//!
//! Those who were told that their commit is done come back one after the other, some only when the next commit has
//! begun. So who would commit waits a little for as many as the commit before had, if those were more.
//!
//! A change that fails is taken back alone: what it found changed already was saved before.

#[cfg(all(test, loom))]
mod model;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::Instant,
};

use layout::{PageCount, PageRange};

use super::{
    batch::{Batch, Share},
    core::Core,
    savepoint::Savepoint,
    transaction::Transaction,
};
use crate::error::{Error, Result};

/// The most changes of one commit: beyond, who came first would wait for too long.
const MEMBERS_MAX: usize = 256;

impl Core {
    /// See [`VersionedFile::update`](crate::VersionedFile::update).
    pub(super) fn update<R, E: From<Error>>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        self.check()?;
        let (mut transaction, share) = match self.turn.take_for_update() {
            Ok(writer) => {
                let until = Instant::now() + self.last_batch.patience();
                let share = Share { outcome: Arc::default(), members: 1, until };
                (Transaction::begin(self, writer)?, share)
            }
            Err(batch) => {
                let Batch { open, mut share } = *batch;
                share.members += 1;
                (Transaction { core: self, open: Some(open) }, share)
            }
        };
        transaction.set_savepoint();
        let changed = catch_unwind(AssertUnwindSafe(|| change(&mut transaction)));
        let restored = match &changed {
            Ok(Ok(_)) => {
                transaction.release_savepoint();
                Ok(())
            }
            _ => transaction.restore_savepoint(),
        };
        let ended = match restored {
            Ok(()) => self.end_update(transaction, share),
            Err(error) => {
                // The changes of others are not as they were: they are all given up.
                drop(transaction);
                let error = Arc::new(error);
                share.outcome.tell(Err(Arc::clone(&error)));
                Err(Error::GroupFailed { source: error })
            }
        };
        match changed {
            Ok(Ok(result)) => {
                ended?;
                Ok(result)
            }
            // How the commit of the others went is theirs to know.
            Ok(Err(error)) => Err(error),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Passes the transaction on, where somebody waits for it, and waits for the commit; else commits.
    fn end_update(&self, mut transaction: Transaction<'_>, share: Share) -> Result<()> {
        let (outcome, members) = (Arc::clone(&share.outcome), share.members);
        let bytes = transaction.changed_count().bytes(self.page_size()).unwrap_or(u64::MAX);
        let has_room = members < MEMBERS_MAX && bytes <= self.geometry.half_len() / 4;
        if has_room && let Some(open) = transaction.open.take() {
            let until = (members < self.last_batch.members()).then_some(share.until);
            match self.turn.pass_on(Box::new(Batch { open, share }), until) {
                None => {
                    let waited = outcome.wait();
                    return waited.map_err(|source| Error::GroupFailed { source });
                }
                Some(batch) => transaction.open = Some(batch.open),
            }
        }
        let started = Instant::now();
        // They are told before the commit is written into the file, and so come to wait for the next one while
        // it is.
        let committed = transaction.commit_open(|| {
            self.last_batch.note(members, started.elapsed());
            outcome.tell(Ok(()));
        });
        match committed {
            Ok(_) => Ok(()),
            Err(error) if members == 1 => Err(error),
            Err(error) => {
                let source = Arc::new(error);
                outcome.tell(Err(Arc::clone(&source)));
                Err(Error::GroupFailed { source })
            }
        }
    }
}

impl Transaction<'_> {
    fn set_savepoint(&mut self) {
        if let Some(open) = &mut self.open {
            open.savepoint = Some(Savepoint::new(open.page_count));
        }
    }

    fn release_savepoint(&mut self) {
        if let Some(open) = &mut self.open {
            open.savepoint = None;
        }
    }

    /// Makes everything as it was when the savepoint was set.
    fn restore_savepoint(&mut self) -> Result<()> {
        let core = self.core;
        let Some(open) = &mut self.open else { return Ok(()) };
        let Some(savepoint) = open.savepoint.take() else { return Ok(()) };
        for &run in &savepoint.new {
            open.drop_copies_of(core, run)?;
            open.sheet.pages.forget(&[run], PageCount::ZERO..PageCount::ZERO);
        }
        let (old, new) = (savepoint.page_count, open.page_count);
        open.sheet.pages.forget(&[], old..new);
        open.page_count = old;
        for (&page, bytes) in &savepoint.saved {
            open.copy_unread(core, PageRange::from(page))?;
            let [page] =
                open.sheet.pages.disjoint_mut([PageRange::from(page)]).ok_or(Error::Overlap)?;
            page.copy_from_slice(bytes);
        }
        Ok(())
    }
}
