//! Which workloads are explored, and how far.

use std::time::Duration;

use crate::{Effort, SCRIPTS, Workload};

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// What each `cargo test` has the time for: the same workloads each time.
    Round,
    /// Every script, and then workloads by chance until the time is over.
    For {
        /// How long.
        time: Duration,
        /// What the workloads by chance follow from.
        seed: u64,
    },
}

fn effort(states_a_moment: u64, states_max: u64) -> Effort {
    Effort { states_a_moment, states_max, ..Effort::default() }
}

fn scripts(effort: Effort) -> impl Iterator<Item = (Workload, Effort)> {
    (0..SCRIPTS.len()).map(move |number| (Workload::Script(number), effort))
}

impl Plan {
    pub(crate) fn seed(self) -> u64 {
        match self {
            Self::Round => 1,
            Self::For { seed, .. } => seed,
        }
    }

    pub(crate) fn time_max(self) -> Duration {
        match self {
            Self::Round => Duration::MAX,
            Self::For { time, .. } => time,
        }
    }

    /// Of how many cases of damage one is tried: a long run tries them all.
    pub(crate) fn damage_one_in(self) -> u64 {
        match self {
            Self::For { time, .. } if time >= Duration::from_secs(600) => 1,
            Self::Round | Self::For { .. } => 211,
        }
    }

    pub(crate) fn workloads(self) -> Box<dyn Iterator<Item = (Workload, Effort)>> {
        match self {
            Self::Round => Box::new(round()),
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
