//! Tests of the store through the public interface, but for the conformance suite.
//!
//! One program holds them, because building one costs more than running it, and so that tests which
//! wait for a disk or a clock run beside those which compute. What would change the whole process
//! happens in a child process; a test that needs a program of its own says why in its first line.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

// What tests use.
#[path = "../../pagestore/tests/it/address_limit.rs"]
mod address_limit;
#[path = "../../pagestore/tests/it/cgroup.rs"]
mod cgroup;
#[path = "../../pagestore/tests/it/child.rs"]
mod child;
#[path = "../../pagestore/tests/it/filter.rs"]
mod filter;
mod listening;
#[path = "../../pagestore/tests/it/loop_disk.rs"]
mod loop_disk;
#[path = "../../pagestore/tests/it/nameless.rs"]
mod nameless;
#[path = "../../pagestore/tests/it/overlay.rs"]
mod overlay;
mod scripted;
#[path = "../../pagestore/tests/it/skip.rs"]
mod skip;
mod slow;

// The tests.
mod async_file;
mod backup;
mod breaker;
mod budget;
mod columns;
mod compression;
mod config;
mod cross_read;
mod degradation;
mod documented;
mod errors;
mod examples;
mod file_buffer;
mod logs;
mod no_threads;
mod non_exhaustive;
mod refused_calls;
mod retry;
mod run;
mod spill;
mod store;
mod unsealed;
