//! What a budget knows of a file, and how extents of it are evicted.

use std::{
    fs::File,
    ops::Range,
    sync::{Arc, Weak},
};

use super::{
    budgeted::{Budgeted, Counts, Left, Pass},
    extents::{BLOCK_EXTENTS, EXTENT_PAGES, Extent, Extents},
    theirs::Theirs,
};
use crate::{
    error::Result,
    file::filesystem::Filesystem,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        pause,
    },
};

/// What came of looking at an extent in order to evict it.
pub(super) enum Swept {
    /// It has left memory; so many bytes are not charged any more.
    Evicted { bytes: u64 },
    /// It had no page charged.
    Empty,
    /// It was referenced and keeps its place for another round.
    Referenced,
    /// Somebody is bringing pages of it in, or storing to them: worth waiting for.
    Busy,
    /// The disk is still bringing pages of it, and is done with them soon.
    Reading,
    /// Somebody keeps it in memory, who may be the one that needs the room.
    Pinned,
    /// Its file is memory itself.
    Stays,
}

impl Swept {
    /// The bytes that are not charged any more.
    pub(super) fn bytes(self) -> u64 {
        match self {
            Self::Evicted { bytes } => bytes,
            Self::Empty
            | Self::Referenced
            | Self::Busy
            | Self::Reading
            | Self::Pinned
            | Self::Stays => 0,
        }
    }
}

/// Stands for a file that is changing hands.
struct Nobody(std::convert::Infallible);

impl Budgeted for Nobody {
    fn file(&self) -> &File {
        match self.0 {}
    }

    fn mincore_bytes(&self, _span: Range<u64>) -> Option<u64> {
        match self.0 {}
    }

    fn evict(&self, _pass: &Pass<'_>, _span: Range<u64>) -> Result<Left> {
        match self.0 {}
    }
}

/// What the budget knows of a file.
pub(super) struct Core {
    pub(super) extents: Extents,
    pub(super) page_log2: u32,
    owner: Mutex<Weak<dyn Budgeted>>,
    /// How many have the file open; who evicts does not count.
    handles: AtomicU64,
    pub(super) charged_bytes: AtomicU64,
    /// What stayed in memory for others when it was evicted.
    theirs: Theirs,
    medium: Medium,
}

/// What the file's pages are in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    /// They can leave memory.
    Disk,
    /// They are memory.
    Memory,
}

impl Medium {
    /// By the kind of the filesystem. One that cannot be asked is taken for one on a disk.
    pub(super) fn of(file: &File) -> Self {
        let is_memory = Filesystem::of(file).is_ok_and(Filesystem::is_memory);
        if is_memory { Self::Memory } else { Self::Disk }
    }
}

impl Core {
    pub(super) fn new(medium: Medium, owner: Weak<dyn Budgeted>) -> Self {
        Self {
            extents: Extents::new(),
            page_log2: rustix::param::page_size().trailing_zeros(),
            owner: Mutex::new(owner),
            handles: AtomicU64::new(0),
            charged_bytes: AtomicU64::new(0),
            theirs: Theirs::new(),
            medium,
        }
    }

    /// Lets another value go on with the same file and what is charged to it.
    pub(super) fn pass_to(&self, owner: Weak<dyn Budgeted>) {
        *self.owner.lock() = owner;
    }

    pub(super) fn extent(&self, index: usize) -> &Extent {
        self.extents.at(index)
    }

    /// How many extents a file of `len` bytes has.
    pub(super) fn extents_of(&self, len: u64) -> usize {
        let count = len.div_ceil(EXTENT_PAGES << self.page_log2);
        usize::try_from(count).expect("a file that is mapped fits a usize")
    }

    /// Makes room for the extents below `count`.
    pub(super) fn grow_to(&self, count: usize) -> Result<()> {
        self.extents.grow_to(count)
    }

    pub(super) fn page_bytes(&self) -> u64 {
        1 << self.page_log2
    }

    /// The file, unless it is being closed or changes hands.
    pub(super) fn owner(&self) -> Option<Arc<dyn Budgeted>> {
        self.owner.lock().upgrade()
    }

    /// Counts one more who has the file open.
    pub(super) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one less who has the file open. Says whether it was the last; then nobody begins to evict
    /// anything of the file, until it is [passed on](Self::pass_to).
    pub(super) fn remove_handle(&self) -> bool {
        // What others did with the file comes before it is closed.
        let is_last = self.handles.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last {
            *self.owner.lock() = Weak::<Nobody>::new();
        }
        is_last
    }

