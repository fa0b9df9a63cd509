//! Several processes that explore beside each other.
//!
//! Not threads: mappings that come and go in one process hold up its other threads, which takes twice the
//! time. A worker takes each so many-th workload, and leaves the hashes of its states in a file; whoever
//! began it counts those that differ.

use std::{
    error::Error,
    fmt, fs,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Count, Damaged, Explored, Plan, WholeCount,
    damage::{self, Share},
    explore, unavailable,
    whole::{self, WholeExplored},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What all workers came to.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// The sums of the counts of each.
    pub count: Count,
    /// What damage to a small file came to.
    pub damaged: Damaged,
    /// What whole files came to.
    pub whole: WholeCount,
    /// States of folders that differ, among all that the workers looked at.
    pub whole_distinct: u64,
    /// Why there are none, if so.
    pub whole_unavailable: Option<String>,
    /// States that differ, among all that the workers opened.
    pub distinct: u64,
    /// What was wrong, one of each worker at most.
    pub violations: Vec<String>,
    /// How many workers there were, and how long it took.
    pub workers: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { distinct: states, within_recovery, judged_again, moments } = self.count;
        writeln!(f, "states: {states}, of which {within_recovery} inside a recovery")?;
        writeln!(f, "distinct states: {}", self.distinct)?;
        let WholeCount { distinct, repeated, moments: whole_moments } = self.whole;
        match &self.whole_unavailable {
            Some(reason) => writeln!(f, "whole files: SKIPPED, {reason}")?,
            None => {
                write!(
                    f,
                    "whole files: {distinct} states, {} of them distinct; ",
                    self.whole_distinct
                )?;
                writeln!(f, "in {repeated} the call was made again; {whole_moments} moments")?;
            }
        }
        writeln!(f, "violations: {}", self.violations.len())?;
        let Damaged { found, harmless } = self.damaged;
        let damaged = found + harmless;
        writeln!(f, "damage: {damaged} cases, {found} found, {harmless} harmless")?;
        let seconds = self.elapsed.as_secs_f64();
        let rate = (states + distinct + damaged) as f64 / seconds / self.workers as f64;
        let workers = self.workers;
        writeln!(f, "{seconds:.0} s by {workers} workers, {rate:.0} states a second by each")?;
        write!(f, "{moments} moments; {judged_again} states judged again when more was known")
    }
}

/// Has so many processes of `program` explore, each of which is to call [`work`] with its arguments.
///
/// # Errors
/// A process that could not be started, or ended otherwise than by itself.
pub fn explore_by_workers(program: &Path, plan: Plan, workers: u64) -> Result<Total> {
    let started = Instant::now();
    let folder = tempfile::tempdir()?;
    let path = |worker: u64| folder.path().join(worker.to_string());
    let children: Vec<Child> = (0..workers)
        .map(|worker| {
            let mut command = Command::new(program);
            command.args(arguments(plan)).args([worker, workers].map(|number| number.to_string()));
            command.arg(path(worker)).stdout(Stdio::piped()).spawn()
        })
        .collect::<std::io::Result<_>>()?;
    let (mut total, mut hashes) = (Total { workers, ..Total::default() }, Vec::new());
    let mut whole_hashes = Vec::new();
    for (worker, child) in (0_u64..).zip(children) {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("worker {worker} ended with {}", output.status).into());
        }
        total.add(&String::from_utf8(output.stdout)?)?;
        read_hashes(&path(worker), &mut hashes)?;
        read_hashes(&whole_path(&path(worker)), &mut whole_hashes)?;
    }
    total.distinct = count_distinct(hashes);
    total.whole_distinct = count_distinct(whole_hashes);
    total.whole_unavailable = unavailable();
    total.elapsed = started.elapsed();
    Ok(total)
}

/// Where a worker leaves the hashes of states of folders, beside the others.
fn whole_path(path: &Path) -> PathBuf {
    path.with_extension("whole")
}

fn read_hashes(path: &Path, hashes: &mut Vec<u64>) -> Result<()> {
    let bytes = fs::read(path)?;
    hashes.extend(bytes.as_chunks::<8>().0.iter().map(|hash| u64::from_le_bytes(*hash)));
    Ok(())
}

fn write_hashes(path: &Path, hashes: &[u64]) -> Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    hashes.iter().try_for_each(|hash| file.write_all(&hash.to_le_bytes()))?;
    Ok(file.flush()?)
}

fn count_distinct(mut hashes: Vec<u64>) -> u64 {
    hashes.sort_unstable();
    hashes.dedup();
    hashes.len() as u64
}

