//! What can be typed after `storage`, and what it exits with.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{demo, error::Result, heatmap, inspect, pack, sort, unpack, verify};

/// What every `--help` of a command that can fail ends with.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    error; the message says what is wrong and what to do
  2    wrong usage
  3    `verify`, or `heatmap --verify`, found damage
  130  interrupted";

/// Files of checksummed pages that programs borrow straight from memory, without a copy.
///
/// `pack` makes such a file out of any bytes, `unpack` gives the bytes back, `verify` finds damage
/// down to a single bit, `inspect` shows what a file says of itself, `heatmap` draws what of a file
/// is in memory, `sort` sorts the lines of a file of any size, and `demo` measures on this machine
/// what all of it is good for.
#[derive(Debug, Parser)]
#[command(name = "storage", version, arg_required_else_help = true, after_help = EXIT_CODES)]
#[command(max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Pack(pack::Args),
    Unpack(unpack::Args),
    Verify(verify::Args),
    Inspect(inspect::Args),
    Heatmap(heatmap::Args),
    Sort(sort::Args),
    Demo(demo::Args),
}

impl Args {
    /// Does what was asked for.
    pub(crate) fn run(&self) -> Result<Outcome> {
        match &self.command {
            Command::Pack(args) => args.run().map(|()| Outcome::Done),
            Command::Unpack(args) => args.run().map(|()| Outcome::Done),
            Command::Verify(args) => args.run(),
            Command::Inspect(args) => args.run().map(|()| Outcome::Done),
            Command::Heatmap(args) => args.run(),
            Command::Sort(args) => args.run().map(|()| Outcome::Done),
            Command::Demo(args) => args.run().map(|()| Outcome::Done),
        }
    }
}

/// How a command ended that could do its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// All is well.
    Done,
    /// The file is not as it was written.
    Damaged,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Damaged => Self::from(3),
        }
    }
}
