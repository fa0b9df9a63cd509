//! Work that has a size of its own: many small files, a heartbeat, and spilling.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task};

use crate::{
    Result,
    data::{PAGE_BYTES, Shape, sum_bytes},
    machine,
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

/// Spills to a folder; gives the sum of what it read back.
pub(crate) fn spill<R: Rival>(folder: &Path, shape: Shape) -> Result<u64> {
    let mut sum = 0_u64;
    R::spill(folder, shape, |bytes| sum = sum.wrapping_add(sum_bytes(bytes)))?;
    Ok(sum)
}
