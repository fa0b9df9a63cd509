//! Has everybody take turns, round by round.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    Result,
    contestant::Contestant,
    data::Expected,
    limited,
    machine::{self, Ground},
    results::Results,
    rivals,
    store::Kept,
    turn::Turn,
    work::Work,
};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Small data and few rounds: a first look, in two minutes
    #[arg(long)]
    quick: bool,
    /// Only this work; may be given several times
    #[arg(long, value_name = "WORK", value_parser = Work::ALL.map(Work::id))]
    work: Vec<String>,
    /// Only this rival, and ours; may be given several times
    #[arg(long, value_name = "NAME")]
    rival: Vec<String>,
    /// Only data of so many MiB; may be given several times
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    size: Vec<u64>,
    /// How often everybody takes a turn
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rounds: Option<u64>,
    /// The number of the first round, from which the order of pages comes
    #[arg(long, default_value_t = 0)]
    first_round: u64,
}

/// In MiB: about the processor's caches, more than those, and most of the page cache.
const SIZES_MIB: [u64; 3] = [64, 512, 4096];
const QUICK_SIZES_MIB: [u64; 1] = [32];
/// Above this, in MiB, data is large: what takes long and tells little more is left out.
const LARGE_MIB: u64 = 1024;
/// Whose load took so many times ours with less data is not asked for the one with large data that is not
/// durable; the durable one is asked for.
const LOAD_SLOW: f64 = 5.0;
/// How many of the steps that took longest are told.
const COSTLIEST: usize = 5;
/// The counts of threads that read.
const THREADS: [usize; 2] = [1, 2];

/// How often everybody takes a turn with data of a size.
fn rounds(size_mib: u64) -> u64 {
    match size_mib {
        0..=512 => 3,
        _ => 1,
    }
}

impl Options {
    /// The command that measures this.
    pub(crate) fn command(&self) -> String {
        let mut text = "cargo run --release -p storage-compare".to_owned();
        if self.quick {
            text += " -- --quick";
        }
        text
    }

    fn works(&self) -> Vec<Work> {
        let asked =
            |work: &Work| self.work.is_empty() || self.work.iter().any(|id| id == work.id());
        Work::ALL.into_iter().filter(asked).collect()
    }

    fn sizes(&self) -> Vec<u64> {
        match (self.size.is_empty(), self.quick) {
            (false, _) => self.size.clone(),
            (true, true) => QUICK_SIZES_MIB.to_vec(),
            (true, false) => SIZES_MIB.to_vec(),
        }
    }

    fn rounds(&self, size_mib: u64) -> u64 {
        self.rounds.unwrap_or(if self.quick { 1 + size_mib.min(1) } else { rounds(size_mib) })
    }

    /// Who takes part. Ours always do, since the others are held against them.
    fn contestants(&self) -> Result<Vec<Contestant>> {
        for name in &self.rival {
            if !rivals::ALL.iter().any(|one| one.name == name) {
                let names = rivals::ALL.map(|one| one.name).join(", ");
                return Err(format!("there is no rival {name:?}; there are: {names}").into());
            }
        }
        let all = rivals::ALL.into_iter().enumerate();
        let asked = all.filter(|(at, one)| {
            *at < rivals::OURS || self.rival.is_empty() || self.rival.iter().any(|n| n == one.name)
        });
        Ok(asked.map(|(_, one)| one).collect())
    }
}

/// One step of a run.
struct Step {
    contestant: Contestant,
    /// Zero for work that has a size of its own.
    size_mib: u64,
    round: u64,
    works: Vec<Work>,
}

/// Everybody's turns: A B C, A B C, size by size, and then what has a size of its own.
fn steps(options: &Options) -> Result<Vec<Step>> {
    let contestants = options.contestants()?;
    let (single, sized): (Vec<Work>, Vec<Work>) =
        options.works().into_iter().partition(|work| work.is_single());
    let mut parts: Vec<(u64, Vec<Work>)> = Vec::new();
    if !sized.is_empty() {
        parts.extend(options.sizes().into_iter().map(|size| (size, sized.clone())));
    }
    // One run of the heart tells both.
    let is_heart = |work: &Work| matches!(work, Work::Heartbeat | Work::BesideHeartbeat);
    let together = single.chunk_by(|one, next| is_heart(one) && is_heart(next));
    parts.extend(together.map(|works| (0, works.to_vec())));
    let mut steps = Vec::new();
    for (size_mib, works) in parts {
        // At the greatest size, what asks for a second load is left out.
        let works: Vec<Work> = works
            .into_iter()
            .filter(|work| size_mib <= LARGE_MIB || work.block_bytes() == crate::data::PAGE_BYTES)
            .collect();
        for round in options.first_round..options.first_round + options.rounds(size_mib) {
            for contestant in &contestants {
                let unfit = contestant.unfit;
                let works: Vec<Work> =
                    works.iter().copied().filter(|&work| unfit(work).is_none()).collect();
                if !works.is_empty() {
                    steps.push(Step { contestant: *contestant, size_mib, round, works });
                }
            }
        }
    }
    Ok(steps)
}

