//! The blocks in memory, spread over shards that have a lock each.

use std::{
    mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};

use super::{
    frame::{Frame, Gate, Outgoing, Pinned, Source},
    run::Run,
    shard::{Counts, Resident, Shard, Slot, State, spread},
};
use crate::{BufferPool, FBuf};

/// More shards than this do not help the threads of any machine that we know of.
const SHARD_COUNT_MAX: u64 = 64;
/// Fewer blocks than this in a shard make its order too different from the order of all.
const SHARD_BLOCKS_MIN: u64 = 64;
/// So many neighbours (their log2) are in one shard: a thread that goes from block to block stays
/// there for a while, instead of taking a lock from another processor's cache each time. Measured,
/// two threads with blocks of their own against one: 2.0 times as fast, and 0.9 times without this.
const NEIGHBOURS_LOG2: u32 = 4;
/// How many dirty blocks a search for a clean one passes in each shard. More, and clean blocks in
/// use would be dropped to spare dirty ones that nobody wants.
pub(super) const DIRTY_PASSED: usize = 4;

/// The blocks of one file that are in memory, whoever's backend the file is on.
pub(crate) struct Cache {
    shards: Box<[Lane]>,
    gate: Arc<Gate>,
    block_size: usize,
    /// How long the file is, with what is not written out yet. Raised under the lock of the shard
    /// whose block ends there.
    len: AtomicU64,
    /// How much of it the medium surely has.
    stored_len: AtomicU64,
    /// The shard that the next search for a block to evict begins at.
    hand: AtomicUsize,
}

/// Lies alone in its cache lines (processors fetch them in pairs), or threads that use different
/// shards would slow one another down.
#[derive(Default)]
#[repr(align(128))]
struct Lane(Mutex<Shard>);

/// A block that was found in memory.
pub(super) struct Hit {
    pub(super) frame: Pinned,
    pub(super) len: usize,
    /// Not 0 where the blocks behind this many are to be read ahead.
    pub(super) ahead_count: u32,
}

/// How a small write went.
pub(super) enum Placed {
    Done,
    /// It takes memory: nothing is changed.
    NeedsBuffer,
    /// It takes the bytes around it, which are not in memory: nothing is changed.
    NeedsBlock,
}

impl Cache {
    pub(super) fn new(pool: BufferPool, path: &str, block_size: usize, len: u64) -> Arc<Self> {
        let block_count = pool.limit_bytes() / block_size as u64;
        let shard_count = (block_count / SHARD_BLOCKS_MIN).clamp(1, SHARD_COUNT_MAX);
        let shard_count = 1_usize << shard_count.ilog2();
        Arc::new_cyclic(|cache: &Weak<Self>| Self {
            shards: (0..shard_count).map(|_| Lane::default()).collect(),
            gate: Arc::new(Gate::new(pool, path.to_owned(), Weak::<Self>::clone(cache))),
            block_size,
            len: AtomicU64::new(len),
            stored_len: AtomicU64::new(len),
            hand: AtomicUsize::new(0),
        })
    }

