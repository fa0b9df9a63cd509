//! One rival's turn: loads data of one size, reads it hot and cold, changes it, and leaves nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result,
    data::{Expected, PAGE_BYTES, Shape, changed, first_word, scramble, sum_bytes, sum_words},
    machine::{self, Ground},
    store::{Access, Durability, Kept, Rival, Store},
    work::Work,
};

/// What a rival is asked to do in its turn.
pub(crate) struct Turn<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) expected: &'a Expected,
    pub(crate) works: &'a [Work],
    pub(crate) size_bytes: u64,
    /// The counts of threads that read.
    pub(crate) threads: &'a [usize],
    pub(crate) round: u64,
}

/// One measurement.
pub(crate) struct Sample {
    pub(crate) work: Work,
    pub(crate) threads: usize,
    /// Nanoseconds for one operation or one byte, or all in all, as the work's unit says.
    pub(crate) ns: f64,
    /// Bytes written to the device for each byte that was changed.
    pub(crate) device: Option<f64>,
}

impl Sample {
    pub(crate) fn one(work: Work, elapsed: Duration, amount: u64) -> Self {
        Self::shared(work, 1, elapsed.as_secs_f64() * 1e9 / amount as f64)
    }

    fn shared(work: Work, threads: usize, ns: f64) -> Self {
        Self { work, threads, ns, device: None }
    }
}

/// How long a run on hot data is at least.
const RUN_MIN: Duration = Duration::from_millis(20);
/// A pass over hot data that takes longer counts at once: the scan before it has faulted everything in.
const PASS_LONG: Duration = Duration::from_secs(1);
const COLD_READS: u64 = 1024;
/// What takes longer with cold data is done once.
const LONG: Duration = Duration::from_secs(10);
const OPENS: u64 = 10;
/// The pages that are changed and made durable at once.
const DIRTY_PAGES: u64 = 1000;
const UPDATES: u64 = 2;
/// How long updates follow one another, and how long readers read beside a writer. Of less data, as for a try, it is
/// shorter.
const SUSTAINED: Duration = Duration::from_secs(20);
const BESIDE: Duration = Duration::from_secs(1);
const LITTLE_BYTES: u64 = 32 << 20;
const LITTLE_TIME: Duration = Duration::from_millis(300);
/// Which pages are changed beside readers, and how many at once.
const CONTESTED_PAGES: u64 = 1024;
const WRITE_PAGES: usize = 16;

impl Turn<'_> {
    fn wants<R: Rival>(&self, work: Work) -> bool {
        self.works.contains(&work) && R::unfit(work).is_none()
    }

    /// A new folder for a rival.
    pub(crate) fn fresh(&self) -> Result<PathBuf> {
        let folder = self.ground.folder().join("data");
        fs::create_dir(&folder)?;
        Ok(folder)
    }
}

/// Takes a turn.
pub(crate) fn take<R: Rival>(turn: &Turn<'_>) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    if turn.wants::<R>(Work::Load) {
        let shape = Shape::cached(turn.size_bytes, PAGE_BYTES);
        let (store, elapsed) = load::<R>(turn, shape, Durability::Lazy)?;
        samples.push(Sample::one(Work::Load, elapsed, shape.len_bytes));
        check_all(turn, shape, &store)?;
        drop(store);
        fs::remove_dir_all(turn.ground.folder().join("data"))?;
    }
    for block_bytes in [PAGE_BYTES, 16 * PAGE_BYTES] {
        let wanted: Vec<Work> = turn
            .works
            .iter()
            .copied()
            .filter(|work| work.block_bytes() == block_bytes && *work != Work::Load)
            .filter(|&work| R::unfit(work).is_none())
            .collect();
        if !wanted.is_empty() {
            stored::<R>(turn, Shape::cached(turn.size_bytes, block_bytes), &mut samples)?;
        }
    }
    Ok(samples)
}

/// Loads data; what was freed before is first fetched back from the host, where this is a virtual
/// machine, so that no rival pays for what the one before it gave up.
fn load<R: Rival>(
    turn: &Turn<'_>,
    shape: Shape,
    durability: Durability,
) -> Result<(R::Store, Duration)> {
    let folder = turn.fresh()?;
    turn.ground.settle()?;
    machine::touch_memory(shape.len_bytes)?;
    let started = Instant::now();
    let store = R::load(&folder, shape, durability)?;
    Ok((store, started.elapsed()))
}