impl Total {
    /// Adds what one worker said: its counts in a line, and what was wrong, if anything was.
    fn add(&mut self, said: &str) -> Result<()> {
        let (counts, violation) = said.split_once('\n').ok_or("a worker said nothing")?;
        let counts: std::result::Result<Vec<u64>, _> = counts.split(' ').map(str::parse).collect();
        let [distinct, within_recovery, judged_again, moments, found, harmless, whole @ ..] =
            &counts?[..]
        else {
            return Err("a worker did not say its counts".into());
        };
        let [whole_distinct, whole_repeated, whole_moments] = whole else {
            return Err("a worker did not say its counts of whole files".into());
        };
        let count = &mut self.count;
        count.distinct += distinct;
        count.within_recovery += within_recovery;
        count.judged_again += judged_again;
        count.moments += moments;
        self.damaged.found += found;
        self.damaged.harmless += harmless;
        self.whole.distinct += whole_distinct;
        self.whole.repeated += whole_repeated;
        self.whole.moments += whole_moments;
        if !violation.is_empty() {
            self.violations.push(violation.to_owned());
        }
        Ok(())
    }
}

/// Explores as one of several.
///
/// # Errors
/// Arguments that [`explore_by_workers`] does not give; a file that cannot be written.
pub fn work(arguments: &[String], out: &mut dyn std::io::Write) -> Result<()> {
    let [what, millis, seed, worker, workers, path] = arguments else {
        return Err("a worker has six arguments".into());
    };
    let (time, seed) = (Duration::from_millis(millis.parse()?), seed.parse()?);
    let plan = match what.as_str() {
        ROUND => Plan::Round,
        DAMAGE => Plan::Damage,
        WHOLE_ROUND => Plan::WholeRound,
        WHOLE => Plan::WholeFiles { time, seed },
        _ => Plan::For { time, seed },
    };
    let (worker, workers): (usize, usize) = (worker.parse()?, workers.parse()?);
    let workloads = plan.workloads().skip(worker).step_by(workers);
    let (path, started) = (PathBuf::from(path), Instant::now());
    let (stop, time_max) = (path.with_file_name("stop"), plan.time_max());
    let is_over_after = move |time: Duration| started.elapsed() > time || stop.exists();
    let is_over = is_over_after.clone();
    let damaged = plan.damage_one_in().map(|one_in| {
        let share = Share { number: worker as u64, of: one_in * workers as u64 };
        damage::explore(share, &|| is_over(time_max))
    });
    let (damaged, wrong) = damaged.unwrap_or_default();
    let whole_files = plan.whole_files().skip(worker).step_by(workers);
    let time_before = time_max.saturating_sub(plan.whole_files_time());
    let is_over = is_over_after.clone();
    let explored = match wrong {
        None => explore(workloads, plan.seed(), move || is_over(time_before)),
        Some(wrong) => Explored { violation: Some(wrong), ..Explored::default() },
    };
    let Explored { count, hashes, mut violation } = explored;
    let mut whole = WholeExplored::default();
    if violation.is_none() && unavailable().is_none() {
        whole = whole::explore(whole_files, plan.seed(), &|| is_over_after(time_max));
        violation = whole.violation;
    }
    if violation.is_some() {
        // The others need not go on.
        fs::write(path.with_file_name("stop"), "")?;
    }
    write_hashes(&path, &hashes)?;
    write_hashes(&whole_path(&path), &whole.hashes)?;
    let Count { distinct, within_recovery, judged_again, moments } = count;
    let Damaged { found, harmless } = damaged;
    write!(out, "{distinct} {within_recovery} {judged_again} {moments} {found} {harmless}")?;
    let WholeCount { distinct, repeated, moments } = whole.count;
    writeln!(out, " {distinct} {repeated} {moments}")?;
    write!(out, "{}", violation.unwrap_or_default())?;
    Ok(())
}

const ROUND: &str = "round";
const DAMAGE: &str = "damage";
const WHOLE_ROUND: &str = "whole-round";
const WHOLE: &str = "whole";
const ALL: &str = "all";

fn arguments(plan: Plan) -> [String; 3] {
    let (what, time) = match plan {
        Plan::Round => (ROUND, Duration::ZERO),
        Plan::WholeRound => (WHOLE_ROUND, Duration::ZERO),
        Plan::Damage => (DAMAGE, Duration::ZERO),
        Plan::WholeFiles { time, .. } => (WHOLE, time),
        Plan::For { time, .. } => (ALL, time),
    };
    [what.into(), time.as_millis().to_string(), plan.seed().to_string()]
}
