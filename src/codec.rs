//! Compression of blocks, on any backend.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use self::{call::Call, files::KnownFiles, format::Geometry, locks::Locks};
use crate::{BufferPool, Operation, Stats, StorageBackend, StorageError, WriteRequest};

mod block;
mod call;
mod files;
mod format;
mod locks;
mod reading;
mod writing;

/// A backend whose files are compressed, block by block (LZ4), on another backend.
///
/// Files have any length and are read and written at any byte, as on each backend. A block that
/// compressing saves no page of is stored as it is. `docs/compression.md` describes the files and
/// what they cost.
///
/// All that [`StorageBackend`] promises holds here too, with these additions:
/// * Every file below must be one that this wrote. Any other is [`StorageError::Unsupported`] for
///   whatever looks into it; it can be listed, renamed and deleted.
/// * A block whose bytes are not those that were written is [`StorageError::Corrupt`] for whatever
///   needs it; the rest of the file can be read. Where that is the last block, the file's length is
///   unknown, until [`truncate`](StorageBackend::truncate) cuts the block off.
/// * What is dropped while it waits for its turn has no effect. What is dropped later is done to its
///   end, before anything else is done to the same bytes, so not even a write of many blocks is left
///   half done.
/// * Where a write fails, blocks that it covered as a whole may be damaged until they are written
///   again. Blocks are overwritten in place, so after a crash the same is true of each block that was
///   written since the last [`sync`](StorageBackend::sync), whichever bytes of it were written.
/// * Reading a sealed file copies, since it decompresses.
///
/// Nobody else may change the files below meanwhile, not even a second `Compressed` over the same
/// backend: what this knows of their lengths would be wrong, and writes to one block could be lost.
/// Clones of this one share what they know.
///
/// Counts in [`stats`](StorageBackend::stats) are those of the backend below.
pub struct Compressed<B> {
    inner: Arc<Inner<B>>,
}

struct Inner<B> {
    backend: B,
    /// How new files are cut; older ones say themselves.
    geometry: Geometry,
    buffers: BufferPool,
    locks: Locks,
    known: KnownFiles,
}

impl<B: StorageBackend<Error = StorageError> + 'static> Compressed<B> {
    /// Compresses what is kept on `backend`, new files in blocks of `block_size_bytes`: a power of
    /// two from 4 KiB to 2 MiB. Files that are there already keep their block size.
    ///
    /// Data passes through buffers from `buffers`. A read takes what it returns and at times a block
    /// on top; a write takes what it was given, a block, and twice the blocks that it has under way,
    /// which are 1 MiB of them, or one if that is more.
    ///
    /// # Errors
    /// [`StorageError::Config`] where blocks cannot have this size.
    pub fn new(
        backend: B,
        block_size_bytes: u64,
        buffers: BufferPool,
    ) -> Result<Self, StorageError> {
        let geometry = Geometry::new(block_size_bytes).ok_or_else(|| StorageError::Config {
            field: "block_size_bytes",
            value: block_size_bytes.to_string(),
            allowed: "pass a power of two from 4096 to 2097152".to_owned(),
        })?;
        let (locks, known) = (Locks::new(), KnownFiles::default());
        Ok(Self { inner: Arc::new(Inner { backend, geometry, buffers, locks, known }) })
    }
}

impl<B: StorageBackend<Error = StorageError> + 'static> StorageBackend for Compressed<B> {
    type Error = StorageError;

    async fn read(&self, path: &str, offset: u64, length: usize) -> Result<Bytes, StorageError> {
        self.inner.read(&Call::new(Operation::Read, path), offset, length).await
    }

    async fn write(&self, path: &str, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let data = if data.is_empty() {
            Bytes::new()
        } else {
            let call = Call::new(Operation::Write, path);
            let mut buffer = call.buffer(&self.inner.buffers, data.len())?;
            buffer.copy_from_slice(data);
            buffer.freeze()
        };
        self.inner.write(Call::new(Operation::Write, path), offset, data).await
    }

    async fn delete(&self, path: &str) -> Result<(), StorageError> {
        let call = Call::new(Operation::Delete, path);
        let inner = Arc::clone(&self.inner);
        let held = (inner.locks.own(path).await, inner.locks.share_names().await);
        let change = |call: Call| async move {
            let _held = held;
            inner.known.forget(&call.path);
            inner.backend.delete(&call.path).await
        };
        call.complete(change).await
    }

    async fn exists(&self, path: &str) -> Result<bool, StorageError> {
        let _shared = self.inner.locks.share(path).await;
        self.inner.backend.exists(path).await
    }

    async fn len(&self, path: &str) -> Result<u64, StorageError> {
        let call = Call::new(Operation::Examine, path);
        let (_shared, file) = self.inner.share(&call).await?;
        Inner::<B>::len_of(&call, &file)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.inner.locks.settle_names().await;
        self.inner.backend.list(prefix).await
    }

    async fn sync(&self, path: &str) -> Result<(), StorageError> {
        let synced = self.inner.backend.sync(path).await;
        if synced.is_err() {
            // A poisoned file is to fail wherever it is asked for, not to be answered from memory.
            self.inner.known.forget(path);
        }
        synced
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let call = Call::new(Operation::Rename, from);
        let (inner, to) = (Arc::clone(&self.inner), to.to_owned());
        let held = (inner.locks.own_both(from, &to).await, inner.locks.share_names().await);
        let change = |call: Call| async move {
            let _held = held;
            inner.known.forget(&call.path);
            inner.known.forget(&to);
            inner.backend.rename(&call.path, &to).await
        };
        call.complete(change).await
    }

    async fn truncate(&self, path: &str, len: u64) -> Result<(), StorageError> {
        let call = Call::new(Operation::Truncate, path);
        let inner = Arc::clone(&self.inner);
        let owned = inner.locks.own(path).await;
        let change = move |call: Call| async move {
            let _owned = owned;
            inner.truncate(&call, len).await
        };
        call.complete(change).await
    }

    async fn seal(&self, path: &str) -> Result<(), StorageError> {
        let call = Call::new(Operation::Seal, path);
        let inner = Arc::clone(&self.inner);
        // Nobody's write is to be cut in two.
        let owned = inner.locks.own(path).await;
        let change = |call: Call| async move {
            let _owned = owned;
            inner.known.forget(&call.path);
            inner.backend.seal(&call.path).await
        };
        call.complete(change).await
    }

    async fn write_many(&self, requests: &[WriteRequest<'_>]) -> Vec<Result<(), StorageError>> {
        let mut results = Vec::with_capacity(requests.len());
        for request in requests {
            let call = Call::new(Operation::Write, request.path);
            results.push(self.inner.write(call, request.offset, request.data.clone()).await);
        }
        results
    }

    fn stats(&self) -> Stats {
        self.inner.backend.stats()
    }
}

impl<B> Clone for Compressed<B> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<B> fmt::Debug for Compressed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressed")
            .field("block_size_bytes", &self.inner.geometry.block_size())
            .finish_non_exhaustive()
    }
}
