//! The counters behind [`Stats`]: cheap enough for an operation of some tens of nanoseconds.

use std::{
    array,
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
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

/// Of so many calls that a thread has answered at once, one is timed. Looking at the clock twice takes
/// 50 ns, and answering 100.
const TIMED_EVERY: u64 = 64;

/// Times that were measured.
struct Times {
    counts: [AtomicU64; Histogram::BUCKET_COUNT],
    sum_nanos: AtomicU64,
    longest_nanos: AtomicU64,
}

impl Times {
    fn new() -> Self {
        Self {
            counts: array::from_fn(|_| AtomicU64::new(0)),
            sum_nanos: AtomicU64::new(0),
            longest_nanos: AtomicU64::new(0),
        }
    }

    fn add(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[Histogram::bucket(time)].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.longest_nanos.fetch_max(nanos, Ordering::Relaxed);
    }

    fn counts(&self) -> [u64; Histogram::BUCKET_COUNT] {
        array::from_fn(|i| self.counts[i].load(Ordering::Relaxed))
    }
}

/// What `total` calls took, by those among them that were timed: counts, and nanoseconds together.
fn estimate(timed: &Times, total: u64) -> ([u64; Histogram::BUCKET_COUNT], u64) {
    let mut counts = timed.counts();
    let timed_count: u64 = counts.iter().sum();
    let most = (0..counts.len()).max_by_key(|&i| counts[i]).unwrap_or(0);
    let scaled = |part: u64| {
        let scaled = u128::from(part) * u128::from(total) / u128::from(timed_count.max(1));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    };
    let sum_nanos = scaled(timed.sum_nanos.load(Ordering::Relaxed));
    counts = counts.map(scaled);
    // What rounding leaves over, so that all calls are there.
    counts[most] += total - counts.iter().sum::<u64>().min(total);
    (counts, sum_nanos)
}

/// A call that may be answered at once has begun.
pub(crate) struct Begun {
    stripe: usize,
    timed_since: Option<Instant>,
}

/// Counters of one kind of operation.
struct Counters {
    at_once: [Stripe; STRIPE_COUNT],
    waited_count: AtomicU64,
    waited_bytes: AtomicU64,
    errors: AtomicU64,
    errors_at_once: AtomicU64,
    waited: Times,
    /// Of calls that were answered at once.
    timed: Times,
}

impl Counters {
    fn new() -> Self {
        Self {
            at_once: array::from_fn(|_| Stripe::default()),
            waited_count: AtomicU64::new(0),
            waited_bytes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            errors_at_once: AtomicU64::new(0),
            waited: Times::new(),
            timed: Times::new(),
        }
    }

    fn latency(&self, at_once: u64) -> Histogram {
        let (counts, sum_nanos) = estimate(&self.timed, at_once);
        let waited = self.waited.counts();
        let sum_nanos = sum_nanos.saturating_add(self.waited.sum_nanos.load(Ordering::Relaxed));
        let longest = |times: &Times| times.longest_nanos.load(Ordering::Relaxed);
        let longest_nanos = longest(&self.timed).max(longest(&self.waited));
        Histogram::new(array::from_fn(|i| counts[i] + waited[i]), sum_nanos, longest_nanos)
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
            latency: self.latency(at_once),
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

    /// Begins a call that may be answered at once. Nothing is counted yet.
    #[inline]
    pub(crate) fn begin(&self, operation: Operation) -> Begun {
        let stripe = stripe();
        let count = self.of(operation).at_once[stripe].count.load(Ordering::Relaxed);
        let timed_since = count.is_multiple_of(TIMED_EVERY).then(Instant::now);
        Begun { stripe, timed_since }
    }

    /// Counts a call that was answered at once: `Some` bytes, or an error.
    #[inline]
    pub(crate) fn at_once(&self, operation: Operation, begun: &Begun, bytes: Option<u64>) {
        let counters = self.of(operation);
        if let Some(since) = begun.timed_since {
            counters.timed.add(since.elapsed());
        }
        match bytes {
            Some(bytes) => {
                let stripe = &counters.at_once[begun.stripe];
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
        counters.waited.add(time);
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

#[cfg(test)]
mod tests {
    use super::*;

    const NANO: Duration = Duration::from_nanos(1);

    /// Bounds, counts and the sum, as they are exported.
    #[test]
    fn buckets_hold_what_was_counted() {
        let metrics = Metrics::new();
        let times = [0, 1, 2, 3, 4, 1000, 1023, 1024, u64::from(u32::MAX), 1 << 38, 1 << 50];
        for nanos in times {
            metrics.waited(Operation::Sync, Some(0), Duration::from_nanos(nanos));
        }
        let histogram = metrics.snapshot().syncs.latency;
        assert_eq!(histogram.count(), times.len() as u64);
        assert_eq!(histogram.sum(), Duration::from_nanos(times.iter().sum()));
        assert_eq!(histogram.longest(), Duration::from_nanos(1 << 50));
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets.len(), Histogram::BUCKET_COUNT);
        assert!(buckets.is_sorted_by(|a, b| a.up_to < b.up_to || b.up_to.is_none()));
        let mut before = 0;
        for bucket in &buckets {
            let within = |nanos: &&u64| {
                bucket.up_to.is_none_or(|bound| Duration::from_nanos(**nanos) <= bound)
            };
            assert_eq!(bucket.count_up_to, times.iter().filter(within).count() as u64);
            assert_eq!(bucket.count, bucket.count_up_to - before, "{bucket:?}");
            before = bucket.count_up_to;
        }
        assert_eq!(buckets.last().map(|last| (last.up_to, last.count)), Some((None, 2)));
    }

    #[test]
    fn quantiles_have_an_answer_for_every_number() {
        let metrics = Metrics::new();
        let of = |metrics: &Metrics, share| metrics.snapshot().reads.latency.quantile(share);
        assert_eq!(of(&metrics, 0.5), None, "nothing was counted");
        for nanos in [100, 100, 100, 3000] {
            metrics.waited(Operation::Read, Some(0), NANO * nanos);
        }
        assert_eq!(of(&metrics, 0.0), Some(NANO * 127));
        assert_eq!(of(&metrics, 0.75), Some(NANO * 127));
        assert_eq!(of(&metrics, 0.76), Some(NANO * 3000), "no more than the longest");
        assert_eq!(of(&metrics, 1.0), Some(NANO * 3000));
        for share in [f64::NAN, f64::INFINITY, -0.1, 1.1, f64::NEG_INFINITY] {
            assert_eq!(of(&metrics, share), None, "{share} is no share");
        }
        metrics.waited(Operation::Read, None, Duration::MAX);
        assert_eq!(of(&metrics, 1.0), Some(Duration::from_nanos(u64::MAX)));
    }

    /// However many were timed, and whatever they took.
    #[test]
    fn each_call_that_was_answered_at_once_has_a_time() {
        let metrics = Metrics::new();
        for count in 1..=1000_u64 {
            let begun = metrics.begin(Operation::Read);
            let timed = begun.timed_since.is_some();
            assert_eq!(timed, (count - 1).is_multiple_of(TIMED_EVERY), "call {count}");
            metrics.at_once(Operation::Read, &begun, Some(1));
            let reads = metrics.snapshot().reads;
            assert_eq!((reads.count, reads.at_once, reads.latency.count()), (count, count, count));
            assert!(reads.latency.quantile(1.0) <= Some(reads.latency.longest()));
            assert!(reads.latency.sum() > Duration::ZERO, "the first one is timed");
        }
        let begun = metrics.begin(Operation::Read);
        metrics.at_once(Operation::Read, &begun, None);
        metrics.waited(Operation::Read, None, NANO);
        assert_eq!(metrics.snapshot().reads.latency.count(), 1002);
    }

    #[test]
    fn those_that_were_timed_stand_for_the_others() {
        let timed = Times::new();
        for nanos in [100, 100, 100, 70_000] {
            timed.add(NANO * nanos);
        }
        let (counts, sum_nanos) = estimate(&timed, 4 * 64 + 1);
        assert_eq!(counts[7], 3 * 64 + 1, "the odd one is most likely one of the most");
        assert_eq!(counts[17], 64);
        assert_eq!(counts.iter().sum::<u64>(), 4 * 64 + 1);
        assert_eq!(sum_nanos, 70_300 * (4 * 64 + 1) / 4);
        let (counts, sum_nanos) = estimate(&Times::new(), 3);
        assert_eq!((counts.iter().sum::<u64>(), sum_nanos), (3, 0), "none was timed yet");
    }
}
