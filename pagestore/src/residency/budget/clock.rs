//! The count of what is used, and the order in which extents are evicted: second chance.
//!
//! 1. Room is counted as used before anything is brought in, and given back after it has left.
//!    So the count is never below what was brought in, and it never passes the limit.
//! 2. An extent with a charged page stands in the queue exactly once. Whoever takes it out there
//!    puts it back, or leaves it with no page charged.
//! 3. Who evicts holds nothing that somebody else waits for, but the extent's own latch, and waits
//!    for no latch. So whoever waits for room may hold anything but the latch of an extent.

use std::{collections::VecDeque, sync::Arc};

use super::{
    budgeted::Counts,
    core::{Core, Swept},
    extents::{EXTENT_PAGES, Extent},
};
use crate::{
    error::{Error, Result},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        pause,
    },
};

/// The most that is brought in, and charged, at a time. Not tuned by measurement yet.
const WINDOW_BYTES_MAX: u64 = 2 << 20;

/// A window is at most this part of the limit, so that several threads can each have one.
const WINDOW_PART: u64 = 8;

/// So much of the budget cannot be pinned.
const UNPINNED_PART: u64 = 4;

/// The kernel is asked each time that this part of the limit was charged.
const TRUTH_PART: u64 = 32;

/// An extent of a file, as it stands in the queue.
struct Entry {
    core: Arc<Core>,
    extent: usize,
}

/// What came of one look for something to evict.
enum Found {
    Something,
    /// Nothing now, but others are under way.
    WaitAWhile,
    Nothing,
}

/// The count and the queue.
pub(crate) struct Clock {
    limit_bytes: u64,
    used_bytes: AtomicU64,
    reserved_bytes: AtomicU64,
    /// Bytes charged to files that are memory themselves. They are in no queue.
    fixed_bytes: AtomicU64,
    /// Bytes of extents that are pinned, once for each pin.
    pinned_bytes: AtomicU64,
    /// How often a pin was given back.
    unpinned: AtomicU64,
    /// How many share what can be pinned.
    shares: AtomicU64,
    charged_since_truth_bytes: AtomicU64,
    /// The extents that have pages charged; the next to look at is in front.
    queue: Mutex<VecDeque<Entry>>,
    /// Held by the one who is evicting: two who need room and look at the same time would each see
    /// the other's extents missing from the queue.
    hand: Mutex<()>,
    members: Mutex<Vec<std::sync::Weak<Core>>>,
    counts: Counts,
}

