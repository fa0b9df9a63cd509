//! This store and what one would take instead, side by side on the same work.
//!
//! `cargo run --release -p storage-compare` measures everything (64 MiB and 512 MiB three
//! times, 4 GiB once: some 18 minutes on two slow cores), prints tables and writes
//! `target/release/comparison/results.json` with plots beside it; `-- --quick` does so for small data in two
//! minutes. `--publish` also renews the tables in the documents; `-- check` tells whether they are up to
//! date. A part can be measured alone (`--work`, `--rival`, `--size`), and added to earlier results
//! with `--add`.
#![expect(clippy::print_stdout, reason = "a bench is a program that prints")]

mod contestant;
mod data;
#[path = "../../ratios/device.rs"]
mod device;
mod files;
mod limited;
mod machine;
mod plots;
mod publish;
mod results;
mod rivals;
mod runner;
mod singles;
mod store;
mod table;
mod turn;
mod unchecked;
mod work;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use results::Results;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures this store and what one would take instead, side by side on the same work.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: runner::Options,
    /// Where the results go, as JSON; plots go beside it
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Add to the results that are there, as further rounds, instead of replacing them
    #[arg(long)]
    add: bool,
    /// Write the results to docs/comparison.json too, and renew the tables and plots in the documents
    #[arg(long)]
    publish: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Renews the tables and plots in the documents from docs/comparison.json
    Publish,
    /// Tells whether the tables in the documents say what docs/comparison.json does
    Check,
    /// Tells who takes part, how each is set up, and what does not fit whom
    Rivals,
}

/// Prints a line.
fn say(text: &str) {
    println!("{text}");
}

fn main() -> Result<ExitCode> {
    if let Some(code) = limited::run_as_child()? {
        return Ok(code);
    }
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Publish) => publish::publish(&Results::load(&files::published())?)?,
        Some(Command::Check) => {
            let outdated = publish::outdated(&Results::load(&files::published())?)?;
            for path in &outdated {
                say(&format!("{} is out of date: run `compare publish`", path.display()));
            }
            return Ok(if outdated.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Some(Command::Rivals) => {
            say(&table::settings(&Results::new(String::new())?));
        }
        None => measure(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(arguments: &Arguments) -> Result<()> {
    let into = match &arguments.into {
        Some(path) => path.clone(),
        None => files::results(),
    };
    let fresh = Results::new(arguments.options.command())?;
    let mut results = if arguments.add && into.exists() {
        let mut earlier = Results::load(&into)?;
        if earlier.machine != fresh.machine {
            return Err(
                format!("{} is of another machine: {}", into.display(), earlier.machine).into()
            );
        }
        // They may be set up otherwise by now.
        earlier.rivals = fresh.rivals;
        earlier
    } else {
        fresh
    };
    // Before anybody is measured: what cannot be kept is not worth the time.
    Results::make_room(&into)?;
    let costliest = runner::run(&arguments.options, &mut results, &into)?;
    results.sort();
    results.save(&into)?;
    plots::draw(&results, &into.with_extension("plots"))?;
    say(&table::settings(&results));
    say(&table::all(&results));
    say(&format!("where a rival is faster than ours:\n{}", table::wins(&results)));
    say(&format!("what took longest:\n{costliest}\n"));
    say(&format!("results: {}, plots beside it", into.display()));
    if arguments.publish {
        results.save(&files::published())?;
        publish::publish(&results)?;
    }
    Ok(())
}
