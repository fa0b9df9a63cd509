//! Reading: hot pages at random and in order, and pages touched for the first time.

use std::{fs::File, os::unix::fs::FileExt};

use storage::{PageFile, SealedFile};

use crate::{
    Bench, Result,
    data::{
        self, DATA_START, PAGE_BYTES, PIECE_BYTES, PageOrder, file_offset, first_word, sum_words,
    },
    raw::{self, RawMap},
    runner::{Pairs, Run, timed_busy},
    table::{Reach, Row, Unit},
};

const SEALED: &str = "random sealed page, first word, against raw memmap2";
const LATCHED: &str = "the same through PageRef of a mutable file";
const PREAD: &str = "random sealed page against pread of 4 KiB";
const SUM: &str = "sequential typed sum against raw memmap2";
const SUM_PREAD: &str = "sequential typed sum against pread of 1 MiB";
const FIRST_RANDOM: &str = "first touch with checksum, random, against raw + crc-fast";
const FIRST_ORDERED: &str = "first touch with checksum, in order, against raw + crc-fast";

/// A pass of random reads takes some milliseconds; this many make a run.
pub(crate) const PASSES: usize = 4;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if !bench.wants_any(&[SEALED, PREAD, SUM, SUM_PREAD, FIRST_RANDOM, FIRST_ORDERED, LATCHED]) {
        return Ok(());
    }
    let path = bench.path("sealed");
    let sealed = data::make_sealed(&path, bench.piece_count())?;
    let file = File::open(&path)?;
    let raw = RawMap::new(&file)?;
    // Touches every page of both mappings.
    sealed.pages(..)?;
    sum_words(bytemuck::cast_slice(raw.data(bench.data_len())));
    let order = PageOrder::shuffled(bench.page_count(), bench.page_count(), 1);

    if bench.wants(SEALED) {
        let pairs = Pairs::run_hot(
            bench.pairs(),
            |_| timed_busy(|| passes(|| sum_sealed(&sealed, &order))),
            |_| timed_busy(|| passes(|| Ok(raw.sum_first_words(&order)))),
        )?;
        let unit = Unit::NanosecondsEach { count: PASSES * order.pages().len() };
        bench.push(Row::of_times(SEALED, unit, Reach::TimesTheTime(1.2), &pairs));
    }
    if bench.wants(LATCHED) {
        latched(bench, &order)?;
    }
    if bench.wants(PREAD) {
        let pairs = Pairs::run_hot(
            bench.pairs(),
            // Each after a pass of its own that does not count: what the other one left in the
            // processor's caches is not what is compared.
            |_| {
                sum_sealed(&sealed, &order)?;
                timed_busy(|| sum_sealed(&sealed, &order))
            },
            |_| {
                pread_first_words(&file, &order)?;
                pread_first_words(&file, &order)
            },
        )?;
        let unit = Unit::NanosecondsEach { count: order.pages().len() };
        bench.push(Row::of_times(PREAD, unit, Reach::TimesFaster(25.0), &pairs));
    }
    let len = bench.data_len();
    let unit = Unit::GigabytesPerSecond { bytes: len as u64 };
    if bench.wants(SUM) {
        let pairs = Pairs::run_hot(
            bench.pairs(),
            |_| timed_busy(|| Ok(sum_words(sealed.as_slice_of(..)?))),
            |_| timed_busy(|| Ok(sum_words(bytemuck::cast_slice(raw.data(len))))),
        )?;
        bench.push(Row::of_times(SUM, unit, Reach::TimesTheTime(1.05), &pairs));
    }
    if bench.wants(SUM_PREAD) {
        let pairs = Pairs::run_hot(
            bench.pairs(),
            |_| timed_busy(|| Ok(sum_words(sealed.as_slice_of(..)?))),
            |_| pread_sum(&file, len),
        )?;
        bench.push(Row::of_times(SUM_PREAD, unit, Reach::TimesFaster(1.6), &pairs));
    }
    drop((sealed, raw));
    first_touch(bench, &order)?;
    std::fs::remove_file(path)?;
    Ok(())
}

