//! The memory of one block, who holds it, and who waits for memory.

use std::{
    ops::Deref,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::sync::Notify;

use super::parcel::Parcels;
use crate::{BufferPool, FBuf, Operation, StorageError};

/// The memory of one block. Bytes beyond the end of the file are zero.
///
/// The bytes change only through `&mut Frame`, hence only while one `Arc` alone leads here: nobody
/// who holds a snapshot sees it change.
pub(crate) struct Frame {
    buffer: FBuf,
    /// How many blocks in users' hands show these bytes.
    pins: AtomicU32,
    // After `buffer`: fields are dropped in this order, and whoever waits is woken when the memory
    // is back in the pool, not before.
    gate: FreedNotice,
}

impl Frame {
    pub(crate) fn new(buffer: FBuf, gate: &Arc<Gate>) -> Self {
        Self { buffer, pins: AtomicU32::new(0), gate: FreedNotice(Arc::clone(gate)) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Puts `bytes` at the beginning and zeros behind them.
    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        let (filled, rest) = self.buffer.split_at_mut(bytes.len());
        filled.copy_from_slice(bytes);
        rest.fill(0);
    }

    /// Whether blocks in users' hands show these bytes.
    pub(crate) fn is_pinned(&self) -> bool {
        // Together with the order in `Pinned::drop`: a waiter counts itself before it looks here, a
        // user counts itself out before it looks for waiters. So one of the two sees the other.
        self.pins.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate.0
    }
}

/// A frame in a user's hands: it is not evicted meanwhile.
pub(crate) struct Pinned(Arc<Frame>);

impl Pinned {
    /// Call it under the lock of the shard that the frame is in, or with a frame that is in none.
    pub(crate) fn new(frame: Arc<Frame>) -> Self {
        frame.pins.fetch_add(1, Ordering::Relaxed);
        Self(frame)
    }

    /// The frame, not pinned any more.
    pub(crate) fn release(self) -> Arc<Frame> {
        Arc::clone(&self.0)
    }

    pub(crate) fn frame(&self) -> &Arc<Frame> {
        &self.0
    }

    /// The bytes to be changed, where nobody else can see them.
    pub(crate) fn unshared(&mut self) -> Option<&mut [u8]> {
        Arc::get_mut(&mut self.0).map(Frame::bytes_mut)
    }
}

impl Deref for Pinned {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        &self.0
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::SeqCst);
        self.0.gate().freed();
    }
}

/// What a block asks of the buffer that it comes from, when it is changed.
pub(crate) trait Source: Send + Sync {
    /// A buffer for one block: an unused one, or that of a clean block that is evicted. `None` where there is none.
    fn take_any(&self) -> Option<FBuf>;

    /// Takes a clean block out that nobody uses but the one who asks.
    fn forget(&self, index: u64, frame: &Pinned);
}

/// What blocks know of the buffer they come from.
pub(crate) struct Gate {
    pub(crate) pool: BufferPool,
    /// The file's path, for messages.
    pub(crate) path: String,
    pub(crate) source: Weak<dyn Source>,
    pub(crate) memory_freed: Notify,
    pub(super) parcels: Parcels,
    waiting: AtomicU32,
}

impl Gate {
    pub(crate) fn new(pool: BufferPool, path: String, source: Weak<dyn Source>) -> Self {
        let (memory_freed, waiting) = (Notify::new(), AtomicU32::new(0));
        Self { pool, path, source, memory_freed, parcels: Parcels::default(), waiting }
    }

    /// Counts the caller among those who are to be told of memory, until the result is dropped.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }

    /// Memory came back, or a block is not in use any more.
    fn freed(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.memory_freed.notify_one();
        }
    }

    pub(crate) fn in_use(&self, operation: Operation, waited: std::time::Duration) -> StorageError {
        StorageError::BuffersInUse {
            operation,
            path: self.path.clone(),
            budget_bytes: self.pool.limit_bytes(),
            waited,
        }
    }
}

pub(crate) struct Waiting<'a>(&'a Gate);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

struct FreedNotice(Arc<Gate>);

impl Drop for FreedNotice {
    fn drop(&mut self) {
        self.0.freed();
    }
}

/// A frame on its way to the medium.
pub(super) struct Outgoing(pub(super) Arc<Frame>);

impl AsRef<[u8]> for Outgoing {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}
