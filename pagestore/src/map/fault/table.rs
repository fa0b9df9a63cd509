//! The mappings whose faults are caught, by their addresses.
//!
//! It is looked at in a signal handler, so it is made of atomics: no lock, and what was ever part of
//! it is never freed. An entry changes hands while others look at it. Its numbers are therefore kept
//! under a version, which is odd while they change, and who sees the version change passes the entry
//! over: the entry of the mapping that a thread is touching does not change meanwhile, since whoever
//! borrows from a mapping keeps it alive.
//!
//! This module knows no memory and no signal. That is what lets loom (`model.rs`) exercise the very
//! code that runs.

use std::{os::fd::RawFd, ptr};

use crate::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// What may be done with a mapping's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protection {
    Read,
    /// They are stored to as well; this is where they come from.
    ReadWrite(FilePlace),
    /// They are stored to as well, in a private mapping: pages that were stored to are not the file's.
    Private,
}

/// Where in which file a mapping begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FilePlace {
    /// Open as long as the mapping is watched.
    pub(crate) descriptor: RawFd,
    pub(crate) offset_bytes: u64,
}

/// What stands in the place of a page whose fault was caught.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// A copy of it: only what is stored there goes nowhere.
    Kept,
    /// Zeros.
    Lost,
}

/// The descriptor of a mapping that is only read.
const NO_DESCRIPTOR: i32 = -1;
/// In the place of a descriptor: the mapping is private, and written to.
const PRIVATE: i32 = -2;

