//! The storage layer: files by name, read asynchronously, on three media through one interface.

use std::{io::SeekFrom, path::Path};

use storage::{
    DynBackend, StorageBackend, StorageConfig, StorageError, backend::open, config::BackendKind,
};
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt},
    runtime::{Builder, Runtime},
};

use crate::{
    demo::{
        compare::{Way, medians},
        data::{Data, Numbers, PAGE_LEN, first_number},
        stage::{Stage, Than},
    },
    error::{Error, Result},
    report::Took,
};

const TURNS: usize = 3;

/// Random pages read in one turn; the slowest way takes some 50 us for each.
const READS: u32 = 2_000;

/// How much of the data is put into the file.
const LEN_BYTES: usize = 64 << 20;
const PIECE_BYTES: usize = 1 << 20;
const PATH: &str = "batches/2026-11/sales";
const MEMORY_BUDGET_BYTES: u64 = 1 << 20;

/// Shows the layer.
pub(crate) fn show(stage: &Stage, data: &Data) -> Result<()> {
    stage.heading("The storage layer: read 4 KiB of a sealed file by its name, asynchronously")?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io_of("start", "a runtime"))?;
    let root = stage.path("store");
    let config = StorageConfig { root: root.clone(), ..StorageConfig::default() };
    let backend = open(&config)?;
    runtime.block_on(write(&backend, data))?;
    compare(stage, &runtime, &backend, &root)?;
    let reads = backend.stats().reads;
    stage.remark(&format!(
        "{} of {} reads were answered at once, on the thread that asked",
        reads.at_once, reads.count
    ))?;
    drop(backend);
    same_bytes(stage, &runtime, &config, data)?;
    budget(stage, &runtime)
}

/// Writes the file in pieces and seals it.
async fn write(backend: &DynBackend, data: &Data) -> Result<()> {
    for (number, piece) in data.raw()[..LEN_BYTES].chunks(PIECE_BYTES).enumerate() {
        backend.write(PATH, (number * PIECE_BYTES) as u64, piece).await?;
    }
    Ok(backend.seal(PATH).await?)
}

fn compare(stage: &Stage, runtime: &Runtime, backend: &DynBackend, root: &Path) -> Result<()> {
    let path = root.join(PATH);
    let [ours, tokio_fs] = medians(
        stage,
        TURNS,
        [
            Way::new("StorageBackend::read", || {
                runtime.block_on(async {
                    let mut sum = 0_u64;
                    for offset in places() {
                        let page = backend.read(PATH, offset, PAGE_LEN).await?;
                        sum = sum.wrapping_add(first_number(&page));
                    }
                    Ok(sum)
                })
            }),
            Way::new("tokio::fs", || {
                runtime.block_on(read_with_tokio(&path, places())).map_err(Error::io("read", &path))
            }),
        ],
    )?;
    stage.ours("StorageBackend::read: a view, without a copy", &Took::each(ours, READS))?;
    let than = Than { ours, theirs: tokio_fs };
    stage.theirs("tokio::fs: seek and read_exact", &Took::each(tokio_fs, READS), than)
}

/// Where the pages begin that are read, always the same ones.
fn places() -> impl Iterator<Item = u64> {
    let mut numbers = Numbers::new();
    let page_count = (LEN_BYTES / PAGE_LEN) as u64;
    (0..READS).map(move |_| numbers.next() % page_count * PAGE_LEN as u64)
}

async fn read_with_tokio(path: &Path, places: impl Iterator<Item = u64>) -> std::io::Result<u64> {
    let mut file = tokio::fs::File::open(path).await?;
    let mut page = vec![0; PAGE_LEN];
    let mut sum = 0_u64;
    for offset in places {
        file.seek(SeekFrom::Start(offset)).await?;
        file.read_exact(&mut page).await?;
        sum = sum.wrapping_add(first_number(&page));
    }
    Ok(sum)
}

/// Reads the same file with positioned reads.
fn same_bytes(stage: &Stage, runtime: &Runtime, config: &StorageConfig, data: &Data) -> Result<()> {
    let config = StorageConfig { backend: BackendKind::Posixio, ..config.clone() };
    let backend = open(&config)?;
    let read = runtime.block_on(backend.read(PATH, 0, LEN_BYTES))?;
    if read[..] != data.raw()[..LEN_BYTES] {
        return Err(Error::Unexpected {
            expected: "posixio to read what was written through a mapping",
        });
    }
    let refusal = match runtime.block_on(backend.write(PATH, 0, b"changed")) {
        Err(error @ StorageError::Sealed { .. }) => error,
        _ => return Err(Error::Unexpected { expected: "a sealed file to refuse a write" }),
    };
    stage.remark("the posixio backend reads the same bytes from the same file")?;
    stage.remark(&format!("writing to it: {refusal}"))
}

/// Fills a memory backend until it says no.
fn budget(stage: &Stage, runtime: &Runtime) -> Result<()> {
    let config = StorageConfig {
        backend: BackendKind::Memory,
        memory_budget_bytes: MEMORY_BUDGET_BYTES,
        ..StorageConfig::default()
    };
    let backend = open(&config)?;
    let more = vec![1; PIECE_BYTES + 1];
    match runtime.block_on(backend.write("more", 0, &more)) {
        Err(error @ StorageError::BudgetExceeded { .. }) => {
            stage.remark(&format!("a memory backend of 1 MiB: {error}"))
        }
        _ => Err(Error::Unexpected { expected: "a memory backend to keep to its budget" }),
    }
}
