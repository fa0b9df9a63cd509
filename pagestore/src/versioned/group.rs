//! Group commit: small changes of many threads share one wait for the disk.
//!
//! Who finds that it is nobody's turn makes his own change and those that others have left meanwhile, and commits
//! for all of them. While he waits for the disk, others come and leave theirs, so the busier the file is, the more
//! of them share the next commit. None of them is woken but to be told how it went, or to be the next to commit.
//!
//! Those who were told come back one after the other, some only when the next commit has begun. So who would commit
//! waits a little for as many as the commit before had, if those were more.
//!
//! A change that fails is taken back alone: what it found changed already was saved before.

#[cfg(all(test, loom))]
mod model;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::Instant,
};

use layout::PageRange;

use super::{
    core::{Change, Core, Outcome},
    job::Job,
    open::Open,
    savepoint::Savepoint,
    transaction::Transaction,
    turn::{Left, Turned},
    writer::Writer,
};
use crate::error::{Error, Result};

/// The most changes that are made for one commit: beyond, who came first would wait for too long.
const MADE_MAX: usize = 256;

impl Core {
    /// See [`VersionedFile::update`](crate::VersionedFile::update).
    pub(super) fn update<R: Send, E: From<Error> + Send>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Transaction<'_>) -> Result<R, E> + Send,
    ) -> Result<R, E> {
        self.check()?;
        let (mut change, mut made) = (Some(change), None);
        let mut make = |open: &mut Option<Open>| {
            let change = change.take().expect("a change is made once");
            let mut transaction = Transaction { core: self, open: open.take() };
            let made = made.insert(catch_unwind(AssertUnwindSafe(|| change(&mut transaction))));
            // A change can put another one in its place, which is dropped then.
            if transaction.is_changed_by(self) {
                *open = transaction.open.take();
            }
            matches!(made, Ok(Ok(_)))
        };
        // SAFETY: the closure lives on this stack and is not touched below. Neither of the two that the job goes
        // to comes back, in whatever way, before it was dropped: `take_or_leave` gives it back or says that it was,
        // and does not panic; `lead` owns it.
        let job = unsafe { Job::new(&mut make) };
        let ended = match self.turn.take_or_leave(job) {
            Turned::Mine(writer, job) => self.lead(writer, job),
            Turned::Done(Some(outcome)) => outcome.map_err(|source| Error::GroupFailed { source }),
            Turned::Done(None) => Err(self.given_up()),
        };
        match made {
            Some(Ok(Ok(result))) => {
                ended?;
                Ok(result)
            }
            // How the commit of the others went is theirs to know.
            Some(Ok(Err(error))) => Err(error),
            Some(Err(panic)) => resume_unwind(panic),
            None => Err(ended.err().unwrap_or_else(|| self.given_up()).into()),
        }
    }

    /// Makes a change of one's own, and those that others leave, and commits them.
    fn lead(self: &Arc<Self>, writer: Box<Writer>, mut own: Change) -> Result<()> {
        let until = Instant::now() + self.last_batch.patience();
        let mut transaction = Transaction::begin(self, writer)?;
        transaction.make(&mut own)?;
        let (mut others, mut made) = (Vec::<Left<Change, Outcome>>::new(), 1);
        while let Some(mut left) = self.next_of_group(&transaction, made, until) {
            made += 1;
            match transaction.make(left.job()) {
                Ok(true) => others.push(left),
                Ok(false) => left.tell(Ok(())),
                Err(error) => {
                    // The changes of the others are not as they were: they are all given up.
                    drop(transaction);
                    others.push(left);
                    return Err(fail_all(others, error));
                }
            }
        }
        let (members, started) = (others.len() + 1, Instant::now());
        // They are told before the commit is written into the file, and so come to leave the next ones while it
        // is.
        let committed = transaction.commit_open(|| {
            self.last_batch.note(members, started.elapsed());
            others.drain(..).for_each(|left| left.tell(Ok(())));
        });
        match committed {
            Ok(_) => {
                // Nothing was changed in the end.
                others.into_iter().for_each(|left| left.tell(Ok(())));
                Ok(())
            }
            Err(error) if others.is_empty() => Err(error),
            Err(error) => Err(fail_all(others, error)),
        }
    }

    /// The next change that is to be part of a commit for which so many were made, with those that failed.
    fn next_of_group(
        &self,
        transaction: &Transaction<'_>,
        made: usize,
        until: Instant,
    ) -> Option<Left<Change, Outcome>> {
        let bytes = transaction.changed_count().bytes(self.page_size()).unwrap_or(u64::MAX);
        if made >= MADE_MAX || bytes > self.geometry.half_len() / 4 {
            return None;
        }
        self.turn.next_job((made < self.last_batch.members()).then_some(until))
    }

    /// The error of a change whose commit came to nothing by a panic, which is a bug that was printed.
    #[cold]
    fn given_up(&self) -> Error {
        let source = io::Error::other("the thread that was to commit it has panicked");
        let source = Arc::new(Error::io("update", self.backing.path())(source));
        Error::GroupFailed { source }
    }
}

/// Tells all who left a change that none of them came to anything.
fn fail_all(others: Vec<Left<Change, Outcome>>, error: Error) -> Error {
    let source = Arc::new(error);
    others.into_iter().for_each(|left| left.tell(Err(Arc::clone(&source))));
    Error::GroupFailed { source }
}

impl Transaction<'_> {
    /// Makes a change, or takes it back where it is not to stay; says which.
    ///
    /// # Errors
    /// Where it could not be taken back, or the transaction is no longer there.
    fn make(&mut self, change: &mut Change) -> Result<bool> {
        self.set_savepoint();
        let stays = change.run(&mut self.open);
        if self.open.is_none() {
            let words =
                "a change put another transaction in the place of the one that it was given";
            let source = io::Error::new(io::ErrorKind::InvalidInput, words);
            return Err(Error::io("update", self.core.backing.path())(source));
        }
        if stays {
            self.release_savepoint();
        } else {
            self.restore_savepoint()?;
        }
        Ok(stays)
    }

    /// Whether this is what an update of this file has given to the change that is being made.
    fn is_changed_by(&self, core: &Arc<Core>) -> bool {
        let has_savepoint = self.open.as_ref().is_some_and(|open| open.savepoint.is_some());
        Arc::ptr_eq(self.core, core) && has_savepoint
    }

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
        }
        open.page_count = savepoint.page_count;
        for (&page, bytes) in &savepoint.saved {
            open.copy_unread(core, PageRange::from(page))?;
            let [page] =
                open.sheet.pages.disjoint_mut([PageRange::from(page)]).ok_or(Error::Overlap)?;
            page.copy_from_slice(bytes);
        }
        Ok(())
    }
}
