//! A file being written: blocks are collected and written in large pieces.

use std::{
    fs::File,
    io::{self, ErrorKind, IoSlice, Write},
    sync::Arc,
};

use dbsp::{
    Runtime,
    profile::{BlockingFor, ParkReason},
};
use feldera_storage::{
    FileReader, FileRw, FileWriter, StoragePath,
    error::StorageError,
    fbuf::FBuf,
    file::FileId,
    metrics::{WRITE_BLOCKS_BYTES, WRITE_LATENCY_MICROSECONDS},
};

use super::{
    durability::Durability, entry::Entry, error::io_error, read_pool::ReadPool,
    reader::MappedReader, source::Source, syncs::Syncs,
};

/// How many bytes are collected before they are written. The blocks are in memory anyway, shared
/// with DBSP's cache.
const PIECE_BYTES: usize = 1 << 20;

/// A file that has not got its name yet; removed if it is dropped.
pub(super) struct MappedWriter {
    /// None once the file is complete.
    file: Option<Arc<File>>,
    entry: Option<Entry>,
    id: FileId,
    name: StoragePath,
    pool: Arc<ReadPool>,
    syncs: Arc<Syncs>,
    waiting: Vec<Arc<FBuf>>,
    waiting_bytes: usize,
    /// A write failed: what the file has is unknown, so it can never be complete.
    failed: Option<StorageError>,
}

impl MappedWriter {
    pub(super) fn new(file: File, entry: Entry, pool: &Arc<ReadPool>, syncs: &Arc<Syncs>) -> Self {
        Self {
            file: Some(Arc::new(file)),
            name: entry.name().clone(),
            entry: Some(entry),
            id: FileId::new(),
            pool: Arc::clone(pool),
            syncs: Arc::clone(syncs),
            waiting: Vec::new(),
            waiting_bytes: 0,
            failed: None,
        }
    }

    /// Writes what waits.
    fn flush(&mut self) -> Result<(), StorageError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = WRITE_LATENCY_MICROSECONDS.record_callback(|| self.write_waiting());
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        self.waiting.clear();
        self.waiting_bytes = 0;
        result
    }

    fn write_waiting(&mut self) -> Result<(), StorageError> {
        let (Some(file), Some(entry)) = (&self.file, &mut self.entry) else {
            return Ok(());
        };
        let path = entry.path();
        check_quota(entry)?;
        let mut slices: Vec<IoSlice<'_>> =
            self.waiting.iter().map(|block| IoSlice::new(block)).collect();
        let mut left = &mut slices[..];
        let _waiting = BlockingFor::new(ParkReason::StorageWrite);
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match (&**file).write_vectored(left) {
                Ok(0) => {
                    return Err(io_error("write", &path)(io::Error::from(ErrorKind::WriteZero)));
                }
                Ok(count) => {
                    WRITE_BLOCKS_BYTES.record(count);
                    entry.grew(count);
                    IoSlice::advance_slices(&mut left, count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("write", &path)(error)),
            }
        }
        Ok(())
    }
}

/// Fails where DBSP was told to use no more than so much.
fn check_quota(entry: &Entry) -> Result<(), StorageError> {
    let Some(limit) = Runtime::with_dev_tweaks(|tweaks| tweaks.storage_max) else {
        return Ok(());
    };
    if u64::try_from(entry.usage_bytes()).unwrap_or(0) <= limit.as_bytes() {
        return Ok(());
    }
    Err(StorageError::stdio(ErrorKind::StorageFull, "write", entry.path().display()))
}

impl FileRw for MappedWriter {
    fn file_id(&self) -> FileId {
        self.id
    }

    fn path(&self) -> &StoragePath {
        &self.name
    }
}

impl FileWriter for MappedWriter {
    fn write_block(&mut self, data: FBuf) -> Result<Arc<FBuf>, StorageError> {
        let block = Arc::new(data);
        self.waiting_bytes += block.len();
        self.waiting.push(Arc::clone(&block));
        if self.waiting_bytes >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(block)
    }

    fn complete(mut self: Box<Self>) -> Result<Arc<dyn FileReader>, StorageError> {
        self.flush()?;
        let file = Arc::clone(self.file.as_ref().expect("a file is completed once"));
        let entry = self.entry.as_mut().expect("a file is completed once");
        let path = entry.path();
        let _waiting = BlockingFor::new(ParkReason::StorageMetadata);
        Source::seal(&file, &path)?;
        let durability = Durability::unknown(&file, &self.syncs);
        if entry.replaces()? {
            // A power cut must not leave neither of the two. DBSP's list of checkpoints is such a file.
            durability.commit(&path)?;
        }
        entry.finish(&file)?;
        self.file = None;
        let entry = self.entry.take().expect("a file is completed once");
        let source = Source::open(file, path, durability)?;
        Ok(Arc::new(MappedReader::completed(source, entry, self.id, &self.pool)))
    }
}

impl Drop for MappedWriter {
    fn drop(&mut self) {
        if let (Some(file), Some(entry)) = (&self.file, &mut self.entry) {
            entry.abandon(file);
        }
    }
}
