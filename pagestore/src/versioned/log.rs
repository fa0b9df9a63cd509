//! The log: where the next commit's record goes, and when a half of it may be used again.
//!
//! Commits fill one half, then the other. A half is free again when a superblock that says that all its
//! commits are in the pages is durable. So the superblock alone says where a recovery begins, and no
//! record of it is ever overwritten before.

use std::time::{Duration, Instant};

use layout::{
    CommitId, CommitMark, Header, LogHalf, LogState, PageCount, Slot, Superblock,
    VersionedGeometry, VersionedState,
};
use parking_lot::{Condvar, Mutex};

use super::pages::Version;

/// The most zeros that are written behind a record.
pub(super) const ZEROS_MAX: u64 = 256 << 10;

/// What the log has, and what of it is needed.
#[derive(Debug)]
pub(super) struct Log {
    inner: Mutex<Inner>,
    /// Something changed: a half is free, or one is full, or the end has come.
    changed: Condvar,
    geometry: VersionedGeometry,
}

#[derive(Debug)]
struct Inner {
    half: LogHalf,
    /// Where in the half the next record goes.
    head: u64,
    /// How far each half was ever written to, as far as is known.
    written: [u64; 2],
    /// How far each was written to, surely and durably.
    durable: [u64; 2],
    /// The last commit of each half that is needed.
    needed: [Option<CommitId>; 2],
    applied: Applied,
    superblock: Superblock,
    slot: Slot,
    is_begun: bool,
    wanted: Wanted,
    /// When the half was begun, and how long the one before took to fill.
    half_begun: Instant,
    fill_time: Duration,
}

/// The last commit that was written into the pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applied {
    pub(super) version: Version,
    pub(super) page_count_max: PageCount,
}

/// Where the records of a half end.
#[derive(Clone, Copy, Debug)]
pub(super) struct HalfEnd {
    pub(super) half: LogHalf,
    /// Counted from where the half begins.
    pub(super) end: u64,
    /// The commit of the last one.
    pub(super) last: Option<CommitId>,
}

/// What is asked of who makes checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    Nothing,
    Checkpoint,
    End,
}

/// Where a record goes.
pub(super) enum Room {
    At(u64),
    /// The other half is still needed.
    None,
}

impl Log {
    pub(super) fn new(
        geometry: VersionedGeometry,
        superblock: Superblock,
        slot: Slot,
        applied: Applied,
    ) -> Self {
        let inner = Inner {
            half: LogHalf::First,
            head: 0,
            written: [geometry.half_len(); 2],
            durable: [0; 2],
            needed: [None; 2],
            applied,
            superblock,
            slot,
            is_begun: false,
            wanted: Wanted::Nothing,
            half_begun: Instant::now(),
            fill_time: Duration::ZERO,
        };
        Self { inner: Mutex::new(inner), changed: Condvar::new(), geometry }
    }

    /// The log of a file whose log is needed: the next record follows the last one that was found. `ends` says
    /// where the records of each half end, and which is the last of them.
    pub(super) fn found(
        geometry: VersionedGeometry,
        superblock: Superblock,
        slot: Slot,
        applied: Applied,
        ends: &[HalfEnd; 2],
    ) -> Self {
        let log = Self::new(geometry, superblock, slot, applied);
        {
            let mut inner = log.inner.lock();
            inner.is_begun = true;
            let checkpointed = inner.versioned().commit;
            for end in ends {
                let needed = end.last.filter(|last| *last > checkpointed);
                inner.needed[index(end.half)] = needed;
                if needed == Some(applied.version.commit) {
                    (inner.half, inner.head) = (end.half, end.end);
                }
            }
        }
        log
    }

    /// Says how far each half was ever written to. What lies behind is reserved on the disk and reads as zeros.
    pub(super) fn set_written(&self, written: [u64; 2]) {
        self.inner.lock().written = written;
    }

    /// How many zeros to write behind a record of `len` bytes that goes where [`room`](Self::room) said.
    ///
    /// The first durable write to a block that was only reserved takes twice as long as any later one: the
    /// filesystem makes it known durably that the block has something now. So that is done for many at once.
    pub(super) fn zeros_behind(&self, len: u64) -> u64 {
        let inner = self.inner.lock();
        let end = inner.head + len;
        if end <= inner.written[index(inner.half)] {
            return 0;
        }
        end.next_multiple_of(ZEROS_MAX).min(self.geometry.half_len()) - end
    }

    /// Whether a record of `len` bytes with so many zeros behind it may go to new blocks.
    pub(super) fn may_be_new(&self, len: u64, zeros: u64) -> bool {
        let inner = self.inner.lock();
        inner.head + len + zeros > inner.durable[index(inner.half)]
    }

    /// What has to be written, durably, before the first record: the superblock of a new epoch, after
    /// which a recovery looks at the log. `None` where that was done.
    pub(super) fn first_superblock(&self) -> Option<Superblock> {
        let inner = self.inner.lock();
        if inner.is_begun {
            return None;
        }
        let epoch = inner.versioned().epoch + 1;
        Some(inner.superblock_at(epoch, LogState::Needed))
    }

    /// The superblock of a checkpoint of `applied`, which the pages have durably by now.
    pub(super) fn checkpoint_superblock(
        &self,
        applied: &Applied,
        log_state: LogState,
    ) -> Superblock {
        let inner = self.inner.lock();
        let versioned = VersionedState {
            commit: applied.version.commit,
            page_count_max: applied.page_count_max,
            log_state,
            ..*inner.versioned()
        };
        next(&inner.superblock, applied.version.page_count, versioned)
    }

