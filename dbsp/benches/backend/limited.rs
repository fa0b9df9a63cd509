//! A circuit whose state is four times as large as the memory that it may have.
//!
//! Method: this bench once more, as a process in a memory cgroup (v1, as root; skipped loudly
//! elsewhere). The limit counts the page cache too, so both backends have to read from the disk.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use feldera_types::config::StorageCompression;

use crate::{On, Options, Result, median, run, workload::Use};

const VARIABLE: &str = "STORAGE_DBSP_BENCH_LIMITED";
const GROUPS: &str = "/sys/fs/cgroup/memory";
const LIMIT_BYTES: u64 = 160 << 20;
const RECORDS: u64 = 6_000_000;

/// In a child: runs the circuit and tells what its state took.
pub(crate) fn run_as_child() -> Result<Option<ExitCode>> {
    let Ok(on) = std::env::var(VARIABLE) else { return Ok(None) };
    let on = if on == "ours" { On::Ours } else { On::BuiltIn };
    let with = Use { workers: 1, cache_mib: Some(16), compression: StorageCompression::None };
    let run = run(on, with, RECORDS)?;
    println!("{} {} {}", run.state_bytes, run.digest.weight, run.digest.sum);
    Ok(Some(ExitCode::SUCCESS))
}

/// A memory cgroup, removed on drop.
struct Group(PathBuf);

impl Group {
    fn new(name: &str) -> Result<Self> {
        let path = Path::new(GROUPS).join(format!("storage-dbsp-{name}-{}", std::process::id()));
        fs::create_dir(&path)?;
        let group = Self(path);
        fs::write(group.0.join("memory.limit_in_bytes"), LIMIT_BYTES.to_string())?;
        Ok(group)
    }

    fn number(&self, file: &str) -> Result<u64> {
        Ok(fs::read_to_string(self.0.join(file))?.trim().parse()?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            println!("the cgroup {} stays: {error}", self.0.display());
        }
    }
}

/// What a limited run came to.
struct Outcome {
    seconds: f64,
    /// What it said of itself, or how it ended instead.
    told: Result<String, &'static str>,
    peak_bytes: u64,
}

fn limited(on: On) -> Result<Outcome> {
    let (name, told) = if on == On::Ours { ("ours", "ours") } else { ("built-in", "built-in") };
    let group = Group::new(name)?;
    let started = Instant::now();
    let output = Command::new("sh")
        .args(["-c", "echo $$ > \"$0/cgroup.procs\"; exec \"$@\""])
        .arg(&group.0)
        .arg(std::env::current_exe()?)
        .env(VARIABLE, told)
        .output()?;
    let seconds = started.elapsed().as_secs_f64();
    let stdout = String::from_utf8(output.stdout)?;
    let told = match output.status.signal() {
        None if output.status.success() => Ok(stdout.trim().to_owned()),
        None => Err("failed"),
        Some(_) => Err("killed"),
    };
    if told.is_err() {
        println!(
            "{on:?} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(Outcome { seconds, told, peak_bytes: group.number("memory.max_usage_in_bytes")? })
}

/// The row.
pub(crate) fn row(options: &Options) -> Result<()> {
    let name = "state four times the memory limit";
    if !options.wants(name) {
        return Ok(());
    }
    if !Path::new(GROUPS).join("memory.limit_in_bytes").exists() {
        println!("| {name} | SKIPPED: there is no memory cgroup (v1) at {GROUPS} |");
        return Ok(());
    }
    if let Err(error) = Group::new("probe") {
        println!("| {name} | SKIPPED: a memory cgroup cannot be made: {error} |");
        return Ok(());
    }
    let (mut ours, mut built_in) = (Vec::new(), Vec::new());
    let (mut times, mut state) = (0.0, String::new());
    for pair in 0..options.pairs {
        let order = if pair % 2 == 0 { [On::Ours, On::BuiltIn] } else { [On::BuiltIn, On::Ours] };
        let outcomes = [limited(order[0])?, limited(order[1])?];
        let place = |on| if order[0] == on { &outcomes[0] } else { &outcomes[1] };
        let (mine, theirs) = (place(On::Ours), place(On::BuiltIn));
        let (Ok(told), Ok(_)) = (&mine.told, &theirs.told) else {
            let end =
                |outcome: &Outcome| outcome.told.as_ref().map_or_else(|end| *end, |_| "finishes");
            println!("| {name} | {} | {} | - | finishes | NO |", end(mine), end(theirs));
            return Ok(());
        };
        ours.push(mine.seconds);
        built_in.push(theirs.seconds);
        let bytes: u64 = told.split(' ').next().unwrap_or_default().parse()?;
        let peak = mine.peak_bytes >> 20;
        times = bytes as f64 / LIMIT_BYTES as f64;
        state = format!("state {} MiB, {times:.1}x the limit; peak {peak} MiB", bytes >> 20);
    }
    // A state that is not that large proves nothing.
    let met = if times >= 4.0 { "yes" } else { "NO" };
    println!(
        "| {name} | {:.1} s | {:.1} s | {:.2}x | finishes ({state}) | {met} |",
        median(&ours),
        median(&built_in),
        median(&ours) / median(&built_in)
    );
    Ok(())
}
