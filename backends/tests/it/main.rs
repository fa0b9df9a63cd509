//! Tests of what each backend has for itself, through the public interface, on the real kernel.
//! What all backends share is in the conformance suite of the root package.
//!
//! One program holds them, because building one costs more than running it, and so that tests which
//! wait for a disk run beside those which compute. What would change the whole process happens in a
//! child process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

// What tests use, and tests of pages use too.
#[path = "../../../pagestore/tests/it/cgroup.rs"]
mod cgroup;
#[path = "../../../pagestore/tests/it/child.rs"]
#[expect(dead_code, reason = "nobody is to be killed here")]
mod child;
#[path = "../../../pagestore/tests/it/loop_disk.rs"]
mod loop_disk;
#[path = "../../../pagestore/tests/it/report.rs"]
mod report;
#[path = "../../../pagestore/tests/it/skip.rs"]
mod skip;

// The tests.
mod buffers;
mod cold;
mod failing_disk;
#[cfg(feature = "testing")]
mod faulty;
mod folder;
mod given_up;
mod listing;
mod memory;
mod memory_limits;
mod paths;
mod poison;
mod seals;
