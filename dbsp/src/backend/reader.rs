//! A complete file, as DBSP reads it.

use std::{fmt, sync::Arc, time::Instant};

use feldera_storage::{
    FileCommitter, FileReader, FileRw, StoragePath,
    block::BlockLocation,
    error::StorageError,
    fbuf::FBuf,
    file::FileId,
    metrics::{READ_BLOCKS_BYTES, READ_LATENCY_MICROSECONDS},
};

use super::{
    entry::Entry,
    read_pool::ReadPool,
    source::{ReadResult, Source},
};

/// A complete file; removed when it is dropped, unless it is marked or was there before.
pub(super) struct MappedReader {
    /// Reads that are under way keep it open. Its place before `entry` only says that a file is
    /// closed before its name goes; either order works.
    source: Arc<Source>,
    entry: Entry,
    id: FileId,
    pool: Arc<ReadPool>,
}

impl MappedReader {
    /// A file that was there before.
    pub(super) fn new(source: Source, entry: Entry, pool: &Arc<ReadPool>) -> Self {
        Self::completed(source, entry, FileId::new(), pool)
    }

    /// A file that was just written, under the id that its writer had: DBSP's cache knows its
    /// blocks by that.
    pub(super) fn completed(
        source: Source,
        entry: Entry,
        id: FileId,
        pool: &Arc<ReadPool>,
    ) -> Self {
        Self { source: Arc::new(source), entry, id, pool: Arc::clone(pool) }
    }
}

impl fmt::Debug for MappedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedReader")
            .field("name", &self.entry.name())
            .field("len", &self.entry.len())
            .finish_non_exhaustive()
    }
}

impl FileRw for MappedReader {
    fn file_id(&self) -> FileId {
        self.id
    }

    fn path(&self) -> &StoragePath {
        self.entry.name()
    }
}

impl FileCommitter for MappedReader {
    /// Makes the file durable. Its name is with those of the folder, when DBSP asks for them; where that failed
    /// before, the file is lost to later checkpoints too.
    fn commit(&self) -> Result<(), StorageError> {
        self.source.commit()?;
        self.entry.check_name()
    }
}

impl FileReader for MappedReader {
    fn mark_for_checkpoint(&self) {
        self.entry.keep();
    }

    fn read_block(&self, location: BlockLocation) -> Result<Arc<FBuf>, StorageError> {
        READ_BLOCKS_BYTES.record(location.size);
        READ_LATENCY_MICROSECONDS.record_callback(|| self.source.read(location))
    }

    fn read_async(
        &self,
        blocks: Vec<BlockLocation>,
        callback: Box<dyn FnOnce(Vec<ReadResult>) + Send>,
    ) {
        let start = Instant::now();
        blocks.iter().for_each(|block| READ_BLOCKS_BYTES.record(block.size));
        if let Some(results) = self.source.try_read_many(&blocks) {
            READ_LATENCY_MICROSECONDS.record_elapsed(start);
            return callback(results);
        }
        let source = Arc::clone(&self.source);
        self.pool.run(Box::new(move || {
            let results = source.read_many(&blocks);
            READ_LATENCY_MICROSECONDS.record_elapsed(start);
            callback(results);
        }));
    }

    fn get_size(&self) -> Result<u64, StorageError> {
        Ok(self.entry.len())
    }
}
