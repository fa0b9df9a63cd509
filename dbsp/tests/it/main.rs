//! DBSP on this store, through DBSP's own traits and whole circuits.
//!
//! One program holds the tests, because DBSP makes building one take longer than running it. What is
//! to be killed, or lives under a limit, is a child process; a test that needs a program of its own
//! says why in its first line.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

// What tests use.
mod failing_ext4;
#[path = "../../../pagestore/tests/it/filter.rs"]
#[expect(dead_code, reason = "calls are refused here in one way")]
mod filter;
#[path = "../../../pagestore/tests/it/loop_disk.rs"]
mod loop_disk;
mod process;
#[path = "../../../pagestore/tests/it/skip.rs"]
#[expect(dead_code, reason = "what is asked for here is more than root")]
mod skip;
mod state_on_disk;
mod workload;

// The tests.
mod backend;
mod circuits;
mod cursor;
mod examples;
mod forged;
mod mapped_circuits;
mod steps;
mod structs;
