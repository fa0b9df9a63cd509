//! `pread` and `pwrite` of the standard library.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use crate::{
    Result,
    data::{PIECE_BYTES, Page, Shape, buffer},
    store::{Access, Durability, Rival, Store, each_piece},
    work::Work,
};

pub(crate) struct Positioned;

pub(crate) struct PositionedStore {
    file: File,
    shape: Shape,
}

impl Rival for Positioned {
    type Store = PositionedStore;

    const NAME: &'static str = "pread";
    const PACKAGE: Option<&'static str> = None;
    const SETTINGS: &'static str = "std: read_exact_at and write_all_at, 1 MiB at a time in order, into one buffer that is \
         reused and begins at a page; sync_data; POSIX_FADV_RANDOM before random reads, POSIX_FADV_SEQUENTIAL before scans";

    fn unfit(work: Work) -> Option<&'static str> {
        match work {
            Work::ReadersWriter => Some("a reader would see half a write"),
            Work::Heartbeat | Work::BesideHeartbeat => Some("tokio::fs is this for tasks"),
            _ => None,
        }
    }

    fn load(folder: &Path, shape: Shape, durability: Durability) -> Result<PositionedStore> {
        let path = folder.join("positioned");
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        each_piece(shape, |offset, piece| Ok(file.write_all_at(piece, offset)?))?;
        if durability == Durability::Durable {
            file.sync_data()?;
        }
        Ok(PositionedStore { file, shape })
    }

    fn open(folder: &Path, shape: Shape, access: Access) -> Result<PositionedStore> {
        let file = File::options().read(true).write(true).open(folder.join("positioned"))?;
        let advice = match access {
            Access::Random => rustix::fs::Advice::Random,
            Access::Sequential => rustix::fs::Advice::Sequential,
        };
        rustix::fs::fadvise(&file, 0, None, advice)?;
        Ok(PositionedStore { file, shape })
    }
}

impl Store for PositionedStore {
    fn visit(&self, blocks: &[u64], mut look: impl FnMut(&[u8])) -> Result<()> {
        let mut buffer = buffer(self.shape.block_bytes);
        let buffer: &mut [u8] = bytemuck::cast_slice_mut(&mut buffer);
        for block in blocks {
            self.file.read_exact_at(buffer, block * self.shape.block_bytes as u64)?;
            look(buffer);
        }
        Ok(())
    }

    fn scan(&self, mut look: impl FnMut(&[u8])) -> Result<()> {
        let mut buffer = buffer(PIECE_BYTES);
        let buffer: &mut [u8] = bytemuck::cast_slice_mut(&mut buffer);
        for offset in (0..self.shape.len_bytes).step_by(PIECE_BYTES) {
            let left = usize::try_from(self.shape.len_bytes - offset)?.min(PIECE_BYTES);
            self.file.read_exact_at(&mut buffer[..left], offset)?;
            look(&buffer[..left]);
        }
        Ok(())
    }

    fn update(&self, pages: &[u64], content: impl Fn(u64) -> Page) -> Result<()> {
        for &page in pages {
            self.file.write_all_at(&content(page), page * self.shape.block_bytes as u64)?;
        }
        Ok(self.file.sync_data()?)
    }
}
