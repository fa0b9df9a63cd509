//! The `storage` command: packs files into page files and back, checks them, looks into them, and
//! shows on this machine what the store does.
#![forbid(unsafe_code)]

mod args;
mod demo;
mod error;
mod heatmap;
mod input;
mod inspect;
mod interrupt;
mod output;
mod pack;
mod progress;
mod report;
mod sort;
mod unpack;
mod verify;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match args::Args::parse().run() {
        Ok(outcome) => outcome.into(),
        Err(error) => error.print_and_exit_code(),
    }
}
