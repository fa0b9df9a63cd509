//! What goes wrong, when: decided by a seed, the kind of the operation and its number alone.

use std::{collections::HashMap, io, ops::RangeInclusive, time::Duration};

use rustix::io::Errno;

use crate::Operation;

/// Something that goes wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// `EINTR`, a transient error. Nothing was done.
    Interrupted,
    /// `EAGAIN`, a transient error. Nothing was done.
    WouldBlock,
    /// `ETIMEDOUT`, a transient error. Nothing was done.
    TimedOut,
    /// `ETIMEDOUT` as well, but the operation was done: what is lost is the answer.
    AnswerLost,
    /// `EIO`: the disk does not answer. Nothing was done.
    InputOutput,
    /// `EACCES`. Nothing was done.
    PermissionDenied,
    /// `ENOSPC`. Nothing was done.
    NoSpace,
    /// `ENOSPC` in the middle of a write: the beginning of the data, of random length and never all
    /// of it, was written. To other operations it is [`NoSpace`](Self::NoSpace).
    PartialWrite,
    /// The operation takes that much longer, by tokio's clock, and is done as always.
    Delay(Duration),
}

impl Fault {
    /// The operating system's error that the caller gets, if it gets one.
    pub(super) fn error(self) -> Option<io::Error> {
        let errno = match self {
            Self::Interrupted => Errno::INTR,
            Self::WouldBlock => Errno::AGAIN,
            Self::TimedOut | Self::AnswerLost => Errno::TIMEDOUT,
            Self::InputOutput => Errno::IO,
            Self::PermissionDenied => Errno::ACCESS,
            Self::NoSpace | Self::PartialWrite => Errno::NOSPC,
            Self::Delay(_) => return None,
        };
        Some(io::Error::from(errno))
    }
}

/// What a [`FaultyBackend`](super::FaultyBackend) does wrong.
///
/// The plan is a function of the seed, the kind of the operation, and how many of that kind there
/// were before, so it does not depend on how tasks are scheduled: the tenth read fares the same in
/// each run, whichever task makes it. A failing test prints the plan, which shows the seed.
///
/// Several rules may speak about one operation. Of those that make it fail, the first that says
/// something decides: [`nth`](Self::nth), then the rates in the order in which they were added.
/// Delays come on top.
#[derive(Clone, PartialEq, Debug)]
pub struct FaultPlan {
    seed: u64,
    nth: HashMap<(Operation, u64), Fault>,
    rates: Vec<Rate>,
    delays: Vec<Delay>,
}

#[derive(Clone, PartialEq, Debug)]
struct Rate {
    /// `None` is all.
    operation: Option<Operation>,
    share: f64,
    faults: Vec<Fault>,
}

#[derive(Clone, PartialEq, Debug)]
struct Delay {
    operation: Option<Operation>,
    share: f64,
    time: RangeInclusive<Duration>,
}

/// What happens to one operation.
pub(super) struct Fate {
    pub(super) delay: Option<Duration>,
    pub(super) fault: Option<Fault>,
    /// Of a partial write, how much of it is done.
    pub(super) done_share: f64,
}

impl FaultPlan {
    /// A plan in which nothing goes wrong yet.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { seed, nth: HashMap::new(), rates: Vec::new(), delays: Vec::new() }
    }

    /// The seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Has the `nth` operation of a kind, counted from 1 over the whole life of the backend, meet
    /// a fault.
    ///
    /// # Panics
    /// Where `nth` is 0.
    #[must_use]
    pub fn nth(mut self, operation: Operation, nth: u64, fault: Fault) -> Self {
        assert!(nth > 0, "operations are counted from 1");
        self.nth.insert((operation, nth), fault);
        self
    }

    /// Has a share of the operations of a kind, `0.1` for a tenth, meet one of `faults`, all
    /// equally likely.
    ///
    /// # Panics
    /// Where `share` is not between 0 and 1, or there are no faults.
    #[must_use]
    pub fn rate(self, operation: Operation, share: f64, faults: &[Fault]) -> Self {
        self.with_rate(Some(operation), share, faults)
    }

    /// The same for operations of all kinds.
    ///
    /// # Panics
    /// As [`rate`](Self::rate).
    #[must_use]
    pub fn rate_of_all(self, share: f64, faults: &[Fault]) -> Self {
        self.with_rate(None, share, faults)
    }

    /// Has a share of the operations of a kind take longer, by a time drawn from `time`.
    ///
    /// # Panics
    /// Where `share` is not between 0 and 1, or the range is empty.
    #[must_use]
    pub fn delay(self, operation: Operation, share: f64, time: RangeInclusive<Duration>) -> Self {
        self.with_delay(Some(operation), share, time)
    }

    /// The same for operations of all kinds.
    ///
    /// # Panics
    /// As [`delay`](Self::delay).
    #[must_use]
    pub fn delay_of_all(self, share: f64, time: RangeInclusive<Duration>) -> Self {
        self.with_delay(None, share, time)
    }

    fn with_rate(mut self, operation: Option<Operation>, share: f64, faults: &[Fault]) -> Self {
        assert!((0.0..=1.0).contains(&share), "a share lies between 0 and 1");
        assert!(!faults.is_empty(), "a rate needs a fault to draw");
        self.rates.push(Rate { operation, share, faults: faults.to_vec() });
        self
    }

    fn with_delay(
        mut self,
        operation: Option<Operation>,
        share: f64,
        time: RangeInclusive<Duration>,
    ) -> Self {
        assert!((0.0..=1.0).contains(&share), "a share lies between 0 and 1");
        assert!(!time.is_empty(), "a delay needs a time to draw");
        self.delays.push(Delay { operation, share, time });
        self
    }

    /// What happens to the `nth` operation of a kind.
    pub(super) fn fate(&self, operation: Operation, nth: u64) -> Fate {
        let mut random = fastrand::Rng::with_seed(mix(self.seed, operation, nth));
        let concerns = |rule: Option<Operation>| rule.is_none_or(|rule| rule == operation);
        let mut delay = None;
        for rule in self.delays.iter().filter(|rule| concerns(rule.operation)) {
            // Each rule draws the same number of times, so that rules do not change each other.
            let (hit, at) = (random.f64() < rule.share, random.f64());
            let span = *rule.time.end() - *rule.time.start();
            if hit {
                *delay.get_or_insert(Duration::ZERO) += *rule.time.start() + span.mul_f64(at);
            }
        }
        let mut fault = self.nth.get(&(operation, nth)).copied();
        for rule in self.rates.iter().filter(|rule| concerns(rule.operation)) {
            let (hit, which) = (random.f64() < rule.share, random.usize(..rule.faults.len()));
            if hit {
                fault = fault.or(Some(rule.faults[which]));
            }
        }
        Fate { delay, fault, done_share: random.f64() }
    }
}

/// A seed for one operation, far from those of its neighbours (the finaliser of SplitMix64).
fn mix(seed: u64, operation: Operation, nth: u64) -> u64 {
    let kind = (operation as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut z = seed.wrapping_add(kind).rotate_left(17).wrapping_add(nth);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
