//! A circuit on our backend against the same circuit on DBSP's own, side by side in one run.
//!
//! `cargo bench -p storage-dbsp --bench backend -- [FILTER] [--records N] [--pairs N]`
//!
//! Both have DBSP's own batches, the same data and settings, and folders beside each other on one
//! disk; what differs is how blocks are written and read. Timed are the transactions alone, and the
//! answers must agree.
#![expect(clippy::print_stdout, reason = "a bench is a program that prints")]

#[path = "../../examples/join/circuits.rs"]
#[expect(dead_code, reason = "other programs have more ways of keeping state")]
mod circuits;
mod limited;
#[path = "../../tests/it/workload.rs"]
mod workload;

use std::{path::Path, process::ExitCode};

use circuits::{Kept, Load, Work};
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

    fn kept(self, cache_mib: Option<u64>) -> Kept {
        match self {
            Self::Ours => Kept::MappedStorage { cache_mib },
            Self::BuiltIn => Kept::Posixio { cache_mib },
        }
    }
}

/// What came of one run of a circuit.
#[derive(Clone, Copy, Debug)]
struct Run {
    seconds: f64,
    /// The same on both backends.
    answer: (i64, u64),
}

/// A circuit as a row has it run, with its state in a folder.
type Circuit<'a> = &'a dyn Fn(On, &Path) -> Result<Run>;

/// The circuit of the `join` example, which the batches in place are measured by too.
fn join(on: On, work: Work, cache_mib: Option<u64>, records: u64, folder: &Path) -> Run {
    let load = Load::anywhere(records);
    let outcome = circuits::run(on.kept(cache_mib), work, load, folder, || {});
    Run { seconds: outcome.wall.as_secs_f64(), answer: (outcome.checksum, 0) }
}

/// A circuit whose keys come up again and again: each of them has many values.
fn crowded(on: On, with: Use, records: u64, folder: &Path) -> Result<Run> {
    let mut running = Running::start(with.config(on.storage(folder)?), Operators::Two);
    let mut digest = Digest::default();
    for number in 0..records / STEP_RECORDS {
        digest += running.step(Step::whole(number, STEP_RECORDS));
    }
    let seconds = running.busy.as_secs_f64();
    running.stop();
    Ok(Run { seconds, answer: (digest.weight, digest.sum) })
}

/// A row: ours and the built-in backend by turns, and which comes first by turns too.
fn row(name: &str, reach: f64, options: &Options, circuit: Circuit<'_>) -> Result<()> {
    if !options.wants(name) {
        return Ok(());
    }
    let (mut ours, mut built_in) = (Vec::new(), Vec::new());
    for pair in 0..options.pairs {
        let order = if pair % 2 == 0 { [On::Ours, On::BuiltIn] } else { [On::BuiltIn, On::Ours] };
        let mut answers = Vec::new();
        for on in order {
            let folder = tempfile::Builder::new()
                .prefix("backend-")
                .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
            // What an earlier run wrote must not be written back in this one's time.
            rustix::fs::sync();
            let run = circuit(on, folder.path())?;
            answers.push(run.answer);
            if on == On::Ours { &mut ours } else { &mut built_in }.push(run.seconds);
        }
        assert_eq!(answers[0], answers[1], "both backends give the same answer");
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
    let records = options.records;
    for (name, work) in [("join", Work::Join), ("join + max", Work::JoinAndMax)] {
        for (caches, cache_mib, reach) in [("16 MiB", Some(16), 0.90), ("default", None, 1.0)] {
            row(&format!("{name}, cache {caches}"), reach, &options, &|on, folder| {
                Ok(join(on, work, cache_mib, records, folder))
            })?;
        }
    }
    let plain = Use { workers: 1, cache_mib: None, compression: StorageCompression::None };
    let snappy = Use { compression: StorageCompression::Snappy, ..plain };
    for (name, with) in [("crowded", plain), ("crowded, snappy", snappy)] {
        for (caches, cache_mib, reach) in [("16 MiB", Some(16), 0.90), ("default", None, 1.0)] {
            let with = Use { cache_mib, ..with };
            row(&format!("{name}, cache {caches}"), reach, &options, &|on, folder| {
                crowded(on, with, records, folder)
            })?;
        }
    }
    limited::rows(&options)?;
    Ok(ExitCode::SUCCESS)
}
