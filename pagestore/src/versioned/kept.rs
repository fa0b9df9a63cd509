//! What copies of pages take of memory: counted, and bounded.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    error::Result,
    residency::budget::{Reservation, ResidencyBudget},
    sync::Mutex,
};

/// The bytes of all pages that transactions and snapshots of one file keep beside it. They are anonymous
/// memory, which the kernel cannot evict.
#[derive(Debug)]
pub(super) struct Kept {
    bytes: AtomicU64,
    limit_bytes: u64,
    /// What is taken out of a budget that other files share.
    reserved: Option<Mutex<Reservation>>,
}

/// There is no room for so many bytes more.
#[derive(Debug)]
pub(super) struct NoRoom {
    pub(super) used_bytes: u64,
}

impl Kept {
    pub(super) fn new(limit_bytes: u64, budget: Option<&ResidencyBudget>) -> Result<Self> {
        let reserved = budget.map(|budget| budget.reserve(0)).transpose()?.map(Mutex::new);
        Ok(Self { bytes: AtomicU64::new(0), limit_bytes, reserved })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Takes room for copies that are about to be made; `Ok(Err(_))` where the file's own limit is met.
    pub(super) fn take(&self, bytes: u64) -> Result<Result<(), NoRoom>> {
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit_bytes);
        let taken = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if let Err(used_bytes) = taken {
            return Ok(Err(NoRoom { used_bytes }));
        }
        let reserved = self.reserve();
        if reserved.is_err() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        reserved.map(Ok)
    }

    /// Counts copies that have to be made whatever the limit is.
    pub(super) fn take_anyway(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // A budget that others share counts them with the next that is asked for.
        let _full = self.reserve();
    }

    /// Gives room back, after the kernel has the memory again.
    pub(super) fn give_back(&self, bytes: u64) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "no more is given back than was taken");
        let smaller = self.reserve();
        debug_assert!(smaller.is_ok(), "there is always room for less");
    }

    /// Takes of the shared budget what is counted here.
    fn reserve(&self) -> Result<()> {
        match &self.reserved {
            None => Ok(()),
            Some(reserved) => {
                let mut reserved = reserved.lock();
                reserved.resize(self.bytes())
            }
        }
    }
}
