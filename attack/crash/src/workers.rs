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
    Count, Damaged, Explored, Plan,
    damage::{self, Share},
    explore,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What all workers came to.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// The sums of the counts of each.
    pub count: Count,
    /// What damage to a small file came to.
    pub damaged: Damaged,
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
        writeln!(f, "violations: {}", self.violations.len())?;
        let Damaged { found, harmless } = self.damaged;
        let damaged = found + harmless;
        writeln!(f, "damage: {damaged} cases, {found} found, {harmless} harmless")?;
        let seconds = self.elapsed.as_secs_f64();
        let rate = (states + damaged) as f64 / seconds / self.workers as f64;
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
    for (worker, child) in (0_u64..).zip(children) {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("worker {worker} ended with {}", output.status).into());
        }
        total.add(&String::from_utf8(output.stdout)?)?;
        let bytes = fs::read(path(worker))?;
        hashes.extend(bytes.as_chunks::<8>().0.iter().map(|hash| u64::from_le_bytes(*hash)));
    }
    hashes.sort_unstable();
    hashes.dedup();
    total.distinct = hashes.len() as u64;
    total.elapsed = started.elapsed();
    Ok(total)
}

impl Total {
    /// Adds what one worker said: its counts in a line, and what was wrong, if anything was.
    fn add(&mut self, said: &str) -> Result<()> {
        let (counts, violation) = said.split_once('\n').ok_or("a worker said nothing")?;
        let counts: std::result::Result<Vec<u64>, _> = counts.split(' ').map(str::parse).collect();
        let [distinct, within_recovery, judged_again, moments, found, harmless] = counts?[..]
        else {
            return Err("a worker did not say its counts".into());
        };
        let count = &mut self.count;
        count.distinct += distinct;
        count.within_recovery += within_recovery;
        count.judged_again += judged_again;
        count.moments += moments;
        self.damaged.found += found;
        self.damaged.harmless += harmless;
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
    let [millis, seed, worker, workers, path] = arguments else {
        return Err("a worker has five arguments".into());
    };
    let plan = match millis.parse()? {
        0 => Plan::Round,
        millis => Plan::For { time: Duration::from_millis(millis), seed: seed.parse()? },
    };
    let (worker, workers): (usize, usize) = (worker.parse()?, workers.parse()?);
    let workloads = plan.workloads().skip(worker).step_by(workers);
    let (path, started) = (PathBuf::from(path), Instant::now());
    let (stop, time_max) = (path.with_file_name("stop"), plan.time_max());
    let is_over = move || started.elapsed() > time_max || stop.exists();
    let of = plan.damage_one_in() * workers as u64;
    let (damaged, wrong) = damage::explore(Share { number: worker as u64, of }, &is_over);
    let Explored { count, hashes, violation } = match wrong {
        None => explore(workloads, plan.seed(), is_over),
        Some(wrong) => Explored { violation: Some(wrong), ..Explored::default() },
    };
    if violation.is_some() {
        // The others need not go on.
        fs::write(path.with_file_name("stop"), "")?;
    }
    let mut file = BufWriter::new(fs::File::create(path)?);
    hashes.iter().try_for_each(|hash| file.write_all(&hash.to_le_bytes()))?;
    file.flush()?;
    let Count { distinct, within_recovery, judged_again, moments } = count;
    let Damaged { found, harmless } = damaged;
    writeln!(out, "{distinct} {within_recovery} {judged_again} {moments} {found} {harmless}")?;
    write!(out, "{}", violation.unwrap_or_default())?;
    Ok(())
}

fn arguments(plan: Plan) -> [String; 2] {
    let (millis, seed) = match plan {
        Plan::Round => (0, 0),
        Plan::For { time, seed } => (time.as_millis().max(1), seed),
    };
    [millis.to_string(), seed.to_string()]
}
