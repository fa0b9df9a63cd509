//! Compression of blocks, on any backend.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use self::{
    call::Call,
    format::Geometry,
    shared::Shared,
    turns::{Claim, Use},
    writing::Patch,
};
use crate::{
    BackendId, BufferPool, Operation, Stats, StorageBackend, StorageError, WriteRequest,
    driver::{Unwanted, drive},
};

mod block;
mod call;
mod files;
mod format;
mod reading;
mod shared;
mod threads;
mod turns;
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
/// * A change whose future is dropped after its first poll is done to its end, before anything that
///   begins later and concerns the same bytes, so not even a write of many blocks is left half done.
/// * Where a write fails, blocks that it covered as a whole may be damaged until they are written
///   again. Blocks are overwritten in place, so after a crash the same is true of each block that was
///   written since the last [`sync`](StorageBackend::sync), whichever bytes of it were written.
/// * Reading a sealed file copies, since it decompresses.
///
/// Nobody else may change the files below: their lengths, which are cached here, would be wrong, and writes to
/// a block could be lost. All `Compressed` over one backend share that cache and one order of calls, clones or
/// not. So a cancelled call comes first even if the last of them was dropped and another one is made.
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
    shared: Arc<Shared>,
}

impl<B: StorageBackend<Error = StorageError> + 'static> Compressed<B> {
    /// Compresses the files on `backend`, new ones in blocks of `block_size_bytes`: a power of two from 4 KiB
    /// to 2 MiB. Existing files keep their block size.
    ///
    /// Data passes through buffers from `buffers`. A read takes as much as it returns, and at times one block
    /// more. A write takes as much as it was given, one block, and twice the blocks that it writes at a time: 1
    /// MiB of them, or one if a block is larger.
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
        let shared = Shared::of(backend.id());
        Ok(Self { inner: Arc::new(Inner { backend, geometry, buffers, shared }) })
    }

    /// Does a call by driven work: it holds turns that others wait for.
    async fn drive<T, F>(
        &self,
        call: Call,
        unwanted: Unwanted,
        work: impl FnOnce(Arc<Inner<B>>, Call) -> F,
    ) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        let (operation, path) = (call.operation, Arc::clone(&call.path));
        let work = work(Arc::clone(&self.inner), call);
        drive(unwanted, work).await.map_err(StorageError::io(operation, &*path))?
    }

    /// The same for a call that uses a whole file.
    async fn drive_whole<F>(
        &self,
        call: Call,
        work: impl FnOnce(Arc<Inner<B>>, Call) -> F + Send + 'static,
    ) -> Result<(), StorageError>
    where
        F: Future<Output = Result<(), StorageError>> + Send + 'static,
    {
        self.drive(call, Unwanted::GoesOn, |inner, call| async move {
            let turn = inner.shared.turns.take(Claim::File(Arc::clone(&call.path), Use::Whole));
            turn.come().await;
            work(Arc::clone(&inner), call).await
        })
        .await
    }
}

