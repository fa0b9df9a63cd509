//! What the handles of a versioned file share, and what is done once for all of them.

use std::{
    fmt,
    io::{self, IoSlice},
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
    time::Duration,
};

use layout::{LogState, PageHasher, PageRange, PageSize, Superblock, VersionedGeometry};
use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    applier::Applier,
    backing::Backing,
    job::Job,
    last_batch::LastBatch,
    log::{Log, Wanted},
    medium::Medium,
    open::Open,
    page_set::PageSet,
    sheet::Sheets,
    turn::Turn,
    unapplied::Unapplied,
    writer::Writer,
};
use crate::error::{Error, PoisonCause, Result};

/// Whose turn it is, with the changes that others leave, and how the commit of those went.
pub(super) type WriterTurn = Turn<Box<Writer>, Change, Outcome>;

/// A change that another thread can make.
pub(super) type Change = Job<Option<Open>>;

/// How the commit went that a change was part of.
pub(super) type Outcome = Result<(), Arc<Error>>;

/// The longest time over which write-back is spread: a checkpoint is not put off for ever where commits are
/// rare.
const WRITE_BACK_TIME_MAX: Duration = Duration::from_secs(2);

/// One versioned file.
pub(super) struct Core {
    pub(super) backing: Arc<Backing>,
    pub(super) medium: Arc<dyn Medium>,
    pub(super) geometry: VersionedGeometry,
    pub(super) file_uuid: Uuid,
    pub(super) hasher: PageHasher,
    pub(super) views: Arc<Sheets>,
    pub(super) turn: WriterTurn,
    /// `None` in memory, which no crash leaves anything of.
    pub(super) log: Option<Log>,
    /// Held while a record is written to the log; see `checkpoint`.
    pub(super) logging: Mutex<()>,
    pub(super) checkpointing: Mutex<()>,
    failed: OnceLock<Failed>,
    /// The pages that were written into the file since the last checkpoint.
    pub(super) unsynced: Mutex<PageSet>,
    pub(super) last_batch: LastBatch,
    /// Writes large commits into the file.
    pub(super) applier: Applier<Unapplied>,
    /// Whether threads of the file's own make checkpoints and write large commits into the file.
    pub(super) has_threads: bool,
    threads: Mutex<Threads>,
}

/// The threads that were begun, each when there was first something to do for it.
#[derive(Debug, Default)]
struct Threads {
    checkpoints: Option<JoinHandle<()>>,
    applier: Option<JoinHandle<()>>,
    have_ended: bool,
}

/// What made the file take no more commits.
#[derive(Debug)]
struct Failed {
    pages: PageRange,
    cause: PoisonCause,
}

/// What a `Core` is made of.
pub(super) struct Parts {
    pub(super) backing: Arc<Backing>,
    pub(super) medium: Arc<dyn Medium>,
    pub(super) geometry: VersionedGeometry,
    pub(super) file_uuid: Uuid,
    pub(super) views: Arc<Sheets>,
    pub(super) turn: WriterTurn,
    pub(super) log: Option<Log>,
    pub(super) has_threads: bool,
}

