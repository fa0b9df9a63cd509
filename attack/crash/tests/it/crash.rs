//! Crashes of versioned files: a commit that has returned is there, the one under way is there whole or not at
//! all, and nothing else ever is. Crashes while whole files are made (sealed, created, backed up, restored): each
//! is there when its call has returned, and never in part.
//!
//! Method: the explorer records workloads on the real code, makes the states that a crash at any moment may
//! leave, sector by sector, and opens each. `.ci/crash` does the same for as long as you like.

use std::{
    io::{self, Write as _},
    path::Path,
    thread,
};

use crash::{Plan, Total, explore_by_workers};

fn explore(plan: Plan) -> Total {
    let workers = thread::available_parallelism().map_or(1, |count| count.get()) as u64;
    let program = Path::new(env!("CARGO_BIN_EXE_crash"));
    let total = explore_by_workers(program, plan, workers).expect("its processes end well");
    assert!(total.violations.is_empty(), "{}", total.violations.join("\n\n"));
    total
}

#[test]
fn every_state_that_a_crash_leaves_shows_what_was_committed() {
    let total = explore(Plan::Round);
    println!("{total}");
    assert!(total.distinct >= 100_000 && total.count.within_recovery >= 40_000, "{total}");
}

/// Needs root and FUSE; without, it says that it was skipped.
#[test]
fn whole_files_are_whole_in_every_state_that_a_crash_leaves() {
    let total = explore(Plan::WholeRound);
    println!("{total}");
    if let Some(reason) = &total.whole_unavailable {
        // In one write, past the capture of a test's output.
        let told = format!(
            "\nSKIPPED whole_files_are_whole_in_every_state_that_a_crash_leaves: {reason}\n"
        );
        io::stderr().write_all(told.as_bytes()).unwrap();
        return;
    }
    assert!(total.whole_distinct >= 6_000 && total.whole.repeated >= 600, "{total}");
}