impl<B: StorageBackend<Error = StorageError> + 'static> StorageBackend for Compressed<B> {
    type Error = StorageError;

    async fn read(&self, path: &str, offset: u64, length: usize) -> Result<Bytes, StorageError> {
        let call = Call::new(Operation::Read, path);
        self.drive(call, Unwanted::Stops, move |inner, call| async move {
            inner.read(&call, offset, length).await
        })
        .await
    }

    async fn write(&self, path: &str, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let call = Call::new(Operation::Write, path);
        let data = if data.is_empty() {
            Bytes::new()
        } else {
            let mut buffer = call.buffer(&self.inner.buffers, data.len())?;
            buffer.copy_from_slice(data);
            buffer.freeze()
        };
        let patch = Patch { offset, data };
        self.drive(call, Unwanted::GoesOn, move |inner, call| async move {
            let turn = inner.take_turn_to_write(&call, &patch);
            inner.write(&call, turn, patch).await
        })
        .await
    }

    async fn delete(&self, path: &str) -> Result<(), StorageError> {
        let call = Call::new(Operation::Delete, path);
        self.drive_whole(call, |inner, call| async move {
            inner.shared.known.forget(&call.path);
            inner.backend.delete(&call.path).await
        })
        .await
    }

    async fn exists(&self, path: &str) -> Result<bool, StorageError> {
        let call = Call::new(Operation::Examine, path);
        self.drive(call, Unwanted::Stops, |inner, call| async move {
            let turn = inner.shared.turns.take(Claim::File(Arc::clone(&call.path), Use::Length));
            turn.come().await;
            inner.backend.exists(&call.path).await
        })
        .await
    }

    async fn len(&self, path: &str) -> Result<u64, StorageError> {
        let call = Call::new(Operation::Examine, path);
        self.drive(call, Unwanted::Stops, |inner, call| async move {
            let turn = inner.take_turn(&call, |_| Use::Length);
            let file = inner.enter(&call, &turn, |_| Use::Length).await?;
            Inner::<B>::len_of(&call, &file)
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let call = Call::new(Operation::List, prefix);
        self.drive(call, Unwanted::Stops, |inner, call| async move {
            let turn = inner.shared.turns.take(Claim::List { prefix: Arc::clone(&call.path) });
            turn.come().await;
            drop(turn);
            inner.backend.list(&call.path).await
        })
        .await
    }

    async fn sync(&self, path: &str) -> Result<(), StorageError> {
        let call = Call::new(Operation::Sync, path);
        self.drive(call, Unwanted::GoesOn, |inner, call| async move {
            // Writes that begin from here on need not wait for the disk.
            let turn = inner.shared.turns.take(Claim::File(Arc::clone(&call.path), Use::Settled));
            turn.come().await;
            drop(turn);
            let synced = inner.backend.sync(&call.path).await;
            if synced.is_err() {
                // A poisoned file is to fail wherever it is asked for, not to be answered from
                // memory.
                inner.shared.known.forget(&call.path);
            }
            synced
        })
        .await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let (call, to) = (Call::new(Operation::Rename, from), Arc::<str>::from(to));
        self.drive(call, Unwanted::GoesOn, |inner, call| async move {
            let claim = Claim::Rename { from: Arc::clone(&call.path), to: Arc::clone(&to) };
            let turn = inner.shared.turns.take(claim);
            turn.come().await;
            inner.shared.known.forget(&call.path);
            inner.shared.known.forget(&to);
            inner.backend.rename(&call.path, &to).await
        })
        .await
    }

    async fn truncate(&self, path: &str, len: u64) -> Result<(), StorageError> {
        let call = Call::new(Operation::Truncate, path);
        let cut =
            move |inner: Arc<Inner<B>>, call: Call| async move { inner.truncate(&call, len).await };
        self.drive_whole(call, cut).await
    }

    async fn seal(&self, path: &str) -> Result<(), StorageError> {
        let call = Call::new(Operation::Seal, path);
        // Nobody's write is to be cut in two.
        self.drive_whole(call, |inner, call| async move {
            inner.shared.known.forget(&call.path);
            inner.backend.seal(&call.path).await
        })
        .await
    }

    async fn write_many(&self, requests: &[WriteRequest<'_>]) -> Vec<Result<(), StorageError>> {
        let owned = requests.iter().map(|request| {
            let patch = Patch { offset: request.offset, data: request.data.clone() };
            (Call::new(Operation::Write, request.path), patch)
        });
        let (inner, owned): (_, Vec<_>) = (Arc::clone(&self.inner), owned.collect());
        let work = async move {
            // All places at once: what begins later must not come between two of them.
            let with_turn = |(call, patch): (Call, Patch)| {
                let turn = inner.take_turn_to_write(&call, &patch);
                (call, turn, patch)
            };
            let owned: Vec<_> = owned.into_iter().map(with_turn).collect();
            let mut results = Vec::with_capacity(owned.len());
            for (call, turn, patch) in owned {
                results.push(inner.write(&call, turn, patch).await);
            }
            results
        };
        match drive(Unwanted::GoesOn, work).await {
            Ok(results) => results,
            // No thread could be started: the same for each of them.
            Err(error) => {
                let same = || std::io::Error::new(error.kind(), error.to_string());
                let requests = requests.iter();
                let failed =
                    |r: &WriteRequest<'_>| Err(StorageError::io(Operation::Write, r.path)(same()));
                requests.map(failed).collect()
            }
        }
    }

    fn id(&self) -> BackendId {
        self.inner.shared.id
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
