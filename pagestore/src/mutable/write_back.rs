//! Getting dirty pages of a file to the disk, once, and never pretending.

use std::{
    io,
    sync::OnceLock,
    time::{Duration, Instant},
};

use layout::{
    FormatError, Geometry, Header, Metadata, PageCount, PageId, PageRange, Slot, Superblock,
};

use crate::{
    error::{Error, FaultCause, PoisonCause, Result},
    file::{claim::Claim, durable, header},
    map::poison,
    mutable::latched::LatchedPages,
    residency::cache,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    tables::bits::Pages,
};

/// The one path by which a file's pages are made durable, and the memory of its having failed.
pub(crate) struct WriteBack {
    recorded: Mutex<Recorded>,
    /// The page count of `recorded`, for a look without the lock.
    recorded_count: AtomicU64,
    /// Whether there are metadata that the header on disk does not have.
    has_new_metadata: AtomicBool,
    failed: OnceLock<Failed>,
}

/// What the header on disk says, but for its metadata, which can be newer here.
struct Recorded {
    superblock: Superblock,
    slot: Slot,
}

/// What a flush makes durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reach {
    /// The dirty pages.
    Pages,
    /// The header with them.
    File,
}

/// What a failed flush leaves behind.
struct Failed {
    pages: PageRange,
    cause: PoisonCause,
    /// Pages that were to be written and could not be kept in memory either.
    unprotected: u64,
}

impl WriteBack {
    pub(crate) fn new(superblock: Superblock, slot: Slot) -> Self {
        let recorded_count = AtomicU64::new(superblock.page_count().get());
        let recorded = Mutex::new(Recorded { superblock, slot });
        let has_new_metadata = AtomicBool::new(false);
        Self { recorded, recorded_count, has_new_metadata, failed: OnceLock::new() }
    }

    /// Fails where an earlier flush did.
    #[inline]
    pub(crate) fn check(&self, claim: &Claim) -> Result<()> {
        match self.failed.get() {
            None => Ok(()),
            Some(failed) => Err(failed.error(claim)),
        }
    }

    /// Sets the user's own bytes; the next flush writes them.
    pub(crate) fn set_metadata(&self, metadata: Metadata) {
        let mut recorded = self.recorded.lock();
        recorded.superblock = recorded.superblock.with_metadata(metadata);
        self.has_new_metadata.store(true, Ordering::Release);
    }

    /// Makes the pages of `dirty` durable, the page count where it changed, and metadata that are new.
    /// Gives the time that it took, zero where there was nothing to do.
    pub(crate) fn run(
        &self,
        pages: &LatchedPages,
        claim: &Claim,
        dirty: Pages<'_>,
        page_count: PageCount,
    ) -> Result<Duration> {
        // Asked again here: this flush may have waited for one that failed.
        self.check(claim)?;
        // Flushes follow one another, so the count is that of the flush before.
        let recorded_count = PageCount::new(self.recorded_count.load(Ordering::Relaxed));
        let has_new_metadata = self.has_new_metadata.swap(false, Ordering::AcqRel);
        if dirty.0.is_empty() && recorded_count == page_count && !has_new_metadata {
            return Ok(Duration::ZERO);
        }
        let started = Instant::now();
        if has_new_metadata {
            // In the header before the sync, which makes it durable, and so with a count of pages that is
            // durable already.
            self.record(claim, recorded_count)
                .inspect_err(|_| self.has_new_metadata.store(true, Ordering::Release))?;
        }
        let reach = if has_new_metadata { Reach::File } else { Reach::Pages };
        self.sync(pages, claim, (dirty, reach), page_count)?;
        if recorded_count != page_count {
            match self.record(claim, page_count) {
                // On a copy-on-write filesystem the header moves too. The file has at least the pages
                // that it counts, and the file's length says how many there are: the next flush that
                // finds room writes it.
                Err(Error::Io { source, .. }) if is_full(&source) => {}
                recorded => recorded?,
            }
        }
        Ok(started.elapsed())
    }

    /// Makes a lower page count durable, before the file is made shorter. Pages that are dirty are
    /// written with it.
    pub(crate) fn record_fewer(
        &self,
        pages: &LatchedPages,
        claim: &Claim,
        page_count: PageCount,
    ) -> Result<()> {
        self.check(claim)?;
        if self.recorded_count.load(Ordering::Relaxed) <= page_count.get() {
            return Ok(());
        }
        self.record(claim, page_count)?;
        self.sync_len(pages, claim)
    }

    /// Makes the file's length durable, and all else that waits to be written. Where that fails, no page
    /// can be told from those that were lost.
    pub(crate) fn sync_len(&self, pages: &LatchedPages, claim: &Claim) -> Result<()> {
        durable::sync_data(claim.file()).map_err(|source| {
            let all = PageRange::resolve(.., pages.page_count()).unwrap_or(PageRange::EMPTY);
            self.fail(claim, (all, all.count().get()), source)
        })
    }

