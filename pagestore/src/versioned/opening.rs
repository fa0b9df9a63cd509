//! Making and opening versioned files.

use std::{fs::File, io::IoSlice, path::Path, sync::Arc};

use layout::{
    FormatError, Header, LogHalf, LogState, PageHasher, Slot, Superblock, VersionedGeometry,
    VersionedState,
};
use uuid::Uuid;

use super::{
    backing::Backing,
    checked::Checked,
    core::{Core, Parts},
    file::VersionedFile,
    kept::Kept,
    log::{Applied, Log},
    medium::Medium,
    options::{Checkpoints, VersionedFileOptions},
    pages::Version,
    recovery::{self, RecoveryReport},
    sheet::{Sheets, Source},
    snapshot::Snapshot,
    turn::Turn,
    view::Registry,
    writer::Writer,
};
use crate::{
    error::{Error, Result},
    file::{
        claim::{Claim, open_to_look},
        disk,
        durable::sync_file,
        header,
        pending::{Existing, PendingFile},
        purpose::{Purpose, Trust},
    },
    map::place,
};

impl VersionedFileOptions {
    /// Makes a new file without pages, mode 0600, and opens it. It appears under its name only when it is
    /// durable.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`](crate::Error::AlreadyExists) where the name is taken;
    /// [`Error::DiskFull`](crate::Error::DiskFull); [`Error::Format`](crate::Error::Format) where there can
    /// be no such log; [`Error::Io`](crate::Error::Io);
    /// [`Error::PageSizeUnsupported`](crate::Error::PageSizeUnsupported).
    pub fn create(&self, path: impl AsRef<Path>) -> Result<VersionedFile> {
        VersionedFile::create_with(self, path.as_ref())
    }

    /// Opens a file that nobody but this user and root can write to, under an exclusive lock. Where it was
    /// not closed, the commits that only its log has are put into the pages; see
    /// [`VersionedFile::recovered`].
    ///
    /// # Errors
    /// As [`PageFileOptions::open`](crate::PageFileOptions::open);
    /// [`Error::NotVersioned`](crate::Error::NotVersioned) where it is a page file of another kind;
    /// [`Error::Format`](crate::Error::Format) also where the log is damaged.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<VersionedFile> {
        VersionedFile::open_with(self, path.as_ref(), Trust::Evidence)
    }

    /// Opens the last commit to read, under a lock that readers share.
    ///
    /// A snapshot is kept by copies in the process that commits, so nobody can read the file in another
    /// process while it is open to write; and nobody can open it to write while a snapshot of this kind
    /// lives.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::RecoveryNeeded`](crate::Error::RecoveryNeeded) where the file was
    /// not closed and its log has commits that its pages have not.
    pub fn open_read_only(&self, path: impl AsRef<Path>) -> Result<Snapshot> {
        open_read_only(self, path.as_ref())
    }

    /// Makes pages in memory, with no file: the same interface, gone with the last handle.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); [`Error::PageSizeUnsupported`](crate::Error::PageSizeUnsupported).
    pub fn in_memory(&self) -> Result<VersionedFile> {
        VersionedFile::in_memory_with(self)
    }
}

impl VersionedFile {
    pub(super) fn create_with(options: &VersionedFileOptions, path: &Path) -> Result<Self> {
        place::check_page_size(options.page_size)?;
        let geometry = VersionedGeometry::new(options.page_size, options.log_bytes)
            .map_err(Error::format(path))?;
        let (mut pending, file) = PendingFile::create(path, Existing::Refuse)?;
        let claim = Claim::new(file, path, Purpose::Write, Trust::Evidence)?;
        disk::extend(&claim, 0, geometry.groups_start())?;
        let superblock = Superblock::new_versioned(Uuid::new_v4(), geometry);
        header::write(&claim, 0, &Header::encode([Some(&superblock), None]))?;
        sync_file(claim.file()).map_err(Error::io("make durable", path))?;
        let made = Self::with(options, Backing::Claimed(claim), superblock, Slot::First, None)?;
        pending.publish()?;
        Ok(made)
    }

    pub(super) fn in_memory_with(options: &VersionedFileOptions) -> Result<Self> {
        place::check_page_size(options.page_size)?;
        let backing = Backing::memory()?;
        let geometry = VersionedGeometry::new(options.page_size, VersionedGeometry::LOG_LEN_MIN)
            .map_err(Error::format(backing.path()))?;
        let superblock = Superblock::new_versioned(Uuid::new_v4(), geometry);
        backing
            .file()
            .set_len(geometry.groups_start())
            .map_err(Error::io("make room for", backing.path()))?;
        Self::with(options, backing, superblock, Slot::First, None)
    }