    /// The slot that a superblock is written to, and its bytes.
    pub(super) fn slot_for(&self, superblock: &Superblock) -> (u64, [u8; 4096]) {
        let slot = self.inner.lock().slot.other();
        (slot.offset_bytes(), Header::encode_slot(superblock))
    }

    /// Notes that a superblock is durable: halves that it makes needless are free.
    pub(super) fn superblock_written(&self, superblock: Superblock) {
        let mut inner = self.inner.lock();
        inner.slot = inner.slot.other();
        inner.superblock = superblock;
        let versioned = *inner.versioned();
        inner.is_begun = versioned.log_state == LogState::Needed;
        for needed in &mut inner.needed {
            needed.take_if(|last| *last <= versioned.commit);
        }
        if !inner.is_begun {
            inner.head = 0;
        }
        self.changed.notify_all();
    }

    /// Where a record of `len` bytes, at most half of the log, goes. Where the half is full the other one
    /// is begun, if it is free, and a checkpoint is asked for.
    pub(super) fn room(&self, len: u64) -> Room {
        let mut inner = self.inner.lock();
        if inner.head + len > self.geometry.half_len() {
            let other = inner.half.other();
            if inner.needed[index(other)].is_some() {
                inner.want(Wanted::Checkpoint);
                self.changed.notify_all();
                return Room::None;
            }
            (inner.half, inner.head) = (other, 0);
            inner.fill_time = inner.half_begun.elapsed();
            inner.half_begun = Instant::now();
            inner.want(Wanted::Checkpoint);
            self.changed.notify_all();
        }
        Room::At(self.geometry.half_start(inner.half) + inner.head)
    }

    /// Waits until the half that a full one is to be followed by is free.
    pub(super) fn wait_for_room(&self, has_failed: impl Fn() -> bool) {
        let mut inner = self.inner.lock();
        while inner.needed[index(inner.half.other())].is_some() && !has_failed() {
            self.changed.wait(&mut inner);
        }
    }

    /// Wakes all that wait here.
    pub(super) fn wake(&self) {
        let _inner = self.inner.lock();
        self.changed.notify_all();
    }

    /// Notes that the record of `commit` is durable, and the zeros behind it.
    pub(super) fn appended(&self, commit: CommitId, len: u64, zeros: u64) {
        let mut inner = self.inner.lock();
        inner.head += len;
        let half = index(inner.half);
        let end = inner.head + zeros;
        inner.written[half] = inner.written[half].max(end);
        inner.durable[half] = inner.durable[half].max(end);
        inner.needed[half] = Some(commit);
    }

    /// The mark that is written before a commit is applied.
    pub(super) fn mark(&self, commit: CommitId) -> CommitMark {
        CommitMark { epoch: self.inner.lock().versioned().epoch, commit }
    }

    /// The superblock that is durable.
    pub(super) fn superblock(&self) -> Superblock {
        self.inner.lock().superblock
    }

    /// The file's epoch.
    pub(super) fn epoch(&self) -> u64 {
        self.inner.lock().versioned().epoch
    }

    /// Notes that a commit was written into the pages.
    pub(super) fn set_applied(&self, applied: Applied) {
        self.inner.lock().applied = applied;
    }

    pub(super) fn applied(&self) -> Applied {
        self.inner.lock().applied
    }

    /// The last commit that is durable in the pages, and whether the log is needed for later ones.
    pub(super) fn checkpointed(&self) -> (CommitId, LogState) {
        let inner = self.inner.lock();
        (inner.versioned().commit, inner.versioned().log_state)
    }

    /// Bytes of records that the last checkpoint has not made needless, at most.
    pub(super) fn used_bytes(&self) -> u64 {
        let inner = self.inner.lock();
        let other = inner.needed[index(inner.half.other())].map_or(0, |_| self.geometry.half_len());
        inner.head + other
    }

    /// Asks the thread that makes checkpoints for something.
    pub(super) fn want(&self, wanted: Wanted) {
        self.inner.lock().want(wanted);
        self.changed.notify_all();
    }

    /// How long the last half took to fill.
    pub(super) fn fill_time(&self) -> Duration {
        self.inner.lock().fill_time
    }

    /// Pauses, unless something is wanted; says whether it is.
    pub(super) fn pause(&self, duration: Duration) -> bool {
        let mut inner = self.inner.lock();
        if inner.wanted == Wanted::Nothing {
            // Being woken early for nothing does no harm.
            let _woken = self.changed.wait_for(&mut inner, duration);
        }
        inner.wanted != Wanted::Nothing
    }

    /// Waits until something is wanted.
    pub(super) fn wanted(&self) -> Wanted {
        let mut inner = self.inner.lock();
        loop {
            match inner.wanted {
                Wanted::Nothing => self.changed.wait(&mut inner),
                Wanted::Checkpoint => {
                    inner.wanted = Wanted::Nothing;
                    return Wanted::Checkpoint;
                }
                Wanted::End => return Wanted::End,
            }
        }
    }
}

impl Inner {
    fn versioned(&self) -> &VersionedState {
        self.superblock.versioned().expect("the superblock of a versioned file says that it is one")
    }

    fn superblock_at(&self, epoch: u64, log_state: LogState) -> Superblock {
        let versioned = VersionedState { epoch, log_state, ..*self.versioned() };
        next(&self.superblock, self.superblock.page_count(), versioned)
    }

    fn want(&mut self, wanted: Wanted) {
        // The end is the end.
        if self.wanted != Wanted::End {
            self.wanted = wanted;
        }
    }
}

fn next(superblock: &Superblock, page_count: PageCount, versioned: VersionedState) -> Superblock {
    let next = superblock.next_version(page_count, versioned);
    next.expect("a file that has these pages can say so")
}

fn index(half: LogHalf) -> usize {
    match half {
        LogHalf::First => 0,
        LogHalf::Second => 1,
    }
}
