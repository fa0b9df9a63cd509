//! Changing pages in place: flushing few of many, flushing nothing, growing under borrowed slices.

use std::{cell::RefCell, os::unix::fs::FileExt, time::Instant};

use indicatif::HumanBytes;
use storage::{ByteOffset, FlushReport, PageCount, PageFile, PageId, inspect};

use crate::{
    demo::{
        compare::{Way, medians},
        data::{Files, PAGE_COUNT, PAGE_LEN, first_number, start_of},
        read::Mutable,
        stage::{Stage, Than},
    },
    error::{Error, Result},
    report::Took,
};

const TURNS: usize = 5;

/// Pages changed in one turn.
const CHANGES: u64 = 1_000;

/// Flushes of nothing in one turn.
const CLEAN_FLUSHES: u32 = 100_000;

/// fdatasync calls in one turn.
const SYNCS: u32 = 20;

/// Growths while a slice is held.
const GROWTHS: u32 = 1_000;

/// Shows updates, flushes and growth.
pub(crate) fn show(stage: &Stage, files: &Files, mutable: &Mutable) -> Result<()> {
    scattered(stage, files, mutable)?;
    clean(stage, files, mutable)?;
    growth(stage)
}

fn scattered(stage: &Stage, files: &Files, mutable: &Mutable) -> Result<()> {
    stage.heading("Change one number in 1,000 scattered pages and make that durable")?;
    let seen: RefCell<Option<(FlushReport, Option<u64>)>> = RefCell::default();
    let (mut our_turn, mut their_turn) = (0, 0);
    let [ours, theirs] = medians(
        stage,
        TURNS,
        [
            Way::new("PageFile::flush", || {
                our_turn += 1;
                for page in changed_pages(our_turn) {
                    let mut guard = mutable.file.page_mut(PageId::new(page))?;
                    guard.as_slice_of_mut_at::<u64>(ByteOffset::ZERO, 1)?[0] = our_turn;
                }
                let dirty_bytes = inspect(&mutable.path)?.residency.map(|found| found.dirty_bytes);
                let report = mutable.file.flush()?;
                *seen.borrow_mut() = Some((report, dirty_bytes));
                Ok(report.pages.get())
            }),
            Way::new("pwrite + fdatasync", || {
                their_turn += 1;
                let mut count = 0;
                let mut buffer = [0; PAGE_LEN];
                buffer[..8].copy_from_slice(&u64::to_le_bytes(their_turn));
                for page in changed_pages(their_turn) {
                    files
                        .plain
                        .write_all_at(&buffer, start_of(page) as u64)
                        .map_err(Error::io("write to", &files.plain_path))?;
                    count += 1;
                }
                files.plain.sync_data().map_err(Error::io("make durable", &files.plain_path))?;
                Ok(count)
            }),
        ],
    )?;
    stage.ours("PageFile::page_mut, then one flush", &Took::new(ours))?;
    let than = Than { ours, theirs };
    stage.theirs("pwrite of each page, then fdatasync", &Took::new(theirs), than)?;
    if let Some((report, dirty_bytes)) = seen.into_inner() {
        let kernel = match dirty_bytes {
            Some(bytes) => format!("; the kernel counted {} dirty before", HumanBytes(bytes)),
            None => String::new(),
        };
        stage.remark(&format!(
            "the last flush reports: {} pages in {} runs, {}, {}{kernel}",
            report.pages,
            report.runs,
            HumanBytes(report.bytes),
            Took::new(report.elapsed),
        ))?;
    }
    Ok(())
}

/// Pages far from each other, others in each turn.
fn changed_pages(turn: u64) -> impl Iterator<Item = u64> {
    (0..CHANGES).map(move |step| (step * 65 + turn) % PAGE_COUNT)
}

fn clean(stage: &Stage, files: &Files, mutable: &Mutable) -> Result<()> {
    stage.heading("Flush where nothing was changed")?;
    let [ours, theirs] = medians(
        stage,
        TURNS,
        [
            Way::new("PageFile::flush", || {
                let mut pages = 0;
                for _ in 0..CLEAN_FLUSHES {
                    pages += mutable.file.flush()?.pages.get();
                }
                Ok(pages)
            }),
            Way::new("fdatasync", || {
                for _ in 0..SYNCS {
                    let synced = files.plain.sync_data();
                    synced.map_err(Error::io("make durable", &files.plain_path))?;
                }
                Ok(0)
            }),
        ],
    )?;
    stage.ours("PageFile::flush: no system call", &Took::each(ours, CLEAN_FLUSHES))?;
    let than = Than { ours: ours / CLEAN_FLUSHES, theirs: theirs / SYNCS };
    stage.theirs("fdatasync", &Took::each(theirs, SYNCS), than)
}

fn growth(stage: &Stage) -> Result<()> {
    stage.heading("Grow a file 1,000 times by 16 pages while a slice of its first page is held")?;
    let file = PageFile::create(stage.path("growing"))?;
    file.grow(PageCount::new(1))?;
    file.page_mut(PageId::new(0))?.as_slice_of_mut::<u64>()?[0] = 42;
    let held = file.page(PageId::new(0))?;
    let address = held.as_ptr();
    let started = Instant::now();
    for _ in 0..GROWTHS {
        stage.check()?;
        file.grow(PageCount::new(16))?;
    }
    let elapsed = started.elapsed();
    let now = file.page(PageId::new(0))?;
    if now.as_ptr() != address || first_number(&held) != 42 {
        return Err(Error::Unexpected { expected: "a page to stay where it is" });
    }
    stage.ours("PageFile::grow, disk space reserved, a growth", &Took::each(elapsed, GROWTHS))?;
    stage.remark(&format!(
        "the slice is still at {address:p} and still good; a plain mapping would have had to be made anew"
    ))
}
