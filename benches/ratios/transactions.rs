//! Transactions and snapshots of versioned files.

use std::{
    fs::{self, File, OpenOptions},
    io::IoSlice,
    os::unix::fs::FileExt,
    path::Path,
    time::Instant,
};

use layout::{Header, VersionedState};
use rustix::io::{ReadWriteFlags, pwritev2};
use storage::{Checkpoints, PageCount, PageFile, PageId, Snapshot, VersionedFile};

use crate::{
    Bench, Result,
    data::{self, PAGE_BYTES, PIECE_PAGES, PageOrder, Pieces, first_word},
    raw::RawMap,
    reads::PASSES,
    runner::{Pairs, Run, median, timed, timed_busy},
    table::{Reach, Row, Unit},
};

const COMMIT: &str = "commit of 1,000 pages against flush of a page file";
const ONE: &str = "commit of one page against pwritev2(RWF_DSYNC) of two";
const GROUP: &str = "8 threads, one page each, by update against one after the other";
const HOT: &str = "random hot page of a snapshot, first word, against raw memmap2";
const OPEN: &str = "open and read a page of the versioned file, against one of 64 GiB";
const RECOVERY: &str = "recovery with a full log of 64 MiB against pread of it";

/// The pages that a large commit changes.
const MANY: usize = 1_000;
/// The commits of a run of small ones.
const SMALL_COMMITS: usize = 100;
const THREADS: u64 = 8;
const UPDATES_EACH: u64 = 25;
const UPDATES: usize = 200;
const _: () = assert!(THREADS * UPDATES_EACH == UPDATES as u64);

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if !bench.wants_any(&[COMMIT, ONE, GROUP, HOT, OPEN, RECOVERY]) {
        return Ok(());
    }
    let (ours_path, rival_path) = (bench.path("versioned"), bench.path("rival"));
    let ours = make_versioned(&ours_path, bench.piece_count())?;
    let rival = data::make_mutable(&rival_path, bench.piece_count())?;
    if bench.wants(COMMIT) {
        many_pages(bench, &ours, &rival)?;
    }
    drop(rival);
    if bench.wants(ONE) {
        one_page(bench, &ours, &rival_path)?;
    }
    if bench.wants(GROUP) {
        group(bench, &ours)?;
    }
    if bench.wants(HOT) {
        hot(bench, &ours, &rival_path)?;
    }
    snapshots(bench, &ours)?;
    ours.close()?;
    if bench.wants(OPEN) {
        opening(bench, &ours_path)?;
    }
    if bench.wants(RECOVERY) {
        recovery(bench, &ours_path)?;
    }
    fs::remove_file(ours_path)?;
    fs::remove_file(rival_path)?;
    Ok(())
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
    let order = |round| PageOrder::shuffled(bench.page_count(), MANY, 100 + round as u64);
    let pairs = Pairs::run_hot(
        bench.pairs(),
        |round| {
            let order = order(round);
            bench.settle()?;
            timed(|| {
                let mut transaction = ours.begin()?;
                for &page in order.pages() {
                    transaction.page_mut(page)?.fill(byte(round as u64));
                }
                transaction.commit()?;
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
    let order = PageOrder::shuffled(bench.page_count(), SMALL_COMMITS, 7);
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

fn hot(bench: &mut Bench, ours: &VersionedFile, rival_path: &Path) -> Result<()> {
    let snapshot = ours.snapshot()?;
    snapshot.verify()?;
    let rival = File::open(rival_path)?;
    let raw = RawMap::new(&rival)?;
    let order = PageOrder::shuffled(bench.page_count(), bench.page_count(), 1);
    raw.sum_first_words(&order);
    // Both have all pages in memory; what these say is not compared, since they were changed differently.
    let pairs = Pairs::run_hot(
        bench.pairs(),
        |_| {
            timed_busy(|| {
                for _ in 0..PASSES {
                    std::hint::black_box(sum(&snapshot, &order)?);
                }
                Ok(0)
            })
        },
        |_| {
            timed_busy(|| {
                for _ in 0..PASSES {
                    std::hint::black_box(raw.sum_first_words(&order));
                }
                Ok(0)
            })
        },
    )?;
    let unit = Unit::NanosecondsEach { count: PASSES * order.pages().len() };
    bench.push(Row::of_times(HOT, unit, Reach::TimesTheTime(1.1), &pairs));
    Ok(())
}

/// A byte that tells rounds apart.
fn byte(round: u64) -> u8 {
    round.to_le_bytes()[0]
}

fn sum(snapshot: &Snapshot, order: &PageOrder) -> Result<u64> {
    let mut sum = 0_u64;
    for &page in order.pages() {
        sum = sum.wrapping_add(first_word(snapshot.page(page)?));
    }
    Ok(sum)
}

/// What taking a snapshot costs, and what one keeps over 100 commits; figures without a rival.
fn snapshots(bench: &Bench, ours: &VersionedFile) -> Result<()> {
    const CLONES: u32 = 100_000;
    let started = Instant::now();
    for _ in 0..CLONES {
        std::hint::black_box(ours.snapshot()?);
    }
    let each = started.elapsed() / CLONES;
    let mut after_commit = Vec::new();
    for round in 0..50 {
        let held = ours.snapshot()?;
        let mut transaction = ours.begin()?;
        for &page in PageOrder::shuffled(bench.page_count(), 10, round).pages() {
            transaction.page_mut(page)?[1] = 1;
        }
        transaction.commit()?;
        let started = Instant::now();
        std::hint::black_box(ours.snapshot()?);
        after_commit.push(started.elapsed().as_secs_f64() * 1e6);
        drop(held);
    }
    let held = ours.snapshot()?;
    for round in 0..100 {
        let mut transaction = ours.begin()?;
        for &page in PageOrder::shuffled(bench.page_count(), MANY, 500 + round).pages() {
            transaction.page_mut(page)?[1] = byte(round);
        }
        transaction.commit()?;
    }
    let kept = ours.stats().kept_bytes as f64;
    let newest = ours.snapshot()?;
    let changed: u64 =
        newest.changed_since(held.commit())?.iter().map(|run| run.count().get()).sum();
    let pages_bytes = (changed * PAGE_BYTES as u64) as f64;
    bench.note(&format!(
        "a snapshot: {} ns where nothing was committed (<= 50), {:.1} us after a commit of 10 pages \
         (<= 30); over 100 commits of 1,000 pages it keeps {:.4}x of the pages that changed (<= 1.01)",
        each.as_nanos(),
        median(&after_commit),
        kept / pages_bytes
    ));
    Ok(())
}

/// The rival is a file of 64 GiB, all of it but one page never written.
fn opening(bench: &mut Bench, ours_path: &Path) -> Result<()> {
    let large_path = bench.path("large");
    make_sparse(&large_path)?;
    let open = |path: &Path| -> Result<Run> {
        timed(|| {
            let file = VersionedFile::options().checkpoints(Checkpoints::WhenFull).open(path)?;
            std::hint::black_box(first_word(file.snapshot()?.page(PageId::new(0))?));
            Ok(0)
        })
    };
    let pairs = Pairs::run_hot(bench.pairs(), |_| open(ours_path), |_| open(&large_path))?;
    bench.push(Row::of_times(
        OPEN,
        Unit::NanosecondsEach { count: 1 },
        Reach::TimesTheTime(1.5),
        &pairs,
    ));
    fs::remove_file(large_path)?;
    Ok(())
}

/// A closed file of 64 GiB of pages that were never written, as a commit that only grew it leaves one, without
/// the room on the disk.
fn make_sparse(path: &Path) -> Result<()> {
    let page_count = PageCount::new((64 << 30) / PAGE_BYTES as u64);
    VersionedFile::create(path)?.close()?;
    let made = *Header::parse(&fs::read(path)?)?.superblock();
    let state = made.versioned().ok_or("a new versioned file says so")?;
    let grown =
        made.next_version(page_count, VersionedState { page_count_max: page_count, ..*state })?;
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&Header::encode([Some(&grown), None]), 0)?;
    file.set_len(state.geometry.file_len(page_count)?)?;
    Ok(())
}

/// A copy of the file while its log is nearly full is what a crash leaves.
fn recovery(bench: &mut Bench, ours_path: &Path) -> Result<()> {
    let crashed_path = bench.path("crashed");
    let file = VersionedFile::options().checkpoints(Checkpoints::WhenFull).open(ours_path)?;
    let (mut logged, mut round) = (0, 0);
    while logged < 58 << 20 {
        let mut transaction = file.begin()?;
        for &page in PageOrder::shuffled(bench.page_count(), MANY, 900 + round).pages() {
            transaction.page_mut(page)?[2] = byte(round);
        }
        logged += transaction.commit()?.log_bytes;
        round += 1;
    }
    let pairs = Pairs::run(
        bench.pairs(),
        |_| {
            fs::copy(ours_path, &crashed_path)?;
            bench.settle()?;
            let run = timed(|| {
                let file = VersionedFile::open(&crashed_path)?;
                assert!(file.recovered().is_some_and(|report| report.commits == round));
                std::mem::forget(file);
                Ok(0)
            });
            fs::remove_file(&crashed_path)?;
            run
        },
        |_| {
            let log = File::open(ours_path)?;
            rustix::fs::fadvise(&log, 0, None, rustix::fs::Advice::DontNeed)?;
            timed(|| {
                let mut buffer = vec![0; 1 << 20];
                for piece in 0..64 {
                    log.read_exact_at(&mut buffer, 65_536 + (piece << 20))?;
                }
                Ok(0)
            })
        },
    )?;
    bench.push(Row::of_times(RECOVERY, Unit::Milliseconds, Reach::TimesTheTime(2.0), &pairs));
    file.close()?;
    Ok(())
}
