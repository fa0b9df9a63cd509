//! Crashes of versioned files: a commit that has returned is there, the one under way is there whole or not at
//! all, and nothing else ever is.
//!
//! So are files that appear whole: sealed ones, backups, what is restored from them.
//!
//! Method: the explorer records workloads on the real code, makes the states that a crash at any moment may
//! leave, sector by sector, and opens each. `.ci/crash` does the same for as long as you like.

use std::{io::Write as _, path::Path, thread};

use crash::{Plan, explore_by_workers};

#[test]
fn every_state_that_a_crash_leaves_shows_what_was_committed() {
    let workers = thread::available_parallelism().unwrap().get() as u64;
    let program = Path::new(env!("CARGO_BIN_EXE_crash"));
    let total = explore_by_workers(program, Plan::Round, workers).unwrap();
    println!("{total}");
    assert!(total.violations.is_empty(), "{}", total.violations.join("\n\n"));
    match &total.whole_unavailable {
        // In one write, past the capture of a test's output.
        Some(reason) => {
            let told = format!("\nSKIPPED crashes while whole files are made: {reason}\n");
            std::io::stderr().write_all(told.as_bytes()).unwrap();
        }
        None => assert!(total.whole_distinct >= 10_000 && total.whole.repeated >= 1_000, "{total}"),
    }
    assert!(total.distinct >= 100_000 && total.count.within_recovery >= 40_000, "{total}");
}
