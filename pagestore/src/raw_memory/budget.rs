//! The budget that memories share.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// A hard limit on the bytes of all [`RawMemory`](crate::RawMemory) that share it.
///
/// It counts the pages that were ever written to, since only those take memory. It does not count bookkeeping:
/// about 100 bytes for each 2 MiB that anything was written in, and a page table of 4 KiB in the kernel.
#[derive(Debug)]
pub struct MemoryBudget {
    limit_bytes: u64,
    used_bytes: AtomicU64,
}

impl MemoryBudget {
    /// A budget that nothing is used of yet.
    #[must_use]
    pub const fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, used_bytes: AtomicU64::new(0) }
    }

    /// The limit.
    #[must_use]
    pub const fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// The bytes in use, at no time more than the limit.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Takes `bytes` out of what is left. Relaxed order does: the count guards no memory, each
    /// memory's own lock does.
    fn take(&self, bytes: u64) -> Result<()> {
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit_bytes);
        match self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(used_bytes) => Err(Error::BudgetExceeded {
                needed_bytes: bytes,
                used_bytes,
                budget_bytes: self.limit_bytes,
            }),
        }
    }
}

/// What one memory has taken out of its budget, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: std::sync::Arc<MemoryBudget>,
    bytes: u64,
}

impl Charge {
    pub(super) fn none(budget: std::sync::Arc<MemoryBudget>) -> Self {
        Self { budget, bytes: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn add(&mut self, bytes: u64) -> Result<()> {
        if bytes > 0 {
            self.budget.take(bytes)?;
            self.bytes += bytes;
        }
        Ok(())
    }

    /// Gives `bytes` of it back. The memory must be the kernel's again already.
    pub(super) fn give_back(&mut self, bytes: u64) {
        self.bytes = self.bytes.checked_sub(bytes).expect("no more is given back than was taken");
        self.budget.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}
