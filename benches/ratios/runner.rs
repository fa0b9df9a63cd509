//! Times two rivals turn by turn, so that whatever else the machine does meets both alike.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::Result;

/// One run of one side.
pub(crate) struct Run {
    /// What the run took.
    pub(crate) elapsed: Duration,
    /// What it computed. Both sides must get the same: nobody wins by leaving work out.
    pub(crate) answer: u64,
}

/// Times `work` by the processor time of this thread, in the kernel too. For work that waits for
/// nothing: it is as long as the time on the wall when the machine has nothing else to do, and stays
/// so when it has.
pub(crate) fn timed_busy(work: impl FnOnce() -> Result<u64>) -> Result<Run> {
    let started = busy();
    let answer = work()?;
    Ok(Run { elapsed: busy() - started, answer })
}

/// The processor time that this thread has had.
pub(crate) fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanoseconds = u32::try_from(time.tv_nsec).expect("below a billion");
    Duration::new(u64::try_from(time.tv_sec).expect("time does not run backwards"), nanoseconds)
}

/// Times `work` by the clock on the wall.
pub(crate) fn timed(work: impl FnOnce() -> Result<u64>) -> Result<Run> {
    let started = Instant::now();
    let answer = work()?;
    Ok(Run { elapsed: started.elapsed(), answer })
}

/// The times of both sides in seconds, run by run.
pub(crate) struct Pairs {
    ours: Vec<f64>,
    rival: Vec<f64>,
}

impl Pairs {
    /// Runs ours, the rival, ours, the rival... `count` times each. Both get the pair's number.
    pub(crate) fn run(
        count: usize,
        mut ours: impl FnMut(usize) -> Result<Run>,
        mut rival: impl FnMut(usize) -> Result<Run>,
    ) -> Result<Self> {
        let mut pairs = Self { ours: Vec::new(), rival: Vec::new() };
        for number in 0..count {
            let (a, b) = (ours(number)?, rival(number)?);
            assert_eq!(a.answer, b.answer, "both sides did the same work");
            pairs.ours.push(a.elapsed.as_secs_f64());
            pairs.rival.push(b.elapsed.as_secs_f64());
        }
        Ok(pairs)
    }

    /// Like [`run`](Self::run), after one pair that does not count: it faults in what is touched
    /// and warms the caches.
    pub(crate) fn run_hot(
        count: usize,
        mut ours: impl FnMut(usize) -> Result<Run>,
        mut rival: impl FnMut(usize) -> Result<Run>,
    ) -> Result<Self> {
        Self::run(1, &mut ours, &mut rival)?;
        Self::run(count, ours, rival)
    }

    /// The median of our times, in seconds.
    pub(crate) fn ours(&self) -> f64 {
        median(&self.ours)
    }

    /// The median of the rival's times, in seconds.
    pub(crate) fn rival(&self) -> f64 {
        median(&self.rival)
    }

    /// Our times, in seconds, in the order they were measured.
    pub(crate) fn our_times(&self) -> &[f64] {
        &self.ours
    }

    /// What ours takes on top of the rival, in seconds, pair by pair.
    pub(crate) fn differences(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.rival).map(|(ours, rival)| ours - rival).collect()
    }

    /// Our time as a share of the rival's, pair by pair.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.rival).map(|(ours, rival)| ours / rival).collect()
    }
}

/// The middle value, or the mean of the two in the middle; zero where there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}
