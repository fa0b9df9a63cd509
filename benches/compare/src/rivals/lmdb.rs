//! LMDB, through `heed`.

use std::path::Path;

use heed::{
    CommitOrAbort, Database, Env, EnvFlags, IntegerComparator, PutFlags, RwTxn,
    byteorder::NativeEndian,
    types::{Bytes, U64},
};

use crate::{
    Result,
    data::{Page, Pieces, Shape},
    store::{Access, Durability, Rival, Store, as_blocks},
    unchecked,
    work::Work,
};

pub(crate) struct Lmdb;

type Blocks = Database<'static, U64<NativeEndian>, Bytes, IntegerComparator>;

pub(crate) struct LmdbStore {
    env: Env,
    blocks: Blocks,
}

/// How many bytes a transaction of a bulk load takes, at most: LMDB keeps the pages it has changed in
/// memory, and writes some of them twice where they are too many.
const TRANSACTION_BYTES_MAX: u64 = 64 << 20;

impl LmdbStore {
    fn new(folder: &Path, shape: Shape, flags: EnvFlags) -> Result<Self> {
        // A value of a page takes two, since LMDB puts a header before it.
        let map_size = usize::try_from(3 * shape.len_bytes + (64 << 20))?.next_multiple_of(4096);
        let env = unchecked::open_lmdb(folder, map_size, flags)?;
        let transaction = env.write_txn()?;
        let blocks = env
            .create_databases_and_commit(transaction, |opener, transaction| {
                let options = opener
                    .database_options()
                    .types::<U64<NativeEndian>, Bytes>()
                    .key_comparator::<IntegerComparator>();
                options.create(transaction).map(CommitOrAbort::<_, ()>::Commit)
            })?
            .commit()
            .ok_or("the transaction was committed")?;
        Ok(Self { env, blocks })
    }

    /// Stores all of the data, whose keys come in order.
    fn fill(&self, shape: Shape) -> Result<()> {
        let mut transaction = Some(self.env.write_txn()?);
        let mut pending_bytes = 0;
        let transaction_bytes = usize::try_from(shape.cache_bytes.min(TRANSACTION_BYTES_MAX))?;
        Pieces::each_block(shape, |number, block| {
            if pending_bytes >= transaction_bytes {
                pending_bytes = 0;
                // There is one at a time: the next begins when this one is over.
                transaction.take().map_or(Ok(()), RwTxn::commit)?;
                transaction = Some(self.env.write_txn()?);
            }
            let open = transaction.as_mut().ok_or("a transaction is open")?;
            self.blocks.put_with_flags(open, PutFlags::APPEND, &number, block)?;
            pending_bytes += block.len();
            Result::Ok(())
        })?;
        Ok(transaction.take().map_or(Ok(()), RwTxn::commit)?)
    }
}

impl Rival for Lmdb {
    type Store = LmdbStore;

    const NAME: &'static str = "LMDB";
    const PACKAGE: Option<&'static str> = Some("heed");
    const SETTINGS: &'static str = "key: block number (compared as an integer), value: block; bulk load with PutFlags::APPEND in \
         transactions of 64 MiB under NO_SYNC, then one forced sync; NO_READ_AHEAD before random reads; one read \
         transaction for a run of reads; an update is one transaction";

    fn unfit(_: Work) -> Option<&'static str> {
        None
    }

    fn load(folder: &Path, shape: Shape, durability: Durability) -> Result<LmdbStore> {
        let store = LmdbStore::new(folder, shape, EnvFlags::NO_SYNC)?;
        store.fill(shape)?;
        if durability == Durability::Durable {
            store.env.force_sync()?;
        }
        Ok(store)
    }

    fn open(folder: &Path, shape: Shape, access: Access) -> Result<LmdbStore> {
        let flags = match access {
            Access::Random => EnvFlags::NO_READ_AHEAD,
            Access::Sequential => EnvFlags::empty(),
        };
        LmdbStore::new(folder, shape, flags)
    }

    fn small_files(folder: &Path, count: u64, look: impl FnMut(&[u8])) -> Result<()> {
        as_blocks::<Self>(folder, count, look)
    }
}

impl Store for LmdbStore {
    fn visit(&self, blocks: &[u64], mut look: impl FnMut(&[u8])) -> Result<()> {
        let transaction = self.env.read_txn()?;
        for block in blocks {
            look(self.blocks.get(&transaction, block)?.ok_or("a block is missing")?);
        }
        Ok(())
    }

    fn scan(&self, mut look: impl FnMut(&[u8])) -> Result<()> {
        let transaction = self.env.read_txn()?;
        for block in self.blocks.iter(&transaction)? {
            look(block?.1);
        }
        Ok(())
    }

    fn update(&self, pages: &[u64], content: impl Fn(u64) -> Page) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for &page in pages {
            self.blocks.put(&mut transaction, &page, &content(page))?;
        }
        Ok(transaction.commit()?)
    }
}