/// Measures everything that was asked for, and keeps the results after each step, so that a run that is
/// cut off has measured something. Gives what took longest, in lines.
pub(crate) fn run(options: &Options, results: &mut Results, into: &Path) -> Result<String> {
    let ground = Ground::new()?;
    let expected = Expected::new();
    let steps = steps(options)?;
    let style =
        ProgressStyle::with_template("[{bar:32}] {pos}/{len} {msg} ({elapsed}, {eta} left)")?;
    let bar = ProgressBar::new(steps.len() as u64).with_style(style.progress_chars("=> "));
    let mut costs = Vec::new();
    for mut step in steps {
        let name = step.contestant.name;
        if let Some(why) = slow_load(&step, results) {
            step.works.retain(|&work| work != Work::Load);
            results.miss(Work::Load, name, why);
            if step.works.is_empty() {
                bar.inc(1);
                continue;
            }
        }
        bar.set_message(what(&step));
        let turn = Turn {
            ground: &ground,
            expected: &expected,
            works: &step.works,
            size_bytes: step.size_mib << 20,
            threads: &THREADS,
            round: step.round,
        };
        if let Some(why) = no_room(&step, &ground)? {
            for &work in &step.works {
                results.miss(work, name, why.clone());
            }
            bar.inc(1);
            continue;
        }
        let began = Instant::now();
        let measured = match step.works[0] {
            Work::SmallFiles => (step.contestant.small_files)(&turn),
            Work::Heartbeat | Work::BesideHeartbeat => (step.contestant.heartbeat)(&turn),
            Work::Spill => limited::spill_limited(&turn, &step.contestant).map(|measured| {
                measured.unwrap_or_else(|why| {
                    results.miss(Work::Spill, name, why);
                    Vec::new()
                })
            }),
            _ => (step.contestant.turn)(&turn),
        };
        let samples = measured.map_err(|error| format!("{name}: {error}"))?;
        results.push(name, step.size_mib, samples);
        results.seconds += began.elapsed().as_secs_f64();
        results.save(into)?;
        costs.push((began.elapsed(), what(&step)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(costliest(costs))
}

/// Why a load of large data that is not durable is left out.
fn slow_load(step: &Step, results: &Results) -> Option<String> {
    let is_asked = step.size_mib > LARGE_MIB && step.works.contains(&Work::Load);
    let (slower, less_mib) =
        is_asked.then(|| results.load_against_ours(step.contestant.name))??;
    (slower >= LOAD_SLOW).then(|| {
        format!(
            "not asked for {} MiB: it took {slower:.1} times ours for {less_mib} MiB",
            step.size_mib
        )
    })
}

/// What a step is, for people.
fn what(step: &Step) -> String {
    match step.size_mib {
        0 => format!("{}: {}", step.contestant.name, step.works[0].title()),
        size => format!("{}: {size} MiB", step.contestant.name),
    }
}

/// What took longest.
fn costliest(mut costs: Vec<(Duration, String)>) -> String {
    costs.sort_unstable();
    let line = |(cost, what): &(Duration, String)| format!("* {what}, {:.0} s", cost.as_secs_f64());
    costs.iter().rev().take(COSTLIEST).map(line).collect::<Vec<_>>().join("\n")
}

/// Why a turn cannot be taken here.
fn no_room(step: &Step, ground: &Ground) -> Result<Option<String>> {
    let len_bytes = step.size_mib << 20;
    let (free, needed, what) = match step.contestant.kept {
        // LMDB takes two pages for each, and an update some more.
        Kept::OnDisk => (ground.free_bytes()?, 3 * len_bytes, "disk"),
        Kept::InMemory => (machine::available_bytes()?, 2 * len_bytes, "memory"),
    };
    Ok((free < needed)
        .then(|| format!("{} MiB of {what} are too little for {} MiB", free >> 20, step.size_mib)))
}
