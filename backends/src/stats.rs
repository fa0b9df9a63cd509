//! What a backend did, as numbers.

use std::time::Duration;

/// What was done so far, and what is held now. A snapshot: the numbers are read one after the other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Reads; the bytes are those that were returned.
    pub reads: OperationStats,
    /// Writes; the bytes are those that were passed.
    pub writes: OperationStats,
    /// Calls of `sync` and `seal`.
    pub syncs: OperationStats,
    /// Everything else: deleting, renaming, listing, asking.
    pub others: OperationStats,
    /// Bytes held in memory by the medium: mapped pages that are in memory, or buffers. `None`
    /// where the medium does not know.
    pub resident_bytes: Option<u64>,
    /// Bytes written and not made durable by a sync since. `None` where the medium does not know.
    pub dirty_bytes: Option<u64>,
    /// Bytes counted against the budget.
    pub used_bytes: u64,
    /// The budget, where there is one.
    pub budget_bytes: Option<u64>,
    /// Bytes that had to be written to the disk before they could leave memory for others. This and
    /// the next two are of the [budget](crate::Limits::residency_budget), of all files that share it.
    pub written_back_bytes: u64,
    /// Bytes that left memory to make room for others.
    pub evicted_bytes: u64,
    /// How often pages were found not to be counted in the budget, and were brought in.
    pub faults: u64,
    /// Files that are held open.
    pub open_files: u64,
    /// Attempts beyond the first, made by the retry layer.
    pub retries: u64,
    /// Operations that the circuit breaker did not let through.
    pub rejected: u64,
    /// Times that the circuit breaker opened.
    pub breaker_opened: u64,
    /// The circuit breaker's circuit for what reads.
    pub reads_circuit: CircuitState,
    /// The circuit breaker's circuit for what changes something.
    pub writes_circuit: CircuitState,
}

/// What a circuit breaker does with operations.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum CircuitState {
    /// It lets them through. Also where there is no circuit breaker.
    #[default]
    Closed,
    /// It refuses them.
    Open,
    /// It lets a few through, to find out whether they succeed.
    HalfOpen,
}

/// Counts of one kind of operation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct OperationStats {
    /// Calls that reached the medium and were completed, failed ones included.
    pub count: u64,
    /// Calls among them that failed.
    pub errors: u64,
    /// Calls among them that were answered at once, on the caller's thread.
    pub at_once: u64,
    /// Bytes moved by calls that succeeded.
    pub bytes: u64,
    /// How long the calls took, failed ones included, from the call to its end, waiting for a thread
    /// included. Each call that had to wait was timed. Of those that were answered at once, which
    /// takes about as long as looking at a clock does, one in 64 was, and stands for the others.
    pub latency: Histogram,
}

/// How often which times occurred: one count for each power of two of nanoseconds.
///
/// Count, sum and cumulative buckets are what Prometheus and the like take. Written in its text format,
/// with times in seconds as is the custom there:
///
/// ```
/// # extern crate backends as storage;
/// use storage::Histogram;
/// use std::fmt::{self, Write};
///
/// fn export(name: &str, histogram: &Histogram, to: &mut impl Write) -> fmt::Result {
///     for bucket in histogram.buckets() {
///         match bucket.up_to {
///             Some(time) => write!(to, "{name}_bucket{{le=\"{}\"}}", time.as_secs_f64())?,
///             None => write!(to, "{name}_bucket{{le=\"+Inf\"}}")?,
///         }
///         writeln!(to, " {}", bucket.count_up_to)?;
///     }
///     writeln!(to, "{name}_sum {}", histogram.sum().as_secs_f64())?;
///     writeln!(to, "{name}_count {}", histogram.count())
/// }
/// # let mut text = String::new();
/// # export("reads", &Histogram::default(), &mut text).unwrap();
/// # assert!(text.contains("reads_bucket{le=\"+Inf\"} 0\nreads_sum 0\nreads_count 0"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Histogram {
    counts: [u64; Self::BUCKET_COUNT],
    sum_nanos: u64,
    longest_nanos: u64,
}

/// One bucket of a [`Histogram`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Bucket {
    /// The longest time that it counts; none for the last bucket, which counts all that are longer
    /// than those of the others.
    pub up_to: Option<Duration>,
    /// How many times it counts, those of the buckets before it not included.
    pub count: u64,
    /// How many times it and all buckets before it count.
    pub count_up_to: u64,
}

impl Histogram {
    /// Bucket `i` counts times below `2^i` nanoseconds and not below half of that; the last one
    /// everything beyond, which begins at four and a half minutes.
    pub(crate) const BUCKET_COUNT: usize = 40;

    pub(crate) fn new(
        counts: [u64; Self::BUCKET_COUNT],
        sum_nanos: u64,
        longest_nanos: u64,
    ) -> Self {
        Self { counts, sum_nanos, longest_nanos }
    }

    /// The bucket that a time belongs to.
    pub(crate) fn bucket(time: Duration) -> usize {
        let nanos = time.as_nanos();
        let log2 = (u128::BITS - nanos.leading_zeros()) as usize;
        log2.min(Self::BUCKET_COUNT - 1)
    }

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All times together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos)
    }

    /// The longest time that was measured.
    #[must_use]
    pub const fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_nanos)
    }

    /// All buckets, those of shorter times first. There are always as many, with the same bounds.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let mut count_up_to = 0;
        self.counts.iter().enumerate().map(move |(bucket, &count)| {
            count_up_to += count;
            Bucket { up_to: Self::bound(bucket), count, count_up_to }
        })
    }

    /// The longest time that belongs to a bucket, if it ends anywhere.
    fn bound(bucket: usize) -> Option<Duration> {
        (bucket + 1 < Self::BUCKET_COUNT).then(|| Duration::from_nanos((1 << bucket) - 1))
    }

    /// A time that the given share of all counted times did not pass, `0.5` for the median: the
    /// upper bound of the bucket or the longest time, whichever is less, so at most twice the true
    /// value. `None` where nothing was counted, or `share` is no number from 0 to 1.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        if !(0.0..=1.0).contains(&share) {
            return None;
        }
        let total = self.count();
        #[expect(clippy::cast_precision_loss, reason = "an estimate anyhow")]
        let reached = |bucket: &Bucket| bucket.count_up_to as f64 >= share * total as f64;
        let bucket = self.buckets().find(|bucket| bucket.count > 0 && reached(bucket))?;
        Some(bucket.up_to.map_or(self.longest(), |bound| bound.min(self.longest())))
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new([0; Self::BUCKET_COUNT], 0, 0)
    }
}