/// loom's atomics cannot be made in a constant.
macro_rules! const_unless_loom {
    ($(#[$attribute:meta])* fn new() -> Self $body:block) => {
        #[cfg(not(loom))]
        $(#[$attribute])*
        pub(super) const fn new() -> Self $body

        #[cfg(loom)]
        $(#[$attribute])*
        pub(super) fn new() -> Self $body
    };
}

/// One mapping's entry, on a cache line of its own: readers of one mapping look at it all the time, while others
/// come and go.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Entry {
    version: AtomicU32,
    taken: AtomicBool,
    /// Whether bytes were lost in a fault.
    lost: AtomicBool,
    /// Of the file, where the mapping is stored to.
    descriptor: AtomicI32,
    offset_bytes: AtomicU64,
    start: AtomicUsize,
    end: AtomicUsize,
    /// The first address whose fault was caught; 0 where there was none.
    fault: AtomicUsize,
    /// How many pages, from the first on, the owner hands out without a look at anything else. Zero from the
    /// first fault on.
    free_pages: AtomicU64,
}

impl Entry {
    const_unless_loom! {
        fn new() -> Self {
            Self {
                version: AtomicU32::new(0),
                taken: AtomicBool::new(false),
                lost: AtomicBool::new(false),
                descriptor: AtomicI32::new(NO_DESCRIPTOR),
                offset_bytes: AtomicU64::new(0),
                start: AtomicUsize::new(0),
                end: AtomicUsize::new(0),
                fault: AtomicUsize::new(0),
                free_pages: AtomicU64::new(0),
            }
        }
    }

    /// Changes the numbers. Only the one who has `taken` the entry may.
    fn set(&self, extent: Extent) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // Whoever sees one of the numbers below sees the version above behind its own fence. (To
        // acquire by a `fetch_add` in the place of the store would not do: it orders what it reads,
        // and the numbers could be seen before what it writes.)
        fence(Ordering::Release);
        self.start.store(extent.start, Ordering::Relaxed);
        self.end.store(extent.end, Ordering::Relaxed);
        let place = match extent.protection {
            Protection::Read => FilePlace { descriptor: NO_DESCRIPTOR, offset_bytes: 0 },
            Protection::Private => FilePlace { descriptor: PRIVATE, offset_bytes: 0 },
            Protection::ReadWrite(place) => place,
        };
        self.descriptor.store(place.descriptor, Ordering::Relaxed);
        self.offset_bytes.store(place.offset_bytes, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// Moves the end of the mapping further on. Only its owner may.
    ///
    /// The version stays: whoever looks meanwhile finds the mapping with the one end or the other, and
    /// nobody touches what lies between before the owner said that it is there.
    pub(super) fn grow(&self, end: usize) {
        if self.end.load(Ordering::Relaxed) != Extent::NOWHERE.end {
            self.end.store(end, Ordering::Release);
        }
    }

    /// Whether bytes were lost in a fault.
    pub(super) fn has_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Notes a fault. A note that is there already stays: the first one is the one to report.
    pub(super) fn note(&self, address: usize, outcome: Outcome) {
        if outcome == Outcome::Lost {
            self.lost.store(true, Ordering::SeqCst);
        }
        let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
        let _earlier = self.fault.compare_exchange(0, address, success, failure);
        self.free_pages.store(0, Ordering::Release);
    }

    /// Sets how many pages are free, unless a fault was noted.
    pub(super) fn set_free_pages(&self, count: u64) {
        self.free_pages.store(count, Ordering::Release);
        // A read-modify-write reads the last value there is: either the note is seen here, or the note comes
        // after this, sees the store above, and its zero stays.
        if self.fault.fetch_or(0, Ordering::AcqRel) != 0 {
            self.free_pages.store(0, Ordering::Release);
        }
    }

    /// How many pages are free.
    ///
    /// Relaxed: it says nothing of other memory. Who has to know that no fault was noted of what was read asks
    /// for it afterwards.
    #[inline]
    pub(super) fn free_pages(&self) -> u64 {
        self.free_pages.load(Ordering::Relaxed)
    }

    /// The address of the first fault that was noted, if there was one.
    #[inline]
    pub(super) fn fault(&self) -> Option<usize> {
        match self.fault.load(Ordering::Acquire) {
            0 => None,
            address => Some(address),
        }
    }

    /// This mapping, where `address` lies in it.
    fn covers(&self, address: usize) -> Option<Extent> {
        let version = self.version.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        let end = self.end.load(Ordering::Relaxed);
        let descriptor = self.descriptor.load(Ordering::Relaxed);
        let offset_bytes = self.offset_bytes.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let unchanged = version & 1 == 0 && version == self.version.load(Ordering::Relaxed);
        let protection = match descriptor {
            NO_DESCRIPTOR => Protection::Read,
            PRIVATE => Protection::Private,
            _ => Protection::ReadWrite(FilePlace { descriptor, offset_bytes }),
        };
        let extent = Extent { start, end, protection };
        (unchanged && start <= address && address < end).then_some(extent)
    }

    /// Forgets the mapping; the entry may be taken again from then on.
    pub(super) fn give_back(&self) {
        self.set(Extent::NOWHERE);
        self.taken.store(false, Ordering::Release);
    }
}

/// Where a mapping lies, and what may be done with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) protection: Protection,
}

impl Extent {
    pub(super) const NOWHERE: Self = Self { start: 0, end: 0, protection: Protection::Read };
}

/// Entries, and more of them behind. A process that has more mappings at once than all chunks hold
/// gets another one, which is then kept for ever.
pub(super) struct Table<const LEN: usize> {
    entries: [Entry; LEN],
    next: AtomicPtr<Self>,
}

impl<const LEN: usize> Table<LEN> {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self { entries: [const { Entry::new() }; LEN], next: AtomicPtr::new(ptr::null_mut()) }
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        let entries = std::array::from_fn(|_| Entry::new());
        Self { entries, next: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Takes an entry for a mapping, which is found from now on.
    pub(super) fn take(&self, extent: Extent) -> &Entry {
        let mut chunk = self;
        loop {
            for entry in &chunk.entries {
                if !entry.taken.swap(true, Ordering::Acquire) {
                    entry.fault.store(0, Ordering::Relaxed);
                    entry.lost.store(false, Ordering::Relaxed);
                    entry.free_pages.store(0, Ordering::Relaxed);
                    entry.set(extent);
                    return entry;
                }
            }
            chunk = chunk.next_or_new();
        }
    }

    /// The mapping that an address lies in.
    pub(super) fn find(&self, address: usize) -> Option<(&Entry, Extent)> {
        let mut chunk = self;
        loop {
            let found = |entry| Some((entry, Entry::covers(entry, address)?));
            if let Some(found) = chunk.entries.iter().find_map(found) {
                return Some(found);
            }
            chunk = chunk.next()?;
        }
    }

    fn next(&self) -> Option<&'static Self> {
        // SAFETY: the pointer is null or came from `Box::leak` in `next_or_new`, was published with
        // `Release` after the chunk was made, and is never freed.
        unsafe { self.next.load(Ordering::Acquire).as_ref() }
    }

    fn next_or_new(&self) -> &'static Self {
        if let Some(next) = self.next() {
            return next;
        }
        let new = ptr::from_mut(Box::leak(Box::new(Self::new())));
        let null = ptr::null_mut();
        let published =
            match self.next.compare_exchange(null, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => new,
                Err(earlier) => {
                    // SAFETY: `new` was leaked above, was not published, and is used no more.
                    drop(unsafe { Box::from_raw(new) });
                    earlier
                }
            };
        // SAFETY: either our own leaked chunk or another's that was published, hence not null; no
        // published chunk is ever freed.
        unsafe { &*published }
    }
}
