//! Ours, through the asynchronous layer.

use std::path::Path;

use storage::{Limits, MmapBackend, ReadRequest, StorageBackend};
use tokio::runtime::Runtime;

use crate::{
    Result,
    data::{PAGE_BYTES, Page, Pieces, Shape},
    store::{Access, Durability, Rival, Store, never},
    work::Work,
};

pub(crate) struct Asynchronous;

pub(crate) struct AsyncStore {
    backend: MmapBackend,
    shape: Shape,
}

const PATH: &str = "data";
/// How many reads are in flight where others wait for the same thread.
pub(super) const IN_FLIGHT: usize = 64;

/// An executor on this thread, as a program would have one around all of its work.
pub(super) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

impl Rival for Asynchronous {
    type Store = AsyncStore;

    const NAME: &'static str = "async";
    const PACKAGE: Option<&'static str> = None;
    const SETTINGS: &'static str = "ours: MmapBackend with its defaults on a current-thread runtime of tokio; files sealed \
         before they are read; reads one after the other, 64 in flight beside a heartbeat";

    fn unfit(work: Work) -> Option<&'static str> {
        match work {
            Work::UpdateFlush | Work::UpdateSustained | Work::ReadersWriter => {
                Some("its files are sealed here; mutable is for changes")
            }
            Work::Spill => Some("for data that is written once and read back, sealed has a spill"),
            _ => None,
        }
    }

    fn load(folder: &Path, shape: Shape, durability: Durability) -> Result<AsyncStore> {
        let backend = MmapBackend::open(folder, Limits::default())?;
        runtime()?.block_on(async {
            let mut pieces = Pieces::of(shape);
            for number in 0..pieces.count() {
                let offset = number * pieces.len_bytes();
                backend.write(PATH, offset, pieces.get(number)).await?;
            }
            if durability == Durability::Durable {
                backend.seal(PATH).await?;
            }
            Result::Ok(())
        })?;
        Ok(AsyncStore { backend, shape })
    }

    fn open(folder: &Path, shape: Shape, _: Access) -> Result<AsyncStore> {
        Ok(AsyncStore { backend: MmapBackend::open(folder, Limits::default())?, shape })
    }

    fn small_files(folder: &Path, count: u64, mut look: impl FnMut(&[u8])) -> Result<()> {
        let backend = MmapBackend::open(folder, Limits::default())?;
        let paths: Vec<String> = (0..count).map(|number| format!("small/{number}")).collect();
        runtime()?.block_on(async {
            let mut pieces = Pieces::of(Shape::single_page());
            for path in &paths {
                backend.write(path, 0, pieces.get(0)).await?;
            }
            for path in &paths {
                look(&backend.read(path, 0, PAGE_BYTES).await?);
            }
            Ok(())
        })
    }
}

impl Store for AsyncStore {
    fn visit(&self, blocks: &[u64], mut look: impl FnMut(&[u8])) -> Result<()> {
        let block_bytes = self.shape.block_bytes;
        runtime()?.block_on(async {
            for block in blocks {
                let offset = block * block_bytes as u64;
                look(&self.backend.read(PATH, offset, block_bytes).await?);
            }
            Ok(())
        })
    }

    fn scan(&self, mut look: impl FnMut(&[u8])) -> Result<()> {
        let piece = Pieces::of(self.shape).len_bytes();
        runtime()?.block_on(async {
            for number in 0..self.shape.len_bytes / piece {
                look(&self.backend.read(PATH, number * piece, usize::try_from(piece)?).await?);
            }
            Ok(())
        })
    }

    fn update(&self, _: &[u64], _: impl Fn(u64) -> Page) -> Result<()> {
        never()
    }

    async fn visit_beside_others(&self, blocks: &[u64], mut look: impl FnMut(&[u8])) -> Result<()> {
        for batch in blocks.chunks(IN_FLIGHT) {
            let length = self.shape.block_bytes;
            let request = |block| ReadRequest { path: PATH, offset: block * length as u64, length };
            let requests: Vec<_> = batch.iter().map(request).collect();
            for read in self.backend.read_many(&requests).await {
                look(&read?);
            }
        }
        Ok(())
    }
}