    pub(super) fn charged_bytes(&self) -> u64 {
        self.charged_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn theirs(&self) -> &Theirs {
        &self.theirs
    }

    /// Whether the file is memory itself, so that nothing of it is ever evicted.
    pub(super) fn is_memory(&self) -> bool {
        self.medium == Medium::Memory
    }

    /// Notes that pages of an extent, whose shared latch the caller holds, were charged.
    pub(super) fn note_charged(&self, index: usize) {
        self.extents.use_one(index);
        let left = self.extent(index).set_theirs(0) << self.page_log2;
        self.theirs.change(left, 0);
    }

    /// Notes what an eviction of adjacent extents, whose latches the caller holds exclusively, left to
    /// others.
    fn note_theirs(&self, group: Range<usize>, bytes: u64) {
        let mut left = bytes >> self.page_log2;
        for index in group {
            let pages = u8::try_from(left.min(EXTENT_PAGES)).expect("an extent has 64 pages");
            left -= u64::from(pages);
            if pages > 0 {
                self.extents.use_one(index);
            }
            let before = self.extent(index).set_theirs(pages);
            self.theirs.change(before << self.page_log2, u64::from(pages) << self.page_log2);
        }
    }

    /// Forgets what was left to others, so that it is tried again.
    pub(super) fn forget_theirs(&self) {
        for (_, extent) in self.extents.used() {
            let before = extent.set_theirs(0) << self.page_log2;
            self.theirs.change(before, 0);
        }
    }

    /// The bytes charged to an extent, if somebody keeps it in memory.
    pub(super) fn pinned_bytes_of(&self, index: usize) -> u64 {
        let is_pinned = self.group_of(index).any(|other| self.extent(other).is_pinned());
        if is_pinned { self.extent(index).charged_count() << self.page_log2 } else { 0 }
    }

    /// The bytes of the file that an extent covers.
    pub(super) fn span_of(&self, index: usize) -> Range<u64> {
        let extent_bytes = EXTENT_PAGES << self.page_log2;
        let start = index as u64 * extent_bytes;
        start..start + extent_bytes
    }

    /// Evicts an extent that came up in the clock's queue, if that can be done now. The caller took
    /// it out of the queue, and gives back the bytes.
    pub(super) fn sweep(&self, index: usize, counts: &Counts) -> Result<Swept> {
        let extent = self.extent(index);
        if extent.take_reference() {
            return Ok(Swept::Referenced);
        }
        let group = self.group_of(index);
        if group.clone().any(|other| self.extent(other).is_referenced()) {
            return Ok(Swept::Referenced);
        }
        // Before the latch: where this is the last handle of the file, dropping it takes latches.
        let owner = self.owner();
        let Some(_alone) = self.try_latch(group.clone()) else { return Ok(Swept::Busy) };
        let swept = match owner.as_deref() {
            _ if extent.charged_count() == 0 => Ok(Swept::Empty),
            // Its last handle is being dropped, which gives everything back.
            None => Ok(Swept::Busy),
            Some(owner) => self.evict_latched(owner, group, counts),
        };
        if extent.charged_count() == 0 {
            extent.queued.store(false, Ordering::Relaxed);
        }
        swept
    }

    /// Evicts an extent, whether or not it is referenced or charged, unless somebody is bringing
    /// pages of it in. Gives the bytes that were charged, for the caller to give back.
    pub(super) fn try_evict(&self, index: usize, counts: &Counts) -> Result<u64> {
        let Some(owner) = self.owner() else { return Ok(0) };
        let group = self.group_of(index);
        let Some(_alone) = self.try_latch(group.clone()) else { return Ok(0) };
        self.evict_latched(&*owner, group, counts).map(Swept::bytes)
    }

    /// The extents that leave memory with this one.
    fn group_of(&self, index: usize) -> Range<usize> {
        if !self.extent(index).in_block.load(Ordering::Relaxed) {
            return index..index + 1;
        }
        let first = index - index % BLOCK_EXTENTS;
        first..first + BLOCK_EXTENTS
    }

    /// Latches of adjacent extents, in the order in which `charge` takes them; none where one is taken.
    fn try_latch(&self, group: Range<usize>) -> Option<Vec<impl Sized + '_>> {
        group.map(|index| self.extent(index).latch.try_write()).collect()
    }

    /// The same for adjacent extents, but waits for those who are bringing pages of them in, the disk
    /// among them. They leave together, so that no folio has to be split for a part of it.
    pub(super) fn evict(&self, group: Range<usize>, counts: &Counts) -> Result<u64> {
        let Some(owner) = self.owner() else { return Ok(0) };
        loop {
            // In the order in which `charge` takes them.
            let alone: Vec<_> =
                group.clone().map(|index| self.extent(index).latch.write()).collect();
            let swept = self.evict_latched(&*owner, group.clone(), counts)?;
            drop(alone);
            match swept {
                Swept::Reading => pause(),
                // Somebody stores to one of them, or keeps it: the others can leave.
                Swept::Busy | Swept::Pinned if group.len() > 1 => {
                    return group.map(|index| self.evict(index..index + 1, counts)).sum();
                }
                swept => return Ok(swept.bytes()),
            }
        }
    }

    fn evict_latched(
        &self,
        owner: &dyn Budgeted,
        group: Range<usize>,
        counts: &Counts,
    ) -> Result<Swept> {
        if group.clone().any(|index| self.extent(index).is_pinned()) {
            return Ok(Swept::Pinned);
        }
        counts.evictions.fetch_add(1, Ordering::Relaxed);
        let span = self.span_of(group.start).start..self.span_of(group.end - 1).end;
        let theirs_bytes = match owner.evict(&Pass { counts }, span)? {
            Left::Nothing => 0,
            Left::Theirs { .. } if self.is_memory() => return Ok(Swept::Stays),
            Left::Theirs { bytes } => bytes,
            Left::Dirty if self.is_memory() => return Ok(Swept::Stays),
            Left::Dirty => return Ok(Swept::Busy),
            Left::Reading => return Ok(Swept::Reading),
        };
        let bytes = group.clone().map(|index| self.uncharge(self.extent(index))).sum();
        self.note_theirs(group, theirs_bytes);
        counts.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Swept::Evicted { bytes })
    }

    /// Takes the charge off an extent whose latch the caller holds exclusively; the bytes are still
    /// to be given back.
    pub(super) fn uncharge(&self, extent: &Extent) -> u64 {
        extent.in_block.store(false, Ordering::Relaxed);
        let charged = extent.charged.swap(0, Ordering::Relaxed);
        let bytes = u64::from(charged.count_ones()) << self.page_log2;
        self.charged_bytes.fetch_sub(bytes, Ordering::Relaxed);
        bytes
    }
}
