//! A join whose state is more than four times as large as the memory that its process may have.
//!
//! Method: this bench once more, as a process in a memory cgroup (v1, as root; skipped loudly
//! elsewhere), for each way of keeping the state. The limit counts the page cache too, so all of
//! them have to read from the disk. What the kernel kills is told as such.

use std::{
    collections::HashMap,
    fmt, fs,
    os::unix::{fs::MetadataExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Options, Result,
    circuits::{self, Kept, Keys, Load, Work},
    median,
};

const VARIABLE: &str = "STORAGE_DBSP_BENCH_LIMITED";
const GROUPS: &str = "/sys/fs/cgroup/memory";
const LIMIT_BYTES: u64 = 128 << 20;
const LOAD: Load = Load { records: 12_000_000, step_records: 20_000, keys: Keys::MostlyNew };
const WAYS: [(&str, Kept); 3] = [
    ("batches read in place", Kept::InPlace),
    ("DBSP's batches on our backend", Kept::MappedStorage { cache_mib: Some(16) }),
    ("DBSP's batches on posixio", Kept::Posixio { cache_mib: Some(16) }),
];
/// A run that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(900);

/// In a child: runs the circuit and tells what came of it.
pub(crate) fn run_as_child() -> Result<Option<ExitCode>> {
    let Ok(passed) = std::env::var(VARIABLE) else { return Ok(None) };
    let (way, folder) = passed.split_once(' ').ok_or("a way and a folder")?;
    let kept = WAYS[way.parse::<usize>()?].1;
    let folder = Path::new(folder);
    let mut state = Ok(0);
    let outcome =
        circuits::run(kept, Work::Join, LOAD, folder, || state = open_files_bytes(folder));
    println!("{} {} {}", outcome.wall.as_secs_f64(), outcome.checksum, state?);
    Ok(Some(ExitCode::SUCCESS))
}

/// What the files in `folder` take on the disk that this process has open, with or without a name.
fn open_files_bytes(folder: &Path) -> std::io::Result<u64> {
    let mut files = HashMap::new();
    for descriptor in fs::read_dir("/proc/self/fd")? {
        let descriptor = descriptor?.path();
        // One is that of this listing, and gone with it.
        let Ok(target) = fs::read_link(&descriptor) else { continue };
        if target.starts_with(folder) {
            let file = fs::metadata(&descriptor)?;
            files.insert(file.ino(), file.blocks() * 512);
        }
    }
    Ok(files.values().sum())
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
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            println!("the cgroup {} stays: {error}", self.0.display());
        }
    }
}

/// How a limited run ended.
enum End {
    Finished { seconds: f64, checksum: i64, state_bytes: u64 },
    Killed { after: Duration },
    GivenUp { after: Duration },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished { seconds, .. } => write!(f, "{seconds:.1} s"),
            Self::Killed { after } => write!(f, "killed after {:.1} s", after.as_secs_f64()),
            Self::GivenUp { after } => write!(f, "given up after {} s", after.as_secs()),
        }
    }
}

fn limited(way: usize) -> Result<End> {
    let group = Group::new(&way.to_string())?;
    let folder =
        tempfile::Builder::new().prefix("limited-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let passed = format!("{way} {}", folder.path().display());
    let started = Instant::now();
    let mut child = Command::new("sh")
        .args(["-c", "echo $$ > \"$0/cgroup.procs\"; exec \"$@\""])
        .arg(&group.0)
        .arg(std::env::current_exe()?)
        .env(VARIABLE, passed)
        .stdout(Stdio::piped())
        .spawn()?;
    // What it says fits the pipe.
    while child.try_wait()?.is_none() {
        if started.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok(End::GivenUp { after: started.elapsed() });
        }
        thread::sleep(Duration::from_millis(50));
    }
    let after = started.elapsed();
    let output = child.wait_with_output()?;
    if output.status.signal().is_some() {
        return Ok(End::Killed { after });
    }
    if !output.status.success() {
        return Err(format!("{}: {}", WAYS[way].0, output.status).into());
    }
    let told = String::from_utf8(output.stdout)?;
    match told.split_whitespace().collect::<Vec<_>>()[..] {
        [seconds, checksum, state_bytes] => Ok(End::Finished {
            seconds: seconds.parse()?,
            checksum: checksum.parse()?,
            state_bytes: state_bytes.parse()?,
        }),
        _ => Err(format!("{}: told {told:?}", WAYS[way].0).into()),
    }
}

/// The rows: one for each way, by turns as often as there are pairs; the median of those that
/// finish.
pub(crate) fn rows(options: &Options) -> Result<()> {
    let name = "state four times the memory limit";
    let is_wanted = |way: &str| options.wants(name) || options.wants(way);
    if !WAYS.iter().any(|(way, _)| is_wanted(way)) {
        return Ok(());
    }
    if !Path::new(GROUPS).join("memory.limit_in_bytes").exists() {
        println!("{name}: SKIPPED: there is no memory cgroup (v1) at {GROUPS}");
        return Ok(());
    }
    if let Err(error) = Group::new("probe") {
        println!("{name}: SKIPPED: a memory cgroup cannot be made: {error}");
        return Ok(());
    }
    let mut runs = WAYS.map(|_| Vec::new());
    for _ in 0..options.pairs {
        for (way, runs) in runs.iter_mut().enumerate().filter(|(way, _)| is_wanted(WAYS[*way].0)) {
            // What was killed once needs no second time.
            if runs.iter().all(|end| matches!(end, End::Finished { .. })) {
                runs.push(limited(way)?);
            }
        }
    }
    println!(
        "\n{name}: a join of {} M records a side, at most {} MiB for the process and its files\n",
        LOAD.records / 1_000_000,
        LIMIT_BYTES >> 20
    );
    println!("| state kept in | wall time | state | to the limit |\n|-|-|-|-|");
    let mut checksums = Vec::new();
    for ((way, _), runs) in WAYS.iter().zip(&runs) {
        let (mut times, mut state_bytes) = (Vec::new(), 0);
        for end in runs {
            match *end {
                End::Finished { seconds, checksum, state_bytes: bytes } => {
                    times.push(seconds);
                    checksums.push(checksum);
                    state_bytes = bytes;
                }
                _ => println!("| {way} | {end} | | |"),
            }
        }
        if !times.is_empty() && times.len() == runs.len() {
            let end = median(&times);
            let ratio = state_bytes as f64 / LIMIT_BYTES as f64;
            println!("| {way} | {end:.1} s | {} MiB | {ratio:.1}x |", state_bytes >> 20);
        }
    }
    assert!(checksums.windows(2).all(|pair| pair[0] == pair[1]), "all ways give one answer");
    Ok(())
}
