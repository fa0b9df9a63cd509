//! Ours: files that never change again, borrowed without a latch.

use std::path::Path;

use storage::{PageId, PageSize, PageWriter, ResidencyBudget, SealedFile, spill::SpillOptions};

use crate::{
    Result,
    data::{Page, Pieces, Shape},
    store::{Access, Durability, Kept, Rival, Store, each_piece, never},
    work::Work,
};

pub(crate) struct Sealed;

pub(crate) struct SealedStore {
    file: SealedFile,
    /// The pages that one borrow of a scan takes.
    window_pages: u64,
}

impl SealedStore {
    fn new(file: SealedFile) -> Self {
        let window_pages = (1 << 20) / file.page_size().get();
        Self { file, window_pages }
    }
}

impl Rival for Sealed {
    type Store = SealedStore;

    const NAME: &'static str = "sealed";
    const PACKAGE: Option<&'static str> = None;
    const SETTINGS: &'static str = "ours: PageWriter, SealedFile; a page is a block, huge_pages, checksums verified at first touch; \
         bulk load without durability into a nameless file; spill by SpillWriter under a ResidencyBudget";
    const KEPT: Kept = Kept::OnDisk;

    fn unfit(work: Work) -> Option<&'static str> {
        match work {
            Work::UpdateFlush | Work::UpdateSustained | Work::ReadersWriter => {
                Some("never changes once it is sealed")
            }
            Work::SmallFiles => {
                Some("sealing makes each file durable, which nothing else here does")
            }
            Work::Heartbeat | Work::BesideHeartbeat => {
                Some("its borrows block where a page is cold: async is for that")
            }
            _ => None,
        }
    }

    fn load(folder: &Path, shape: Shape, durability: Durability) -> Result<SealedStore> {
        let options = PageWriter::options()
            .page_size(PageSize::new(shape.block_bytes as u64)?)
            .huge_pages(true);
        let mut pieces = Pieces::of(shape);
        let file = match durability {
            Durability::Lazy => {
                let mut writer = options.create_temporary(folder)?;
                for number in 0..pieces.count() {
                    writer.append(pieces.get(number))?;
                }
                writer.finish()?
            }
            Durability::Durable => {
                let mut writer = options.create(folder.join("sealed"))?;
                for number in 0..pieces.count() {
                    writer.append(pieces.get(number))?;
                }
                writer.seal()?
            }
        };
        Ok(SealedStore::new(file))
    }

    fn open(folder: &Path, _: Shape, access: Access) -> Result<SealedStore> {
        let access = match access {
            Access::Random => storage::Access::Random,
            Access::Sequential => storage::Access::Sequential,
        };
        let file = SealedFile::options().access(access).open(folder.join("sealed"))?;
        Ok(SealedStore::new(file))
    }

    fn spill(folder: &Path, shape: Shape, mut look: impl FnMut(&[u8])) -> Result<()> {
        let budget = ResidencyBudget::new(shape.cache_bytes)?;
        let mut spill = SpillOptions::new(folder).budget(&budget).create()?;
        each_piece(shape, |_, piece| {
            for block in piece.chunks_exact(shape.block_bytes) {
                spill.append_record(block)?;
            }
            Ok(())
        })?;
        let reader = spill.finish()?;
        let mut cursor = reader.cursor(..)?;
        while let Some(record) = cursor.next()? {
            look(record);
        }
        Ok(())
    }
}

impl Store for SealedStore {
    fn visit(&self, blocks: &[u64], mut look: impl FnMut(&[u8])) -> Result<()> {
        for &block in blocks {
            look(self.file.page(PageId::new(block))?);
        }
        Ok(())
    }

    fn scan(&self, mut look: impl FnMut(&[u8])) -> Result<()> {
        let count = self.file.page_count().get();
        let mut start = 0;
        while start < count {
            let end = count.min(start + self.window_pages);
            look(self.file.pages(PageId::new(start)..PageId::new(end))?);
            start = end;
        }
        Ok(())
    }

    fn column(&self, mut look: impl FnMut(&[u64])) -> Result<()> {
        look(self.file.as_slice_of(..)?);
        Ok(())
    }

    fn update(&self, _: &[u64], _: impl Fn(u64) -> Page) -> Result<()> {
        never()
    }
}
