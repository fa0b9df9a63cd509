//! Blocks of one file in memory, within a hard limit.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use crate::{
    AsyncFile, Block, BufferPool, DynBackend, Operation, StorageBackend, StorageError,
    block::Content, driver::Works,
};
use cache::{Cache, Hit, Placed};
use frame::{Frame, Pinned};
use inner::{Inner, SlowCounts};
use streams::Streams;

mod cache;
mod fetch;
pub(crate) mod frame;
mod inner;
mod options;
mod parcel;
mod pass_through;
mod room;
mod run;
mod shard;
mod shared_error;
mod stats;
mod streams;
mod write_back;

pub use options::{Caching, FileBufferOptions};
pub use stats::FileBufferStats;

/// The blocks of one file that are in memory, shared by many tasks, within a hard limit.
///
/// * *Reads*: a block in memory is returned in the same poll. Others are read, once for all tasks that want
///   them at the same time; sequential reads are read ahead of. The least recently used block is evicted when
///   memory is needed.
/// * *Writes* change memory. They reach the file when memory is needed or at [`flush`](Self::flush), neighbours
///   in one piece. No error loses a write: what could not be written stays dirty, and the next
///   [`flush`](Self::flush) reports it and tries again.
/// * *The limit* is for all memory of blocks: cached, dirty, private copies, and blocks in users' hands. If all
///   of it is in use, calls wait for up to [`FileBufferOptions::wait_max`].
///
/// A read sees every write that was completed before it began. Within one block it sees each write whole or not
/// at all; a write across blocks is one write for each block.
///
/// Cloning shares the buffer. The file must not be changed in another way, through another
/// buffer for instance, while there are clones.
///
/// Work that others may wait for (a block being read, blocks being written out) runs to its end on a thread of
/// the process, whoever polls. So a cancelled call, or a runtime that stops, holds nobody up. A
/// [`flush`](Self::flush) waits for the writes of an earlier one that was cancelled. When the last clone is
/// dropped, only calls that the backend has already begun are finished, and they come before anything that
/// begins later; so another buffer of the file can be made at once.
///
/// If the reads of a file are views, as of a sealed file that is mapped, nothing is cached a second time:
/// blocks are the views. This is decided for each file, and again when it is sealed; see [`Caching`].
///
/// **Dropping the last clone drops what was not flushed**, with a warning in the log. Call
/// [`close`](Self::close), or [`flush`](Self::flush).
///
/// ```
/// # use storage::{AsyncFile, DynBackend, FileBuffer, FileBufferOptions, StorageError};
/// async fn count_visit(backend: DynBackend) -> Result<(), StorageError> {
///     let file = AsyncFile::new(backend, "visits")?;
///     let buffer = FileBuffer::new(file, FileBufferOptions::default()).await?;
///     if buffer.file_len() == 0 {
///         buffer.write_at(0, &[0; 8]).await?;
///     }
///     let mut block = buffer.read_block(0).await?;
///     block.write()?[0] += 1;
///     buffer.write_block(block).await?;
///     buffer.close().await
/// }
/// ```
pub struct FileBuffer<B = DynBackend> {
    inner: Arc<Inner<B>>,
    /// All clones have the same.
    handle: Arc<Handle<B>>,
}

/// Ends what is written out when the last clone is dropped.
struct Handle<B> {
    inner: Arc<Inner<B>>,
}

impl<B> Drop for Handle<B> {
    fn drop(&mut self) {
        self.inner.works.stop();
    }
}