fn check_all(turn: &Turn<'_>, shape: Shape, store: &impl Store) -> Result<()> {
    let mut sum = 0_u64;
    store.scan(|bytes| sum = sum.wrapping_add(sum_bytes(bytes)))?;
    check(Work::Load, sum, turn.expected.words(&shape.in_order(), shape.block_bytes))
}

/// Fails where an answer is wrong, and says at which work.
pub(crate) fn check(work: Work, found: u64, expected: u64) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{}: what was read is not what was stored", work.id()).into())
}

/// Everything that is done with stored data.
fn stored<R: Rival>(turn: &Turn<'_>, shape: Shape, samples: &mut Vec<Sample>) -> Result<()> {
    let (store, elapsed) = load::<R>(turn, shape, Durability::Durable)?;
    if shape.block_bytes == PAGE_BYTES && turn.wants::<R>(Work::DurableLoad) {
        samples.push(Sample::one(Work::DurableLoad, elapsed, shape.len_bytes));
    }
    let folder = turn.ground.folder().join("data");
    match R::KEPT {
        Kept::InMemory => {
            hot::<R>(turn, shape, &store, samples)?;
            change::<R>(turn, shape, &store, samples)?;
            drop(store);
        }
        Kept::OnDisk => {
            drop(store);
            let store = R::open(&folder, shape, Access::Random)?;
            hot::<R>(turn, shape, &store, samples)?;
            drop(store);
            cold::<R>(turn, shape, &folder, samples)?;
            let store = R::open(&folder, shape, Access::Random)?;
            change::<R>(turn, shape, &store, samples)?;
            drop(store);
        }
    }
    Ok(fs::remove_dir_all(folder)?)
}

fn hot<R: Rival>(
    turn: &Turn<'_>,
    shape: Shape,
    store: &R::Store,
    samples: &mut Vec<Sample>,
) -> Result<()> {
    check_all(turn, shape, store)?;
    let blocks = shape.shuffled(R::READS_MAX, turn.round);
    let first_words = Expected::first_words(&blocks, shape.block_bytes);
    let all_words = turn.expected.words(&blocks, shape.block_bytes);
    type Look = fn(&[u8]) -> u64;
    let looks: [(Work, Look, u64); 3] = [
        (Work::Read4k, first_word, first_words),
        (Work::Read4kWhole, sum_bytes, all_words),
        (Work::Read64k, sum_bytes, all_words),
    ];
    for (work, look, expected) in looks {
        if work.block_bytes() != shape.block_bytes || !turn.wants::<R>(work) {
            continue;
        }
        for &threads in turn.threads {
            let ns = repeated(work, expected, |passes| match work {
                // One function each, so that the look is a part of the loop.
                Work::Read4k => visit_by(store, &blocks, threads, passes, first_word),
                _ => visit_by(store, &blocks, threads, passes, look),
            })?;
            samples.push(Sample::shared(work, threads, ns / blocks.len() as f64));
        }
    }
    if shape.block_bytes != PAGE_BYTES {
        return Ok(());
    }
    let all_words = turn.expected.words(&shape.in_order(), shape.block_bytes);
    if turn.wants::<R>(Work::Scan) {
        let ns = repeated(Work::Scan, all_words, |passes| {
            let mut sum = 0_u64;
            for _ in 0..passes {
                store.scan(|bytes| sum = sum.wrapping_add(sum_bytes(bytes)))?;
            }
            Ok(sum)
        })?;
        samples.push(Sample::shared(Work::Scan, 1, ns / shape.len_bytes as f64));
    }
    if turn.wants::<R>(Work::ColumnSum) {
        let ns = repeated(Work::ColumnSum, all_words, |passes| {
            let mut sum = 0_u64;
            for _ in 0..passes {
                store.column(|words| sum = sum.wrapping_add(sum_words(words)))?;
            }
            Ok(sum)
        })?;
        samples.push(Sample::shared(Work::ColumnSum, 1, ns / shape.len_bytes as f64));
    }
    Ok(())
}

/// Nanoseconds of one pass. The first does not count, unless it is long: it faults in what is touched, and
/// tells how many make a run that is long enough for the clock.
fn repeated(work: Work, expected: u64, mut passes: impl FnMut(u32) -> Result<u64>) -> Result<f64> {
    let started = Instant::now();
    check(work, passes(1)?, expected)?;
    let first = started.elapsed();
    if first > PASS_LONG {
        return Ok(first.as_secs_f64() * 1e9);
    }
    let count = RUN_MIN.as_nanos() / first.as_nanos().max(1) + 1;
    let count = u32::try_from(count.min(64))?;
    let started = Instant::now();
    let sum = passes(count)?;
    let elapsed = started.elapsed();
    check(work, sum, expected.wrapping_mul(u64::from(count)))?;
    Ok(elapsed.as_secs_f64() * 1e9 / f64::from(count))
}