    pub(super) fn open_with(
        options: &VersionedFileOptions,
        path: &Path,
        trust: Trust,
    ) -> Result<Self> {
        // Asked before the claim, so that a file of another kind is called so also while it is locked.
        versioned(&header::read(&open_to_look(path)?.0, path)?, path)?;
        let claim = Claim::open(path, Purpose::Write, trust)?;
        let header = header::read(claim.file(), path)?;
        let state = versioned(&header, path)?;
        place::check_page_size(header.superblock().page_size())?;
        let backing = Backing::Claimed(claim);
        match state.log_state {
            LogState::Clean => {
                check_clean(backing.len_bytes()?, (backing.file(), path), &header, &state)?;
                let superblock = *header.superblock();
                Self::with(options, backing, superblock, header.slot(), None)
            }
            LogState::Needed => Self::recover(options, backing, &header, &state),
        }
    }

    /// Puts into the pages what only the log has, and goes on from there: they become durable by the next
    /// checkpoint, as those of any commit do, and until then the log is as it was found.
    fn recover(
        options: &VersionedFileOptions,
        backing: Backing,
        header: &Header,
        state: &VersionedState,
    ) -> Result<Self> {
        let superblock = header.superblock();
        let geometry = state.geometry;
        let backing = Arc::new(backing);
        let (file, path) = (backing.file(), backing.path());
        let replay = recovery::read(file, path, superblock, state)?;
        let found = backing.len_bytes()?;
        replay.check_len(&geometry, found).map_err(Error::format(path))?;
        let needed = geometry.file_len(replay.version.page_count).map_err(Error::format(path))?;
        let medium = options.medium_of(&backing);
        // First of all: what is cut off below cannot be had back, and the header on the disk may need it.
        replay.make_durable((file, path), &*medium, superblock, state)?;
        fit(&*medium, path, found, needed)?;
        if found > needed {
            // Pages that a commit which never ended put behind the end would be there again after another
            // crash, where the next commit takes them to be zero.
            medium.sync().map_err(Error::io("make durable the length of", path))?;
        }
        // Whoever wrote it may have been killed before it was durable, and it is read out of the page cache
        // now. The log goes on as this says, so a crash must not bring back what was before.
        let slot = Header::encode_slot(superblock);
        medium
            .write_durably(header.slot().offset_bytes(), &[IoSlice::new(&slot)])
            .map_err(Error::io("make durable the header of", path))?;
        let report = replay.apply((file, path), &*medium, superblock, state)?;
        let applied = Applied { version: replay.version, page_count_max: replay.page_count_max };
        let log = Log::found(geometry, *superblock, header.slot(), applied, &replay.ends);
        let made = Self::with_log(options, backing, medium, superblock, Some(log), Some(report))?;
        if report.commits > 0 {
            made.core.want_checkpoint()?;
        }
        Ok(made)
    }

    fn with(
        options: &VersionedFileOptions,
        backing: Backing,
        superblock: Superblock,
        slot: Slot,
        recovered: Option<RecoveryReport>,
    ) -> Result<Self> {
        let backing = Arc::new(backing);
        let medium = options.medium_of(&backing);
        Self::with_medium(options, backing, medium, superblock, slot, recovered)
    }

    fn with_medium(
        options: &VersionedFileOptions,
        backing: Arc<Backing>,
        medium: Arc<dyn Medium>,
        superblock: Superblock,
        slot: Slot,
        recovered: Option<RecoveryReport>,
    ) -> Result<Self> {
        let state = superblock.versioned();
        let log = match (&*backing, state) {
            (Backing::Claimed(_), Some(state)) => {
                let version = Version { commit: state.commit, page_count: superblock.page_count() };
                let applied = Applied { version, page_count_max: state.page_count_max };
                Some(Log::new(state.geometry, superblock, slot, applied))
            }
            _ => None,
        };
        Self::with_log(options, backing, medium, &superblock, log, recovered)
    }

