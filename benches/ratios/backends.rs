//! The asynchronous layer: a hot sealed page read through it, against what one would use instead.

use std::{fs::File, io::SeekFrom, path::Path, sync::Arc, time::Instant};

use pagestore::RawFile;
use storage::{DynBackend, Limits, MmapBackend, StorageBackend};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::{
    Bench, Result,
    data::{PAGE_BYTES, PIECE_BYTES, PageOrder, Pieces, first_word},
    runner::{Pairs, Run},
    table::{Reach, Row, Unit},
};

const TOKIO: &str = "async read of a hot sealed 4 KiB page against tokio::fs";
const OVERHEAD: &str = "async read over the synchronous borrow";
const ERASED: &str = "the same through Arc<dyn ErasedBackend>";

/// The rival takes some 50 us a page.
const PAGES: usize = 2_000;
/// Ours does the same pages so often, to be long enough for the clock.
const REPEATS: u32 = 50;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if !bench.wants_any(&[TOKIO, OVERHEAD, ERASED]) {
        return Ok(());
    }
    let root = bench.path("backend");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let backend = MmapBackend::open(&root, Limits::default())?;
    let path = "folder/hot";
    runtime.block_on(make(&backend, path, bench.piece_count()))?;
    let order = PageOrder::shuffled(bench.page_count(), PAGES, 3);
    let unit = Unit::NanosecondsEach { count: order.pages().len() };

    // Every page, so that each is in memory.
    runtime.block_on(async {
        let all = PageOrder::shuffled(bench.page_count(), bench.page_count(), 4);
        sum(&backend, path, &all).await
    })?;
    let before = backend.stats().reads;

    if bench.wants(TOKIO) {
        let pairs = Pairs::run_hot(
            bench.pairs(),
            |_| repeated(|| runtime.block_on(sum(&backend, path, &order))),
            |_| once(|| runtime.block_on(sum_tokio(&root.join(path), &order))),
        )?;
        bench.push(Row::of_times(TOKIO, unit, Reach::TimesFaster(100.0), &pairs));
    }
    let after = backend.stats().reads;
    let (count, at_once) = (after.count - before.count, after.at_once - before.at_once);
    bench.note(&format!("{} of {count} reads went to another thread", count - at_once));

    let sealed = RawFile::open(File::open(root.join(path))?, &root.join(path))?;
    sealed.view(0, bench.data_len())?;
    let borrowed = || {
        let mut total = 0_u64;
        for &page in order.pages() {
            let view = sealed.view(page.get() * PAGE_BYTES as u64, PAGE_BYTES)?;
            total = total.wrapping_add(first_word(&view));
        }
        Ok(total)
    };
    if bench.wants(OVERHEAD) {
        let pairs = Pairs::run_hot(
            bench.pairs(),
            |_| repeated(|| runtime.block_on(sum(&backend, path, &order))),
            |_| repeated(borrowed),
        )?;
        bench.push(Row::of_difference(OVERHEAD, order.pages().len(), 150.0, &pairs));
    }
    if bench.wants(ERASED) {
        let erased: DynBackend = Arc::new(backend.clone());
        let pairs = Pairs::run_hot(
            bench.pairs(),
            |_| repeated(|| runtime.block_on(sum(&erased, path, &order))),
            |_| repeated(borrowed),
        )?;
        bench.push(Row::of_difference(ERASED, order.pages().len(), 150.0, &pairs));
    }
    drop((sealed, backend));
    std::fs::remove_dir_all(root)?;
    Ok(())
}

/// Makes a sealed file of as many pieces of 1 MiB.
pub(crate) async fn make(backend: &MmapBackend, path: &str, piece_count: usize) -> Result<()> {
    let mut pieces = Pieces::new();
    for number in 0..piece_count {
        let offset = number * PIECE_BYTES;
        backend.write(path, offset as u64, pieces.get(number)).await?;
    }
    Ok(backend.seal(path).await?)
}

/// Adds up the first words of pages.
async fn sum<B>(backend: &B, path: &str, order: &PageOrder) -> Result<u64>
where
    B: StorageBackend,
{
    let mut total = 0_u64;
    for &page in order.pages() {
        let bytes = backend.read(path, page.get() * PAGE_BYTES as u64, PAGE_BYTES).await?;
        total = total.wrapping_add(first_word(&bytes));
    }
    Ok(total)
}

async fn sum_tokio(path: &Path, order: &PageOrder) -> Result<u64> {
    let mut file = tokio::fs::File::open(path).await?;
    let mut page_bytes = vec![0; PAGE_BYTES];
    let mut total = 0_u64;
    for &page in order.pages() {
        file.seek(SeekFrom::Start(page.get() * PAGE_BYTES as u64)).await?;
        file.read_exact(&mut page_bytes).await?;
        total = total.wrapping_add(first_word(&page_bytes));
    }
    Ok(total)
}

/// Times work that is too short for the clock: does it many times, and gives the time of one.
fn repeated(mut work: impl FnMut() -> Result<u64>) -> Result<Run> {
    let started = Instant::now();
    let mut answer = 0;
    for _ in 0..REPEATS {
        answer = work()?;
    }
    Ok(Run { elapsed: started.elapsed() / REPEATS, answer })
}

fn once(work: impl FnOnce() -> Result<u64>) -> Result<Run> {
    let started = Instant::now();
    let answer = work()?;
    Ok(Run { elapsed: started.elapsed(), answer })
}
