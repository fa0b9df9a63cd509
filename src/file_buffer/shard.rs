//! Some of the blocks of a buffer, in the order of their last use.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasherDefault, Hasher},
    mem,
    sync::Arc,
};

use super::{frame::Frame, run::Run};

/// No slot.
const NONE: u32 = u32::MAX;

/// What is known of one block.
pub(super) struct Slot {
    pub(super) index: u64,
    pub(super) state: State,
    /// Not 0 at the first of blocks that were read ahead: how many blocks they are. Whoever comes
    /// here has the blocks behind them read.
    pub(super) ahead_count: u32,
    /// Read ahead, and not asked for yet.
    pub(super) unasked: bool,
    newer: u32,
    older: u32,
}

pub(super) enum State {
    /// A read is under way that will bring the block.
    Fetching(Arc<Run>),
    Resident(Resident),
}

pub(super) struct Resident {
    pub(super) frame: Arc<Frame>,
    /// The bytes are not on the medium, as far as is known.
    pub(super) dirty: bool,
    /// A write of these bytes, or of earlier ones, is under way.
    pub(super) writing: bool,
    /// Changes with the bytes.
    pub(super) version: u64,
}

impl Resident {
    pub(super) fn clean(frame: Arc<Frame>) -> Self {
        Self { frame, dirty: false, writing: false, version: 0 }
    }

    fn is_evictable(&self) -> bool {
        !self.dirty && !self.writing && !self.frame.is_pinned()
    }
}

/// What happened to the blocks of a shard.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) hits: u64,
    pub(super) evictions: u64,
    pub(super) ahead_used: u64,
    pub(super) ahead_wasted: u64,
}

impl Counts {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            evictions: self.evictions + other.evictions,
            ahead_used: self.ahead_used + other.ahead_used,
            ahead_wasted: self.ahead_wasted + other.ahead_wasted,
        }
    }
}

/// Some of the blocks: slots found by the block's index, and linked by use.
pub(super) struct Shard {
    places: HashMap<u64, u32, BuildHasherDefault<IndexHasher>>,
    slots: Vec<Option<Slot>>,
    unused: Vec<u32>,
    newest: u32,
    oldest: u32,
    /// The blocks that are dirty.
    dirty: BTreeSet<u64>,
    pub(super) counts: Counts,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            places: HashMap::default(),
            slots: Vec::new(),
            unused: Vec::new(),
            newest: NONE,
            oldest: NONE,
            dirty: BTreeSet::new(),
            counts: Counts::default(),
        }
    }
}

impl Shard {
    /// The slot of a block. Leaves the order as it is.
    pub(super) fn get(&mut self, index: u64) -> Option<&mut Slot> {
        let at = *self.places.get(&index)?;
        Some(self.slot(at))
    }

    /// The slot of a block, and makes it the one that was used last.
    pub(super) fn used(&mut self, index: u64) -> Option<(&mut Slot, &mut Counts)> {
        let at = *self.places.get(&index)?;
        if self.newest != at {
            self.unlink(at);
            self.link_newest(at);
        }
        let slot = self.slots[at as usize].as_mut().expect("places and slots agree");
        Some((slot, &mut self.counts))
    }

    /// Adds a block that is not there.
    pub(super) fn insert(&mut self, index: u64, state: State) {
        let (newer, older) = (NONE, NONE);
        let slot = Slot { index, state, ahead_count: 0, unasked: false, newer, older };
        let at = self.unused.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("2^32 blocks do not fit into memory")
        });
        self.slots[at as usize] = Some(slot);
        let before = self.places.insert(index, at);
        debug_assert!(before.is_none(), "block {index} has a slot already");
        self.link_newest(at);
    }

    /// Takes a block out.
    pub(super) fn remove(&mut self, index: u64) -> Option<Slot> {
        let at = self.places.remove(&index)?;
        self.unlink(at);
        self.unused.push(at);
        self.slots[at as usize].take()
    }

    pub(super) fn mark_dirty(&mut self, index: u64) {
        let Some(Slot { state: State::Resident(resident), .. }) = self.get(index) else {
            return;
        };
        resident.version += 1;
        if !mem::replace(&mut resident.dirty, true) {
            self.dirty.insert(index);
        }
    }

    pub(super) fn mark_clean(&mut self, index: u64) {
        if let Some(Slot { state: State::Resident(resident), .. }) = self.get(index) {
            resident.dirty = false;
            self.dirty.remove(&index);
        }
    }

    pub(super) fn dirty(&self) -> &BTreeSet<u64> {
        &self.dirty
    }

    /// Takes out the block that was used least recently of those that are clean and that nobody
    /// uses. Passes at most `dirty_count_max` dirty ones on the way.
    pub(super) fn evict(&mut self, mut dirty_count_max: usize) -> Option<Arc<Frame>> {
        let mut at = self.oldest;
        for _ in 0..self.places.len() {
            let slot = self.slots[at as usize].as_ref().expect("the list leads through slots");
            let (index, newer) = (slot.index, slot.newer);
            match &slot.state {
                State::Resident(resident) if resident.is_evictable() => {
                    self.counts.evictions += 1;
                    self.counts.ahead_wasted += u64::from(slot.unasked);
                    let Some(Slot { state: State::Resident(out), .. }) = self.remove(index) else {
                        unreachable!("the block was just seen");
                    };
                    return Some(out.frame);
                }
                State::Resident(resident) if !resident.frame.is_pinned() => {
                    dirty_count_max = dirty_count_max.checked_sub(1)?;
                }
                // In use right now, so it is among the newest by right; and it is out of the way of
                // the next search.
                State::Resident(_) | State::Fetching(_) => {
                    self.unlink(at);
                    self.link_newest(at);
                }
            }
            at = newer;
            if at == NONE {
                return None;
            }
        }
        None
    }

    /// Up to `count` dirty blocks that nobody uses and that are not being written, from the one
    /// used least recently on.
    pub(super) fn oldest_dirty(&self, count: usize) -> Vec<u64> {
        let mut found = Vec::new();
        let mut at = self.oldest;
        while at != NONE && found.len() < count.min(self.dirty.len()) {
            let slot = self.slots[at as usize].as_ref().expect("the list leads through slots");
            if let State::Resident(resident) = &slot.state
                && resident.dirty
                && !resident.writing
                && !resident.frame.is_pinned()
            {
                found.push(slot.index);
            }
            at = slot.newer;
        }
        found
    }

    fn slot(&mut self, at: u32) -> &mut Slot {
        self.slots[at as usize].as_mut().expect("places and slots agree")
    }

    fn unlink(&mut self, at: u32) {
        let slot = self.slot(at);
        let (newer, older) = (slot.newer, slot.older);
        match newer {
            NONE => self.newest = older,
            newer => self.slot(newer).older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.slot(older).newer = newer,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let before = mem::replace(&mut self.newest, at);
        let slot = self.slot(at);
        (slot.newer, slot.older) = (NONE, before);
        match before {
            NONE => self.oldest = at,
            before => self.slot(before).newer = at,
        }
    }
}

/// Spreads block indexes over the whole range of hashes. They come from the program itself, so
/// nobody aims them at collisions.
#[derive(Default)]
pub(super) struct IndexHasher(u64);

/// Spreads a number: the middle bits, which depend on all of it, come lowest, where the hash map
/// takes the place from; the uppermost ones, which it tells neighbours by, are mixed as well.
pub(super) fn spread(index: u64) -> u64 {
    index.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32)
}

impl Hasher for IndexHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only `u64` is hashed");
    }

    fn write_u64(&mut self, index: u64) {
        self.0 = spread(index);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
