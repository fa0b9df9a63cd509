//! `FileBuffer`: hits, small writes, and reading in order, over positioned reads and writes; updates over
//! mapped files against these.

use std::{
    fs::{File, OpenOptions},
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::Barrier,
    thread,
    time::Instant,
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use storage::{
    AsyncFile, FileBuffer, FileBufferOptions, Limits, MmapBackend, PosixBackend, StorageBackend,
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    Bench, Result,
    data::{PAGE_BYTES, PIECE_BYTES, Pieces, first_word, sum_words},
    raw,
    runner::{Pairs, Run, timed},
    table::{Reach, Row, Unit},
};

const HIT: &str = "FileBuffer hit of 4 KiB against pread";
const TWO: &str = "FileBuffer hits, two threads against one";
const SMALL: &str = "10,000 writes of 100 bytes + flush against pwrite each, one fdatasync";
const SMALL_SYNC: &str = "10,000 writes of 100 bytes + flush against pwrite and fdatasync each";
const UPDATES: &str = "8-byte updates in a FileBuffer over mapped files against over posixio";
const ORDERED: &str = "posixio read in order, read ahead, against pread of 1 MiB";

const WRITES: usize = 10_000;
const WRITE_BYTES: usize = 100;
/// A sync for each write takes some milliseconds each, so the rival does a hundredth of the writes.
const SYNCED_WRITES: usize = WRITES / 100;
/// Passes over them in a run.
const HIT_PASSES: usize = 100;
/// They fit the second level of a processor's cache: what is measured is the way to a block.
const HOT_BLOCKS: u64 = 256;

type Buffer = FileBuffer<PosixBackend>;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if !bench.wants_any(&[HIT, TWO, SMALL, SMALL_SYNC, UPDATES, ORDERED]) {
        return Ok(());
    }
    let root = bench.path("posixio");
    // Its threads may run on any core, as in a program.
    let this_core = sched_getaffinity(None)?;
    sched_setaffinity(None, &all_cores())?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let backend = PosixBackend::open(&root, Limits::default())?;
    let done = rows(bench, &runtime, &backend, &root);
    sched_setaffinity(None, &this_core)?;
    done?;
    drop(backend);
    std::fs::remove_dir_all(root)?;
    Ok(())
}

fn rows(bench: &mut Bench, runtime: &Runtime, backend: &PosixBackend, root: &Path) -> Result<()> {
    runtime.block_on(async {
        let mut pieces = Pieces::new();
        for number in 0..bench.piece_count() {
            let offset = number * PIECE_BYTES;
            backend.write("data", offset as u64, pieces.get(number)).await?;
        }
        Ok::<_, Box<dyn std::error::Error>>(backend.sync("data").await?)
    })?;
    hits(bench, runtime, backend, root)?;
    small_writes(bench, runtime, backend, root)?;
    updates(bench, runtime, backend)?;
    in_order(bench, runtime, backend, root)
}

fn open(
    runtime: &Runtime,
    backend: &PosixBackend,
    path: &str,
    options: FileBufferOptions,
) -> Result<Buffer> {
    let file = AsyncFile::new(backend.clone(), path)?;
    Ok(runtime.block_on(FileBuffer::new(file, options))?)
}

fn hits(bench: &mut Bench, runtime: &Runtime, backend: &PosixBackend, root: &Path) -> Result<()> {
    let options = FileBufferOptions::default().block_size_bytes(PAGE_BYTES);
    let buffer = open(runtime, backend, "data", options)?;
    let file = File::open(root.join("data"))?;
    let pass = || {
        runtime.block_on(async {
            let mut total = 0;
            for _ in 0..HIT_PASSES {
                total = sum_blocks(&buffer, 0..HOT_BLOCKS).await?;
            }
            Ok(total)
        })
    };
    pass()?;
    if bench.wants(HIT) {
        let pread = || (0..HIT_PASSES).try_fold(0, |_, _| sum_pread(&file));
        let pairs = Pairs::run_hot(bench.pairs(), |_| timed(pass), |_| timed(pread))?;
        let count = usize::try_from(HOT_BLOCKS)? * HIT_PASSES;
        bench.push(Row::of_each(HIT, count, 100.0, &pairs));
    }
    if bench.wants(TWO) {
        let pairs =
            Pairs::run_hot(bench.pairs(), |_| on_threads(&buffer, 2), |_| on_threads(&buffer, 1))?;
        bench.push(Row::of_times(TWO, Unit::Milliseconds, Reach::TimesFaster(1.6), &pairs));
    }
    Ok(())
}

