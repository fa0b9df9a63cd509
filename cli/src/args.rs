//! What can be typed after `storage`.

use std::io::{self, Write};

use clap::{Parser, Subcommand};

use crate::{
    backup, demo,
    error::{Error, Result},
    exit::{EXIT_CODES, Outcome},
    heatmap, inspect, pack, restore, sort, streams, unpack, verify,
};

/// Files of checksummed pages that programs borrow straight from memory, without a copy.
///
/// `pack` makes such a file out of any bytes, and `unpack` gives the bytes back. `verify` finds
/// damage down to a single bit. `inspect` shows what a file says of itself, and `heatmap` draws
/// which parts of it are in memory. `sort` sorts the lines of a file of any size. `backup` and
/// `restore` copy files that change by transactions. `demo` measures the store on this machine.
#[derive(Debug, Parser)]
#[command(name = "storage", version, arg_required_else_help = true, after_help = EXIT_CODES)]
#[command(max_term_width = 100)]
struct Args {
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
    Backup(backup::Args),
    Restore(restore::Args),
    Demo(demo::Args),
}

/// Reads what was typed, and does it.
pub(crate) fn run() -> Result<Outcome> {
    match Args::try_parse() {
        Ok(args) => {
            // Each command reports there, so none begins where that would be lost.
            streams::check_output()?;
            args.command.run()
        }
        Err(refusal) => tell(&refusal),
    }
}

/// Prints help, the version, or what is wrong with what was typed.
fn tell(refusal: &clap::Error) -> Result<Outcome> {
    if refusal.use_stderr() {
        refusal.print().map_err(Error::io_of("write to", streams::ERROR))?;
        return Ok(Outcome::WrongUsage);
    }
    streams::check_output()?;
    match refusal.print().and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io_of("write to", streams::OUTPUT)(error))
        }
        _ => Ok(Outcome::Done),
    }
}

impl Command {
    fn run(&self) -> Result<Outcome> {
        match self {
            Self::Pack(args) => args.run().map(|()| Outcome::Done),
            Self::Unpack(args) => args.run().map(|()| Outcome::Done),
            Self::Verify(args) => args.run(),
            Self::Inspect(args) => args.run().map(|()| Outcome::Done),
            Self::Heatmap(args) => args.run(),
            Self::Sort(args) => args.run().map(|()| Outcome::Done),
            Self::Backup(args) => args.run().map(|()| Outcome::Done),
            Self::Restore(args) => args.run().map(|()| Outcome::Done),
            Self::Demo(args) => args.run().map(|()| Outcome::Done),
        }
    }
}
