//! One budget of memory for many files: what is brought in is charged, and room is made by evicting
//! what was used least lately.
//!
//! A file's bytes come into memory on a path that is slow anyway: the first touch of a sealed page,
//! which computes its checksum, or of a mutable one, which populates it. Under a budget that path
//! first takes room ([`clock`]), then notes the page as charged in the file's table of extents
//! ([`extents`]), and only then touches it. Evicting an extent clears what made its pages take the
//! fast path, so the next borrow comes to the slow one again and is charged again. The fast path
//! itself only sets a flag of the extent, where it is not set.
//!
//! What comes into memory on other ways, the kernel tells ([`truth`]).

mod budgeted;
mod charged;
mod clock;
mod core;
mod extents;
mod held;
mod member;
#[cfg(all(test, loom))]
mod model;
mod pin;
mod share;
mod theirs;
mod truth;

pub(crate) use budgeted::{Budgeted, Left, Pass};
pub(crate) use charged::Charged;
use clock::Clock;
pub(crate) use extents::{BLOCK_EXTENTS, EXTENT_PAGES};
pub(crate) use held::Held;
pub(crate) use member::Member;
pub(crate) use pin::Pin;
pub use share::BudgetShare;

use std::{
    fmt,
    fs::File,
    sync::{Arc, Weak},
};

use self::core::Medium;
use crate::{
    error::{Error, Result},
    file::claim::Claim,
    sync::atomic::Ordering,
};

/// A limit on the bytes of memory that many files take up together, mapped or cached.
///
/// Files join it when they are made or opened ([`PageFileOptions::budget`], [`SealedFileOptions::budget`]), and
/// other buffers by [`reserve`](Self::reserve). If there is no room for a page that is borrowed, other pages
/// are evicted: the oldest ones first that were not borrowed since they last came up. Dirty ones are flushed
/// before. Slices and guards stay valid: touching them brings evicted bytes back.
///
/// Cloning gives another handle on the same budget.
///
/// [`PageFileOptions::budget`]: crate::PageFileOptions::budget
/// [`SealedFileOptions::budget`]: crate::SealedFileOptions::budget
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{PageId, PageWriter, ResidencyBudget, SealedFile};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("batch");
/// let budget = ResidencyBudget::new(4 << 20)?;
/// let mut writer = PageWriter::create(&path)?;
/// for _ in 0..16 {
///     writer.append(&[7; 1 << 20])?;
/// }
/// writer.seal()?;
/// let sealed = SealedFile::options().budget(&budget).open(&path)?;
/// for page in 0..sealed.page_count().get() {
///     assert_eq!(sealed.page(PageId::new(page))?[0], 7);
/// }
/// assert!(budget.stats().used_bytes <= 4 << 20);
/// # Ok::<(), pagestore::Error>(())
/// ```
#[derive(Clone)]
pub struct ResidencyBudget {
    clock: Arc<Clock>,
}

impl ResidencyBudget {
    /// The least that a budget can be: 1 MiB, which is four extents of 256 KiB, the units in which
    /// memory is given back.
    pub const LIMIT_BYTES_MIN: u64 = 1 << 20;

    /// A budget of which nothing is used yet.
    ///
    /// # Errors
    /// [`Error::BudgetTooSmall`] below [`LIMIT_BYTES_MIN`](Self::LIMIT_BYTES_MIN).
    pub fn new(limit_bytes: u64) -> Result<Self> {
        let least_bytes = Self::LIMIT_BYTES_MIN;
        if limit_bytes < least_bytes {
            return Err(Error::BudgetTooSmall { limit_bytes, least_bytes });
        }
        Ok(Self { clock: Arc::new(Clock::new(limit_bytes)) })
    }

