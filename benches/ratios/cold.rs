//! Cold pages through the asynchronous layer: how fast they come, and who waits for them.

use std::{
    fs::File,
    num::NonZeroU32,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::Advice,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use storage::{Limits, MmapBackend, PageId, ReadRequest, StorageBackend};
use tokio::{runtime::Runtime, sync::mpsc, task};

use crate::{
    Bench, Result,
    backends::make,
    data::{PAGE_BYTES, PageOrder, first_word, scramble},
    raw::RawPages,
    runner::{Pairs, Run, timed},
    table::{Reach, Row, Unit},
};

const RANDOM: &str = "cold random 4 KiB, 64 in flight by read_many, against mmap faults";
const STALL: &str = "p99 lateness of a 1 ms heartbeat beside cold reads, against raw memmap2";

/// How many reads are in flight, and how many pages a task reads before it gives the others a turn.
const BATCH: usize = 64;
/// The rival takes some 90 us a page.
const PAGES: usize = 2048;

/// How long the heart beats in a run.
const BEATING: Duration = Duration::from_millis(1000);
const BEAT: Duration = Duration::from_millis(1);

const PATH: &str = "folder/cold";

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if !bench.wants_any(&[RANDOM, STALL]) {
        return Ok(());
    }
    let root = bench.path("cold");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let open = || MmapBackend::open(&root, Limits::default());
    runtime.block_on(make(&open()?, PATH, bench.piece_count()))?;
    let file = root.join(PATH);
    bench.settle()?;

    if bench.wants(RANDOM) {
        let order = |pair| PageOrder::shuffled(bench.page_count(), PAGES, 100 + pair as u64);
        let pairs = Pairs::run(
            bench.pairs(),
            |pair| {
                let backend = open()?;
                chill(&file)?;
                timed(|| runtime.block_on(sum(&backend, order(pair).pages())))
            },
            |pair| {
                let map = RawPages::new(&File::open(&file)?)?;
                map.advise_random()?;
                chill(&file)?;
                timed(|| Ok(map.sum_first_words(order(pair).pages())))
            },
        )?;
        let unit = Unit::NanosecondsEach { count: PAGES };
        bench.push(Row::of_times(RANDOM, unit, Reach::TimesFaster(3.0), &pairs));
    }

    if bench.wants(STALL) {
        // Threads that block are there to run beside the executor.
        let one_core = on_all_cores()?;
        let order =
            |pair| PageOrder::shuffled(bench.page_count(), bench.page_count(), 200 + pair as u64);
        let pairs = Pairs::run(
            bench.pairs(),
            |pair| {
                let (backend, order) = (open()?, order(pair));
                chill(&file)?;
                lateness(&runtime, &async |pages: &[PageId]| sum(&backend, pages).await, &order)
            },
            |pair| {
                let (map, order) = (RawPages::new(&File::open(&file)?)?, order(pair));
                map.advise_random()?;
                chill(&file)?;
                let sum = async |pages: &[PageId]| Ok(map.sum_first_words(pages));
                lateness(&runtime, &sum, &order)
            },
        )?;
        sched_setaffinity(None, &one_core)?;
        let unit = Unit::Milliseconds;
        bench.push(Row::of_times(STALL, unit, Reach::TimesFaster(50.0), &pairs));
    }
    std::fs::remove_dir_all(root)?;
    Ok(())
}

/// Has the kernel forget what it has of a file, which nobody may have touched through a mapping that
/// is still there.
fn chill(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    for _ in 0..100 {
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        let map = storage::residency_map(path, NonZeroU32::MIN)?;
        if map.parts.iter().all(|part| part.resident_bytes == 0) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err("the file stays in memory, so nothing of it is cold".into())
}

/// Adds up the first words of pages, a batch at a time.
async fn sum(backend: &MmapBackend, pages: &[PageId]) -> Result<u64> {
    let mut total = 0_u64;
    for batch in pages.chunks(BATCH) {
        let requests: Vec<ReadRequest<'_>> = batch
            .iter()
            .map(|page| ReadRequest {
                path: PATH,
                offset: page.get() * PAGE_BYTES as u64,
                length: PAGE_BYTES,
            })
            .collect();
        for read in backend.read_many(&requests).await {
            total = total.wrapping_add(first_word(&read?));
        }
    }
    Ok(total)
}

/// Lets a heart beat while a task of the same thread reads cold pages. Gives the time after its due
/// that 99 of 100 beats came in.
fn lateness(
    runtime: &Runtime,
    sum: &impl AsyncFn(&[PageId]) -> Result<u64>,
    order: &PageOrder,
) -> Result<Run> {
    let started = Instant::now();
    let read = async {
        for batch in order.pages().chunks(BATCH) {
            if started.elapsed() > BEATING {
                break;
            }
            let expected = batch.iter().map(|page| scramble(page.get()));
            assert_eq!(sum(batch).await?, expected.fold(0, u64::wrapping_add));
            task::yield_now().await;
        }
        Result::Ok(())
    };
    let (read, late) = runtime.block_on(async { tokio::join!(read, beat()) });
    read?;
    let mut late = late?;
    late.sort_unstable();
    let p99 = late[late.len() * 99 / 100];
    Ok(Run { elapsed: p99, answer: 0 })
}

/// How late each beat comes in at its task. A clock on a thread of its own gives them.
///
/// A beat is due when the clock gives it. The clock itself wakes up late, by some 0.1 ms and on busy
/// cores by milliseconds, which is no fault of the executor's and would hide what is.
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

/// Lets this thread run on every core there is; gives those that it was held to.
fn on_all_cores() -> Result<CpuSet> {
    let before = sched_getaffinity(None)?;
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|core| all.set(core));
    sched_setaffinity(None, &all)?;
    Ok(before)
}