    /// Has the kernel write the hull of the dirty pages, and the file's length.
    ///
    /// A page that a fault handler replaced, or that lies behind the end of a file that was cut
    /// short, is written by nobody, and msync says nothing of it. So both are looked for, before
    /// (there is no sense in writing the rest) and after.
    fn sync(
        &self,
        pages: &LatchedPages,
        claim: &Claim,
        (dirty, reach): (Pages<'_>, Reach),
        page_count: PageCount,
    ) -> Result<()> {
        let hull = dirty.hull();
        self.check_whole(pages, claim, page_count)?;
        let synced = if reach == Reach::File || hull.is_empty() {
            // The header is no page, and neither is the file's length.
            durable::sync_data(claim.file())
        } else {
            let (offset, len) = pages.place(hull);
            pages.mapping().sync(offset, len).and_then(|()| durable::believe(claim.file()))
        };
        if let Err(source) = synced {
            return Err(self.fail(claim, (hull, keep_in_memory(pages, dirty)), source));
        }
        self.check_whole(pages, claim, page_count)?;
        pages.note_flushed(hull);
        Ok(())
    }

    /// Remembers that pages could not be made durable, and how many of them may not even be in memory.
    fn fail(
        &self,
        claim: &Claim,
        (pages, unprotected): (PageRange, u64),
        source: io::Error,
    ) -> Error {
        let cause = PoisonCause::Flush(source.to_string());
        self.failed.get_or_init(|| Failed { pages, cause, unprotected });
        Error::FlushFailed { path: claim.path().into(), pages, source }
    }

    /// Checks that the file still has all its pages and that none was replaced. A file that was
    /// once found cut short stays so, whatever is done to its length afterwards.
    pub(crate) fn check_whole(
        &self,
        pages: &LatchedPages,
        claim: &Claim,
        page_count: PageCount,
    ) -> Result<()> {
        poison::check(pages.mapping(), pages.page_size())?;
        self.check_len(pages, claim, page_count)
    }

    /// The second half of that: checks that the file has all its pages.
    pub(crate) fn check_len(
        &self,
        pages: &LatchedPages,
        claim: &Claim,
        page_count: PageCount,
    ) -> Result<()> {
        let Some(file_len) = self.too_short(pages, claim, page_count)? else { return Ok(()) };
        let lost = poison::lost(pages.page_size(), page_count, file_len);
        pages.mapping().note_fault(pages.place(lost).0);
        let cause = PoisonCause::Fault(FaultCause::CutShort { file_len });
        Err(self.failed.get_or_init(|| Failed { pages: lost, cause, unprotected: 0 }).error(claim))
    }

    /// The length of the file, where it is too short for its pages now.
    pub(crate) fn too_short(
        &self,
        pages: &LatchedPages,
        claim: &Claim,
        page_count: PageCount,
    ) -> Result<Option<u64>> {
        if let Some(failed) = self.failed.get()
            && matches!(failed.cause, PoisonCause::Fault(_))
        {
            return Err(failed.error(claim));
        }
        let geometry = Geometry::new(pages.page_size(), page_count);
        let expected = geometry.map_err(Error::format(claim.path()))?.data_end();
        let file_len = claim.len_bytes()?;
        Ok((file_len < expected).then_some(file_len))
    }

    /// After a failed flush: how many of its pages are not known to be in memory as they were
    /// written; `Err` where the pages themselves cannot be trusted.
    pub(crate) fn unprotected(&self, claim: &Claim) -> Result<PageCount> {
        match self.failed.get() {
            None => Ok(PageCount::ZERO),
            Some(Failed { cause: PoisonCause::Flush(_), unprotected, .. }) => {
                Ok(PageCount::new(*unprotected))
            }
            Some(failed) => Err(failed.error(claim)),
        }
    }

    /// Writes the page count into the header, in the slot that is not in use.
    ///
    /// It needs no sync of its own: the count is a lower bound, and the file's length, which is
    /// durable by now, says how many pages there are. The header is durable with the next flush.
    fn record(&self, claim: &Claim, page_count: PageCount) -> Result<()> {
        let mut recorded = self.recorded.lock();
        let superblock = recorded.superblock.next_generation(page_count);
        let superblock = superblock.map_err(Error::format(claim.path()))?;
        let slot = recorded.slot.other();
        header::write(claim, slot.offset_bytes(), &Header::encode_slot(&superblock))?;
        *recorded = Recorded { superblock, slot };
        self.recorded_count.store(page_count.get(), Ordering::Relaxed);
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Keeps the pages of a failed flush in memory, since the kernel takes them for clean now: it could
/// drop them any time and bring back what is on the disk. Returns how many may be lost: those that it could not keep
/// (RLIMIT_MEMLOCK), and those that are gone, because an earlier write-back of the kernel's own failed. One that came
/// back since is not told from one that stayed.
fn keep_in_memory(pages: &LatchedPages, dirty: Pages<'_>) -> u64 {
    let is_gone = |page: PageId| {
        let (offset, len) = pages.place(PageRange::from(page));
        let (start, len) = (offset as u64, len as u64);
        // What the kernel does not tell of may be gone.
        cache::mincore_bytes(pages.mapping(), start..start + len) != Some(len)
    };
    let lost = dirty.runs().map(|run| {
        // Before they are kept, which brings them in from the disk.
        let gone = run.iter().filter(|&page| is_gone(page)).count() as u64;
        let (offset, len) = pages.place(run);
        let is_kept = pages.mapping().keep_in_memory(offset, len).is_ok();
        if is_kept { gone } else { run.count().get() }
    });
    lost.sum()
}

impl Failed {
    #[cold]
    fn error(&self, claim: &Claim) -> Error {
        let path = claim.path().into();
        Error::Poisoned { path, pages: self.pages, cause: self.cause.clone() }
    }
}

/// What is wrong with the length of a mutable file, if anything is: it must hold the pages that its
/// header counts, and may hold more.
pub(crate) fn check_len(superblock: &Superblock, file_len: u64) -> Result<(), FormatError> {
    let expected = superblock.geometry().data_end();
    if file_len >= expected {
        return Ok(());
    }
    Err(FormatError::Length { found: file_len, expected })
}
