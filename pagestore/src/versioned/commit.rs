//! The commit: what is written where, in which order, and what each step protects.
//!
//! 1. Each view that somebody has gets its own copies of the pages that change (and of their stamps).
//! 2. Pages that go straight to their places, behind the end of the file as it was, are written and synced.
//! 3. The record goes to the log and is durable when that returns. **This is the commit.**
//! 4. The commit before is waited for, until it is in the file; where it could not be written there, this one is not
//!    shown. Then the transaction's mapping, in which the changes are, becomes the view of the last commit.
//! 5. The mark, the pages and their stamps are written into the page cache. Nobody sees how: views before
//!    have their copies, and so has the new one.
//! 6. The new view's copies are given back, but for those of pages that the next commit changes: the file has
//!    the same bytes.
//!
//! Steps 5 and 6 of a large commit are done by a thread of the file's own, beside the next transaction. That
//! reads what is on its way into the file in the view of this commit, and so waits for nothing.
//!
//! A failure up to the second step changes nothing. One of the second or third poisons the file, since
//! what is on the disk is unknown. One of the fifth or sixth poisons it too, but the commit stands: a recovery finishes
//! it, and with it the next one, where that was durable already.

use std::{
    error, fmt,
    io::IoSlice,
    sync::Arc,
    time::{Duration, Instant},
};

use layout::{CommitHead, CommitId, PageChange, PageCount, PageRange, PageSource};

use super::{
    core::Core,
    log::{Log, Room, ZEROS_MAX},
    medium::PARTS_MAX,
    open::Open,
    pages::{Pages, Version},
    runs::{hull, runs_of},
    transaction::Transaction,
    unapplied::Unapplied,
    writer::Writer,
};
use crate::{
    error::{Error, PoisonCause, Result},
    file::durable,
};

/// What a commit did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CommitReport {
    /// The commit. Where nothing was changed, it is the one before.
    pub commit: CommitId,
    /// The pages that were written.
    pub pages: PageCount,
    /// The runs of adjacent pages that they form.
    pub runs: u64,
    /// The bytes of the record that went to the log. Zeros that are written behind it, where the log is new, are not
    /// counted.
    pub log_bytes: u64,
    /// How often it waited for the disk.
    pub syncs: u32,
    /// How long it took.
    pub elapsed: Duration,
}

/// A commit that failed, with the transaction where that is as it was.
///
/// Turned into an [`Error`], as `?` does, it gives the transaction up.
pub struct CommitError<'file> {
    pub(super) error: Error,
    pub(super) transaction: Option<Box<Transaction<'file>>>,
}

impl<'file> CommitError<'file> {
    /// What went wrong.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The transaction as it was, to be tried again or changed. `None` where it is gone.
    #[must_use]
    pub fn into_transaction(self) -> Option<Transaction<'file>> {
        self.transaction.map(|transaction| *transaction)
    }
}

impl From<CommitError<'_>> for Error {
    fn from(failed: CommitError<'_>) -> Self {
        failed.error
    }
}

impl fmt::Debug for CommitError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl fmt::Display for CommitError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl error::Error for CommitError<'_> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        error::Error::source(&self.error)
    }
}

/// Zeros to write, in at most so many pieces.
const ZERO_PARTS: usize = 4;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
const _: () = assert!((ZERO_PARTS * ZEROS.len()) as u64 == ZEROS_MAX);

/// What a commit is going to do.
struct Plan {
    version: Version,
    page_count_max: PageCount,
    runs: Vec<PageRange>,
    changes: Vec<PageChange>,
}

impl<'file> Transaction<'file> {
    /// Makes the changes visible to snapshots that are taken from now on, and durable: when this has
    /// returned, they are there after any crash.
    ///
    /// It waits for the disk once. Where nothing was changed, nothing is done.
    ///
    /// # Errors
    /// The transaction is given up. Nothing of it is there after [`Error::KeptExceeded`],
    /// [`Error::TransactionTooLarge`] and whatever else is met before anything was written. After
    /// [`Error::SyncFailed`], and after [`Error::Poisoned`], as where the commit before could not be written into the
    /// file, it is unknown whether this one is there when the file is opened again; the file takes no more commits,
    /// and snapshots go on showing what was committed before.
    pub fn commit(self) -> Result<CommitReport> {
        self.try_commit().map_err(Error::from)
    }

