//! Spilling more than memory: in a child process under a limit.

use std::{
    env, fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use crate::{
    Result,
    contestant::Contestant,
    data::{PAGE_BYTES, Shape},
    rivals,
    turn::{Sample, Turn, check},
    work::Work,
};

/// Names what a child has to spill with, and where, and so tells it that it is the child.
const CHILD: &str = "STORAGE_COMPARE_SPILL";
const GROUPS: &str = "/sys/fs/cgroup/memory";
const LIMIT_BYTES: u64 = 64 << 20;
const SPILL_BYTES: u64 = 4 * LIMIT_BYTES;
/// What a rival with a cache or a budget of its own is told to keep to: a quarter, since the
/// rest holds the program, and what is being written.
const CACHE_BYTES: u64 = LIMIT_BYTES / 4;

fn spill_shape() -> Shape {
    Shape { len_bytes: SPILL_BYTES, block_bytes: PAGE_BYTES, cache_bytes: CACHE_BYTES }
}

/// A memory cgroup (v1), removed on drop.
struct Group(PathBuf);

impl Group {
    fn new() -> Result<Self> {
        let group = Self(Path::new(GROUPS).join(format!("compare-{}", std::process::id())));
        fs::create_dir(&group.0)?;
        fs::write(group.0.join("memory.limit_in_bytes"), LIMIT_BYTES.to_string())?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Nobody is in it any more; what cannot be removed is an empty folder of the kernel's.
        if let Err(error) = fs::remove_dir(&self.0) {
            crate::say(&format!("the cgroup {} stays: {error}", self.0.display()));
        }
    }
}

/// Has a process spill that may have a quarter of the memory which the data takes, the page cache
/// counted. `Ok(Err(..))` says why it could not be measured.
pub(crate) fn spill_limited(
    turn: &Turn<'_>,
    contestant: &Contestant,
) -> Result<std::result::Result<Vec<Sample>, String>> {
    let group = match Group::new() {
        Ok(group) => group,
        Err(error) => return Ok(Err(format!("needs root and a memory cgroup (v1): {error}"))),
    };
    let folder = turn.fresh()?;
    turn.ground.settle()?;
    let output = Command::new(env::current_exe()?)
        .env(CHILD, format!("{}\n{}\n{}", contestant.name, folder.display(), group.0.display()))
        .output()?;
    fs::remove_dir_all(folder)?;
    if let Some(signal) = output.status.signal() {
        return Ok(Err(format!("killed by signal {signal}: it takes more memory than the limit")));
    }
    if !output.status.success() {
        return Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let told = String::from_utf8(output.stdout)?;
    let (nanoseconds, sum) = told.trim().split_once(' ').ok_or("the child tells two numbers")?;
    let expected = turn.expected.words(&spill_shape().in_order(), PAGE_BYTES);
    check(Work::Spill, sum.parse()?, expected)?;
    let elapsed = Duration::from_nanos(nanoseconds.parse()?);
    Ok(Ok(vec![Sample::one(Work::Spill, elapsed, SPILL_BYTES)]))
}

/// In a child: spills, removes what was spilled, and tells what that took.
pub(crate) fn run_as_child() -> Result<Option<ExitCode>> {
    let Ok(passed) = env::var(CHILD) else { return Ok(None) };
    let [name, folder, group] = passed.split('\n').collect::<Vec<_>>()[..] else {
        return Err("a name, a folder and a group".into());
    };
    let contestant =
        rivals::ALL.iter().find(|one| one.name == name).ok_or("there is no such rival")?;
    fs::write(Path::new(group).join("cgroup.procs"), std::process::id().to_string())?;
    let started = Instant::now();
    let sum = (contestant.spill)(Path::new(folder), spill_shape())?;
    // Nobody needs it any more. Files without a name are gone already, and that took its time too.
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    crate::say(&format!("{} {sum}", started.elapsed().as_nanos()));
    Ok(Some(ExitCode::SUCCESS))
}
