//! Writing straight to the file, where no blocks are kept.

use std::sync::atomic::Ordering;

use super::{FileBuffer, Inner};
use crate::{StorageBackend, StorageError};

impl<B: StorageBackend + 'static> FileBuffer<B> {
    pub(super) async fn write_through(&self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let mut under_way = WriteThrough { inner: &self.inner, may_have_grown: true };
        self.inner.file.write_at(offset, data).await?;
        under_way.may_have_grown = false;
        if !data.is_empty() {
            self.inner.cache.raise_len(offset + data.len() as u64);
        }
        Ok(())
    }
}

impl<B: StorageBackend> Inner<B> {
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