    /// The limit.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.clock.limit_bytes()
    }

    /// Takes room for `bytes` outside of files: a sort buffer, a decoded block. They count as long as the
    /// reservation lives. Pages of files are evicted to make room.
    ///
    /// # Errors
    /// [`Error::BudgetExceeded`] where evicting everything that can be would not be enough;
    /// [`Error::FlushFailed`] and others where a dirty file that was to be evicted cannot be
    /// flushed.
    ///
    /// ```
    /// # extern crate pagestore as storage;
    /// use storage::ResidencyBudget;
    ///
    /// let budget = ResidencyBudget::new(4 << 20)?;
    /// let sort_buffer = budget.reserve(3 << 20)?;
    /// assert!(budget.reserve(3 << 20).is_err());
    /// drop(sort_buffer);
    /// budget.reserve(3 << 20)?;
    /// # Ok::<(), pagestore::Error>(())
    /// ```
    pub fn reserve(&self, bytes: u64) -> Result<Reservation> {
        let mut reservation = Reservation { budget: self.clone(), bytes: 0 };
        reservation.resize(bytes)?;
        Ok(reservation)
    }

    /// What is used, and what was done so far. Asks the kernel about each file, one system call each (0.4 us).
    /// Waits for no disk and evicts nothing.
    #[must_use]
    pub fn stats(&self) -> ResidencyStats {
        let truth = truth::look(&self.clock);
        let counts = self.clock.counts();
        ResidencyStats {
            limit_bytes: self.limit_bytes(),
            used_bytes: self.clock.used_bytes(),
            reserved_bytes: self.clock.reserved_bytes(),
            resident_bytes: truth.resident_bytes,
            dirty_bytes: truth.dirty_bytes,
            kept_by_others_bytes: truth.theirs_bytes,
            pinned_bytes: self.clock.pinned_bytes(),
            written_back_bytes: counts.written_back_bytes.load(Ordering::Relaxed),
            evicted_bytes: counts.evicted_bytes.load(Ordering::Relaxed),
            faults: counts.faults.load(Ordering::Relaxed),
            evictions: counts.evictions.load(Ordering::Relaxed),
        }
    }

    /// Compares what the kernel has of the files in memory with what was charged. If that is more than the
    /// limit, evicts what was not charged: pages that came back under slices that somebody kept, or that
    /// another program brought in.
    ///
    /// The budget does this by itself each time that 1/32 of the limit was charged. Call it now and then if
    /// slices of far more than the budget are kept for long, and nothing new is borrowed meanwhile.
    ///
    /// # Errors
    /// [`Error::FlushFailed`] and others where a dirty file cannot be flushed.
    pub fn enforce(&self) -> Result<()> {
        truth::enforce(&self.clock, truth::Theirs::TriedAgain)
    }

    /// How many more bytes can be [pinned](crate::SealedFile::pin) now. Pins take at most three quarters of
    /// what is not reserved; the rest is for those who borrow and write meanwhile.
    #[must_use]
    pub fn pinnable_bytes(&self) -> u64 {
        self.clock.pinnable_bytes()
    }

    /// Has a file count from now on.
    pub(crate) fn join(&self, claim: &Arc<Claim>, owner: Weak<dyn Budgeted>) -> Member {
        let medium = Medium::of(claim.file());
        Member::new(Arc::clone(&self.clock), Some(Arc::clone(claim)), medium, owner)
    }

    /// Has a file count from now on that is being written. It has no name, or only a temporary one,
    /// so there is nothing to drop from memory when it is closed.
    pub(crate) fn join_writer(&self, file: &File, owner: Weak<dyn Budgeted>) -> Member {
        Member::new(Arc::clone(&self.clock), None, Medium::of(file), owner)
    }

    /// The budget that a file is a member of.
    pub(crate) fn of(member: &Member) -> Self {
        Self { clock: Arc::clone(member.clock()) }
    }

    /// The most that one bringing-in should charge at once, in bytes: whole extents, and few enough
    /// that several threads can each have as much.
    pub(crate) fn window_bytes(&self) -> u64 {
        self.clock.window_bytes()
    }
}

/// The same budget, not one with the same limit.
impl PartialEq for ResidencyBudget {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.clock, &other.clock)
    }
}

impl Eq for ResidencyBudget {}

impl fmt::Debug for ResidencyBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResidencyBudget")
            .field("limit_bytes", &self.limit_bytes())
            .field("used_bytes", &self.clock.used_bytes())
            .finish_non_exhaustive()
    }
}

/// Room in a [`ResidencyBudget`] for bytes outside of files. Given back on drop.
#[must_use = "the room is given back when this is dropped"]
pub struct Reservation {
    budget: ResidencyBudget,
    bytes: u64,
}

impl Reservation {
    /// The bytes reserved.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes it more or less. To keep within the budget, take more before the buffer grows, and
    /// give back after it has shrunk.
    ///
    /// # Errors
    /// As [`ResidencyBudget::reserve`]; the reservation is as it was then.
    pub fn resize(&mut self, bytes: u64) -> Result<()> {
        let clock = &self.budget.clock;
        if let Some(more) = bytes.checked_sub(self.bytes) {
            truth::room(clock, more)?.keep_reserved();
        } else {
            clock.give_back_reserved(self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.clock.give_back_reserved(self.bytes);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// What a [`ResidencyBudget`] says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ResidencyStats {
    /// The limit, in bytes.
    pub limit_bytes: u64,
    /// Bytes charged to files and reserved for buffers, at no time more than the limit.
    pub used_bytes: u64,
    /// The bytes among them that are reserved for buffers.
    pub reserved_bytes: u64,
    /// The bytes of the files that the kernel says are in memory (cachestat(2), or mincore(2) where
    /// a kernel or a filter forbids it). Buffers are not among them. Right after
    /// [`enforce`](ResidencyBudget::enforce), and but for slices that are being read, at most the
    /// limit less what is reserved.
    ///
    /// Files are counted one after the other and page by page, so it can be more than there ever was at one
    /// time while pages come and go.
    pub resident_bytes: u64,
    /// The bytes among those that are not on the disk yet, as far as cachestat(2) tells.
    pub dirty_bytes: u64,
    /// How many of those bytes did not leave when they were evicted: another program maps them, or has locked
    /// them into memory. They are not counted. The budget tries again, more and more seldom;
    /// [`enforce`](ResidencyBudget::enforce) tries at once.
    pub kept_by_others_bytes: u64,
    /// Bytes of extents that are [pinned](crate::SealedFile::pin), once for each pin.
    pub pinned_bytes: u64,
    /// Bytes that were written to the disk to make room, since the budget was made.
    pub written_back_bytes: u64,
    /// Bytes that were charged and evicted to make room, since the budget was made.
    pub evicted_bytes: u64,
    /// How often a borrow brought in pages that were not charged, since the budget was made.
    pub faults: u64,
    /// How often the eviction of an extent, or of a block of several, was tried, since the budget was made.
    pub evictions: u64,
}