/// So many passes over all hot blocks on as many threads, each over its own share.
fn on_threads(buffer: &Buffer, count: u64) -> Result<Run> {
    const PASSES: u64 = 1024;
    let start = Barrier::new(usize::try_from(count)? + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|thread| {
                let start = &start;
                scope.spawn(move || {
                    let runtime =
                        Builder::new_current_thread().build().map_err(|e| e.to_string())?;
                    start.wait();
                    let mut total = 0_u64;
                    let share = HOT_BLOCKS / count;
                    for _ in 0..PASSES {
                        let blocks = thread * share..(thread + 1) * share;
                        let sum = runtime.block_on(sum_blocks(buffer, blocks));
                        total = total.wrapping_add(sum.map_err(|error| error.to_string())?);
                    }
                    Ok::<_, String>(total)
                })
            })
            .collect();
        start.wait();
        let started = Instant::now();
        let mut answer = 0_u64;
        for thread in threads {
            answer = answer.wrapping_add(thread.join().expect("it does not panic")?);
        }
        Ok(Run { elapsed: started.elapsed(), answer })
    })
}

/// Adds up the first words of blocks.
async fn sum_blocks(buffer: &Buffer, blocks: Range<u64>) -> Result<u64> {
    let mut total = 0_u64;
    for index in blocks {
        let block = buffer.read_block(index).await?;
        total = total.wrapping_add(first_word(block.read()));
    }
    Ok(total)
}

fn sum_pread(file: &File) -> Result<u64> {
    let mut page = raw::anonymous(PAGE_BYTES)?;
    let mut total = 0_u64;
    for index in 0..HOT_BLOCKS {
        file.read_exact_at(&mut page, index * PAGE_BYTES as u64)?;
        total = total.wrapping_add(first_word(&page));
    }
    Ok(total)
}

fn small_writes(
    bench: &mut Bench,
    runtime: &Runtime,
    backend: &PosixBackend,
    root: &Path,
) -> Result<()> {
    let data = [7; WRITE_BYTES];
    let ours = |count: usize| {
        runtime.block_on(async {
            if backend.exists("small").await? {
                backend.delete("small").await?;
            }
            backend.write("small", 0, &[]).await?;
            backend.sync("small").await?;
            let file = AsyncFile::new(backend.clone(), "small")?;
            let buffer = FileBuffer::new(file, FileBufferOptions::default()).await?;
            let started = Instant::now();
            for number in 0..count {
                buffer.write_at((number * WRITE_BYTES) as u64, &data).await?;
            }
            buffer.flush().await?;
            let elapsed = started.elapsed();
            Ok(Run { elapsed, answer: backend.len("small").await? })
        })
    };
    let rival = |count: usize, sync_each: bool| {
        let path = root.join("rival");
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        file.sync_all()?;
        let started = Instant::now();
        for number in 0..count {
            file.write_all_at(&data, (number * WRITE_BYTES) as u64)?;
            if sync_each {
                file.sync_data()?;
            }
        }
        file.sync_data()?;
        Ok(Run { elapsed: started.elapsed(), answer: file.metadata()?.len() })
    };
    if bench.wants(SMALL) {
        let pairs = Pairs::run_hot(bench.pairs(), |_| ours(WRITES), |_| rival(WRITES, false))?;
        bench.push(Row::of_times(SMALL, Unit::Milliseconds, Reach::TimesFaster(5.0), &pairs));
    }
    if bench.wants(SMALL_SYNC) {
        let pairs = Pairs::run_hot(
            bench.pairs(),
            |_| ours(WRITES),
            |_| {
                let run: Run = rival(SYNCED_WRITES, true)?;
                let times = WRITES / SYNCED_WRITES;
                let elapsed = run.elapsed * u32::try_from(times)?;
                Ok(Run { elapsed, answer: run.answer * times as u64 })
            },
        )?;
        bench.note("the rival's time is that of 100 writes, times 100");
        bench.push(Row::of_times(SMALL_SYNC, Unit::Milliseconds, Reach::TimesFaster(5.0), &pairs));
    }
    Ok(())
}