impl Core {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { backing, medium, geometry, file_uuid, views, turn, log, has_threads } = parts;
        Self {
            backing,
            medium,
            geometry,
            file_uuid,
            hasher: PageHasher::new(file_uuid),
            views,
            turn,
            log,
            logging: Mutex::new(()),
            checkpointing: Mutex::new(()),
            failed: OnceLock::new(),
            unsynced: Mutex::default(),
            last_batch: LastBatch::default(),
            applier: Applier::new(),
            has_threads,
            threads: Mutex::default(),
        }
    }

    pub(super) fn page_size(&self) -> PageSize {
        self.geometry.page_size()
    }

    /// Fails where nothing may be committed any more.
    pub(super) fn check(&self) -> Result<()> {
        match self.failed.get() {
            None => Ok(()),
            Some(Failed { pages, cause }) => {
                let (path, pages, cause) = (self.backing.path().into(), *pages, cause.clone());
                Err(Error::Poisoned { path, pages, cause })
            }
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.get().is_some()
    }

    /// Remembers for good that the file takes no more commits.
    pub(super) fn poison(&self, pages: PageRange, cause: PoisonCause) {
        self.failed.get_or_init(|| Failed { pages, cause });
        if let Some(log) = &self.log {
            log.wake();
        }
    }

    /// Makes durable in the pages what was committed so far, so that the log is not needed for it.
    ///
    /// The order is what a crash at any moment leaves right: first the pages, then the superblock that
    /// says so, and only then is the log used again.
    pub(super) fn checkpoint(&self, log_state: LogState) -> Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        let _one_at_a_time = self.checkpointing.lock();
        // What was committed before this is to be in the pages.
        self.applier.wait();
        self.check()?;
        let applied = log.applied();
        let (commit, state) = log.checkpointed();
        if state == LogState::Clean || (commit, state) == (applied.version.commit, log_state) {
            return Ok(());
        }
        self.unsynced.lock().clear();
        self.medium.sync().map_err(|source| self.sync_failed(source))?;
        // The kernel tells of a failed write-back once to each file description, whoever asks first. A
        // record that is being written to the log now may have asked, before the sync above, and not
        // have said so yet; one that begins later cannot have.
        drop(self.logging.lock());
        self.check()?;
        let superblock = log.checkpoint_superblock(&applied, log_state);
        self.write_superblock(log, superblock)
    }

    /// Begins the thread that makes checkpoints, where there is to be one and is none yet.
    pub(super) fn begin_checkpoints(self: &Arc<Self>) -> Result<()> {
        let mut threads = self.threads.lock();
        if !self.has_threads || threads.checkpoints.is_some() || threads.have_ended {
            return Ok(());
        }
        let core = Arc::clone(self);
        let run = move || {
            let Some(log) = &core.log else { return };
            while log.wanted() == Wanted::Checkpoint {
                core.start_write_back(log);
                // What goes wrong poisons the file, which tells everybody who writes.
                if core.checkpoint(LogState::Needed).is_err() {
                    return;
                }
            }
        };
        let begun = thread::Builder::new().name("checkpoints".into()).spawn(run);
        let begun = begun.map_err(Error::io("begin a thread for", self.backing.path()))?;
        threads.checkpoints = Some(begun);
        Ok(())
    }

    /// Asks for a checkpoint, where a thread makes them.
    pub(super) fn want_checkpoint(self: &Arc<Self>) -> Result<()> {
        if let Some(log) = self.log.as_ref().filter(|_| self.has_threads) {
            self.begin_checkpoints()?;
            log.want(Wanted::Checkpoint);
        }
        Ok(())
    }

    /// Whether there is a thread that writes large commits into the file; it is begun now, if it can be.
    pub(super) fn has_applier(self: &Arc<Self>) -> bool {
        let mut threads = self.threads.lock();
        if threads.applier.is_none() && !threads.have_ended {
            let core = Arc::clone(self);
            let run = move || core.applier.run(|unapplied| core.apply_or_poison(unapplied));
            // Where the system has no thread for us, commits are written by who makes them.
            threads.applier = thread::Builder::new().name("commits".into()).spawn(run).ok();
        }
        threads.applier.is_some()
    }

    fn apply_or_poison(&self, unapplied: Unapplied) {
        /// A panic is a bug that was printed; what the file has is unknown then.
        struct OnPanic<'core>(&'core Core);
        impl Drop for OnPanic<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    let cause = "the thread that writes commits into the file has panicked";
                    self.0.poison(PageRange::EMPTY, PoisonCause::Commit(cause.into()));
                }
            }
        }
        let _on_panic = OnPanic(self);
        self.apply_now(unapplied);
    }

    /// Ends the threads, when they have done what they were asked for.
    pub(super) fn end_threads(&self) {
        let Threads { checkpoints, applier, .. } = {
            let ended = Threads { have_ended: true, ..Threads::default() };
            std::mem::replace(&mut *self.threads.lock(), ended)
        };
        if let Some(log) = &self.log {
            log.want(Wanted::End);
        }
        self.applier.end();
        for thread in checkpoints.into_iter().chain(applier) {
            // They have told the file of their errors; a panic of one is a bug that was printed.
            let _ended = thread.join();
        }
    }

    /// Has the disk begin to write what the next checkpoint is to make durable, piece by piece, over about
    /// half of the time that commits take to fill the other half of the log; so the sync of the checkpoint
    /// finds little to do, and commits meanwhile find the disk free. Where somebody waits for the
    /// checkpoint, there is no pause.
    pub(super) fn start_write_back(&self, log: &Log) {
        const PIECES: u32 = 64;
        // Where the same pages are changed again and again, what is written now is written twice.
        let unsynced_bytes = self.unsynced.lock().count().bytes(self.page_size());
        if unsynced_bytes.is_some_and(|bytes| bytes < self.geometry.half_len() / 4) {
            return;
        }
        let Ok(len) = self.backing.len_bytes() else { return };
        let start = self.geometry.groups_start();
        let piece = len.saturating_sub(start).div_ceil(PIECES.into()).next_multiple_of(1 << 20);
        let pause = (log.fill_time() / 2).min(WRITE_BACK_TIME_MAX) / PIECES;
        for piece_start in (start..len).step_by(usize::try_from(piece).unwrap_or(usize::MAX)) {
            // It is advice: the sync writes whatever is left.
            let _begun = self.medium.start_write_back(piece_start, piece);
            if log.pause(pause) {
                return;
            }
        }
    }

    /// Makes a superblock durable.
    pub(super) fn write_superblock(&self, log: &Log, superblock: Superblock) -> Result<()> {
        let (offset, bytes) = log.slot_for(&superblock);
        let written = self.medium.write_durably(offset, &[IoSlice::new(&bytes)]);
        written.map_err(|source| self.sync_failed(source))?;
        log.superblock_written(superblock);
        Ok(())
    }

    /// The first commit of an open file makes it known that the log is needed.
    pub(super) fn begin_log(&self, log: &Log) -> Result<()> {
        match log.first_superblock() {
            None => Ok(()),
            Some(superblock) => {
                let _one_at_a_time = self.checkpointing.lock();
                self.write_superblock(log, superblock)
            }
        }
    }

    fn sync_failed(&self, source: io::Error) -> Error {
        self.poison(PageRange::EMPTY, PoisonCause::Commit(source.to_string()));
        Error::SyncFailed { path: self.backing.path().into(), source }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("backing", &self.backing).finish_non_exhaustive()
    }
}
