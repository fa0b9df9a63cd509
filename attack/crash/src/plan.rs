//! Which workloads are explored, and how far.

use std::{iter, time::Duration};

use crate::{
    Effort, SCRIPTS, WholeEffort, Workload,
    whole::{WholeFiles, all_scripts},
};

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// What each `cargo test` has the time for: the same workloads each time.
    Round,
    /// The same of whole files.
    WholeRound,
    /// Damage alone, in every way there is.
    Damage,
    /// Whole files alone, until the time is over.
    WholeFiles {
        /// How long.
        time: Duration,
        /// What the workloads by chance follow from.
        seed: u64,
    },
    /// Every script, and then workloads by chance until the time is over; its last quarter is for whole files.
    For {
        /// How long.
        time: Duration,
        /// What the workloads by chance follow from.
        seed: u64,
    },
}

/// Workloads by chance of a round.
const WHOLE_RANDOM: u64 = 16;

fn effort(states_a_moment: u64, states_max: u64) -> Effort {
    Effort { states_a_moment, states_max, ..Effort::default() }
}

fn scripts(effort: Effort) -> impl Iterator<Item = (Workload, Effort)> {
    (0..SCRIPTS.len()).map(move |number| (Workload::Script(number), effort))
}

impl Plan {
    pub(crate) fn seed(self) -> u64 {
        match self {
            Self::Round | Self::WholeRound | Self::Damage => 1,
            Self::For { seed, .. } | Self::WholeFiles { seed, .. } => seed,
        }
    }

    pub(crate) fn time_max(self) -> Duration {
        match self {
            Self::Round | Self::WholeRound | Self::Damage => Duration::MAX,
            Self::For { time, .. } | Self::WholeFiles { time, .. } => time,
        }
    }

    /// Of how many cases of damage one is tried, if any is.
    pub(crate) fn damage_one_in(self) -> Option<u64> {
        match self {
            Self::Damage => Some(1),
            Self::Round | Self::For { .. } => Some(211),
            Self::WholeRound | Self::WholeFiles { .. } => None,
        }
    }

    /// Which whole files are made, and how far that is explored.
    pub(crate) fn whole_files(self) -> Box<dyn Iterator<Item = (WholeFiles, WholeEffort)>> {
        let with = |states_a_moment| WholeEffort { states_a_moment, one_in: 8 };
        let random = |seed| WholeFiles::Random(seed);
        match self {
            Self::WholeRound => {
                let workloads = all_scripts().chain((0..WHOLE_RANDOM).map(random));
                Box::new(workloads.map(move |workload| (workload, with(64))))
            }
            Self::Round | Self::Damage => Box::new(iter::empty()),
            Self::For { seed, .. } | Self::WholeFiles { seed, .. } => {
                let scripts = all_scripts().map(move |workload| (workload, with(256)));
                let more = (0_u64..).map(move |more| {
                    let states_a_moment = if more % 8 == 0 { 256 } else { 48 };
                    (random(seed.wrapping_mul(1 << 20) + more), with(states_a_moment))
                });
                Box::new(scripts.chain(more))
            }
        }
    }

    /// How much of the time is for whole files, which come last: a quarter.
    pub(crate) fn whole_files_time(self) -> Duration {
        match self {
            Self::Round | Self::WholeRound | Self::Damage => Duration::ZERO,
            Self::WholeFiles { time, .. } => time,
            Self::For { time, .. } => time / 4,
        }
    }

    pub(crate) fn workloads(self) -> Box<dyn Iterator<Item = (Workload, Effort)>> {
        match self {
            Self::Round => Box::new(round()),
            Self::WholeRound | Self::Damage | Self::WholeFiles { .. } => Box::new(iter::empty()),
            Self::For { seed, .. } => {
                let first = scripts(effort(48, 2_000)).chain(scripts(effort(512, 40_000)));
                Box::new(first.chain(by_chance(seed)))
            }
        }
    }
}

fn round() -> impl Iterator<Item = (Workload, Effort)> {
    let with = effort(48, 2_500);
    let random = (0..24).map(move |seed| (Workload::Random(seed), with));
    let together = (0..8).map(move |seed| (Workload::Together(seed), with));
    scripts(effort(128, 4_000)).chain(random).chain(together)
}

fn by_chance(seed: u64) -> impl Iterator<Item = (Workload, Effort)> {
    (0_u64..).map(move |more| {
        let seed = seed.wrapping_mul(1 << 20) + more;
        let is_together = more % 4 == 3;
        let workload = if is_together { Workload::Together(seed) } else { Workload::Random(seed) };
        (workload, if more % 16 < 2 { effort(512, 40_000) } else { effort(64, 8_000) })
    })
}