/// Visits blocks, each by one of some threads, some times over; gives the sum of what they saw.
fn visit_by(
    store: &impl Store,
    blocks: &[u64],
    threads: usize,
    passes: u32,
    look: impl Fn(&[u8]) -> u64 + Copy + Send + Sync,
) -> Result<u64> {
    let visit = |blocks: &[u64]| {
        let mut sum = 0_u64;
        for _ in 0..passes {
            store.visit(blocks, |bytes| sum = sum.wrapping_add(look(bytes)))?;
        }
        Ok(sum)
    };
    if threads == 1 {
        return visit(blocks);
    }
    thread::scope(|scope| {
        let parts = blocks.chunks(blocks.len().div_ceil(threads));
        let running: Vec<_> = parts.map(|part| scope.spawn(move || visit(part))).collect();
        running.into_iter().try_fold(0_u64, |sum, thread| {
            let part: Result<u64> = thread.join().map_err(|_| "a reader has panicked")?;
            Ok(sum.wrapping_add(part?))
        })
    })
}

/// What begins with nothing in memory; and what begins with nothing open.
fn cold<R: Rival>(
    turn: &Turn<'_>,
    shape: Shape,
    folder: &Path,
    samples: &mut Vec<Sample>,
) -> Result<()> {
    let chilled = |access, work: &dyn Fn(&R::Store) -> Result<u64>| -> Result<(u64, Duration)> {
        // Twice, and the second time counts: the first fetches back memory that the host has taken. That is
        // little of a time that is long.
        let mut last = (0, Duration::ZERO);
        for _ in 0..2 {
            if last.1 > LONG {
                break;
            }
            machine::chill(folder)?;
            let store = R::open(folder, shape, access)?;
            let started = Instant::now();
            last = (work(&store)?, started.elapsed());
        }
        Ok(last)
    };
    let random = if shape.block_bytes == PAGE_BYTES { Work::Cold4k } else { Work::Cold64k };
    if turn.wants::<R>(random) {
        let count = COLD_READS * PAGE_BYTES as u64 / shape.block_bytes as u64 * 4;
        let blocks = shape.shuffled(count.min(COLD_READS), 1000 + turn.round);
        let (sum, elapsed) =
            chilled(Access::Random, &|store| visit_by(store, &blocks, 1, 1, sum_bytes))?;
        check(random, sum, turn.expected.words(&blocks, shape.block_bytes))?;
        samples.push(Sample::one(random, elapsed, blocks.len() as u64));
    }
    if shape.block_bytes != PAGE_BYTES {
        return Ok(());
    }
    if turn.wants::<R>(Work::ColdScan) {
        let (sum, elapsed) = chilled(Access::Sequential, &|store| {
            let mut sum = 0_u64;
            store.scan(|bytes| sum = sum.wrapping_add(sum_bytes(bytes)))?;
            Ok(sum)
        })?;
        check(Work::ColdScan, sum, turn.expected.words(&shape.in_order(), shape.block_bytes))?;
        samples.push(Sample::one(Work::ColdScan, elapsed, shape.len_bytes));
    }
    if turn.wants::<R>(Work::OpenRead) {
        let blocks = shape.shuffled(OPENS + 1, 2000 + turn.round);
        let mut total = Duration::ZERO;
        for (number, block) in blocks.iter().enumerate() {
            let started = Instant::now();
            let store = R::open(folder, shape, Access::Random)?;
            let mut found = 0;
            store.visit(&[*block], |bytes| found = first_word(bytes))?;
            // The first brings in what the others find.
            if number > 0 {
                total += started.elapsed();
            }
            check(Work::OpenRead, found, scramble(*block))?;
        }
        samples.push(Sample::one(Work::OpenRead, total, blocks.len() as u64 - 1));
    }
    Ok(())
}

