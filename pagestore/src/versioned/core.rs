//! What the handles of a versioned file share, and what is done once for all of them.

use std::{
    fmt,
    io::{self, IoSlice},
    sync::{Arc, OnceLock},
    time::Duration,
};

use layout::{LogState, PageHasher, PageRange, PageSize, Superblock, VersionedGeometry};
use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    backing::Backing, group::Batch, log::Log, medium::Medium, turn::Turn, view::Registry,
    writer::Writer,
};
use crate::{Error, PoisonCause, Result};

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
    pub(super) views: Arc<Registry>,
    pub(super) turn: Turn<Box<Writer>, Box<Batch>>,
    /// `None` in memory, which no crash leaves anything of.
    pub(super) log: Option<Log>,
    /// Held while a record is written to the log; see `checkpoint`.
    pub(super) logging: Mutex<()>,
    checkpointing: Mutex<()>,
    failed: OnceLock<Failed>,
    pub(super) has_thread: bool,
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
    pub(super) views: Arc<Registry>,
    pub(super) turn: Turn<Box<Writer>, Box<Batch>>,
    pub(super) log: Option<Log>,
    pub(super) has_thread: bool,
}

impl Core {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { backing, medium, geometry, file_uuid, views, turn, log, has_thread } = parts;
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
            has_thread,
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
        self.check()?;
        let applied = log.applied();
        let (commit, state) = log.checkpointed();
        if state == LogState::Clean || (commit, state) == (applied.version.commit, log_state) {
            return Ok(());
        }
        self.medium.sync().map_err(|source| self.sync_failed(source))?;
        // The kernel tells of a failed write-back once to each file description, whoever asks first. A
        // record that is being written to the log now may have asked, before the sync above, and not
        // have said so yet; one that begins later cannot have.
        drop(self.logging.lock());
        self.check()?;
        let superblock = log.checkpoint_superblock(&applied, log_state);
        self.write_superblock(log, superblock)
    }

    /// Has the disk begin to write what the next checkpoint is to make durable, piece by piece, over about
    /// half of the time that commits take to fill the other half of the log; so the sync of the checkpoint
    /// finds little to do, and commits meanwhile find the disk free. Where somebody waits for the
    /// checkpoint, there is no pause.
    pub(super) fn start_write_back(&self, log: &Log) {
        const PIECES: u32 = 64;
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
