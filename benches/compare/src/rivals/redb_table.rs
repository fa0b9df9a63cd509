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
/// In one transaction, a load of 512 MiB takes 1.3 to 2 times as long.
const TRANSACTION_BYTES: u64 = 64 << 20;
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
    const SETTINGS: &'static str = "key: block number, value: block; a cache that holds all of the data; bulk load in order in \
         transactions of 64 MiB, all with Durability::None but for the last where it is to be durable; one read transaction for a run of reads; an \
         update is one transaction";

    fn unfit(_: Work) -> Option<&'static str> {
        None
    }

    fn load(folder: &Path, shape: Shape, durability: Durability) -> Result<RedbStore> {
        let store = RedbStore { database: builder(shape)?.create(folder.join(FILE))? };
        let mut pieces = Pieces::of(shape);
        let blocks = pieces.len_bytes() / shape.block_bytes as u64;
        let mut number = 0;
        while number < pieces.count() {
            let end = pieces.count().min(number + TRANSACTION_BYTES / pieces.len_bytes());
            let is_last = end == pieces.count();
            let durability = if is_last { durability } else { Durability::Lazy };
            store.write(durability, |transaction| {
                let mut table = transaction.open_table(BLOCKS)?;
                while number < end {
                    let piece = pieces.get(number).chunks_exact(shape.block_bytes);
                    for (block, content) in (number * blocks..).zip(piece) {
                        table.insert(block, content)?;
                    }
                    number += 1;
                }
                Ok(())
            })?;
        }
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
