//! fjall, an LSM tree.

use std::path::Path;

use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode,
    config::CompressionPolicy,
};

use crate::{
    Result,
    data::{Page, Pieces, Shape},
    store::{Access, Durability, Rival, Store, as_blocks},
    work::Work,
};

pub(crate) struct Fjall;

pub(crate) struct FjallStore {
    database: Database,
    blocks: Keyspace,
}

impl FjallStore {
    fn new(folder: &Path, shape: Shape) -> Result<Self> {
        let database = Database::builder(folder.join("fjall"))
            .cache_size(shape.cache_bytes)
            .journal_compression(CompressionType::None)
            .open()?;
        let blocks = database.keyspace("blocks", || {
            KeyspaceCreateOptions::default()
                .data_block_compression_policy(CompressionPolicy::disabled())
                .expect_point_read_hits(true)
        })?;
        Ok(Self { database, blocks })
    }
}

impl Rival for Fjall {
    type Store = FjallStore;

    const NAME: &'static str = "fjall";
    const PACKAGE: Option<&'static str> = Some("fjall");
    const SETTINGS: &'static str = "key: block number in big-endian order, value: block; a block cache that holds all of the data; no \
         compression, which nobody else has; expect_point_read_hits; bulk load by ingestion, then \
         PersistMode::SyncAll; an update is one batch and PersistMode::SyncData, its compaction comes later";

    fn unfit(_: Work) -> Option<&'static str> {
        None
    }

    fn load(folder: &Path, shape: Shape, durability: Durability) -> Result<FjallStore> {
        let store = FjallStore::new(folder, shape)?;
        let mut ingestion = store.blocks.start_ingestion()?;
        Pieces::each_block(shape, |number, block| ingestion.write(number.to_be_bytes(), block))?;
        ingestion.finish()?;
        if durability == Durability::Durable {
            store.database.persist(PersistMode::SyncAll)?;
        }
        Ok(store)
    }

    fn open(folder: &Path, shape: Shape, _: Access) -> Result<FjallStore> {
        FjallStore::new(folder, shape)
    }

    fn small_files(folder: &Path, count: u64, look: impl FnMut(&[u8])) -> Result<()> {
        as_blocks::<Self>(folder, count, look)
    }
}

impl Store for FjallStore {
    fn visit(&self, blocks: &[u64], mut look: impl FnMut(&[u8])) -> Result<()> {
        for block in blocks {
            look(&self.blocks.get(block.to_be_bytes())?.ok_or("a block is missing")?);
        }
        Ok(())
    }

    fn scan(&self, mut look: impl FnMut(&[u8])) -> Result<()> {
        for block in self.blocks.iter() {
            look(&block.value()?);
        }
        Ok(())
    }

    fn update(&self, pages: &[u64], content: impl Fn(u64) -> Page) -> Result<()> {
        let mut batch = self.database.batch();
        for &page in pages {
            batch.insert(&self.blocks, page.to_be_bytes(), &content(page)[..]);
        }
        batch.commit()?;
        Ok(self.database.persist(PersistMode::SyncData)?)
    }
}
