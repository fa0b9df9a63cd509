//! Ours: pages that change in place, in a file or in anonymous memory.

use std::path::Path;

use storage::{PageCount, PageFile, PageId, PageSize};

use crate::{
    Result,
    data::{Page, Shape},
    store::{Access, Durability, Kept, Rival, Store, each_piece, never},
    work::Work,
};

/// In a file.
pub(crate) struct Mutable;

/// In anonymous memory.
pub(crate) struct Anonymous;

impl Rival for Mutable {
    type Store = PageFile;

    const NAME: &'static str = "mutable";
    const PACKAGE: Option<&'static str> = None;
    const SETTINGS: &'static str =
        "ours: PageFile with its defaults; a page is a block; durable by one flush";

    fn unfit(work: Work) -> Option<&'static str> {
        match work {
            Work::Spill => Some("for data that is written once and read back, sealed has a spill"),
            Work::Heartbeat | Work::BesideHeartbeat => {
                Some("its borrows block where a page is cold: async is for that")
            }
            _ => None,
        }
    }

    fn load(folder: &Path, shape: Shape, durability: Durability) -> Result<PageFile> {
        let page_size = PageSize::new(shape.block_bytes as u64)?;
        let file = PageFile::options().page_size(page_size).create(folder.join("mutable"))?;
        fill(&file, shape)?;
        if durability == Durability::Durable {
            file.flush()?;
        }
        Ok(file)
    }

    fn open(folder: &Path, _: Shape, access: Access) -> Result<PageFile> {
        let access = match access {
            Access::Random => storage::Access::Random,
            Access::Sequential => storage::Access::Sequential,
        };
        Ok(PageFile::options().access(access).open(folder.join("mutable"))?)
    }
}

impl Rival for Anonymous {
    type Store = PageFile;

    const NAME: &'static str = "anonymous";
    const PACKAGE: Option<&'static str> = None;
    const SETTINGS: &'static str = "ours: PageFile in anonymous memory with its defaults";
    const KEPT: Kept = Kept::InMemory;

    fn unfit(work: Work) -> Option<&'static str> {
        match work {
            Work::Cold4k | Work::Cold64k | Work::ColdScan => Some("memory is never cold"),
            Work::DurableLoad | Work::UpdateFlush | Work::UpdateSustained | Work::OpenRead => {
                Some("memory is not durable")
            }
            Work::Spill => Some("memory is what there is too little of"),
            Work::SmallFiles => Some("memory has no files"),
            Work::Heartbeat | Work::BesideHeartbeat => Some("memory is never waited for"),
            _ => None,
        }
    }

    fn load(_: &Path, shape: Shape, _: Durability) -> Result<PageFile> {
        let file = PageFile::anonymous(PageSize::new(shape.block_bytes as u64)?)?;
        fill(&file, shape)?;
        Ok(file)
    }

    fn open(_: &Path, _: Shape, _: Access) -> Result<PageFile> {
        never()
    }
}

fn fill(file: &PageFile, shape: Shape) -> Result<()> {
    file.grow(PageCount::new(shape.block_count()))?;
    each_piece(shape, |offset, piece| {
        let first = offset / shape.block_bytes as u64;
        let count = (piece.len() / shape.block_bytes) as u64;
        file.pages_mut(PageId::new(first)..PageId::new(first + count))?.copy_from_slice(piece);
        Ok(())
    })
}

impl Store for PageFile {
    fn visit(&self, blocks: &[u64], mut look: impl FnMut(&[u8])) -> Result<()> {
        for &block in blocks {
            look(&self.page(PageId::new(block))?);
        }
        Ok(())
    }

    fn scan(&self, mut look: impl FnMut(&[u8])) -> Result<()> {
        let (count, window) = (self.page_count().get(), (1 << 20) / self.page_size().get());
        let mut start = 0;
        while start < count {
            let end = count.min(start + window);
            look(&self.pages(PageId::new(start)..PageId::new(end))?);
            start = end;
        }
        Ok(())
    }

    fn column(&self, mut look: impl FnMut(&[u64])) -> Result<()> {
        look(self.pages(..)?.as_slice_of()?);
        Ok(())
    }

    fn update(&self, pages: &[u64], content: impl Fn(u64) -> Page) -> Result<()> {
        for &page in pages {
            self.page_mut(PageId::new(page))?.copy_from_slice(&content(page));
        }
        // Of anonymous memory, this only forgets what was dirty.
        self.flush()?;
        Ok(())
    }
}
