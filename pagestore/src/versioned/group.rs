//! Group commit: small changes of many threads share one wait for the disk.
//!
//! Each thread makes its change itself, in a transaction that goes from one to the next for as long as
//! somebody waits to make one. The last one commits for all. While it waits for the disk, others come and
//! wait, so the busier the file is, the more of them share the next commit.
//!
//! A change that fails is taken back alone: what it found changed already was saved before.

#[cfg(all(test, loom))]
mod model;
mod outcome;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use layout::{PageCount, PageId, PageRange};

use outcome::Outcome;

use super::{
    core::Core,
    sheet::Sheet,
    transaction::{Open, Transaction},
};
use crate::{Error, Result};

/// The most changes of one commit: beyond, who came first would wait for too long.
const MEMBERS_MAX: usize = 256;

/// A transaction on its way from one thread to the next.
#[derive(Debug)]
pub(super) struct Batch {
    open: Open,
    outcome: Arc<Outcome<Arc<Error>>>,
    members: usize,
}

/// What takes a change back without those before it in the same transaction.
#[derive(Debug)]
pub(super) struct Savepoint {
    page_count: PageCount,
    /// Pages that were changed before, as they were then.
    saved: BTreeMap<PageId, Box<[u8]>>,
    /// Pages that were not.
    new: Vec<PageRange>,
}

impl Savepoint {
    fn new(page_count: PageCount) -> Self {
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

impl Core {
    /// See [`VersionedFile::update`](crate::VersionedFile::update).
    pub(super) fn update<R, E: From<Error>>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        self.check()?;
        let (mut transaction, outcome, members) = match self.turn.take_for_update() {
            Ok(writer) => (Transaction::begin(self, writer)?, Arc::default(), 1),
            Err(batch) => {
                let Batch { open, outcome, members } = *batch;
                (Transaction { core: self, open: Some(open) }, outcome, members + 1)
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
            Ok(()) => self.end_update(transaction, &outcome, members),
            Err(error) => {
                // The changes of others are not as they were: they are all given up.
                drop(transaction);
                let error = Arc::new(error);
                outcome.tell(Err(Arc::clone(&error)));
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
    fn end_update(
        &self,
        mut transaction: Transaction<'_>,
        outcome: &Arc<Outcome<Arc<Error>>>,
        members: usize,
    ) -> Result<()> {
        let bytes = transaction.changed_count().bytes(self.page_size()).unwrap_or(u64::MAX);
        let has_room = members < MEMBERS_MAX && bytes <= self.geometry.half_len() / 4;
        if has_room && let Some(open) = transaction.open.take() {
            let batch = Box::new(Batch { open, outcome: Arc::clone(outcome), members });
            match self.turn.pass_on(batch) {
                None => {
                    let waited = outcome.wait();
                    return waited.map_err(|source| Error::GroupFailed { source });
                }
                Some(batch) => transaction.open = Some(batch.open),
            }
        }
        // They are told before the commit is written into the file, and so come to wait for the next one while
        // it is.
        match transaction.commit_open(|| outcome.tell(Ok(()))) {
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
