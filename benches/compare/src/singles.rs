//! Work that has a size of its own: many small files, more than memory, and a heartbeat.

use std::{
    env, fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task};

use crate::{
    Result,
    contestant::Contestant,
    data::{PAGE_BYTES, Shape, sum_bytes},
    machine, rivals,
    store::{Access, Durability, Rival, Store},
    turn::{Sample, Turn, check},
    work::Work,
};

/// As blocks of one store, they are a whole number of pieces.
const FILES: u64 = 256;

/// Stores many small files, and shows each.
pub(crate) fn small_files<R: Rival>(turn: &Turn<'_>) -> Result<Vec<Sample>> {
    let folder = turn.fresh()?;
    turn.ground.settle()?;
    let mut sum = 0_u64;
    let started = Instant::now();
    R::small_files(&folder, FILES, |bytes| sum = sum.wrapping_add(sum_bytes(bytes)))?;
    let elapsed = started.elapsed();
    // As files of one page, all are the same page; as blocks of one store, no two are.
    let same = turn.expected.words(&[0], PAGE_BYTES).wrapping_mul(FILES);
    let blocks: Vec<u64> = (0..FILES).collect();
    if sum != same {
        check(Work::SmallFiles, sum, turn.expected.words(&blocks, PAGE_BYTES))?;
    }
    fs::remove_dir_all(folder)?;
    Ok(vec![Sample::one(Work::SmallFiles, elapsed, FILES)])
}

/// How long the heart beats in a run, and how much data lies behind the reads.
const BEATING: Duration = Duration::from_millis(1000);
const BEAT: Duration = Duration::from_millis(1);
const BESIDE_BYTES: u64 = 256 << 20;
/// The reads between two turns of the others.
const BATCH: usize = 64;

/// Has a heart beat while a task of the same thread reads cold pages. Gives the time after its due that 99 of
/// 100 beats came in, and the time that a page took: who reads less has an easy heart.
pub(crate) fn heartbeat<R: Rival>(turn: &Turn<'_>) -> Result<Vec<Sample>> {
    let folder = turn.fresh()?;
    let shape = Shape::cached(BESIDE_BYTES, PAGE_BYTES);
    drop(R::load(&folder, shape, Durability::Durable)?);
    turn.ground.settle()?;
    machine::chill(&folder)?;
    let store = R::open(&folder, shape, Access::Random)?;
    let blocks = shape.shuffled(shape.block_count(), 5000 + turn.round);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let started = Instant::now();
    let read = async {
        let mut count = 0;
        for batch in blocks.chunks(BATCH) {
            if started.elapsed() > BEATING {
                break;
            }
            let mut sum = 0_u64;
            let look = |bytes: &[u8]| sum = sum.wrapping_add(sum_bytes(bytes));
            store.visit_beside_others(batch, look).await?;
            check(Work::Heartbeat, sum, turn.expected.words(batch, PAGE_BYTES))?;
            task::yield_now().await;
            count += batch.len() as u64;
        }
        Result::Ok((started.elapsed(), count))
    };
    let (read, late) = runtime.block_on(async { tokio::join!(read, beat()) });
    let (elapsed, count) = read?;
    let mut late = late?;
    late.sort_unstable();
    let p99 = *late.get(late.len() * 99 / 100).ok_or("the heart did not beat")?;
    drop(store);
    fs::remove_dir_all(folder)?;
    let samples =
        [Sample::one(Work::Heartbeat, p99, 1), Sample::one(Work::BesideHeartbeat, elapsed, count)];
    Ok(samples.into_iter().filter(|sample| turn.works.contains(&sample.work)).collect())
}

/// How late each beat comes in at its task. A clock on a thread of its own gives them, and a beat is due
/// when it does: that the clock itself wakes up late is no fault of the executor's.
async fn beat() -> Result<Vec<Duration>> {
    let (clock, mut beats) = mpsc::unbounded_channel();
    let ticking = thread::spawn(move || {
        let started = Instant::now();
        let mut due = started;
        while due < started + BEATING {
            due += BEAT;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if clock.send(Instant::now()).is_err() {
                break;
            }
        }
    });
    let mut late = Vec::new();
    while let Some(due) = beats.recv().await {
        late.push(Instant::now().saturating_duration_since(due));
    }
    ticking.join().map_err(|_| "the clock stopped")?;
    Ok(late)
}

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

pub(crate) fn spill<R: Rival>(folder: &Path, shape: Shape) -> Result<u64> {
    let mut sum = 0_u64;
    R::spill(folder, shape, |bytes| sum = sum.wrapping_add(sum_bytes(bytes)))?;
    Ok(sum)
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
