//! What being safe from page faults costs where there are none: the guard on hot pages, and bringing
//! pages in before they are borrowed. The rivals are our own files without it.

use std::path::Path;

use storage::{Access, Guard, PageFile, PageFileOptions, Populate, SealedFile};

use crate::{
    Bench, Result,
    data::{self, PAGE_BYTES, PageOrder, first_word},
    reads::{PASSES, passes, sum_latched, sum_sealed},
    runner::{Pairs, Run, timed_busy},
    table::{Reach, Row, Unit},
};

const GUARD_SEALED: &str = "fault guard, random sealed page, against none";
const GUARD_LATCHED: &str = "fault guard, random PageRef, against none";
const POPULATE_RANDOM: &str = "populate before borrow, random PageRef, against on touch";
const POPULATE_ORDERED: &str = "populate before borrow, all pages at once, against on touch";

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    sealed(bench)?;
    if !bench.wants_any(&[GUARD_LATCHED, POPULATE_RANDOM, POPULATE_ORDERED]) {
        return Ok(());
    }
    let path = bench.path("faults-mutable");
    // By the default access, so that what the page cache holds of it is as our own files are.
    drop(data::make_mutable(&path, bench.piece_count())?);
    drop(PageFile::open(&path)?);
    latched(bench, &path)?;
    populate(bench, &path)?;
    std::fs::remove_file(path)?;
    Ok(())
}

/// Two handles on one file, so both read the very same memory.
fn sealed(bench: &mut Bench) -> Result<()> {
    if !bench.wants(GUARD_SEALED) {
        return Ok(());
    }
    let path = bench.path("faults-sealed");
    let guarded = data::make_sealed(&path, bench.piece_count())?;
    let bare = SealedFile::options().guard(Guard::Off).open(&path)?;
    let order = PageOrder::shuffled(bench.page_count(), bench.page_count(), 5);
    // Touches and verifies every page of both mappings.
    guarded.pages(..)?;
    bare.pages(..)?;
    let pairs = Pairs::run_hot(
        bench.pairs(),
        |_| timed_busy(|| passes(|| sum_sealed(&guarded, &order))),
        |_| timed_busy(|| passes(|| sum_sealed(&bare, &order))),
    )?;
    let unit = Unit::NanosecondsEach { count: PASSES * order.pages().len() };
    bench.push(Row::of_times(GUARD_SEALED, unit, Reach::TimesTheTime(1.05), &pairs));
    std::fs::remove_file(path)?;
    Ok(())
}

/// A mutable file has one handle at a time, so each side opens it anew; nothing of that, and of
/// touching its pages for the first time, is timed.
fn latched(bench: &mut Bench, path: &Path) -> Result<()> {
    if !bench.wants(GUARD_LATCHED) {
        return Ok(());
    }
    let order = PageOrder::shuffled(bench.page_count(), bench.page_count(), 6);
    let side = |guard| -> Result<Run> {
        let file = options().guard(guard).open(path)?;
        sum_latched(&file, &order)?;
        timed_busy(|| passes(|| sum_latched(&file, &order)))
    };
    let pairs = Pairs::run_hot(bench.pairs(), |_| side(Guard::Installed), |_| side(Guard::Off))?;
    let unit = Unit::NanosecondsEach { count: PASSES * order.pages().len() };
    bench.push(Row::of_times(GUARD_LATCHED, unit, Reach::TimesTheTime(1.05), &pairs));
    Ok(())
}

/// Pages in the page cache that nobody touched through this mapping before.
fn populate(bench: &mut Bench, path: &Path) -> Result<()> {
    let unit = Unit::NanosecondsEach { count: bench.page_count() };
    if bench.wants(POPULATE_RANDOM) {
        let order = PageOrder::shuffled(bench.page_count(), bench.page_count(), 7);
        let side = |populate| -> Result<Run> {
            let file = options().populate(populate).open(path)?;
            timed_busy(|| sum_latched(&file, &order))
        };
        let pairs = Pairs::run_hot(
            bench.pairs(),
            |_| side(Populate::BeforeBorrow),
            |_| side(Populate::OnTouch),
        )?;
        bench.push(Row::of_times(POPULATE_RANDOM, unit, Reach::TimesTheTime(2.0), &pairs));
    }
    if bench.wants(POPULATE_ORDERED) {
        let side = |populate| -> Result<Run> {
            let file = options().populate(populate).open(path)?;
            timed_busy(|| {
                let pages = file.pages(..)?;
                let words = pages.chunks_exact(PAGE_BYTES).map(first_word);
                Ok(words.fold(0, u64::wrapping_add))
            })
        };
        let pairs = Pairs::run_hot(
            bench.pairs(),
            |_| side(Populate::BeforeBorrow),
            |_| side(Populate::OnTouch),
        )?;
        bench.push(Row::of_times(POPULATE_ORDERED, unit, Reach::TimesTheTime(1.0), &pairs));
    }
    Ok(())
}

/// Without the sync and the split of large folios that opening for random access begins with.
fn options() -> PageFileOptions {
    PageFile::options().access(Access::Normal)
}
