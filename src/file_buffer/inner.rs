//! What the clones of a buffer share, and what goes on with it behind them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64},
};

use parking_lot::Mutex;

use super::{
    cache::Cache, options::FileBufferOptions, shared_error::SharedError, streams::Streams,
};
use crate::{AsyncFile, Operation, StorageBackend, StorageError, driver::Works};

pub(super) struct Inner<B> {
    pub(super) file: AsyncFile<B>,
    pub(super) options: FileBufferOptions,
    /// Whether blocks are the backend's views, and writes go straight to it. Never unset.
    pub(super) passes_through: AtomicBool,
    pub(super) cache: Arc<Cache>,
    pub(super) streams: Mutex<Streams>,
    /// What is written out now.
    pub(super) works: Works,
    /// Held by whoever writes blocks out.
    pub(super) write_turn: Arc<tokio::sync::Mutex<()>>,
    /// A write that failed since the last flush.
    pub(super) write_failure: Mutex<Option<SharedError>>,
    /// How many batches were written, whether they failed or not.
    pub(super) write_count: AtomicU64,
    /// How many writes that went straight to the file were given up or failed: it may be longer than
    /// is known.
    pub(super) unsure_count: AtomicU64,
    /// How many there had been when the file was last asked for its length.
    pub(super) learned_count: AtomicU64,
    /// What `write_count` was before the last sync that succeeded.
    pub(super) synced: tokio::sync::Mutex<u64>,
    pub(super) counts: SlowCounts,
}

/// Counts of what takes longer than counting.
#[derive(Default)]
pub(super) struct SlowCounts {
    pub(super) misses: AtomicU64,
    pub(super) views: AtomicU64,
    pub(super) read_ahead: AtomicU64,
    pub(super) write_backs: AtomicU64,
    pub(super) write_back_runs: AtomicU64,
    pub(super) write_back_failures: AtomicU64,
}

impl<B> Inner<B> {
    pub(super) fn dirty_bytes(&self) -> u64 {
        self.cache.dirty_count() as u64 * self.cache.block_size() as u64
    }
}

impl<B: StorageBackend> Inner<B> {
    /// Where a block begins, if a file can be long enough for all of it.
    pub(super) fn writable_offset(&self, index: u64) -> Result<u64, StorageError> {
        let size = self.cache.block_size();
        let offset = index.saturating_mul(size as u64);
        self.check_end(offset, size).map(|()| offset)
    }

    /// The longest file ends where a signed number of 64 bits does.
    pub(super) fn check_end(&self, offset: u64, len: usize) -> Result<(), StorageError> {
        match offset.checked_add(len as u64) {
            Some(end) if i64::try_from(end).is_ok() => Ok(()),
            _ => Err(StorageError::Unsupported {
                operation: Operation::Write,
                path: self.file.path().to_owned(),
                reason: format!(
                    "{len} bytes at {offset} end behind {}, where the longest file ends; check the \
                     offset",
                    i64::MAX
                ),
            }),
        }
    }

    pub(super) fn past_end(&self, index: u64, file_len: u64) -> StorageError {
        StorageError::PastEnd {
            path: self.file.path().to_owned(),
            offset: index.saturating_mul(self.cache.block_size() as u64),
            length: self.cache.block_size(),
            file_len,
        }
    }
}

impl<B> Drop for Inner<B> {
    fn drop(&mut self) {
        let dirty_bytes = self.dirty_bytes();
        if dirty_bytes > 0 {
            let path = &self.cache.gate().path;
            tracing::warn!(path, dirty_bytes, "a buffer was dropped before it was flushed");
        }
    }
}
