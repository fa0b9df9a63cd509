//! Making scattered changes durable.

use std::{
    cell::RefCell,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use storage::{PageFile, PageId};

use crate::{
    Bench, Result, clean,
    data::{self, PAGE_BYTES, PageOrder, file_offset, scramble, sum_words},
    raw::RawMapMut,
    runner::{Pairs, Run, median},
    table::{Reach, Row, Unit},
};

const OURS: &str = "flush of 1,000 pages, file of ours, against pwrite + fdatasync";
const OURS_BYTES: &str = "device bytes of that";
const BIG: &str = "flush of 1,000 pages, file of 1 MiB writes, against pwrite + fdatasync";
const BIG_BYTES: &str = "device bytes of that, file of 1 MiB writes";
const PER_RUN: &str = "flush of 1,000 pages against one msync per run";

/// The pages that a round changes.
const DIRTY_PAGES: usize = 1_000;
const DIRTY_BYTES: f64 = (DIRTY_PAGES * PAGE_BYTES) as f64;
const TIME_REACH: f64 = 1.2;
const BYTES_REACH: f64 = 1.5;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if bench.wants_any(&[OURS, OURS_BYTES, PER_RUN, clean::CLEAN]) {
        let (ours_path, rival_path) = (bench.path("ours"), bench.path("rival"));
        let ours = data::make_mutable(&ours_path, bench.piece_count())?;
        drop(data::make_mutable(&rival_path, bench.piece_count())?);
        if bench.wants_any(&[OURS, OURS_BYTES]) {
            let rival = OpenOptions::new().read(true).write(true).open(&rival_path)?;
            against_pwrite(bench, [OURS, OURS_BYTES], &ours, (&rival, &rival_path))?;
        }
        if bench.wants(PER_RUN) {
            against_msync_per_run(bench, &ours, &rival_path)?;
        }
        clean::run(bench, &ours, &rival_path)?;
        drop(ours);
        fs::remove_file(ours_path)?;
        fs::remove_file(rival_path)?;
    }
    if bench.wants_any(&[BIG, BIG_BYTES]) {
        let (ours_path, rival_path) = (bench.path("big"), bench.path("big-rival"));
        let model = bench.path("model");
        drop(data::make_mutable(&model, bench.piece_count())?);
        drop(data::make_by_big_writes(&ours_path, &model)?);
        let rival = data::make_by_big_writes(&rival_path, &model)?;
        fs::remove_file(model)?;
        let ours = PageFile::open(&ours_path)?;
        against_pwrite(bench, [BIG, BIG_BYTES], &ours, (&rival, &rival_path))?;
        drop(ours);
        fs::remove_file(ours_path)?;
        fs::remove_file(rival_path)?;
    }
    Ok(())
}

/// What one round cost one side, beside its time.
#[derive(Default)]
struct Costs {
    /// The share of the time that made it durable.
    sync_ms: Vec<f64>,
    /// Bytes written to the device, as a multiple of the bytes that were changed.
    device: Vec<f64>,
    /// Bytes dirty in the page cache before they were made durable, as such a multiple.
    cached: Vec<f64>,
}

impl Costs {
    fn say(&self, side: &str) -> String {
        format!(
            "{side}: made durable in {:.1} ms of it, device {:.2}x, dirty in the page cache {:.2}x",
            median(&self.sync_ms),
            median(&self.device),
            median(&self.cached)
        )
    }
}

/// Stores whole pages, then makes them durable; the stores and the sync count, the looks between
/// them do not.
fn round(
    bench: &Bench,
    path: &Path,
    costs: &RefCell<Costs>,
    store: impl FnOnce() -> Result<()>,
    sync: impl FnOnce() -> Result<()>,
) -> Result<Duration> {
    bench.settle()?;
    let written_before = bench.device_bytes()?;
    let started = Instant::now();
    store()?;
    let stored = started.elapsed();
    let residency = storage::inspect(path)?.residency;
    let started = Instant::now();
    sync()?;
    let synced = started.elapsed();
    let mut costs = costs.borrow_mut();
    if let (Some(before), Some(after)) = (written_before, bench.device_bytes()?) {
        costs.device.push((after - before) as f64 / DIRTY_BYTES);
    }
    costs.cached.extend(residency.map(|found| found.dirty_bytes as f64 / DIRTY_BYTES));
    costs.sync_ms.push(synced.as_secs_f64() * 1e3);
    Ok(stored + synced)
}