    /// Does what [`commit`](Self::commit) does, but where it fails before anything was written, the
    /// transaction is in the error, as it was.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn try_commit(mut self) -> Result<CommitReport, CommitError<'file>> {
        match self.commit_open(|| {}) {
            Ok(report) => Ok(report),
            Err(error) if self.open.is_some() && !self.core.has_failed() => {
                Err(CommitError { error, transaction: Some(Box::new(self)) })
            }
            Err(error) => Err(CommitError { error, transaction: None }),
        }
    }
}

impl Transaction<'_> {
    /// Commits; the transaction has ended unless this fails before anything was written. `published` is called
    /// when the commit is durable and can be read, and whatever follows cannot undo it.
    pub(super) fn commit_open(&mut self, published: impl FnOnce()) -> Result<CommitReport> {
        let (core, started) = (self.core, Instant::now());
        let open = self.open.as_mut().expect("a transaction is open until it is committed");
        core.check()?;
        open.sheet.pages.map.check()?;
        let base = open.writer.version;
        if open.sheet.copies().data.is_empty() && open.page_count == base.page_count {
            let (commit, pages) = (base.commit, PageCount::ZERO);
            let elapsed = started.elapsed();
            return Ok(CommitReport { commit, pages, runs: 0, log_bytes: 0, syncs: 0, elapsed });
        }
        let plan = Plan::new(core, open)?;
        let preserved = core.views.preserve(&plan.runs)?;
        let (log_bytes, syncs) = match &core.log {
            None => (0, 0),
            Some(log) => core.make_durable(log, open, &plan)?,
        };
        // The commit before is to be in the file when this one begins to go there: what a view of this one shows of
        // its pages is the file's.
        core.applier.wait();
        core.check()?;
        // From here on the commit stands, whatever happens.
        let Some(Open { writer, sheet, .. }) = self.open.take() else {
            unreachable!("it was open above")
        };
        let mut leaving = Leaving { core, writer: Some(writer), is_done: false };
        let writer = leaving.writer();
        let Plan { version, page_count_max, runs, changes } = plan;
        (writer.version, writer.page_count_max) = (version, page_count_max);
        let (view, before) = core.views.publish(sheet, version, runs, &preserved);
        published();
        let preserved = before
            .as_ref()
            .map_or(Ok(()), |before| core.views.preserve_late(before, view.own(), &preserved));
        drop(before);
        let (pages, runs) = (PageCount::new(changes.len() as u64), count_runs(&changes));
        let unapplied = Unapplied { view, changes, page_count_max };
        match preserved {
            Ok(()) => {
                unapplied.view.mapped().pages.note_right(unapplied.view.own());
                core.apply_somewhere(unapplied, writer);
            }
            Err(error) => core.not_applied(&unapplied, &error),
        }
        leaving.is_done = true;
        drop(leaving);
        let (commit, elapsed) = (version.commit, started.elapsed());
        Ok(CommitReport { commit, pages, runs, log_bytes, syncs, elapsed })
    }
}

/// Gives the turn to the next one when a commit has ended, also by a panic, which is a bug that was printed: what the
/// file has is unknown then.
struct Leaving<'core> {
    core: &'core Arc<Core>,
    writer: Option<Box<Writer>>,
    is_done: bool,
}

impl Leaving<'_> {
    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("it is given away at the end alone")
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            let cause = "the thread that commits has panicked";
            self.core.poison(PageRange::EMPTY, PoisonCause::Commit(cause.into()));
        }
        if let Some(writer) = self.writer.take() {
            self.core.turn.give(writer);
        }
    }
}

impl Plan {
    fn new(core: &Core, open: &mut Open) -> Result<Self> {
        let base = open.writer.version;
        let runs = open.sheet.copies().data.runs();
        let pages = &open.sheet.pages;
        let version = Version { commit: base.commit.next(), page_count: open.page_count };
        let mut changes = Vec::with_capacity(runs.len());
        for page in runs.iter().flat_map(|run| run.iter()) {
            let bytes = pages.bytes_of(page);
            let checksum = core.hasher.versioned(page, version.commit, bytes);
            changes.push(PageChange { page, checksum, source: PageSource::Image });
        }
        let page_count_max = open.writer.page_count_max.max(open.page_count);
        let mut plan = Self { version, page_count_max, runs, changes };
        if core.log.is_some() {
            plan.choose_sources(core, base.page_count)?;
        }
        Ok(plan)
    }

