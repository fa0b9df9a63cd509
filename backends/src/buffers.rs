//! Aligned buffers that are used again and again.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use zerocopy::{FromZeros, IntoBytes};

/// What buffers are aligned to, in bytes: a page, hence also what direct I/O asks for.
const ALIGN_BYTES: usize = 4096;

/// The memory of buffers comes in these.
#[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
#[repr(C, align(4096))]
struct Chunk([u8; ALIGN_BYTES]);

/// Buffers of powers of two up to this size are kept for reuse; larger ones are given back.
const KEPT_LEN_MAX: usize = 4 << 20;
const CLASS_COUNT: usize = (KEPT_LEN_MAX / ALIGN_BYTES).ilog2() as usize + 1;

/// A pool of buffers, with a limit on all of them together: those in use and those kept.
///
/// Cloning shares the pool.
#[derive(Clone)]
pub struct BufferPool {
    shared: Arc<Shared>,
}

struct Shared {
    limit_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Free buffers by the log2 of their chunks.
    free: [Vec<Vec<Chunk>>; CLASS_COUNT],
    used_bytes: u64,
    free_bytes: u64,
}

impl BufferPool {
    /// A pool whose buffers never take more than `limit_bytes` together.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        Self { shared: Arc::new(Shared { limit_bytes, state: Mutex::default() }) }
    }

    /// Takes a buffer of `len` bytes, filled with whatever was in it last. `None` where that would
    /// pass the limit: the capacity, which is `len` rounded up to a power of two of at least 4 KiB,
    /// counts.
    #[must_use]
    pub fn take(&self, len: usize) -> Option<FBuf> {
        let chunk_count = len.div_ceil(ALIGN_BYTES).max(1).checked_next_power_of_two()?;
        let capacity_bytes = (chunk_count as u64).checked_mul(ALIGN_BYTES as u64)?;
        let class = chunk_count.ilog2() as usize;
        let mut state = self.shared.state.lock();
        let kept = state.free.get_mut(class).and_then(Vec::pop);
        let memory = match kept {
            Some(memory) => {
                state.free_bytes -= capacity_bytes;
                state.used_bytes += capacity_bytes;
                memory
            }
            None => {
                let others = state.used_bytes.checked_add(capacity_bytes)?;
                if others > self.shared.limit_bytes {
                    return None;
                }
                let surplus = (others + state.free_bytes).saturating_sub(self.shared.limit_bytes);
                let dropped = state.give_up(surplus);
                state.used_bytes = others;
                drop(state);
                drop(dropped);
                match Chunk::new_vec_zeroed(chunk_count) {
                    Ok(memory) => memory,
                    Err(_) => {
                        self.shared.state.lock().used_bytes -= capacity_bytes;
                        return None;
                    }
                }
            }
        };
        Some(FBuf { memory, len, pool: Arc::clone(&self.shared) })
    }

    /// Takes a buffer of `len` zero bytes; see [`take`](Self::take).
    #[must_use]
    pub fn take_zeroed(&self, len: usize) -> Option<FBuf> {
        let mut buffer = self.take(len)?;
        buffer.fill(0);
        Some(buffer)
    }

    /// The limit of all buffers together.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.shared.limit_bytes
    }

    /// The bytes of buffers in use.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.shared.state.lock().used_bytes
    }

    /// The bytes of buffers in use and of those that are kept for the next one.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        let state = self.shared.state.lock();
        state.used_bytes + state.free_bytes
    }
}

impl State {
    /// Takes free buffers of at least `bytes` together out, the largest first; fewer where there
    /// are not as many.
    fn give_up(&mut self, mut bytes: u64) -> Vec<Vec<Chunk>> {
        let mut dropped = Vec::new();
        for (class, free) in self.free.iter_mut().enumerate().rev() {
            while bytes > 0
                && let Some(memory) = free.pop()
            {
                let capacity_bytes = (ALIGN_BYTES as u64) << class;
                self.free_bytes -= capacity_bytes;
                bytes = bytes.saturating_sub(capacity_bytes);
                dropped.push(memory);
            }
        }
        dropped
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("limit_bytes", &self.limit_bytes())
            .field("used_bytes", &self.used_bytes())
            .finish_non_exhaustive()
    }
}

/// A buffer from a [`BufferPool`], aligned to 4 KiB. It goes back to the pool when it is dropped.
pub struct FBuf {
    memory: Vec<Chunk>,
    len: usize,
    pool: Arc<Shared>,
}

impl FBuf {
    /// The bytes for good: shared without a copy, and given back to the pool by the last owner.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for FBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory.as_bytes()[..self.len]
    }
}

impl DerefMut for FBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory.as_mut_bytes()[..self.len]
    }
}

impl AsRef<[u8]> for FBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for FBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FBuf").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Drop for FBuf {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        let capacity_bytes = (memory.len() * ALIGN_BYTES) as u64;
        let class = memory.len().ilog2() as usize;
        let mut state = self.pool.state.lock();
        state.used_bytes -= capacity_bytes;
        if let Some(free) = state.free.get_mut(class) {
            free.push(memory);
            state.free_bytes += capacity_bytes;
        }
    }
}
