//! Files that nothing is kept of: blocks are the backend's views, and writes go straight to the file.

use std::sync::{Arc, atomic::Ordering};

use super::{Caching, FileBuffer, inner::Inner};
use crate::{Block, StorageBackend, StorageError, block::Content};

impl<B: StorageBackend> Inner<B> {
    #[inline]
    pub(super) fn passes_through(&self) -> bool {
        self.passes_through.load(Ordering::Relaxed)
    }

    /// From when the file is sealed on, its blocks need not be kept: the file never changes any more,
    /// and the medium has them in memory itself.
    pub(super) fn look_at_seal(&self) {
        if self.options.caching == Caching::Auto
            && !self.passes_through()
            && self.file.backend().reads_are_views(self.file.path())
        {
            self.passes_through.store(true, Ordering::Relaxed);
        }
    }

    /// A block as the backend has it; `None` where the buffer has to give it.
    pub(super) async fn view(
        &self,
        index: u64,
        file_len: u64,
    ) -> Option<Result<Block, StorageError>> {
        if !self.passes_through() {
            return None;
        }
        let len = self.cache.part_len(index, file_len);
        if len == 0 {
            return Some(Err(self.past_end(index, file_len)));
        }
        let offset = self.cache.offset(index);
        // A file that was sealed before all was written out ends earlier than the buffer believes.
        let is_buffered =
            self.options.caching == Caching::Auto && offset + len as u64 > self.cache.stored_len();
        if is_buffered {
            return None;
        }
        self.counts.views.fetch_add(1, Ordering::Relaxed);
        let view = self.file.read_at(offset, len).await;
        Some(view.map(|view| {
            let content = Content::View(view, Arc::clone(self.cache.gate()));
            Block::new(content, index, offset, len)
        }))
    }

    /// Asks for the length after a write that may have changed it without a word. The backend answers
    /// after what was given up.
    pub(super) async fn learn_len(&self) -> Result<(), StorageError> {
        let unsure_count = self.unsure_count.load(Ordering::Acquire);
        if unsure_count == self.learned_count.load(Ordering::Acquire) {
            return Ok(());
        }
        let len = match self.file.len().await {
            Err(StorageError::NotFound { .. }) => 0,
            len => len?,
        };
        self.cache.raise_len(len);
        self.learned_count.fetch_max(unsure_count, Ordering::AcqRel);
        Ok(())
    }
}

impl<B: StorageBackend + 'static> FileBuffer<B> {
    pub(super) async fn write_through(&self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let mut under_way = WriteThrough { inner: &self.inner, may_have_grown: true };
        self.inner.file.write_at(offset, data).await?;
        under_way.may_have_grown = false;
        if !data.is_empty() {
            self.inner.cache.raise_stored_len(offset + data.len() as u64);
            self.inner.cache.raise_len(offset + data.len() as u64);
        }
        Ok(())
    }
}

/// A write that goes straight to the file.
struct WriteThrough<'a, B> {
    inner: &'a Inner<B>,
    may_have_grown: bool,
}

impl<B> Drop for WriteThrough<'_, B> {
    /// Also where it failed, or was given up: it may have changed the file all the same.
    fn drop(&mut self) {
        if self.may_have_grown {
            self.inner.unsure_count.fetch_add(1, Ordering::AcqRel);
        }
        self.inner.write_count.fetch_add(1, Ordering::AcqRel);
    }
}
