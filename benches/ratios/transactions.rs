//! Transactions and snapshots of versioned files.
//!
//! All rows have a file of at most 512 MiB, and, where they wait for the disk, all cores: a versioned file has
//! threads of its own.

mod opening;
mod snapshots;
mod sustained;

use std::{
    fs::{self, OpenOptions},
    io::IoSlice,
    path::Path,
};

use rustix::{
    io::{ReadWriteFlags, pwritev2},
    thread::sched_setaffinity,
};
use storage::{PageCount, PageFile, PageId, VersionedFile};

use crate::{
    Bench, Result,
    data::{self, PAGE_BYTES, PIECE_PAGES, PageOrder, Pieces},
    runner::{Pairs, timed},
    stay_on_this_core,
    table::{Reach, Row, Unit},
};

const COMMIT: &str = "transactions: commit of 1,000 pages against flush of a page file";
const ONE: &str = "transactions: commit of one page against pwritev2(RWF_DSYNC) of two";
const GROUP: &str = "transactions: 8 threads, one page each, by update against one after the other";

/// The most pages of a file here: 512 MiB.
const PAGES_MAX: usize = 131_072;
/// The pages that a large commit changes.
const MANY: usize = 1_000;
/// The commits of a run of small ones.
const SMALL_COMMITS: usize = 100;
const THREADS: u64 = 8;
const UPDATES_EACH: u64 = 25;
const UPDATES: usize = 200;
const _: () = assert!(THREADS * UPDATES_EACH == UPDATES as u64);

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let all = [COMMIT, ONE, GROUP];
    let all = all.iter().chain(&snapshots::ROWS).chain(&opening::ROWS).chain(&sustained::ROWS);
    let all: Vec<_> = all.copied().collect();
    if !bench.wants_any(&all) {
        return Ok(());
    }
    sched_setaffinity(None, bench.cores())?;
    let (ours_path, rival_path) = (bench.path("versioned"), bench.path("rival"));
    let ours = make_versioned(&ours_path, page_count(bench) / PIECE_PAGES)?;
    if bench.wants(COMMIT) {
        let rival = data::make_mutable(&rival_path, page_count(bench) / PIECE_PAGES)?;
        many_pages(bench, &ours, &rival)?;
        drop(rival);
        fs::remove_file(&rival_path)?;
    }
    if bench.wants(ONE) {
        fs::write(&rival_path, vec![0; SMALL_COMMITS * 2 * PAGE_BYTES])?;
        one_page(bench, &ours, &rival_path)?;
        fs::remove_file(&rival_path)?;
    }
    if bench.wants(GROUP) {
        group(bench, &ours)?;
    }
    snapshots::run(bench, &ours, &ours_path)?;
    sustained::run(bench, &ours)?;
    ours.close()?;
    opening::run(bench, &ours_path)?;
    fs::remove_file(ours_path)?;
    stay_on_this_core()
}

/// The pages of a file here.
fn page_count(bench: &Bench) -> usize {
    bench.page_count().min(PAGES_MAX)
}

/// Changes pages by one commit.
fn change(file: &VersionedFile, order: &PageOrder, round: u64) -> Result<u64> {
    let mut transaction = file.begin()?;
    for &page in order.pages() {
        transaction.page_mut(page)?.fill(byte(round));
    }
    Ok(transaction.commit()?.log_bytes)
}

/// A byte that tells rounds apart.
fn byte(round: u64) -> u8 {
    round.to_le_bytes()[0]
}

/// The pages that `make_mutable` writes, by one commit for each MiB, and durable in their places.
fn make_versioned(path: &Path, piece_count: usize) -> Result<VersionedFile> {
    let file = VersionedFile::create(path)?;
    let mut pieces = Pieces::new();
    for number in 0..piece_count {
        let mut transaction = file.begin()?;
        let added = transaction.grow(PageCount::new(PIECE_PAGES as u64))?;
        transaction.pages_mut(added.start()..added.end())?.copy_from_slice(pieces.get(number));
        transaction.commit()?;
    }
    file.checkpoint()?;
    Ok(file)
}

fn many_pages(bench: &mut Bench, ours: &VersionedFile, rival: &PageFile) -> Result<()> {
    let order = |round| PageOrder::shuffled(page_count(bench), MANY, 100 + round as u64);
    let pairs = Pairs::run_hot(
        bench.pairs(),
        |round| {
            let order = order(round);
            bench.settle()?;
            timed(|| {
                change(ours, &order, round as u64)?;
                Ok(round as u64)
            })
        },
        |round| {
            let order = order(round);
            bench.settle()?;
            timed(|| {
                for &page in order.pages() {
                    rival.page_mut(page)?.fill(byte(round as u64));
                }
                rival.flush()?;
                Ok(round as u64)
            })
        },
    )?;
    bench.push(Row::of_times(COMMIT, Unit::Milliseconds, Reach::TimesTheTime(0.35), &pairs));
    Ok(())
}

/// The rival writes as many bytes durably, to a place that was written before, and no more.
fn one_page(bench: &mut Bench, ours: &VersionedFile, rival_path: &Path) -> Result<()> {
    let rival = OpenOptions::new().write(true).open(rival_path)?;
    let two = [7; 2 * PAGE_BYTES];
    let order = PageOrder::shuffled(page_count(bench), SMALL_COMMITS, 7);
    let pairs = Pairs::run_hot(
        bench.pairs(),
        |round| {
            bench.settle()?;
            timed(|| {
                for &page in order.pages() {
                    let mut transaction = ours.begin()?;
                    transaction.page_mut(page)?[0] = byte(round as u64);
                    transaction.commit()?;
                }
                Ok(0)
            })
        },
        |_| {
            bench.settle()?;
            timed(|| {
                for number in 0..SMALL_COMMITS {
                    let offset = (number * two.len()) as u64;
                    let parts = [IoSlice::new(&two)];
                    let count = pwritev2(&rival, &parts, offset, ReadWriteFlags::DSYNC)?;
                    assert_eq!(count, two.len());
                }
                Ok(0)
            })
        },
    )?;
    let unit = Unit::NanosecondsEach { count: SMALL_COMMITS };
    bench.push(Row::of_times(ONE, unit, Reach::TimesTheTime(1.2), &pairs));
    Ok(())
}

fn group(bench: &mut Bench, ours: &VersionedFile) -> Result<()> {
    let change = |page: u64, value: u64| -> storage::Result<()> {
        ours.update(|transaction| {
            transaction.page_mut(PageId::new(page))?[..8].copy_from_slice(&value.to_le_bytes());
            Ok(())
        })
    };
    let all = THREADS * UPDATES_EACH;
    let pairs = Pairs::run_hot(
        bench.pairs(),
        |_| {
            bench.settle()?;
            timed(|| {
                std::thread::scope(|scope| {
                    let each = |thread| {
                        let change = &change;
                        scope.spawn(move || (0..UPDATES_EACH).try_for_each(|n| change(thread, n)))
                    };
                    let threads: Vec<_> = (0..THREADS).map(each).collect();
                    threads
                        .into_iter()
                        .try_for_each(|thread| thread.join().expect("an update does not panic"))
                })?;
                Ok(all)
            })
        },
        |_| {
            bench.settle()?;
            timed(|| {
                (0..all).try_for_each(|n| change(n % THREADS, n))?;
                Ok(all)
            })
        },
    )?;
    let unit = Unit::NanosecondsEach { count: UPDATES };
    bench.push(Row::of_times(GROUP, unit, Reach::TimesFaster(4.0), &pairs));
    Ok(())
}
