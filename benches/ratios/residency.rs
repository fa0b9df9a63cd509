//! What a budget costs where nothing is evicted, and reading what is not in memory. Before each run
//! of a cold row nothing of the file is in memory: both sides read the same file, and our handle's
//! `evict` drops it from the page cache.
//!
//! Each side of a cold row reads twice in a row, and the second time counts. A virtual machine may give
//! memory that was freed in large pieces back to its host, and gets it again by page faults when it is
//! next used: 0.5 s a GiB here. Which side frees large pieces, and which one is the next to need memory,
//! would decide the row otherwise.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use storage::{Access, PageId, ResidencyBudget, SealedFile};

use crate::{
    Bench, Result,
    data::{self, DATA_START, PAGE_BYTES, PIECE_BYTES, PIECE_PAGES, PageOrder, sum_words},
    raw::{self, RawMap, crc32c},
    reads::{PASSES, passes, sum_sealed},
    runner::{Pairs, Run, timed, timed_busy},
    table::{Reach, Row, Unit},
};

const HOT: &str = "random sealed page under a budget, against none";
const SCAN: &str = "cold scan of a sealed file, against pread of 1 MiB";
const SCAN_RAW: &str = "cold scan of a sealed file, against raw memmap2";
const SCAN_CRC: &str = "cold scan of a sealed file, against pread of 1 MiB + crc-fast";
const SCAN_BUDGET: &str = "cold scan under a budget of a quarter, against pread of 1 MiB";
const SCAN_PAGES: &str =
    "cold scan page by page under a budget of a quarter, against pread of 1 MiB";
const SCAN_BOTH: &str = "cold scan under a budget of a quarter, against none";

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if !bench.wants_any(&[HOT, SCAN, SCAN_RAW, SCAN_CRC, SCAN_BUDGET, SCAN_PAGES, SCAN_BOTH]) {
        return Ok(());
    }
    let path = bench.path("residency");
    drop(data::make_sealed(&path, bench.piece_count())?);
    hot(bench, &path)?;
    let len = bench.data_len();
    let quarter = ResidencyBudget::new(len as u64 / 4)?;
    let free = SealedFile::options().access(Access::Sequential).open(&path)?;
    let file = File::open(&path)?;
    let cold = |work: &dyn Fn() -> Result<u64>| -> Result<Run> {
        free.evict(..)?;
        work()?;
        free.evict(..)?;
        timed(work)
    };
    let without = || cold(&|| sum_pieces(&free));
    let pread = || cold(&|| pread_pieces(&file, len, |_| {}));
    // Mapped anew for each run: what is mapped cannot be evicted.
    let mapped = || cold(&|| Ok(sum_words(bytemuck::cast_slice(RawMap::new(&file)?.data(len)))));
    let checked = || cold(&|| pread_pieces(&file, len, check_pages));
    // Opened for each run: what is charged is given back, and dropped, when it is closed.
    let within = |scan: fn(&SealedFile) -> Result<u64>| -> Result<Run> {
        cold(&|| {
            let options = SealedFile::options().access(Access::Sequential).budget(&quarter);
            let sealed = options.open(&path)?;
            let sum = scan(&sealed)?;
            let resident_bytes = quarter.stats().resident_bytes;
            assert!(resident_bytes <= quarter.limit_bytes(), "within the budget: {resident_bytes}");
            Ok(sum)
        })
    };
    let unit = Unit::GigabytesPerSecond { bytes: len as u64 };
    let mut row = |work, reach, ours: &dyn Fn() -> Result<Run>, rival: &dyn Fn() -> Result<Run>| {
        if bench.wants(work) {
            let pairs = Pairs::run_hot(bench.pairs(), |_| ours(), |_| rival())?;
            bench.push(Row::of_times(work, unit, Reach::TimesTheTime(reach), &pairs));
        }
        Result::Ok(())
    };
    row(SCAN, 1.0, &without, &pread)?;
    row(SCAN_RAW, 1.0, &without, &mapped)?;
    row(SCAN_CRC, 1.0, &without, &checked)?;
    row(SCAN_BUDGET, 1.0, &|| within(sum_pieces), &pread)?;
    row(SCAN_PAGES, 1.0, &|| within(sum_pages), &pread)?;
    row(SCAN_BOTH, 1.1, &|| within(sum_pieces), &without)?;
    std::fs::remove_file(path)?;
    Ok(())
}

/// Two handles on one file, so both read the very same memory.
fn hot(bench: &mut Bench, path: &Path) -> Result<()> {
    if !bench.wants(HOT) {
        return Ok(());
    }
    let budget = ResidencyBudget::new(2 * bench.data_len() as u64)?;
    let within = SealedFile::options().budget(&budget).open(path)?;
    let without = SealedFile::open(path)?;
    let order = PageOrder::shuffled(bench.page_count(), bench.page_count(), 8);
    // Touches and verifies every page of both mappings.
    within.pages(..)?;
    without.pages(..)?;
    let pairs = Pairs::run_hot(
        bench.pairs(),
        |_| timed_busy(|| passes(|| sum_sealed(&within, &order))),
        |_| timed_busy(|| passes(|| sum_sealed(&without, &order))),
    )?;
    let unit = Unit::NanosecondsEach { count: PASSES * order.pages().len() };
    bench.push(Row::of_times(HOT, unit, Reach::TimesTheTime(1.05), &pairs));
    Ok(())
}

/// The sum of all words, borrowed a piece at a time.
fn sum_pieces(sealed: &SealedFile) -> Result<u64> {
    let mut sum = 0_u64;
    for start in (0..sealed.page_count().get()).step_by(PIECE_PAGES) {
        let range = PageId::new(start)..PageId::new(start + PIECE_PAGES as u64);
        sum = sum.wrapping_add(sum_words(sealed.as_slice_of(range)?));
    }
    Ok(sum)
}

/// The sum of all words, borrowed a page at a time.
fn sum_pages(sealed: &SealedFile) -> Result<u64> {
    let mut sum = 0_u64;
    for page in 0..sealed.page_count().get() {
        sum = sum.wrapping_add(sum_words(bytemuck::cast_slice(sealed.page(PageId::new(page))?)));
    }
    Ok(sum)
}

/// What a sealed file does for its reader, by hand.
fn check_pages(bytes: &[u8]) {
    for page in bytes.chunks(PAGE_BYTES) {
        std::hint::black_box(crc32c(page));
    }
}

fn pread_pieces(file: &File, len: usize, check: fn(&[u8])) -> Result<u64> {
    let mut buffer = raw::anonymous(PIECE_BYTES)?;
    let mut sum = 0_u64;
    for start in (0..len).step_by(PIECE_BYTES) {
        file.read_exact_at(&mut buffer, (DATA_START + start) as u64)?;
        check(&buffer);
        sum = sum.wrapping_add(sum_words(bytemuck::cast_slice(&buffer)));
    }
    Ok(sum)
}

const _: () = assert!(PIECE_PAGES * PAGE_BYTES == PIECE_BYTES);
