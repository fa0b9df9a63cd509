//! Saying that a test could not run here, past the capture of a test's output.

use std::io::{self, Write as _};

/// Says on the terminal that `test` was skipped, and why.
pub(crate) fn skipped(test: &str, reason: &str) {
    // In one write, so that tests beside this one cannot break the line.
    let told = io::stderr().write_all(format!("\nSKIPPED {test}: {reason}\n").as_bytes());
    assert!(told.is_ok(), "nobody would hear that {test} was skipped: {reason}");
}

/// Whether this process may act as other users; says so where it may not.
pub(crate) fn is_root_or_skipped(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped(test, "it acts as several users, so it needs root");
    }
    root
}