impl<B: StorageBackend + 'static> FileBuffer<B> {
    /// A buffer for a file. One that does not exist yet is empty, and is made by the first write
    /// that reaches it.
    ///
    /// # Errors
    /// [`StorageError::Config`] where an option is not possible; where the length of the file
    /// cannot be found out.
    pub async fn new(file: AsyncFile<B>, options: FileBufferOptions) -> Result<Self, StorageError> {
        options.check()?;
        let len = match file.len().await {
            Err(StorageError::NotFound { .. }) => 0,
            len => len?,
        };
        if options.caching == Caching::Auto {
            // Has it opened, so that it is known whether it is sealed. Who reads hears of a failure.
            let _begun = file.prefetch(&[]).await;
        }
        let pool = BufferPool::new(options.memory_limit_bytes);
        let inner = Inner {
            cache: Cache::new(pool, file.path(), options.block_size_bytes, len),
            streams: Mutex::new(Streams::new(options.ahead_count_max())),
            file,
            options,
            passes_through: AtomicBool::new(options.caching == Caching::PassThrough),
            works: Works::default(),
            write_turn: Arc::default(),
            write_failure: Mutex::default(),
            write_count: AtomicU64::new(0),
            unsure_count: AtomicU64::new(0),
            learned_count: AtomicU64::new(0),
            synced: tokio::sync::Mutex::new(0),
            counts: SlowCounts::default(),
        };
        inner.look_at_seal();
        let inner = Arc::new(inner);
        Ok(Self { handle: Arc::new(Handle { inner: Arc::clone(&inner) }), inner })
    }

    /// The block with an index; block `i` begins at byte `i * block_size_bytes`. The last one of
    /// the file may be shorter than the others.
    ///
    /// # Errors
    /// [`StorageError::PastEnd`] where the file ends before the block;
    /// [`StorageError::BuffersInUse`] where all memory stayed in use; what the backend says, also
    /// of blocks that had to be written out to make room.
    #[inline]
    pub async fn read_block(&self, index: u64) -> Result<Block, StorageError> {
        match self.inner.cache.find(index, 1) {
            Some(hit) if hit.ahead_count == 0 => Ok(self.block(index, hit)),
            Some(hit) => {
                fetch::go_on(&self.inner, index, hit.ahead_count);
                Ok(self.block(index, hit))
            }
            // In a box, so that hits do not carry the state of what they do not need.
            None => Box::pin(self.read_missing(index)).await,
        }
    }

    /// A block of zeros, to be filled and given to [`write_block`](Self::write_block). Nothing is
    /// read. As long as it is not written, nothing is changed either.
    ///
    /// It has the full size; [`Block::truncate`] makes it shorter.
    ///
    /// # Errors
    /// [`StorageError::Unsupported`] where a file cannot be that long;
    /// [`StorageError::BuffersInUse`] where all memory stayed in use; what the backend says of
    /// blocks that had to be written out to make room.
    pub async fn blank_block(&self, index: u64) -> Result<Block, StorageError> {
        let offset = self.inner.writable_offset(index)?;
        let mut frame = room::make(&self.inner, Operation::Write).await?;
        frame.fill(&[]);
        let content = Content::Frame(Pinned::new(Arc::new(frame)));
        Ok(Block::new(content, index, offset, self.inner.cache.block_size()).changed())
    }

    /// Makes a block that was changed the content of the file, as [`write_at`](Self::write_at)
    /// would, but without a copy. It is not on the medium before [`flush`](Self::flush). A block
    /// that was not changed is just dropped.
    ///
    /// The block says where it goes by its [`index`](Block::index); it may come from another buffer
    /// whose blocks have the same size.
    ///
    /// # Errors
    /// Where nothing is kept ([`Caching::PassThrough`]), what the backend says; otherwise only
    /// where the file has become longer within this block since it was read, as
    /// [`write_at`](Self::write_at). The change is lost then, unless it was a part of a longer
    /// write.
    pub async fn write_block(&self, block: Block) -> Result<(), StorageError> {
        if !block.is_dirty() {
            return Ok(());
        }
        let (index, offset, len) = (block.index(), block.offset(), block.len());
        let ours = matches!(self.inner.writable_offset(index), Ok(at) if at == offset);
        if self.inner.passes_through() || !ours {
            return self.write_at(offset, block.read()).await;
        }
        let Content::Frame(frame) = block.into_content() else {
            unreachable!("a block that was changed is no view");
        };
        // Memory of another buffer counts to that one's limit, and stays there.
        let left = if Arc::ptr_eq(frame.gate(), self.inner.cache.gate()) {
            self.inner.cache.replace(index, len, frame)
        } else {
            Err(frame)
        };
        match left {
            Ok(()) => Ok(()),
            Err(frame) => self.write_at(offset, &frame.bytes()[..len]).await,
        }
    }

    /// Writes bytes anywhere, also across blocks or behind the end of the file; what lies between
    /// becomes zeros. It is not on the medium before [`flush`](Self::flush).
    ///
    /// Of blocks that are not in memory, those parts that stay are read first; behind the end there
    /// are none. Writes of different bytes of one block do not disturb each other.
    ///
    /// # Errors
    /// [`StorageError::Unsupported`] where a file cannot be that long; as
    /// [`read_block`](Self::read_block) otherwise. Blocks before the one that failed are written.
    pub async fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let inner = &*self.inner;
        inner.check_end(offset, data.len())?;
        if inner.passes_through() {
            return self.write_through(offset, data).await;
        }
        let size = inner.cache.block_size();
        let (mut index, mut at) = inner.cache.place(offset);
        let mut rest = data;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(rest.len().min(size - at));
            match inner.cache.write(index, at, part, &mut None, None) {
                Placed::Done => {}
                _ => Box::pin(self.write_part(index, at, part)).await?,
            }
            (index, at, rest) = (index + 1, 0, behind);
        }
        Ok(())
    }

    /// Writes out all that was written before the call, and makes it durable. Where nothing was
    /// written since the last time, the backend is not called.
    ///
    /// # Errors
    /// The backend's error of a write, in this flush or earlier, when memory was needed. The blocks stay dirty,
    /// nothing is lost, and the next flush tries again. An earlier failure is reported once, even if everything
    /// is written by now; call again to find out.
    ///
    /// Where the sync fails, the file is poisoned, and flushing again fails too.
    pub async fn flush(&self) -> Result<(), StorageError> {
        let inner = &self.inner;
        let no_thread = || StorageError::io(Operation::Write, inner.file.path());
        let written = inner.works.drive(write_back::all(Arc::clone(inner))).await;
        let written = written.map_err(no_thread())?;
        let earlier = inner.write_failure.lock().take();
        if let Some(error) = earlier {
            return Err(error.again(Operation::Write));
        }
        written?;
        inner.works.drive(sync(Arc::clone(inner))).await.map_err(no_thread())?
    }

    /// Flushes, and gives this clone back.
    ///
    /// # Errors
    /// As [`flush`](Self::flush). What is not written is lost then if this was the last clone; to
    /// keep it, flush first.
    pub async fn close(self) -> Result<(), StorageError> {
        self.flush().await
    }

    /// How many bytes the file has, with what is not written out yet.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.inner.cache.len()
    }

    /// The size of all blocks but the last.
    #[must_use]
    pub fn block_size_bytes(&self) -> usize {
        self.inner.cache.block_size()
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &AsyncFile<B> {
        &self.inner.file
    }

    /// What was done so far, and what is held now.
    #[must_use]
    pub fn stats(&self) -> FileBufferStats {
        let (counts, slow) = (self.inner.cache.counts(), &self.inner.counts);
        let pool = &self.inner.cache.gate().pool;
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FileBufferStats {
            hits: counts.hits,
            misses: get(&slow.misses),
            views: get(&slow.views),
            evictions: counts.evictions,
            write_backs: get(&slow.write_backs),
            write_back_runs: get(&slow.write_back_runs),
            write_back_failures: get(&slow.write_back_failures),
            read_ahead: get(&slow.read_ahead),
            read_ahead_used: counts.ahead_used,
            read_ahead_wasted: counts.ahead_wasted,
            used_bytes: pool.used_bytes(),
            held_bytes: pool.held_bytes(),
            limit_bytes: pool.limit_bytes(),
            dirty_bytes: self.inner.dirty_bytes(),
        }
    }

    fn block(&self, index: u64, hit: Hit) -> Block {
        let offset = self.inner.cache.offset(index);
        Block::new(Content::Frame(hit.frame), index, offset, hit.len)
    }

    #[cold]
    async fn read_missing(&self, index: u64) -> Result<Block, StorageError> {
        let inner = &self.inner;
        inner.learn_len().await?;
        let file_len = inner.cache.len();
        if inner.writable_offset(index).is_err() {
            return Err(inner.past_end(index, file_len));
        }
        inner.look_at_seal();
        if let Some(view) = inner.view(index, file_len).await {
            return view;
        }
        inner.counts.misses.fetch_add(1, Ordering::Relaxed);
        Ok(self.block(index, fetch::block(inner, index).await?))
    }

    /// Writes within one block, with all that it takes.
    async fn write_part(&self, index: u64, at: usize, part: &[u8]) -> Result<(), StorageError> {
        let mut spare: Option<Frame> = None;
        let mut hold = None;
        loop {
            match self.inner.cache.write(index, at, part, &mut spare, hold.take()) {
                Placed::Done => return Ok(()),
                Placed::NeedsBuffer => {
                    spare = Some(room::make(&self.inner, Operation::Write).await?);
                }
                Placed::NeedsBlock => {
                    // It may be the only one that there is.
                    spare = None;
                    hold = Some(fetch::block(&self.inner, index).await?.frame);
                }
            }
        }
    }
}

/// Makes durable what was written out. Driven work: others wait for it.
async fn sync<B: StorageBackend>(inner: Arc<Inner<B>>) -> Result<(), StorageError> {
    let mut synced = inner.synced.lock().await;
    let write_count = inner.write_count.load(Ordering::Acquire);
    if *synced != write_count {
        inner.file.sync().await?;
        *synced = write_count;
    }
    Ok(())
}

impl<B> Clone for FileBuffer<B> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), handle: Arc::clone(&self.handle) }
    }
}

impl<B> fmt::Debug for FileBuffer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBuffer")
            .field("file", &self.inner.file)
            .field("file_len", &self.inner.cache.len())
            .finish_non_exhaustive()
    }
}
