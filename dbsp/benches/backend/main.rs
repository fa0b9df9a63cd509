//! A circuit on our backend against the same circuit on DBSP's own, side by side in one run.
//!
//! `cargo bench -p storage-dbsp --bench backend -- [FILTER] [--records N] [--pairs N]`
//!
//! Both have DBSP's own batches, the same data and settings, and folders beside each other on one
//! disk; what differs is how blocks are written and read. Timed are the transactions alone, and the
//! answers must agree.
#![expect(clippy::print_stdout, reason = "a bench is a program that prints")]

mod limited;
#[path = "../../tests/workload/mod.rs"]
mod workload;

use std::{path::Path, process::ExitCode};

use dbsp::circuit::{CircuitStorageConfig, StorageConfig};
use feldera_types::config::{StorageCompression, StorageOptions};
use storage_dbsp::MappedStorage;
use workload::{Digest, Operators, Running, Step, Use};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How many records come in one transaction, on each side.
const STEP_RECORDS: u64 = 20_000;

/// Which backend a circuit runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum On {
    Ours,
    BuiltIn,
}

impl On {
    fn storage(self, folder: &Path) -> Result<CircuitStorageConfig> {
        Ok(match self {
            Self::Ours => MappedStorage::open(folder)?.into_config(),
            Self::BuiltIn => {
                let path = folder.to_str().ok_or("the target folder is UTF-8")?.to_owned();
                let config = StorageConfig { path, cache: Default::default() };
                CircuitStorageConfig::for_config(config, StorageOptions::default())?
            }
        })
    }
}

/// One run of a circuit.
#[derive(Clone, Copy, Debug)]
struct Run {
    seconds: f64,
    digest: Digest,
    state_bytes: u64,
}

fn run(on: On, with: Use, records: u64) -> Result<Run> {
    let folder =
        tempfile::Builder::new().prefix("backend-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    // What an earlier run wrote must not be written back in this one's time.
    rustix::fs::sync();
    let mut running = Running::start(with.config(on.storage(folder.path())?), Operators::Two);
    let mut digest = Digest::default();
    for number in 0..records / STEP_RECORDS {
        digest += running.step(Step::whole(number, STEP_RECORDS));
    }
    let state_bytes = std::fs::read_dir(folder.path())?
        .filter_map(|entry| entry.and_then(|entry| entry.metadata()).ok())
        .map(|metadata| metadata.len())
        .sum();
    let seconds = running.busy.as_secs_f64();
    running.stop();
    Ok(Run { seconds, digest, state_bytes })
}

/// A row: ours and the built-in backend by turns, and which comes first by turns too.
fn row(name: &str, with: Use, options: &Options, reach: f64) -> Result<()> {
    if !options.wants(name) {
        return Ok(());
    }
    let (mut ours, mut built_in) = (Vec::new(), Vec::new());
    for pair in 0..options.pairs {
        let order = if pair % 2 == 0 { [On::Ours, On::BuiltIn] } else { [On::BuiltIn, On::Ours] };
        let mut digests = Vec::new();
        for on in order {
            let run = run(on, with, options.records)?;
            digests.push(run.digest);
            if on == On::Ours { &mut ours } else { &mut built_in }.push(run.seconds);
        }
        assert_eq!(digests[0], digests[1], "both backends give the same answer");
    }
    let ratios: Vec<f64> = ours.iter().zip(&built_in).map(|(ours, theirs)| ours / theirs).collect();
    let ratio = median(&ours) / median(&built_in);
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = ratios.iter().copied().fold(0.0, f64::max);
    println!(
        "| {name} | {:.2} s | {:.2} s | {ratio:.2}x ({least:.2}-{greatest:.2}) | <= {reach:.2}x | {} |",
        median(&ours),
        median(&built_in),
        if ratio <= reach { "yes" } else { "NO" },
    );
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

struct Options {
    filter: Option<String>,
    records: u64,
    pairs: usize,
}

impl Options {
    fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { filter: None, records: 2_000_000, pairs: 5 };
        while let Some(arg) = args.next() {
            let mut number = || args.next().ok_or("pass a number");
            match arg.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--records" => options.records = number()?.parse()?,
                "--pairs" => options.pairs = number()?.parse()?,
                option if option.starts_with('-') => {
                    return Err(format!("{option}: pass a filter, --records or --pairs").into());
                }
                _ => options.filter = Some(arg),
            }
        }
        Ok(options)
    }

    fn wants(&self, row: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| row.contains(filter.as_str()))
    }
}

fn main() -> Result<ExitCode> {
    if let Some(code) = limited::run_as_child()? {
        return Ok(code);
    }
    let options = Options::from_args(std::env::args().skip(1))?;
    println!("{} records a side, {} pairs", options.records, options.pairs);
    println!("| circuit on our backend | ours | built-in | ratio | reach | met |\n|-|-|-|-|-|-|");
    let plain = Use { workers: 1, cache_mib: None, compression: StorageCompression::None };
    let snappy = Use { compression: StorageCompression::Snappy, ..plain };
    let small = |with| Use { cache_mib: Some(16), ..with };
    row("cache of 16 MiB", small(plain), &options, 0.90)?;
    row("default caches", plain, &options, 1.0)?;
    row("cache of 16 MiB, snappy", small(snappy), &options, 1.0)?;
    row("default caches, snappy", snappy, &options, 1.0)?;
    limited::row(&options)?;
    Ok(ExitCode::SUCCESS)
}
