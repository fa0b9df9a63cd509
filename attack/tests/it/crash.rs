//! Crashes of versioned files: a commit that has returned is there, the one under way is there whole or not at
//! all, and nothing else ever is.
//!
//! Method: the explorer of `attack::crash` records workloads on the real code, makes the states that a crash at
//! any moment may leave, sector by sector, and opens each. `.ci/crash` does the same for as long as you like.

use std::time::Duration;

use attack::crash::{Effort, SCRIPTS, Workload, explore};

const FOR_EVER: Duration = Duration::MAX;

#[test]
fn every_step_of_the_protocol_survives_crashes() {
    let effort = Effort { states_a_moment: 96, states_max: 5_000, ..Effort::default() };
    let scripts = (0..SCRIPTS.len()).map(|number| (Workload::Script(number), effort));
    let explored = explore(scripts, 1, FOR_EVER);
    let count = explored.unwrap_or_else(|(_, violation)| panic!("{violation}"));
    println!("{count:?}");
    assert!(count.states > 30_000 && count.within_recovery > 5_000, "{count:?}");
}

#[test]
fn workloads_by_chance_survive_crashes() {
    let effort = Effort { states_a_moment: 24, states_max: 2_500, ..Effort::default() };
    let explored = explore((0..20).map(|seed| (Workload::Random(seed), effort)), 2, FOR_EVER);
    let count = explored.unwrap_or_else(|(_, violation)| panic!("{violation}"));
    println!("{count:?}");
    assert!(count.states > 20_000, "{count:?}");
}