impl Clock {
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes,
            used_bytes: AtomicU64::new(0),
            reserved_bytes: AtomicU64::new(0),
            fixed_bytes: AtomicU64::new(0),
            pinned_bytes: AtomicU64::new(0),
            unpinned: AtomicU64::new(0),
            shares: AtomicU64::new(0),
            charged_since_truth_bytes: AtomicU64::new(0),
            queue: Mutex::new(VecDeque::new()),
            hand: Mutex::new(()),
            members: Mutex::new(Vec::new()),
            counts: Counts {
                written_back_bytes: AtomicU64::new(0),
                evicted_bytes: AtomicU64::new(0),
                faults: AtomicU64::new(0),
                evictions: AtomicU64::new(0),
            },
        }
    }

    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn reserved_bytes(&self) -> u64 {
        self.reserved_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn window_bytes(&self) -> u64 {
        let extent_bytes = EXTENT_PAGES * rustix::param::page_size() as u64;
        let window = (self.limit_bytes / WINDOW_PART).min(WINDOW_BYTES_MAX);
        (window - window % extent_bytes).max(extent_bytes)
    }

    /// Takes room for `bytes`, evicting where there is not enough.
    ///
    /// The caller holds no latch of an extent.
    pub(crate) fn room(&self, bytes: u64) -> Result<Room<'_>> {
        while !self.take(bytes) {
            match self.evict_one(bytes)? {
                Found::Something => {}
                Found::WaitAWhile => pause(),
                Found::Nothing if self.take(bytes) => break,
                Found::Nothing => return Err(self.exceeded(bytes)),
            }
        }
        Ok(Room { clock: self, bytes })
    }

    /// The same, if there is room already. Asks the kernel nothing either: the next who waits for room
    /// does that.
    pub(crate) fn room_at_once(&self, bytes: u64) -> Option<Room<'_>> {
        if !self.take(bytes) {
            return None;
        }
        self.charged_since_truth_bytes.fetch_add(bytes, Ordering::Relaxed);
        Some(Room { clock: self, bytes })
    }

    #[cold]
    fn exceeded(&self, needed_bytes: u64) -> Error {
        let (used_bytes, budget_bytes) = (self.used_bytes(), self.limit_bytes);
        Error::BudgetExceeded { needed_bytes, used_bytes, budget_bytes }
    }

    /// Counts `bytes` as used if they fit. Relaxed does: the count guards no memory.
    fn take(&self, bytes: u64) -> bool {
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit_bytes);
        self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn give_back(&self, bytes: u64) {
        let before = self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "no more is given back than was taken");
    }

    pub(crate) fn give_back_reserved(&self, bytes: u64) {
        self.reserved_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.give_back(bytes);
    }

    /// The most that can be pinned: three quarters of what neither reservations nor files that are memory
    /// have. The rest is for those who borrow, and write, meanwhile.
    fn pinnable_bytes_max(&self) -> u64 {
        let fixed_bytes = self.fixed_bytes.load(Ordering::Relaxed);
        let free = self.limit_bytes.saturating_sub(self.reserved_bytes() + fixed_bytes);
        free - free / UNPINNED_PART
    }

    pub(crate) fn pinned_bytes(&self) -> u64 {
        self.pinned_bytes.load(Ordering::Relaxed)
    }

    /// How much more can be pinned.
    pub(crate) fn pinnable_bytes(&self) -> u64 {
        self.pinnable_bytes_max().saturating_sub(self.pinned_bytes.load(Ordering::Relaxed))
    }

    /// Counts `bytes` as pinned, if that leaves room for others.
    pub(super) fn pin(&self, bytes: u64) -> Result<()> {
        let most = self.pinnable_bytes_max();
        let more = |pinned: u64| pinned.checked_add(bytes).filter(|sum| *sum <= most);
        let pinned = self.pinned_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        pinned.map(drop).map_err(|used_bytes| Error::BudgetExceeded {
            needed_bytes: bytes,
            used_bytes: used_bytes + (self.limit_bytes - most),
            budget_bytes: self.limit_bytes,
        })
    }

    /// Gives back what [`pin`](Self::pin) counted; the extents are not pinned any more.
    pub(super) fn unpin(&self, bytes: u64) {
        self.pinned_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.unpinned.fetch_add(1, Ordering::Release);
    }

    /// Counts one more who shares what can be pinned.
    pub(super) fn add_share(&self) {
        self.shares.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_share(&self) {
        self.shares.fetch_sub(1, Ordering::Relaxed);
    }

    /// What each of those can pin, if all do.
    pub(super) fn share_bytes(&self) -> u64 {
        self.pinnable_bytes_max() / self.shares.load(Ordering::Relaxed).max(1)
    }

    /// Charges to a file that is memory itself.
    pub(super) fn add_fixed(&self, bytes: u64) {
        self.fixed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back what was charged to a file that is memory itself.
    pub(super) fn give_back_fixed(&self, bytes: u64) {
        self.fixed_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.give_back(bytes);
    }

    /// The bytes charged to extents that are pinned now.
    fn charged_and_pinned_bytes(&self) -> u64 {
        let queue = self.queue.lock();
        queue.iter().map(|entry| entry.core.pinned_bytes_of(entry.extent)).sum()
    }

    /// Puts an extent at the end of the queue.
    pub(super) fn enqueue(&self, core: &Arc<Core>, extent: usize) {
        self.queue.lock().push_back(Entry { core: Arc::clone(core), extent });
    }

    /// Evicts the next extent that was not referenced, for somebody who needs `bytes`.
    fn evict_one(&self, bytes: u64) -> Result<Found> {
        if bytes > self.limit_bytes {
            return Ok(Found::Nothing);
        }
        let _one_at_a_time = self.hand.lock();
        // Whoever had the hand before may have made room enough for all.
        if self.used_bytes().saturating_add(bytes) <= self.limit_bytes {
            return Ok(Found::Something);
        }
        let unpinned = self.unpinned.load(Ordering::Acquire);
        let (mut busy, mut poison) = (false, None);
        // Each extent twice at most: a first look may find it referenced.
        let looks = 2 * self.queue.lock().len();
        for _ in 0..looks {
            let Some(entry) = self.queue.lock().pop_front() else { break };
            match entry.core.sweep(entry.extent, &self.counts) {
                Ok(Swept::Evicted { bytes }) => {
                    self.give_back(bytes);
                    return Ok(Found::Something);
                }
                Ok(Swept::Empty | Swept::Stays) => {}
                Ok(kept @ (Swept::Referenced | Swept::Busy | Swept::Reading | Swept::Pinned)) => {
                    busy |= matches!(kept, Swept::Busy | Swept::Reading);
                    self.queue.lock().push_back(entry);
                }
                Err(error) => {
                    self.queue.lock().push_back(entry);
                    if !is_poison(&error) {
                        return Err(error);
                    }
                    poison = Some(error);
                }
            }
        }
        Ok(match poison {
            _ if busy => Found::WaitAWhile,
            Some(poison) => return Err(poison),
            // What was pinned when it was looked at may not be so any more.
            None if self.unpinned.load(Ordering::Acquire) != unpinned => Found::Something,
            None => {
                let pinned = self.charged_and_pinned_bytes();
                let stay =
                    pinned + self.reserved_bytes() + self.fixed_bytes.load(Ordering::Relaxed);
                // Bytes that are none of these are in somebody's hands, on the way to one or back.
                if self.used_bytes() > stay { Found::WaitAWhile } else { Found::Nothing }
            }
        })
    }

    /// Notes that `bytes` were charged. Says whether so much was since the kernel was last asked that it is to
    /// be asked again.
    pub(super) fn is_truth_due(&self, bytes: u64) -> bool {
        let since = self.charged_since_truth_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // A model has no kernel to ask.
        if cfg!(loom) || since < self.limit_bytes / TRUTH_PART {
            return false;
        }
        self.charged_since_truth_bytes.store(0, Ordering::Relaxed);
        true
    }

    pub(super) fn add_member(&self, core: &Arc<Core>) {
        let mut members = self.members.lock();
        members.retain(|member| member.strong_count() > 0);
        members.push(Arc::downgrade(core));
    }

    /// The files that count now.
    pub(super) fn members(&self) -> Vec<Arc<Core>> {
        self.members.lock().iter().filter_map(std::sync::Weak::upgrade).collect()
    }
}

/// Whether this is said of a file that failed earlier. Who met the failure was told; others find
/// room elsewhere, if there is any.
pub(super) fn is_poison(error: &Error) -> bool {
    matches!(error, Error::Poisoned { .. } | Error::RawPoisoned { .. })
}

/// Room that was counted as used and is not charged to anything yet. What is left of it is given
/// back on drop.
#[must_use = "the room is given back when this is dropped"]
pub(crate) struct Room<'clock> {
    clock: &'clock Clock,
    bytes: u64,
}

impl Room<'_> {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Charges pages of an extent whose shared latch the caller holds; gives the bits of those that
    /// were not charged before.
    pub(super) fn charge(&mut self, core: &Arc<Core>, index: usize, bits: u64) -> u64 {
        let extent: &Extent = core.extent(index);
        let new = bits & !extent.charged.fetch_or(bits, Ordering::Relaxed);
        let bytes = u64::from(new.count_ones()) * core.page_bytes();
        self.bytes = self.bytes.checked_sub(bytes).expect("room was taken for all missing pages");
        if new == 0 {
            return new;
        }
        core.note_charged(index);
        if core.is_memory() {
            self.clock.add_fixed(bytes);
        } else if !extent.queued.swap(true, Ordering::Relaxed) {
            self.clock.enqueue(core, index);
        }
        new
    }

    /// Makes it count as reserved; it is given back by hand from then on.
    pub(super) fn keep_reserved(mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.clock.reserved_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.clock.give_back(self.bytes);
    }
}
