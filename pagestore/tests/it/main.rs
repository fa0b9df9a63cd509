//! Tests of pages, through the public interface, on the real kernel and real filesystems.
//!
//! One program holds them, because building one costs more than running it, and so that tests which
//! wait for a disk run beside those which compute. What would change the whole process (another
//! user, a limit, a handler of signals, a death) happens in a child process: see `child.rs`. A test
//! that needs a program of its own gets one, `tests/NAME.rs`, which says why in its first line.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

// What tests use.
mod address_limit;
mod cgroup;
mod child;
mod elsewhere;
mod filter;
#[path = "../../../layout/tests/it/forge.rs"]
mod forge;
mod loop_disk;
mod nameless;
mod overlay;
mod report;
#[expect(unsafe_code, reason = "installs signal handlers")]
mod sigbus;
mod skip;
mod unleased;

// The tests.
mod advice;
mod bad_asks;
mod bad_input;
mod bit_flips;
mod budget;
mod claims;
mod copy_on_write;
mod crashes;
mod disk_full;
mod evidence;
mod exhaustive;
mod failing_disk;
mod folios;
mod fresh_blocks;
mod giving_back;
mod leases;
mod metadata;
mod misplaced;
mod odd_filesystem;
mod oracle;
mod other_filesystems;
mod pages;
mod power;
mod publish;
mod raw;
mod raw_memory;
mod reading_ahead;
mod refused_calls;
mod sealed;
mod self_wait;
mod signals;
mod sparse;
mod survival;
mod temporary;
mod truncation;
mod unsealed;
mod versioned;
mod whole_files;
mod wings;