/// What changes the data: after this, it is no longer what was loaded.
fn change<R: Rival>(
    turn: &Turn<'_>,
    shape: Shape,
    store: &R::Store,
    samples: &mut Vec<Sample>,
) -> Result<()> {
    if shape.block_bytes != PAGE_BYTES {
        return Ok(());
    }
    if turn.wants::<R>(Work::UpdateFlush) {
        for number in 0..UPDATES {
            let round = turn.round * UPDATES + number;
            let pages = shape.shuffled(DIRTY_PAGES.min(shape.page_count() / 4), 3000 + round);
            turn.ground.settle()?;
            let written = turn.ground.written_bytes()?;
            let started = Instant::now();
            store.update(&pages, |page| changed(page, round))?;
            let elapsed = started.elapsed();
            let device = match (written, turn.ground.written_bytes()?) {
                (Some(before), Some(after)) => {
                    Some((after - before) as f64 / (pages.len() * PAGE_BYTES) as f64)
                }
                _ => None,
            };
            let sum = pages.iter().map(|&page| sum_bytes(&changed(page, round)));
            check(
                Work::UpdateFlush,
                visit_by(store, &pages, 1, 1, sum_bytes)?,
                sum.fold(0, u64::wrapping_add),
            )?;
            samples.push(Sample { device, ..Sample::one(Work::UpdateFlush, elapsed, 1) });
        }
    }
    if turn.wants::<R>(Work::UpdateSustained) {
        samples.push(sustained(turn, shape, store)?);
    }
    if turn.wants::<R>(Work::ReadersWriter) {
        for &threads in turn.threads {
            let ns = beside_writer(store, shape, threads)?;
            samples.push(Sample::shared(Work::ReadersWriter, threads, ns));
        }
    }
    Ok(())
}

/// Changes pages, others each time, one update after the other, with what a rival does in the background for that.
fn sustained(turn: &Turn<'_>, shape: Shape, store: &impl Store) -> Result<Sample> {
    let count = DIRTY_PAGES.min(shape.page_count() / 4);
    let orders: Vec<_> = (0..64).map(|number| shape.shuffled(count, 5000 + number)).collect();
    turn.ground.settle()?;
    let written = turn.ground.written_bytes()?;
    let started = Instant::now();
    let mut updates = 0;
    for (round, pages) in (0..).zip(orders.iter().cycle()) {
        store.update(pages, |page| changed(page, round))?;
        updates += 1;
        if started.elapsed() >= time_of(SUSTAINED, shape) {
            break;
        }
    }
    let elapsed = started.elapsed();
    let device = match (written, turn.ground.written_bytes()?) {
        (Some(before), Some(after)) => {
            Some((after - before) as f64 / (updates * count * PAGE_BYTES as u64) as f64)
        }
        _ => None,
    };
    Ok(Sample { device, ..Sample::one(Work::UpdateSustained, elapsed, updates) })
}

/// How long a work takes that takes as long as it is given.
fn time_of(usual: Duration, shape: Shape) -> Duration {
    if shape.len_bytes < LITTLE_BYTES { LITTLE_TIME } else { usual }
}

/// Has some threads read while one writes. Every page that the writer changes is one word all over, so
/// that half a write is seen. Gives the nanoseconds of a read.
fn beside_writer(store: &impl Store, shape: Shape, readers: usize) -> Result<f64> {
    let contested = shape.shuffled(CONTESTED_PAGES.min(shape.page_count() / 4), 4000);
    store.update(&contested, |page| changed(page, 0))?;
    let order = shape.shuffled(1 << 16, 4001);
    // As with all hot data, what is read first is not counted: the store has just been opened.
    store.visit(&order, |_| {})?;
    let (is_over, reads, torn) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let read = |skip: usize| -> Result<()> {
        let chunks = order.chunks(256).cycle().skip(skip);
        for chunk in chunks {
            store.visit(chunk, |bytes| {
                let last = bytes.last_chunk().map_or(0, |word| u64::from_le_bytes(*word));
                let second = bytes[8..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
                // Of a page as it was loaded, no two words are the same; of a changed one, all are.
                let first = first_word(bytes);
                if (first == second) != (first == last) {
                    torn.fetch_add(1, Ordering::Relaxed);
                }
            })?;
            reads.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if is_over.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(())
    };
    let started = Instant::now();
    let elapsed = thread::scope(|scope| -> Result<Duration> {
        let running: Vec<_> =
            (0..readers).map(|number| scope.spawn(move || read(number * 7))).collect();
        let mut written = Ok(());
        for (round, pages) in (1..).zip(contested.chunks(WRITE_PAGES).cycle()) {
            written = store.update(pages, |page| changed(page, round));
            if written.is_err() || started.elapsed() > time_of(BESIDE, shape) {
                break;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        let elapsed = started.elapsed();
        for thread in running {
            thread.join().map_err(|_| "a reader has panicked")??;
        }
        written?;
        Ok(elapsed)
    })?;
    check(Work::ReadersWriter, torn.into_inner(), 0)?;
    Ok(elapsed.as_secs_f64() * 1e9 * readers as f64 / reads.into_inner() as f64)
}
