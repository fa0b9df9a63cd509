//! Commits one after the other for a while, with the checkpoints that they need.

use std::time::{Duration, Instant};

use storage::VersionedFile;

use super::{MANY, change, page_count, snapshots::alone};
use crate::{
    Bench, Result,
    data::{PAGE_BYTES, PageOrder},
    runner::median,
    table::Row,
};

const OTHERS: &str =
    "transactions: device bytes a byte changed, 1,000 pages a commit, others each time";
const SAME: &str = "transactions: device bytes a byte changed, the same 1,000 pages each time";

pub(super) const ROWS: [&str; 2] = [OTHERS, SAME];

const TIME: Duration = Duration::from_secs(20);

pub(super) fn run(bench: &mut Bench, ours: &VersionedFile) -> Result<()> {
    if bench.wants(OTHERS) {
        commits(bench, ours, OTHERS, 2.3, |round| round)?;
    }
    if bench.wants(SAME) {
        commits(bench, ours, SAME, 1.3, |_| 1)?;
    }
    Ok(())
}

fn commits(
    bench: &mut Bench,
    ours: &VersionedFile,
    work: &'static str,
    most: f64,
    seed: impl Fn(u64) -> u64,
) -> Result<()> {
    ours.checkpoint()?;
    bench.settle()?;
    let orders: Vec<_> = (0..64)
        .map(|round| PageOrder::shuffled(page_count(bench), MANY, 2_000 + seed(round)))
        .collect();
    let before = bench.device_bytes()?;
    let started = Instant::now();
    let mut each = Vec::new();
    while started.elapsed() < TIME {
        let order = &orders[each.len() % orders.len()];
        let begun = Instant::now();
        change(ours, order, each.len() as u64)?;
        each.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let elapsed = started.elapsed().as_secs_f64();
    // What the pages still lack belongs to it.
    ours.checkpoint()?;
    each.sort_by(f64::total_cmp);
    bench.note(&format!(
        "{:.0} commits/s, median {:.1} ms, 99 of 100 within {:.1} ms",
        each.len() as f64 / elapsed,
        median(&each),
        each[each.len() * 99 / 100]
    ));
    let changed = (each.len() * MANY * PAGE_BYTES) as f64;
    let row = match (before, bench.device_bytes()?) {
        (Some(before), Some(after)) => {
            alone(work, &[(after - before) as f64 / changed], "bytes", most)
        }
        _ => Row::unmeasured(work, format!("<= {most}"), "the kernel counts no bytes of this disk"),
    };
    bench.push(row);
    Ok(())
}
