//! The `storage` command as a user meets it: the built binary, run on real files.
//!
//! Each test works in a temporary folder of its own, gives arguments and bytes, and looks at exit
//! code, output and files. One binary holds them all, because building it costs more than running.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "what goes wrong here is a failed test")]

mod backup;
mod bad_input;
mod command;
mod demo;
mod heatmap;
mod interrupted;
#[path = "../../../pagestore/tests/it/loop_disk.rs"]
mod loop_disk;
mod round_trip;
#[path = "../../../pagestore/tests/it/skip.rs"]
#[expect(dead_code, reason = "`LoopDisk` asks for root itself")]
mod skip;
mod sort;
mod streams;
mod usage;
mod verify;