/// Pages that nobody touched through this mapping before; the page cache has them all. The rival
/// does by hand what ours does by itself.
fn first_touch(bench: &mut Bench, random: &PageOrder) -> Result<()> {
    let path = bench.path("sealed");
    let file = File::open(&path)?;
    let len = bench.data_len();
    let unit = Unit::GigabytesPerSecond { bytes: len as u64 };
    if bench.wants(FIRST_RANDOM) {
        let pairs = Pairs::run_hot(
            bench.pairs(),
            |_| {
                let sealed = SealedFile::open(&path)?;
                timed_busy(|| sum_sealed(&sealed, random))
            },
            |_| {
                let raw = RawMap::new(&file)?;
                timed_busy(|| Ok(raw.sum_checked(random)))
            },
        )?;
        let reach = Reach::GigabytesPerSecond { bytes: len as u64, reach: 9.0 };
        bench.push(Row::of_times(FIRST_RANDOM, unit, reach, &pairs));
    }
    if bench.wants(FIRST_ORDERED) {
        let pairs = Pairs::run_hot(
            bench.pairs(),
            |_| {
                let sealed = SealedFile::open(&path)?;
                timed_busy(|| Ok(first_word(sealed.pages(..)?)))
            },
            |_| {
                let raw = RawMap::new(&file)?;
                timed_busy(|| {
                    let data = raw.data(len);
                    for page in data.chunks_exact(PAGE_BYTES) {
                        std::hint::black_box(raw::crc32c(page));
                    }
                    Ok(first_word(data))
                })
            },
        )?;
        let reach = Reach::GigabytesPerSecond { bytes: len as u64, reach: 11.0 };
        bench.push(Row::of_times(FIRST_ORDERED, unit, reach, &pairs));
    }
    Ok(())
}

/// Both map the same file, so they read the very same memory.
fn latched(bench: &mut Bench, order: &PageOrder) -> Result<()> {
    let path = bench.path("mutable");
    let mutable = data::make_mutable(&path, bench.piece_count())?;
    let raw = RawMap::new(&File::open(&path)?)?;
    let pairs = Pairs::run_hot(
        bench.pairs(),
        |_| timed_busy(|| passes(|| sum_latched(&mutable, order))),
        |_| timed_busy(|| passes(|| Ok(raw.sum_first_words(order)))),
    )?;
    let unit = Unit::NanosecondsEach { count: PASSES * order.pages().len() };
    bench.push(Row::of_times(LATCHED, unit, Reach::TimesTheTime(2.5), &pairs));
    std::fs::remove_file(path)?;
    Ok(())
}

pub(crate) fn passes(mut pass: impl FnMut() -> Result<u64>) -> Result<u64> {
    let mut sum = 0_u64;
    for _ in 0..PASSES {
        sum = sum.wrapping_add(pass()?);
    }
    Ok(sum)
}

pub(crate) fn sum_sealed(sealed: &SealedFile, order: &PageOrder) -> Result<u64> {
    let mut sum = 0_u64;
    for &page in order.pages() {
        sum = sum.wrapping_add(first_word(sealed.page(page)?));
    }
    Ok(sum)
}

pub(crate) fn sum_latched(file: &PageFile, order: &PageOrder) -> Result<u64> {
    let mut sum = 0_u64;
    for &page in order.pages() {
        sum = sum.wrapping_add(first_word(&file.page(page)?));
    }
    Ok(sum)
}

fn pread_first_words(file: &File, order: &PageOrder) -> Result<Run> {
    let mut buffer = raw::anonymous(PAGE_BYTES)?;
    buffer.fill(1);
    timed_busy(|| {
        let mut sum = 0_u64;
        for &page in order.pages() {
            file.read_exact_at(&mut buffer, file_offset(page))?;
            sum = sum.wrapping_add(first_word(&buffer));
        }
        Ok(sum)
    })
}

fn pread_sum(file: &File, len: usize) -> Result<Run> {
    let mut buffer = raw::anonymous(PIECE_BYTES)?;
    buffer.fill(1);
    timed_busy(|| {
        let mut sum = 0_u64;
        for start in (DATA_START..DATA_START + len).step_by(PIECE_BYTES) {
            file.read_exact_at(&mut buffer, start as u64)?;
            sum = sum.wrapping_add(sum_words(bytemuck::cast_slice(&buffer)));
        }
        Ok(sum)
    })
}