/// A word of a block is read, and written again one higher; then all is flushed. Both files are mutable,
/// and both buffers are as they are by default.
fn updates(bench: &mut Bench, runtime: &Runtime, positioned: &PosixBackend) -> Result<()> {
    const PASSES: u64 = 2048;
    if !bench.wants(UPDATES) {
        return Ok(());
    }
    let root = bench.path("mapped");
    let mapped = MmapBackend::open(&root, Limits::default())?;
    let ours = || {
        let file = AsyncFile::new(mapped.clone(), "updates")?;
        runtime.block_on(update(file, PASSES))
    };
    let rival = || {
        let file = AsyncFile::new(positioned.clone(), "updates")?;
        runtime.block_on(update(file, PASSES))
    };
    let pairs = Pairs::run_hot(bench.pairs(), |_| ours(), |_| rival())?;
    let count = usize::try_from(HOT_BLOCKS * PASSES)?;
    let unit = Unit::NanosecondsEach { count };
    bench.push(Row::of_times(UPDATES, unit, Reach::TimesFaster(0.9), &pairs));
    drop(mapped);
    Ok(std::fs::remove_dir_all(root)?)
}

/// So many updates of the first word of each hot block, from a file of zeros on.
async fn update<B: StorageBackend + 'static>(file: AsyncFile<B>, passes: u64) -> Result<Run> {
    file.write_at(0, &vec![0; usize::try_from(HOT_BLOCKS)? * PAGE_BYTES]).await?;
    let options = FileBufferOptions::default().block_size_bytes(PAGE_BYTES);
    let buffer = FileBuffer::new(file, options).await?;
    let started = Instant::now();
    for _ in 0..passes {
        for index in 0..HOT_BLOCKS {
            let word = first_word(buffer.read_block(index).await?.read());
            let next = word.wrapping_add(1).to_ne_bytes();
            buffer.write_at(index * PAGE_BYTES as u64, &next).await?;
        }
    }
    buffer.flush().await?;
    let elapsed = started.elapsed();
    let answer = first_word(buffer.read_block(0).await?.read());
    Ok(Run { elapsed, answer })
}

fn in_order(
    bench: &mut Bench,
    runtime: &Runtime,
    backend: &PosixBackend,
    root: &Path,
) -> Result<()> {
    if !bench.wants(ORDERED) {
        return Ok(());
    }
    let len = bench.data_len();
    let file = File::open(root.join("data"))?;
    let options =
        FileBufferOptions::default().memory_limit_bytes(16 << 20).read_ahead_blocks_max(64);
    let ours = || {
        // A fresh one, since what is in the buffer needs no reading.
        let buffer = open(runtime, backend, "data", options)?;
        let (buffer, count) = (&buffer, (len / options.block_size_bytes) as u64);
        let scan = async move {
            let mut total = 0_u64;
            for index in 0..count {
                let block = buffer.read_block(index).await?;
                total = total.wrapping_add(sum_words(bytemuck::cast_slice(block.read())));
            }
            Ok::<_, Box<dyn std::error::Error>>(total)
        };
        timed(|| runtime.block_on(scan))
    };
    let rival = || {
        let mut piece = raw::anonymous(PIECE_BYTES)?;
        timed(|| {
            let mut total = 0_u64;
            for offset in (0..len).step_by(PIECE_BYTES) {
                file.read_exact_at(&mut piece, offset as u64)?;
                total = total.wrapping_add(sum_words(bytemuck::cast_slice(&piece)));
            }
            Ok(total)
        })
    };
    let pairs = Pairs::run_hot(bench.pairs(), |_| ours(), |_| rival())?;
    let unit = Unit::GigabytesPerSecond { bytes: len as u64 };
    bench.push(Row::of_times(ORDERED, unit, Reach::TimesTheTime(1.1), &pairs));
    Ok(())
}

fn all_cores() -> CpuSet {
    let mut cores = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|core| cores.set(core));
    cores
}