    fn with_log(
        options: &VersionedFileOptions,
        backing: Arc<Backing>,
        medium: Arc<dyn Medium>,
        superblock: &Superblock,
        log: Option<Log>,
        recovered: Option<RecoveryReport>,
    ) -> Result<Self> {
        let path = backing.path();
        let Some(state) = superblock.versioned().copied() else {
            return Err(Error::NotVersioned { path: path.into() });
        };
        let geometry = state.geometry;
        // What the pages have: more than the superblock says, where the log was needed.
        let Applied { version, page_count_max } = match &log {
            Some(log) => log.applied(),
            None => Applied {
                version: Version { commit: state.commit, page_count: superblock.page_count() },
                page_count_max: state.page_count_max,
            },
        };
        let page_count = version.page_count;
        let needed = geometry.file_len(page_count).map_err(Error::format(path))?;
        // What lies behind was left by a transaction that did not end.
        fit(&*medium, path, backing.len_bytes()?, needed)?;
        let is_file = matches!(*backing, Backing::Claimed(_));
        let file_uuid = superblock.file_uuid();
        let kept = Arc::new(Kept::new(options.kept_bytes_max, options.budget.as_ref())?);
        let hasher = PageHasher::new(file_uuid);
        let views = sheets(options, &backing, geometry, hasher, &kept, version);
        let turn = Turn::new(Box::new(Writer {
            version,
            page_count_max,
            file_len: needed,
            unapplied: None,
        }));
        if let (Some(log), Backing::Claimed(claim)) = (&log, &*backing) {
            let written = |half| {
                let start = geometry.half_start(half);
                disk::written_until(claim.file(), start..start + geometry.half_len()) - start
            };
            log.set_written([LogHalf::First, LogHalf::Second].map(written));
        }
        let has_threads = is_file && options.checkpoints == Checkpoints::InBackground;
        let parts = Parts { backing, medium, geometry, file_uuid, views, turn, log, has_threads };
        Ok(Self { core: Arc::new(Core::new(parts)), recovered })
    }
}

/// See [`VersionedFileOptions::open_read_only`].
pub(super) fn open_read_only(options: &VersionedFileOptions, path: &Path) -> Result<Snapshot> {
    versioned(&header::read(&open_to_look(path)?.0, path)?, path)?;
    let claim = Claim::open(path, Purpose::Read, Trust::Evidence)?;
    let header = header::read(claim.file(), path)?;
    let (superblock, state) = (header.superblock(), versioned(&header, path)?);
    place::check_page_size(superblock.page_size())?;
    let backing = Arc::new(Backing::Claimed(claim));
    match state.log_state {
        LogState::Clean => {
            check_clean(backing.len_bytes()?, (backing.file(), path), &header, &state)?;
        }
        LogState::Needed => {
            let replay = recovery::read(backing.file(), path, superblock, &state)?;
            if replay.version.commit > state.commit {
                return Err(Error::RecoveryNeeded { path: path.into() });
            }
            let found = backing.len_bytes()?;
            replay.check_len(&state.geometry, found).map_err(Error::format(path))?;
        }
    }
    let version = Version { commit: state.commit, page_count: superblock.page_count() };
    let kept = Arc::new(Kept::new(options.kept_bytes_max, options.budget.as_ref())?);
    let hasher = PageHasher::new(superblock.file_uuid());
    let views = sheets(options, &backing, state.geometry, hasher, &kept, version);
    Ok(Snapshot::new(views.read()?))
}

fn sheets(
    options: &VersionedFileOptions,
    backing: &Arc<Backing>,
    geometry: VersionedGeometry,
    hasher: PageHasher,
    kept: &Arc<Kept>,
    version: Version,
) -> Arc<Sheets> {
    let (backing, kept) = (Arc::clone(backing), Arc::clone(kept));
    let guard = options.guard;
    let checked = Arc::new(Checked::new());
    let source = Source { backing, geometry, guard, hasher, checked, kept: Arc::clone(&kept) };
    Registry::new(source, kept, version)
}

/// What only a versioned file says.
pub(super) fn versioned(header: &Header, path: &Path) -> Result<VersionedState> {
    let versioned = header.superblock().versioned().copied();
    versioned.ok_or_else(|| Error::NotVersioned { path: path.into() })
}

/// Makes the file as long as its pages.
fn fit(medium: &dyn Medium, path: &Path, found: u64, needed: u64) -> Result<()> {
    let fitted = match found.cmp(&needed) {
        std::cmp::Ordering::Less => medium.extend(found, needed),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => medium.cut(needed),
    };
    fitted.map_err(Error::io("set the length of", path))
}

/// Checks that a file that says that it was closed was not written to since. The slot that says otherwise may
/// be damaged.
pub(super) fn check_clean(
    found: u64,
    (file, path): (&File, &Path),
    header: &Header,
    state: &VersionedState,
) -> Result<()> {
    let superblock = header.superblock();
    let expected = state.geometry.file_len(superblock.page_count()).map_err(Error::format(path))?;
    if found < expected {
        return Err(Error::format(path)(FormatError::Length { found, expected }));
    }
    let is_damaged = matches!(header.other_slot_error(), Some(error) if !is_never_written(&error));
    let later = if is_damaged { Some(state.epoch + 1) } else { None };
    recovery::check_closed((file, path), superblock, state, later)
}

/// Whether a slot was never written, rather than damaged.
pub(super) fn is_never_written(error: &FormatError) -> bool {
    matches!(error, FormatError::Magic { found, .. } if *found == [0; 8])
}