fn against_pwrite(
    bench: &mut Bench,
    [time_row, bytes_row]: [&'static str; 2],
    ours: &PageFile,
    (rival, rival_path): (&File, &Path),
) -> Result<()> {
    let our_path = PathBuf::from(ours.path().ok_or("a file has a path")?);
    let (our_costs, rival_costs) = (RefCell::default(), RefCell::default());
    let pairs = Pairs::run(
        bench.pairs(),
        |number| {
            let order = scattered(bench, number);
            let elapsed = round(
                bench,
                &our_path,
                &our_costs,
                || store_ours(ours, &order, number),
                || Ok(ours.flush().map(drop)?),
            )?;
            Ok(Run { elapsed, answer: sum_of_pages(&our_path, &order)? })
        },
        |number| {
            let order = scattered(bench, number);
            let elapsed = round(
                bench,
                rival_path,
                &rival_costs,
                || {
                    for &page in order.pages() {
                        rival.write_all_at(&content(page, number), file_offset(page))?;
                    }
                    Ok(())
                },
                || Ok(rival.sync_data()?),
            )?;
            Ok(Run { elapsed, answer: sum_of_pages(rival_path, &order)? })
        },
    )?;
    let (our_costs, rival_costs) = (our_costs.take(), rival_costs.take());
    bench.note(&our_costs.say("ours"));
    bench.note(&rival_costs.say("pwrite"));
    if bench.wants(time_row) {
        let reach = Reach::TimesTheTime(TIME_REACH);
        bench.push(Row::of_times(time_row, Unit::Milliseconds, reach, &pairs));
    }
    if bench.wants_any(&[time_row, bytes_row]) {
        bench.push(if our_costs.device.is_empty() {
            let why = "no counter of the device under this folder";
            Row::unmeasured(bytes_row, format!("<= {BYTES_REACH}x dirty"), why)
        } else {
            Row::of_device_bytes(bytes_row, BYTES_REACH, &our_costs.device, &rival_costs.device)
        });
    }
    Ok(())
}

fn against_msync_per_run(bench: &mut Bench, ours: &PageFile, rival_path: &Path) -> Result<()> {
    let our_path = PathBuf::from(ours.path().ok_or("a file has a path")?);
    let rival = OpenOptions::new().read(true).write(true).open(rival_path)?;
    let rival = RefCell::new(RawMapMut::new(&rival)?);
    let (our_costs, rival_costs) = (RefCell::default(), RefCell::default());
    // Rounds of their own, so that they change other pages than the rows before.
    let first = bench.pairs();
    let pairs = Pairs::run(
        bench.pairs(),
        |number| {
            let order = scattered(bench, first + number);
            let elapsed = round(
                bench,
                &our_path,
                &our_costs,
                || store_ours(ours, &order, number),
                || Ok(ours.flush().map(drop)?),
            )?;
            Ok(Run { elapsed, answer: sum_of_pages(&our_path, &order)? })
        },
        |number| {
            let order = scattered(bench, first + number);
            let elapsed = round(
                bench,
                rival_path,
                &rival_costs,
                || {
                    for &page in order.pages() {
                        rival.borrow_mut().store(page, &content(page, number));
                    }
                    Ok(())
                },
                || {
                    for &page in order.pages() {
                        rival.borrow().flush_page(page)?;
                    }
                    Ok(())
                },
            )?;
            Ok(Run { elapsed, answer: sum_of_pages(rival_path, &order)? })
        },
    )?;
    bench.push(Row::of_times(PER_RUN, Unit::Milliseconds, Reach::TimesFaster(8.0), &pairs));
    Ok(())
}

fn store_ours(file: &PageFile, order: &PageOrder, round: usize) -> Result<()> {
    for &page in order.pages() {
        file.page_mut(page)?.copy_from_slice(&content(page, round));
    }
    Ok(())
}

/// The pages of a round. Of 1,000 pages in 262,144, next to none are neighbours: each is a run.
fn scattered(bench: &Bench, round: usize) -> PageOrder {
    PageOrder::shuffled(bench.page_count(), DIRTY_PAGES, 100 + round as u64)
}

/// What a round stores in a page.
fn content(page: PageId, round: usize) -> [u8; PAGE_BYTES] {
    let word = scramble(page.get() << 16 | round as u64);
    bytemuck::cast([word; PAGE_BYTES / 8])
}

/// The sum of all words of the pages, read with plain system calls.
fn sum_of_pages(path: &Path, order: &PageOrder) -> Result<u64> {
    let file = File::open(path)?;
    let mut buffer = [0_u64; PAGE_BYTES / 8];
    let mut sum = 0_u64;
    for &page in order.pages() {
        file.read_exact_at(bytemuck::bytes_of_mut(&mut buffer), file_offset(page))?;
        sum = sum.wrapping_add(sum_words(&buffer));
    }
    Ok(sum)
}
