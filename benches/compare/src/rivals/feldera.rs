//! The two backends that Feldera's DBSP has for its own files.

use std::{path::Path, sync::Arc};

use dbsp::storage::backend::{memory_impl::MemoryBackend, posixio_impl::PosixBackend};
use feldera_storage::{FileReader, StorageBackend, StoragePath, block::BlockLocation, fbuf::FBuf};
use feldera_types::config::{FileBackendConfig, StorageCacheConfig};

use crate::{
    Result,
    data::{PIECE_BYTES, Page, Shape},
    store::{Access, Durability, Kept, Rival, Store, each_piece, never},
    work::Work,
};

/// Positioned reads and writes.
pub(crate) struct FelderaPosixio;

/// A list of blocks.
pub(crate) struct FelderaMemory;

pub(crate) struct FelderaStore {
    file: Arc<dyn FileReader>,
    shape: Shape,
    /// Which has the file, where it is in memory.
    _backend: Option<MemoryBackend>,
}

const FILE: &str = "data.feldera";

fn posixio(folder: &Path) -> PosixBackend {
    PosixBackend::new(folder, StorageCacheConfig::PageCache, &FileBackendConfig::default())
}

/// Writes a file and completes it; in memory, in the blocks that are going to be read.
fn write(
    backend: &dyn StorageBackend,
    shape: Shape,
    block_bytes: usize,
) -> Result<Arc<dyn FileReader>> {
    let mut writer = backend.create_named(&StoragePath::from(FILE))?;
    each_piece(shape, |_, piece| {
        for block in piece.chunks(block_bytes) {
            writer.write_block(FBuf::from_slice(block))?;
        }
        Ok(())
    })?;
    let file = writer.complete()?;
    file.mark_for_checkpoint();
    Ok(file)
}

impl Rival for FelderaPosixio {
    type Store = FelderaStore;

    const NAME: &'static str = "Feldera posixio";
    const PACKAGE: Option<&'static str> = Some("dbsp");
    const SETTINGS: &'static str = "dbsp's PosixBackend with its defaults, without the cache of DBSP's batches; blocks of 1 MiB written, \
         blocks as asked read; complete, where it is to be durable commit, and fsync_dir of its folder";

    fn unfit(work: Work) -> Option<&'static str> {
        match work {
            Work::UpdateFlush | Work::UpdateSustained | Work::ReadersWriter => {
                Some("never changes once it is complete")
            }
            Work::Heartbeat | Work::BesideHeartbeat => {
                Some("has callbacks, no futures; tokio::fs does the same reads")
            }
            _ => None,
        }
    }

    fn load(folder: &Path, shape: Shape, durability: Durability) -> Result<FelderaStore> {
        let backend = posixio(folder);
        let file = write(&backend, shape, PIECE_BYTES)?;
        if durability == Durability::Durable {
            file.commit()?;
            backend.fsync_dir(&StoragePath::default())?;
        }
        Ok(FelderaStore { file, shape, _backend: None })
    }

    fn open(folder: &Path, shape: Shape, _: Access) -> Result<FelderaStore> {
        let file = posixio(folder).open(&StoragePath::from(FILE))?;
        Ok(FelderaStore { file, shape, _backend: None })
    }
}

impl Rival for FelderaMemory {
    type Store = FelderaStore;

    const NAME: &'static str = "Feldera memory";
    const PACKAGE: Option<&'static str> = Some("dbsp");
    const SETTINGS: &'static str =
        "dbsp's MemoryBackend; written in the blocks that are read, which are then shared";
    const KEPT: Kept = Kept::InMemory;

    fn unfit(work: Work) -> Option<&'static str> {
        match work {
            Work::Cold4k | Work::Cold64k | Work::ColdScan => Some("memory is never cold"),
            Work::DurableLoad | Work::OpenRead => Some("memory is not durable"),
            Work::UpdateFlush | Work::UpdateSustained | Work::ReadersWriter => {
                Some("never changes once it is complete")
            }
            Work::Spill => Some("memory is what there is too little of"),
            Work::SmallFiles => Some("memory has no files"),
            Work::Heartbeat | Work::BesideHeartbeat => Some("memory is never waited for"),
            _ => None,
        }
    }

    fn load(_: &Path, shape: Shape, _: Durability) -> Result<FelderaStore> {
        let backend = MemoryBackend::new();
        let file = write(&backend, shape, shape.block_bytes)?;
        Ok(FelderaStore { file, shape, _backend: Some(backend) })
    }

    fn open(_: &Path, _: Shape, _: Access) -> Result<FelderaStore> {
        never()
    }
}

impl FelderaStore {
    fn read(&self, offset: u64, len: usize) -> Result<Arc<FBuf>> {
        Ok(self.file.read_block(BlockLocation::new(offset, len).map_err(|_| "not aligned")?)?)
    }
}

impl Store for FelderaStore {
    fn visit(&self, blocks: &[u64], mut look: impl FnMut(&[u8])) -> Result<()> {
        for block in blocks {
            let offset = block * self.shape.block_bytes as u64;
            look(self.read(offset, self.shape.block_bytes)?.as_slice());
        }
        Ok(())
    }

    fn scan(&self, mut look: impl FnMut(&[u8])) -> Result<()> {
        // A block of memory is shared as it is, and copied where several are asked for at once.
        let piece = if self._backend.is_some() { self.shape.block_bytes } else { PIECE_BYTES };
        for offset in (0..self.shape.len_bytes).step_by(piece) {
            let left = usize::try_from(self.shape.len_bytes - offset)?.min(piece);
            look(self.read(offset, left)?.as_slice());
        }
        Ok(())
    }

    fn update(&self, _: &[u64], _: impl Fn(u64) -> Page) -> Result<()> {
        never()
    }
}
