//! The counters behind [`Stats`]: cheap enough for an operation of some tens of nanoseconds.

use std::{
    array,
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use crate::{Histogram, Operation, OperationStats, Stats};

/// How many copies of the counters of hot calls there are, so that threads that count at the same
/// time rarely do so in the same cache line.
const STRIPE_COUNT: usize = 16;

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The stripe of this thread.
pub(crate) fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    STRIPE.with(|stripe| {
        if stripe.get() == usize::MAX {
            stripe.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPE_COUNT);
        }
        stripe.get()
    })
}

/// A cache line, or the pair of them that processors fetch together, for itself.
#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    count: AtomicU64,
    bytes: AtomicU64,
}

/// Counters of one kind of operation.
struct Counters {
    at_once: [Stripe; STRIPE_COUNT],
    waited_count: AtomicU64,
    waited_bytes: AtomicU64,
    errors: AtomicU64,
    errors_at_once: AtomicU64,
    latency: [AtomicU64; Histogram::BUCKET_COUNT],
}

impl Counters {
    fn new() -> Self {
        Self {
            at_once: array::from_fn(|_| Stripe::default()),
            waited_count: AtomicU64::new(0),
            waited_bytes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            errors_at_once: AtomicU64::new(0),
            latency: array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    fn snapshot(&self) -> OperationStats {
        let sum = |of: fn(&Stripe) -> &AtomicU64| {
            self.at_once.iter().map(|stripe| of(stripe).load(Ordering::Relaxed)).sum::<u64>()
        };
        let at_once = sum(|s| &s.count) + self.errors_at_once.load(Ordering::Relaxed);
        OperationStats {
            count: at_once + self.waited_count.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            at_once,
            bytes: sum(|s| &s.bytes) + self.waited_bytes.load(Ordering::Relaxed),
            latency: Histogram::new(array::from_fn(|i| self.latency[i].load(Ordering::Relaxed))),
        }
    }
}

/// All counters of a backend.
pub(crate) struct Metrics {
    reads: Counters,
    writes: Counters,
    syncs: Counters,
    others: Counters,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            reads: Counters::new(),
            writes: Counters::new(),
            syncs: Counters::new(),
            others: Counters::new(),
        }
    }

    fn of(&self, operation: Operation) -> &Counters {
        match operation {
            Operation::Read => &self.reads,
            Operation::Write => &self.writes,
            Operation::Sync | Operation::Seal => &self.syncs,
            _ => &self.others,
        }
    }

    /// Counts a call that was answered at once: `Some` bytes, or an error.
    #[inline]
    pub(crate) fn at_once(&self, operation: Operation, bytes: Option<u64>) {
        let counters = self.of(operation);
        match bytes {
            Some(bytes) => {
                let stripe = &counters.at_once[stripe()];
                stripe.count.fetch_add(1, Ordering::Relaxed);
                stripe.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            None => {
                counters.errors.fetch_add(1, Ordering::Relaxed);
                counters.errors_at_once.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Counts a call that took some time.
    pub(crate) fn waited(&self, operation: Operation, bytes: Option<u64>, time: Duration) {
        let counters = self.of(operation);
        counters.waited_count.fetch_add(1, Ordering::Relaxed);
        counters.latency[Histogram::bucket(time)].fetch_add(1, Ordering::Relaxed);
        match bytes {
            Some(bytes) => counters.waited_bytes.fetch_add(bytes, Ordering::Relaxed),
            None => counters.errors.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// The numbers now.
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            reads: self.reads.snapshot(),
            writes: self.writes.snapshot(),
            syncs: self.syncs.snapshot(),
            others: self.others.snapshot(),
            ..Stats::default()
        }
    }
}
