//! What snapshots cost: to take, to read, to keep.

use std::{fs::File, path::Path, time::Instant};

use layout::VersionedGeometry;
use storage::{Snapshot, VersionedFile};

use super::{MANY, change, page_count};
use crate::{
    Bench, Result,
    data::{PAGE_BYTES, PageOrder, first_word},
    raw::RawPlaces,
    reads::PASSES,
    runner::{Pairs, median, timed_busy},
    table::{Reach, Row, Unit, spread},
};

const HOT: &str = "transactions: random hot page of a snapshot, first word, against raw memmap2";
const CLONE: &str = "transactions: a snapshot where nothing was committed since the last";
const AFTER: &str = "transactions: a snapshot after a commit of 10 pages";
const KEPT: &str = "transactions: memory kept by a snapshot over 100 commits of 1,000 pages";

pub(super) const ROWS: [&str; 4] = [HOT, CLONE, AFTER, KEPT];

pub(super) fn run(bench: &mut Bench, ours: &VersionedFile, path: &Path) -> Result<()> {
    if bench.wants(HOT) {
        hot(bench, ours, path)?;
    }
    if bench.wants(CLONE) {
        clone(bench, ours)?;
    }
    if bench.wants(AFTER) {
        after_commit(bench, ours)?;
    }
    if bench.wants(KEPT) {
        kept(bench, ours)?;
    }
    Ok(())
}

/// The rival maps the same file, and knows where in it each page lies.
fn hot(bench: &mut Bench, ours: &VersionedFile, path: &Path) -> Result<()> {
    let snapshot = ours.snapshot()?;
    snapshot.verify()?;
    let order = PageOrder::shuffled(page_count(bench), page_count(bench), 1);
    let geometry = VersionedGeometry::new(snapshot.page_size(), snapshot.log_bytes())?;
    let raw = RawPlaces::new(&File::open(path)?, &order, |page| geometry.page_offset(page))?;
    let pairs = Pairs::run_hot(
        bench.pairs(),
        |_| {
            timed_busy(|| {
                (0..PASSES).try_fold(0_u64, |all, _| Ok(all.wrapping_add(sum(&snapshot, &order)?)))
            })
        },
        |_| {
            timed_busy(|| {
                Ok((0..PASSES).fold(0_u64, |all, _| all.wrapping_add(raw.sum_first_words())))
            })
        },
    )?;
    let unit = Unit::NanosecondsEach { count: PASSES * order.pages().len() };
    bench.push(Row::of_times(HOT, unit, Reach::TimesTheTime(1.1), &pairs));
    Ok(())
}

fn sum(snapshot: &Snapshot, order: &PageOrder) -> Result<u64> {
    let mut sum = 0_u64;
    for &page in order.pages() {
        sum = sum.wrapping_add(first_word(snapshot.page(page)?));
    }
    Ok(sum)
}

fn clone(bench: &mut Bench, ours: &VersionedFile) -> Result<()> {
    const CLONES: usize = 100_000;
    let each = (0..bench.pairs())
        .map(|_| {
            let started = Instant::now();
            for _ in 0..CLONES {
                std::hint::black_box(ours.snapshot()?);
            }
            Ok(started.elapsed().as_secs_f64() * 1e9 / CLONES as f64)
        })
        .collect::<Result<Vec<_>>>()?;
    bench.push(alone(CLONE, &each, "ns", 50.0));
    Ok(())
}

fn after_commit(bench: &mut Bench, ours: &VersionedFile) -> Result<()> {
    let mut each = Vec::new();
    for round in 0..50 {
        let held = ours.snapshot()?;
        change(ours, &PageOrder::shuffled(page_count(bench), 10, round), round)?;
        let started = Instant::now();
        std::hint::black_box(ours.snapshot()?);
        each.push(started.elapsed().as_secs_f64() * 1e6);
        drop(held);
    }
    bench.push(alone(AFTER, &each, "us", 30.0));
    Ok(())
}

fn kept(bench: &mut Bench, ours: &VersionedFile) -> Result<()> {
    let held = ours.snapshot()?;
    for round in 0..100 {
        change(ours, &PageOrder::shuffled(page_count(bench), MANY, 500 + round), round)?;
    }
    // What is on its way into the file is kept for that.
    ours.checkpoint()?;
    let kept = ours.stats().kept_bytes as f64;
    let newest = ours.snapshot()?;
    let changed: u64 =
        newest.changed_since(held.commit())?.iter().map(|run| run.count().get()).sum();
    let ratio = kept / (changed * PAGE_BYTES as u64) as f64;
    bench.push(alone(KEPT, &[ratio], "x the pages that changed", 1.01));
    Ok(())
}

/// A row about ours alone.
pub(super) fn alone(work: &'static str, each: &[f64], unit: &str, most: f64) -> Row {
    let none = || "-".to_owned();
    let figure = median(each);
    Row {
        work,
        ours: format!("{figure:.3} {unit}"),
        rival: none(),
        ratio: none(),
        spread: spread(each),
        reach: format!("<= {most} {unit}"),
        is_met: Some(figure <= most),
    }
}
