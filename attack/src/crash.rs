//! Crashes, all that fit: what a versioned file shows after each.
//!
//! A workload is run once, on the real code, while a recorder notes every write, length and wait for the
//! disk (`record`). Then the machine crashes at each moment of it, and the disk is left with what was
//! durable, and with any part of what was not, by sectors of 512 bytes (`disk`). Each such state is opened
//! with the real code and compared with what must and may be there (`check`); so are the states that a
//! second crash leaves while that opening is under way, and a third.
//!
//! A state is a function of the workload and a seed, so one that fails can be had again.

mod check;
mod choose;
mod disk;
mod explore;
mod random;
mod record;
mod scripts;
mod stage;
mod workload;

use std::time::{Duration, Instant};

pub use explore::{Count, Effort, Violation};
pub use scripts::SCRIPTS;
pub use workload::Step;

/// What to explore.
#[derive(Clone, Copy, Debug)]
pub enum Workload {
    /// The steps of [`SCRIPTS`] under this number.
    Script(usize),
    /// Steps that follow from a seed.
    Random(u64),
}

impl Workload {
    /// The steps.
    #[must_use]
    pub fn steps(self) -> Vec<Step> {
        match self {
            Self::Script(number) => SCRIPTS[number].1.to_vec(),
            Self::Random(seed) => workload::random(seed),
        }
    }
}

/// Explores workloads, one after the other, until one shows something wrong or the time is over.
///
/// # Errors
/// The workload and what it showed.
pub fn explore(
    workloads: impl IntoIterator<Item = (Workload, Effort)>,
    seed: u64,
    time_max: Duration,
) -> Result<Count, (Count, String)> {
    let started = Instant::now();
    let mut explorer = explore::Explorer::new(seed);
    for (workload, effort) in workloads {
        if started.elapsed() > time_max {
            break;
        }
        let failed = |explorer: &explore::Explorer, what: String| {
            (explorer.count, format!("{workload:?}, seed {seed}: {what}"))
        };
        let recorded = workload::run(&workload.steps()).map_err(|what| failed(&explorer, what))?;
        explorer
            .explore(recorded, effort)
            .map_err(|violation| failed(&explorer, violation.to_string()))?;
    }
    Ok(explorer.count)
}

/// Runs steps on the real code, without a crash but for those that are steps, and compares what it shows.
///
/// # Errors
/// What went wrong.
pub fn run_and_compare(steps: &[Step]) -> Result<(), String> {
    workload::run(steps).map(drop)
}
