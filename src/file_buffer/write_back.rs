//! Writing dirty blocks out: neighbours in one piece, one batch at a time, none forgotten.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use super::{cache::Cache, inner::Inner, shared_error::SharedError};
use crate::{Operation, StorageBackend, StorageError};

/// How much is written when memory is needed: enough that the way to a blocking thread does not
/// count.
const EVICT_BYTES: usize = 1 << 20;
/// How much a flush writes at a time: what is on its way can be changed only in a copy.
const FLUSH_BYTES: usize = 16 << 20;

/// The right to write blocks out, which one batch has at a time: so no write of a block is
/// overtaken by an earlier one of the same block.
pub(super) type Turn = OwnedMutexGuard<()>;

/// Blocks to write so that memory becomes free: those used least recently, and their dirty
/// neighbours.
pub(super) fn choose<B>(inner: &Inner<B>) -> Vec<u64> {
    let cache = &*inner.cache;
    let size = cache.block_size() as u64;
    let fitting = cache.gate().pool.limit_bytes() / size;
    let count_max = (EVICT_BYTES as u64 / size).min(fitting / 4).max(1);
    let count_max = usize::try_from(count_max).expect("a MiB has not that many blocks");
    let mut chosen = BTreeSet::new();
    for victim in cache.oldest_dirty(count_max) {
        let mut choose = |&index: &u64| {
            chosen.len() < count_max && cache.is_dirty(index) && chosen.insert(index)
        };
        if choose(&victim) {
            let _below = (0..victim).rev().take_while(&mut choose).count();
            let _above = (victim + 1..).take_while(&mut choose).count();
        }
    }
    chosen.into_iter().collect()
}

/// Writes out all blocks that are dirty now.
pub(super) async fn all<B: StorageBackend + 'static>(
    inner: Arc<Inner<B>>,
) -> Result<(), StorageError> {
    let dirty = inner.cache.dirty_blocks();
    let mut result = Ok(());
    for batch in dirty.chunks((FLUSH_BYTES / inner.cache.block_size()).max(1)) {
        let turn = Arc::clone(&inner.write_turn).lock_owned().await;
        result = result.and(write(&inner, turn, batch.to_vec()).await);
    }
    result
}

/// Writes blocks out, as far as they are dirty still. Driven work, as [`all`]: the turn must not end
/// before the backend is done with the batch.
pub(super) async fn write<B: StorageBackend + 'static>(
    inner: &Arc<Inner<B>>,
    _turn: Turn,
    blocks: Vec<u64>,
) -> Result<(), StorageError> {
    let cache = &inner.cache;
    let mut batch = Batch { cache, under_way: Vec::with_capacity(blocks.len()) };
    let parts: Vec<_> = blocks.into_iter().filter_map(|index| batch.begin(index)).collect();
    let results = inner.file.write_many_at(parts).await;
    inner.write_count.fetch_add(1, Ordering::AcqRel);

    let counts = &inner.counts;
    let mut failure = None;
    let mut last_written = None;
    for (part, result) in batch.under_way.drain(..).zip(results) {
        match result {
            Ok(()) => {
                // Before the block can be evicted, so that it is found again.
                cache.raise_stored_len(part.end);
                cache.end_write(part.index, part.version, true);
                counts.write_backs.fetch_add(1, Ordering::Relaxed);
                if part.index.checked_sub(1).is_none_or(|before| last_written != Some(before)) {
                    counts.write_back_runs.fetch_add(1, Ordering::Relaxed);
                }
                last_written = Some(part.index);
            }
            Err(error) => {
                cache.end_write(part.index, part.version, false);
                counts.write_back_failures.fetch_add(1, Ordering::Relaxed);
                failure.get_or_insert(error);
            }
        }
    }
    drop(batch);
    // Several blocks may be clean now.
    cache.gate().memory_freed.notify_waiters();
    let Some(error) = failure else {
        return Ok(());
    };
    tracing::warn!(path = inner.file.path(), error = %pagestore::WithCauses(&error), "blocks could not be written, they stay dirty");
    let error = SharedError::new(error);
    let again = error.again(Operation::Write);
    inner.write_failure.lock().get_or_insert(error);
    Err(again)
}

/// Blocks that are being written. Those that are not ended in another way stay dirty.
struct Batch<'a> {
    cache: &'a Cache,
    under_way: Vec<Part>,
}

struct Part {
    index: u64,
    version: u64,
    end: u64,
}

impl Batch<'_> {
    fn begin(&mut self, index: u64) -> Option<(u64, Bytes)> {
        let (outgoing, len, version) = self.cache.begin_write(index)?;
        let offset = self.cache.offset(index);
        self.under_way.push(Part { index, version, end: offset + len as u64 });
        Some((offset, Bytes::from_owner(outgoing).slice(..len)))
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for part in &self.under_way {
            self.cache.end_write(part.index, part.version, false);
        }
    }
}