    /// Decides which pages go to the log. What makes a record longer than a quarter of what the log takes
    /// is better off in its place: it is written once, and nobody can see it there before the commit, if it
    /// lies behind the end.
    fn choose_sources(&mut self, core: &Core, old_count: PageCount) -> Result<()> {
        let half_len = core.geometry.half_len();
        if self.record_len(core) > half_len / 4 {
            for change in &mut self.changes {
                if change.page.get() >= old_count.get() {
                    change.source = PageSource::InPlace;
                }
            }
        }
        let needed_bytes = self.record_len(core);
        if needed_bytes > half_len {
            let path = core.backing.path().into();
            let log_bytes = core.geometry.log_len();
            return Err(Error::TransactionTooLarge { path, needed_bytes, log_bytes });
        }
        Ok(())
    }

    fn record_len(&self, core: &Core) -> u64 {
        let images = self.changes.iter().filter(|change| change.source == PageSource::Image);
        CommitHead::len_of(self.changes.len() as u64)
            + images.count() as u64 * core.page_size().get()
    }

    /// The runs of pages whose bytes are in a certain place.
    fn runs_of(&self, source: PageSource) -> Vec<PageRange> {
        let mut runs: Vec<PageRange> = Vec::new();
        for change in self.changes.iter().filter(|change| change.source == source) {
            match runs.last_mut() {
                Some(run) if run.end() == change.page => *run = run.with_next(),
                _ => runs.push(PageRange::from(change.page)),
            }
        }
        runs
    }
}

impl Core {
    /// Makes a commit durable in the log. Gives the bytes that went there, and how often it waited for the
    /// disk.
    fn make_durable(self: &Arc<Self>, log: &Log, open: &Open, plan: &Plan) -> Result<(u64, u32)> {
        let pages = &open.sheet.pages;
        self.begin_checkpoints()?;
        let mut syncs = 1;
        if log.first_superblock().is_some() {
            self.begin_log(log)?;
            syncs += 1;
        }
        let in_place = plan.runs_of(PageSource::InPlace);
        if !in_place.is_empty() {
            let written = self.write_runs(pages, &in_place).and_then(|()| self.medium.sync());
            written.map_err(|source| self.commit_failed(&in_place, source))?;
            syncs += 1;
        }
        let counts = (plan.version.page_count, plan.page_count_max);
        let head = CommitHead::new(log.epoch(), plan.version.commit, counts, &plan.changes);
        let len = head.record_len(self.page_size());
        let head = head.encode(self.file_uuid, self.page_size(), &plan.changes);
        let offset = loop {
            match log.room(len) {
                Room::At(offset) => break offset,
                Room::None if self.has_threads => log.wait_for_room(|| self.has_failed()),
                Room::None => self.checkpoint(layout::LogState::Needed)?,
            }
            self.check()?;
        };
        let images = plan.runs_of(PageSource::Image);
        let zeros = log.zeros_behind(len);
        let is_new = log.may_be_new(len, zeros);
        let written = self.write_record(pages, offset, &head, &images, (zeros, is_new));
        written.map_err(|source| self.commit_failed(&images, source))?;
        log.appended(plan.version.commit, len, zeros);
        Ok((len, syncs))
    }

    fn write_record(
        &self,
        pages: &Pages,
        offset: u64,
        head: &[u8],
        images: &[PageRange],
        (zeros, is_new): (u64, bool),
    ) -> std::io::Result<()> {
        let mut parts = vec![IoSlice::new(head)];
        // One call, so one wait for the disk: more runs than it takes are copied together.
        let mut gathered = Vec::new();
        if images.len() + ZERO_PARTS < PARTS_MAX {
            parts.extend(images.iter().map(|&run| IoSlice::new(pages.bytes(run))));
        } else {
            images.iter().for_each(|&run| gathered.extend_from_slice(pages.bytes(run)));
            parts.push(IoSlice::new(&gathered));
        }
        let mut zeros_left = usize::try_from(zeros).unwrap_or(0);
        while zeros_left > 0 {
            let some = &ZEROS[..zeros_left.min(ZEROS.len())];
            parts.push(IoSlice::new(some));
            zeros_left -= some.len();
        }
        let _logging = self.logging.lock();
        let written = self.medium.write_durably(offset, &parts).and_then(|()| match is_new {
            true => durable::believe(self.backing.file()),
            false => Ok(()),
        });
        // Under the lock: a checkpoint asks when it has it.
        if let Err(error) = &written {
            self.poison(hull(images), PoisonCause::Commit(error.to_string()));
        }
        written
    }

    fn commit_failed(&self, pages: &[PageRange], source: std::io::Error) -> Error {
        self.poison(hull(pages), PoisonCause::Commit(source.to_string()));
        Error::SyncFailed { path: self.backing.path().into(), source }
    }
}

fn count_runs(changes: &[PageChange]) -> u64 {
    runs_of(changes, |_| true).count() as u64
}
