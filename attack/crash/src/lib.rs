//! Crashes, all that fit: what a versioned file shows after each.
//!
//! A workload is run once, on the real code, while a recorder notes every write, length and wait for the
//! disk (`record`). Then the machine crashes at each moment of it, and the disk is left with what was
//! durable, and with any part of what was not, by sectors of 512 bytes (`disk`). Each such state is opened
//! with the real code and compared with what must and may be there (`check`); so are the states that a
//! second crash leaves while that opening is under way, and a third.
//!
//! Files that appear whole (sealed, created, backed up, restored) do not go through that recorder; `whole` has
//! one for them, and does the same.
//!
//! A state is a function of the workload and a seed, so one that fails can be had again; but for workloads
//! of several threads, which are another each time.
#![expect(clippy::unwrap_used, reason = "a disk in memory that fails ends the exploration")]
#![forbid(unsafe_code)]

mod check;
mod choose;
mod damage;
mod disk;
mod explore;
mod model;
mod plan;
mod random;
mod record;
mod scripts;
mod seen;
mod stage;
mod whole;
mod workers;
mod workload;

use std::error::Error;

use pagestore::Checkpoints;

pub use damage::Damaged;
pub use explore::{Count, Effort};
pub use plan::Plan;
pub use scripts::SCRIPTS;
pub use whole::{WholeCount, WholeEffort, unavailable};
pub use workers::{Total, explore_by_workers, work};
pub use workload::Step;

/// What to explore.
#[derive(Clone, Copy, Debug)]
pub enum Workload {
    /// The steps of [`SCRIPTS`] under this number.
    Script(usize),
    /// Steps that follow from a seed.
    Random(u64),
    /// Threads that commit together, beside the thread that makes checkpoints; steps follow from a seed.
    Together(u64),
}

impl Workload {
    fn run(self) -> Result<workload::Recorded, String> {
        match self {
            Self::Script(number) => workload::run(SCRIPTS[number].1, Checkpoints::WhenFull),
            Self::Random(seed) => workload::run(&workload::random(seed), Checkpoints::WhenFull),
            Self::Together(seed) => {
                workload::run(&workload::together(seed), Checkpoints::InBackground)
            }
        }
    }
}

/// What an exploration came to.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// What was tried.
    pub count: Count,
    /// The hashes of all states that were opened, each once, in order.
    pub hashes: Vec<u64>,
    /// The workload that showed something wrong, and what it showed.
    pub violation: Option<String>,
}

/// Explores workloads, one after the other, until one shows something wrong, or enough was done.
pub fn explore(
    workloads: impl IntoIterator<Item = (Workload, Effort)>,
    seed: u64,
    is_over: impl Fn() -> bool + 'static,
) -> Explored {
    let mut explorer = explore::Explorer::new(seed, Box::new(is_over));
    let mut violation = None;
    for (workload, effort) in workloads {
        if explorer.is_over() {
            break;
        }
        let explored = workload.run().and_then(|recorded| {
            explorer.explore(recorded, effort).map_err(|violation| violation.to_string())
        });
        if let Err(what) = explored {
            let distinct = explorer.count.distinct;
            let found = format!("found by state {distinct}, all of them distinct");
            violation = Some(format!("{workload:?}, seed {seed}: {what}\n{found}"));
            break;
        }
    }
    Explored { count: explorer.count, hashes: explorer.into_hashes(), violation }
}

/// Runs steps on the real code, without a crash but for those that are steps, and compares what it shows.
///
/// # Errors
/// What went wrong.
pub fn run_and_compare(steps: &[Step]) -> Result<(), String> {
    workload::run(steps, Checkpoints::WhenFull).map(drop)
}

/// Makes the calls of a workload of whole files, where the arguments say so: the recorder has it run in a process
/// of its own.
///
/// # Errors
/// A call that failed.
#[must_use]
pub fn make_whole_files(arguments: &[String]) -> Option<Result<(), Box<dyn Error>>> {
    let [first, rest @ ..] = arguments else { return None };
    (first == whole::MAKE).then(|| whole::make(rest))
}
