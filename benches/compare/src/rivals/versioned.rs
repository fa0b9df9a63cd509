//! Ours: pages that change by transactions, and are read by snapshots.

use std::path::Path;

use storage::{PageCount, PageId, PageSize, VersionedFile};

use crate::{
    Result,
    data::{Page, Shape},
    store::{Access, Durability, Rival, Store, each_piece},
    work::Work,
};

pub(crate) struct Versioned;

impl Rival for Versioned {
    type Store = VersionedFile;

    const NAME: &'static str = "versioned";
    const PACKAGE: Option<&'static str> = None;
    const SETTINGS: &'static str = "ours: VersionedFile with its defaults; a page is a block; bulk load by one commit for a MiB, then a \
         checkpoint; one snapshot for a run of reads; an update is one transaction";

    fn unfit(work: Work) -> Option<&'static str> {
        match work {
            Work::Spill => Some("for data that is written once and read back, sealed has a spill"),
            Work::SmallFiles => Some("each file has a log of its own"),
            Work::Heartbeat | Work::BesideHeartbeat => {
                Some("its borrows block where a page is cold: async is for that")
            }
            _ => None,
        }
    }

    fn load(folder: &Path, shape: Shape, _: Durability) -> Result<VersionedFile> {
        let page_size = PageSize::new(shape.block_bytes as u64)?;
        let file =
            VersionedFile::options().page_size(page_size).create(folder.join("versioned"))?;
        // Whatever it is asked for: a commit is durable.
        each_piece(shape, |_, piece| {
            let mut transaction = file.begin()?;
            let count = (piece.len() / shape.block_bytes) as u64;
            let added = transaction.grow(PageCount::new(count))?;
            transaction.pages_mut(added.start()..added.end())?.copy_from_slice(piece);
            transaction.commit()?;
            Ok(())
        })?;
        file.checkpoint()?;
        Ok(file)
    }

    fn open(folder: &Path, _: Shape, _: Access) -> Result<VersionedFile> {
        Ok(VersionedFile::open(folder.join("versioned"))?)
    }
}

impl Store for VersionedFile {
    fn visit(&self, blocks: &[u64], mut look: impl FnMut(&[u8])) -> Result<()> {
        let snapshot = self.snapshot()?;
        for &block in blocks {
            look(snapshot.page(PageId::new(block))?);
        }
        Ok(())
    }

    fn scan(&self, mut look: impl FnMut(&[u8])) -> Result<()> {
        look(self.snapshot()?.pages(..)?);
        Ok(())
    }

    fn column(&self, mut look: impl FnMut(&[u64])) -> Result<()> {
        look(self.snapshot()?.as_slice_of(..)?);
        Ok(())
    }

    fn update(&self, pages: &[u64], content: impl Fn(u64) -> Page) -> Result<()> {
        let mut transaction = self.begin()?;
        for &page in pages {
            transaction.page_mut(PageId::new(page))?.copy_from_slice(&content(page));
        }
        transaction.commit()?;
        Ok(())
    }
}
