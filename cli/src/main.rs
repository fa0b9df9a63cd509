//! The `storage` command: packs files into page files and back, backs versioned ones up, checks
//! them, looks into them, and shows on this machine what the store does.
#![forbid(unsafe_code)]

mod args;
mod backup;
mod demo;
mod error;
mod exit;
mod heatmap;
mod input;
mod inspect;
mod interrupt;
mod output;
mod pack;
mod progress;
mod report;
mod restore;
mod sort;
mod streams;
mod unpack;
mod verify;
mod verify_versioned;

use std::process::ExitCode;

fn main() -> ExitCode {
    args::run().unwrap_or_else(|error| error.print()).into()
}
