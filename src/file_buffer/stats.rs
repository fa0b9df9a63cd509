//! What a buffer did, as numbers.

/// What a [`FileBuffer`](crate::FileBuffer) did so far, and what it holds now. A snapshot: the
/// numbers are read one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FileBufferStats {
    /// Blocks that were asked for and were there.
    pub hits: u64,
    /// Blocks that were asked for and had to be read, or were just being read.
    pub misses: u64,
    /// Blocks that were asked for and shown where the backend has them: neither of the two.
    pub views: u64,
    /// Blocks that were dropped from memory for others.
    pub evictions: u64,
    /// Blocks that were written out.
    pub write_backs: u64,
    /// Runs of neighbours among them: each went to the backend in one piece.
    pub write_back_runs: u64,
    /// Blocks whose writing failed; they stayed dirty.
    pub write_back_failures: u64,
    /// Blocks that were read before anybody asked for them.
    pub read_ahead: u64,
    /// Those among them that were asked for later.
    pub read_ahead_used: u64,
    /// Those among them that were dropped before anybody asked for them.
    pub read_ahead_wasted: u64,
    /// Bytes of blocks in memory: kept, dirty, private copies, in users' hands.
    pub used_bytes: u64,
    /// The same and the free buffers that are kept for the next block. Never above the limit.
    pub held_bytes: u64,
    /// The limit.
    pub limit_bytes: u64,
    /// Bytes of blocks that are not written out yet.
    pub dirty_bytes: u64,
}
