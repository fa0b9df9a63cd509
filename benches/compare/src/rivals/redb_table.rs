//! redb.

use std::path::Path;

use redb::{
    Builder, Database, Durability as Commit, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};

use crate::{
    Result,
    data::{Page, Pieces, Shape},
    store::{Access, Durability, Rival, Store, as_blocks},
    work::Work,
};

pub(crate) struct Redb;

pub(crate) struct RedbStore {
    database: Database,
}

const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
const FILE: &str = "redb";

fn builder(shape: Shape) -> Result<Builder> {
    let mut builder = Builder::new();
    builder.set_cache_size(usize::try_from(shape.cache_bytes)?);
    Ok(builder)
}

impl RedbStore {
    fn write(
        &self,
        durability: Durability,
        change: impl FnOnce(&WriteTransaction) -> Result<()>,
    ) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(match durability {
            Durability::Lazy => Commit::None,
            Durability::Durable => Commit::Immediate,
        })?;
        change(&transaction)?;
        Ok(transaction.commit()?)
    }
}

impl Rival for Redb {
    type Store = RedbStore;

    const NAME: &'static str = "redb";
    const PACKAGE: Option<&'static str> = Some("redb");
    const SETTINGS: &'static str = "key: block number, value: block; a cache that holds all of the data; bulk load in order in one \
         transaction, Durability::None where it need not be durable; one read transaction for a run of reads; an \
         update is one transaction";

    fn unfit(_: Work) -> Option<&'static str> {
        None
    }

    fn load(folder: &Path, shape: Shape, durability: Durability) -> Result<RedbStore> {
        let store = RedbStore { database: builder(shape)?.create(folder.join(FILE))? };
        store.write(durability, |transaction| {
            let mut table = transaction.open_table(BLOCKS)?;
            Pieces::each_block(shape, |number, block| {
                table.insert(number, block)?;
                Ok(())
            })
        })?;
        Ok(store)
    }

    fn open(folder: &Path, shape: Shape, _: Access) -> Result<RedbStore> {
        Ok(RedbStore { database: builder(shape)?.open(folder.join(FILE))? })
    }

    fn small_files(folder: &Path, count: u64, look: impl FnMut(&[u8])) -> Result<()> {
        as_blocks::<Self>(folder, count, look)
    }
}

impl Store for RedbStore {
    fn visit(&self, blocks: &[u64], mut look: impl FnMut(&[u8])) -> Result<()> {
        let table = self.database.begin_read()?.open_table(BLOCKS)?;
        for block in blocks {
            look(table.get(block)?.ok_or("a block is missing")?.value());
        }
        Ok(())
    }

    fn scan(&self, mut look: impl FnMut(&[u8])) -> Result<()> {
        let table = self.database.begin_read()?.open_table(BLOCKS)?;
        for block in table.iter()? {
            look(block?.1.value());
        }
        Ok(())
    }

    fn update(&self, pages: &[u64], content: impl Fn(u64) -> Page) -> Result<()> {
        self.write(Durability::Durable, |transaction| {
            let mut table = transaction.open_table(BLOCKS)?;
            for &page in pages {
                table.insert(page, &content(page)[..])?;
            }
            Ok(())
        })
    }
}