    #[inline]
    fn shard(&self, index: u64) -> MutexGuard<'_, Shard> {
        // Other bits than those that choose a place in the shard's table.
        let bits = (spread(index >> NEIGHBOURS_LOG2) >> 24) & (SHARD_COUNT_MAX - 1);
        let lane = bits as usize & (self.shards.len() - 1);
        self.shards[lane].0.lock()
    }

    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(super) fn block_size(&self) -> usize {
        self.block_size
    }

    pub(super) fn offset(&self, index: u64) -> u64 {
        index * self.block_size as u64
    }

    /// The block that a byte is in, and where in there.
    pub(super) fn place(&self, offset: u64) -> (u64, usize) {
        let size = self.block_size as u64;
        let at = usize::try_from(offset % size).expect("it is below the size of a block");
        (offset / size, at)
    }

    pub(super) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn stored_len(&self) -> u64 {
        self.stored_len.load(Ordering::Acquire)
    }

    pub(super) fn raise_len(&self, len: u64) {
        self.len.fetch_max(len, Ordering::AcqRel);
    }

    pub(super) fn raise_stored_len(&self, len: u64) {
        self.stored_len.fetch_max(len, Ordering::AcqRel);
    }

    /// How many bytes a block has in a file of `len` bytes.
    #[inline]
    pub(super) fn part_len(&self, index: u64, len: u64) -> usize {
        let behind = len.saturating_sub(self.offset(index));
        usize::try_from(behind).map_or(self.block_size, |behind| behind.min(self.block_size))
    }

    /// A block that is in memory. `hit_count` is what that counts for.
    #[inline]
    pub(super) fn find(&self, index: u64, hit_count: u64) -> Option<Hit> {
        let mut shard = self.shard(index);
        let (slot, counts) = shard.used(index)?;
        let State::Resident(resident) = &slot.state else {
            return None;
        };
        let frame = Pinned::new(Arc::clone(&resident.frame));
        let ahead_count = mem::take(&mut slot.ahead_count);
        counts.ahead_used += u64::from(mem::take(&mut slot.unasked));
        counts.hits += hit_count;
        Some(Hit { frame, len: self.part_len(index, self.len()), ahead_count })
    }

    /// Joins the read that brings a block, or claims the block for a read by `run`.
    pub(super) fn claim(&self, index: u64, run: &Arc<Run>) -> Claimed {
        let mut shard = self.shard(index);
        match shard.get(index) {
            None => {
                shard.insert(index, State::Fetching(Arc::clone(run)));
                Claimed::Mine
            }
            Some(Slot { state: State::Resident(_), .. }) => Claimed::Resident,
            Some(Slot { state: State::Fetching(other), ahead_count, .. }) => {
                Claimed::Theirs { run: Arc::clone(other), ahead_count: mem::take(ahead_count) }
            }
        }
    }

    /// Claims a block that is not there for a read by `run`; says whether it could.
    pub(super) fn claim_absent(&self, index: u64, run: &Arc<Run>) -> bool {
        let mut shard = self.shard(index);
        let absent = shard.get(index).is_none();
        if absent {
            shard.insert(index, State::Fetching(Arc::clone(run)));
        }
        absent
    }

    /// Notes on the first block of a run that is read ahead how long the run is.
    pub(super) fn mark_ahead(&self, index: u64, count: u32) {
        if let Some(slot) = self.shard(index).get(index) {
            slot.ahead_count = count;
        }
    }

    /// Gives up a claim of `run`, if it is one still.
    pub(super) fn unclaim(&self, index: u64, run: &Arc<Run>) {
        let mut shard = self.shard(index);
        if is_claimed_by(shard.get(index).as_deref(), run) {
            shard.remove(index);
        }
    }

    /// Puts a block that was read in its place; `None` where it was written meanwhile, which counts
    /// more.
    pub(super) fn install(
        &self,
        index: u64,
        run: &Arc<Run>,
        frame: Frame,
        asked: Asked,
    ) -> Option<Hit> {
        let mut shard = self.shard(index);
        let slot = shard.get(index);
        if !is_claimed_by(slot.as_deref(), run) {
            return None;
        }
        let slot = slot?;
        let frame = Arc::new(frame);
        let pinned = Pinned::new(Arc::clone(&frame));
        slot.state = State::Resident(Resident::clean(frame));
        slot.unasked = matches!(asked, Asked::Ahead);
        Some(Hit { frame: pinned, len: self.part_len(index, self.len()), ahead_count: 0 })
    }

    /// Writes within one block, where that takes nothing that is not at hand. `hold` is given back
    /// under the lock, so that it keeps the block in memory until then and is no reason to copy.
    pub(super) fn write(
        &self,
        index: u64,
        at: usize,
        data: &[u8],
        spare: &mut Option<Frame>,
        hold: Option<Pinned>,
    ) -> Placed {
        let end = self.offset(index) + (at + data.len()) as u64;
        let mut shard = self.shard(index);
        drop(hold);
        match shard.used(index).map(|(slot, _)| &mut slot.state) {
            Some(State::Resident(resident)) => {
                if let Some(frame) = Arc::get_mut(&mut resident.frame) {
                    frame.bytes_mut()[at..at + data.len()].copy_from_slice(data);
                } else if let Some(mut copy) = spare.take() {
                    copy.fill(resident.frame.bytes());
                    copy.bytes_mut()[at..at + data.len()].copy_from_slice(data);
                    resident.frame = Arc::new(copy);
                } else {
                    return Placed::NeedsBuffer;
                }
            }
            other => {
                let stored = self.part_len(index, self.stored_len());
                if (at > 0 && stored > 0) || data.len() < stored {
                    return Placed::NeedsBlock;
                }
                let Some(mut frame) = spare.take() else {
                    return Placed::NeedsBuffer;
                };
                frame.bytes_mut().fill(0);
                frame.bytes_mut()[at..at + data.len()].copy_from_slice(data);
                let resident = State::Resident(Resident::clean(Arc::new(frame)));
                match other {
                    Some(fetching) => *fetching = resident,
                    None => shard.insert(index, resident),
                }
            }
        }
        shard.mark_dirty(index);
        self.raise_len(end);
        Placed::Done
    }

    /// Makes a private block of `len` bytes the content; gives it back where the file has more
    /// bytes there, which stay.
    pub(super) fn replace(&self, index: u64, len: usize, frame: Pinned) -> Result<(), Pinned> {
        let mut shard = self.shard(index);
        if len < self.part_len(index, self.len()) {
            return Err(frame);
        }
        let frame = frame.release();
        match shard.used(index) {
            Some((Slot { state: State::Resident(resident), .. }, _)) => resident.frame = frame,
            Some((slot, _)) => slot.state = State::Resident(Resident::clean(frame)),
            None => shard.insert(index, State::Resident(Resident::clean(frame))),
        }
        shard.mark_dirty(index);
        self.raise_len(self.offset(index) + len as u64);
        Ok(())
    }

    /// A buffer for one block: an unused one, or that of a block that is evicted. `None` where
    /// everything is dirty or in use, or where more than `dirty_passed` dirty blocks lie before the
    /// clean ones in each shard.
    pub(crate) fn take(&self, dirty_passed: usize) -> Option<FBuf> {
        loop {
            if let Some(buffer) = self.gate.pool.take(self.block_size) {
                return Some(buffer);
            }
            // Dropping the frame gives its memory to the pool. Where a block is just being dropped
            // by its last user, that user does, and then tells whoever waits.
            drop(self.evict(dirty_passed)?);
        }
    }

    fn evict(&self, dirty_passed: usize) -> Option<Arc<Frame>> {
        let first = self.hand.fetch_add(1, Ordering::Relaxed);
        (0..self.shards.len())
            .map(|step| &self.shards[first.wrapping_add(step) % self.shards.len()])
            .find_map(|lane| lane.0.lock().evict(dirty_passed))
    }

    /// All dirty blocks, in ascending order.
    pub(super) fn dirty_blocks(&self) -> Vec<u64> {
        let mut all: Vec<u64> = Vec::new();
        for lane in &self.shards {
            all.extend(lane.0.lock().dirty());
        }
        all.sort_unstable();
        all
    }

    pub(super) fn dirty_count(&self) -> usize {
        self.shards.iter().map(|lane| lane.0.lock().dirty().len()).sum()
    }

    /// Up to `count` dirty blocks that can be evicted once they are written: those of each shard
    /// that were used least recently, beginning at the shard that is next.
    pub(super) fn oldest_dirty(&self, count: usize) -> Vec<u64> {
        let first = self.hand.load(Ordering::Relaxed);
        let from_each = count.div_ceil(self.shards.len());
        let mut found = Vec::new();
        for step in 0..self.shards.len() {
            if found.len() >= count {
                break;
            }
            let lane = &self.shards[first.wrapping_add(step) % self.shards.len()];
            found.extend(lane.0.lock().oldest_dirty(from_each));
        }
        found.truncate(count);
        found
    }

    pub(super) fn is_dirty(&self, index: u64) -> bool {
        self.shard(index).dirty().contains(&index)
    }

    /// Begins to write a dirty block out: its bytes, and their version. `None` where it is not
    /// dirty any more.
    pub(super) fn begin_write(&self, index: u64) -> Option<(Outgoing, usize, u64)> {
        let mut shard = self.shard(index);
        match &mut shard.get(index)?.state {
            State::Resident(resident) if resident.dirty && !resident.writing => {
                resident.writing = true;
                let len = self.part_len(index, self.len());
                Some((Outgoing(Arc::clone(&resident.frame)), len, resident.version))
            }
            _ => None,
        }
    }

    /// Ends what [`begin_write`](Self::begin_write) began. The block is clean where it was written
    /// and did not change meanwhile.
    pub(super) fn end_write(&self, index: u64, version: u64, written: bool) {
        let mut shard = self.shard(index);
        if let Some(Slot { state: State::Resident(resident), .. }) = shard.get(index) {
            resident.writing = false;
            if written && resident.version == version {
                shard.mark_clean(index);
            }
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.shards.iter().map(|lane| lane.0.lock().counts).fold(Counts::default(), Counts::plus)
    }
}

impl Source for Cache {
    fn take_any(&self) -> Option<FBuf> {
        self.take(usize::MAX)
    }

    fn forget(&self, index: u64, frame: &Pinned) {
        let mut shard = self.shard(index);
        if let Some(Slot { state: State::Resident(resident), .. }) = shard.get(index)
            && Arc::ptr_eq(&resident.frame, frame.frame())
            && !resident.dirty
            && !resident.writing
            && Arc::strong_count(&resident.frame) == 2
        {
            shard.remove(index);
        }
    }
}

/// What became of a claim.
pub(super) enum Claimed {
    /// The caller is to read the block.
    Mine,
    /// Somebody reads it already.
    Theirs { run: Arc<Run>, ahead_count: u32 },
    /// It is there.
    Resident,
}

/// Why a block was read.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    Now,
    Ahead,
}

fn is_claimed_by(slot: Option<&Slot>, run: &Arc<Run>) -> bool {
    matches!(slot, Some(Slot { state: State::Fetching(by), .. }) if Arc::ptr_eq(by, run))
}
