//! memmap2 by hand: what this project exists to make unnecessary.

use std::{
    fs::{File, OpenOptions},
    path::Path,
    sync::RwLock,
};

use memmap2::{Advice, MmapMut};

use crate::{
    Result,
    data::{Page, Shape},
    store::{Access, Durability, Rival, Store, each_piece},
    unchecked,
    work::Work,
};

pub(crate) struct Mapped;

pub(crate) struct MappedStore {
    /// Taken once for many reads: the rival has nothing of the kind, and needs something of the kind.
    map: RwLock<MmapMut>,
    block_bytes: usize,
}

impl Rival for Mapped {
    type Store = MappedStore;

    const NAME: &'static str = "memmap2";
    const PACKAGE: Option<&'static str> = Some("memmap2");
    const SETTINGS: &'static str = "one mapping of the whole file; set_len, copy, one flush; MADV_RANDOM before random reads; \
         no checksum, no latch, and SIGBUS where the disk is full or fails";

    fn unfit(work: Work) -> Option<&'static str> {
        (work == Work::ReadersWriter).then_some("a reader would see half a write")
    }

    fn load(folder: &Path, shape: Shape, durability: Durability) -> Result<MappedStore> {
        let path = folder.join("mapped");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.set_len(shape.len_bytes)?;
        let mut map = unchecked::map_mut(&file)?;
        each_piece(shape, |offset, piece| {
            let start = usize::try_from(offset)?;
            map[start..start + piece.len()].copy_from_slice(piece);
            Ok(())
        })?;
        if durability == Durability::Durable {
            map.flush()?;
        }
        Ok(MappedStore { map: RwLock::new(map), block_bytes: shape.block_bytes })
    }

    fn open(folder: &Path, shape: Shape, access: Access) -> Result<MappedStore> {
        let file = File::options().read(true).write(true).open(folder.join("mapped"))?;
        let map = unchecked::map_mut(&file)?;
        if access == Access::Random {
            map.advise(Advice::Random)?;
        }
        Ok(MappedStore { map: RwLock::new(map), block_bytes: shape.block_bytes })
    }
}

impl Store for MappedStore {
    fn visit(&self, blocks: &[u64], mut look: impl FnMut(&[u8])) -> Result<()> {
        let map = self.map.read().map_err(|_| "a thread has panicked")?;
        for &block in blocks {
            let start = usize::try_from(block)? * self.block_bytes;
            look(&map[start..start + self.block_bytes]);
        }
        Ok(())
    }

    fn scan(&self, mut look: impl FnMut(&[u8])) -> Result<()> {
        look(&self.map.read().map_err(|_| "a thread has panicked")?);
        Ok(())
    }

    fn update(&self, pages: &[u64], content: impl Fn(u64) -> Page) -> Result<()> {
        let mut map = self.map.write().map_err(|_| "a thread has panicked")?;
        for &page in pages {
            let start = usize::try_from(page)? * self.block_bytes;
            map[start..start + self.block_bytes].copy_from_slice(&content(page));
        }
        Ok(map.flush()?)
    }
}
