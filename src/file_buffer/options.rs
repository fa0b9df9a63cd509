//! How a buffer is to work.

use std::time::Duration;

use crate::{StorageConfig, StorageError};

const BLOCK_SIZE_BYTES_MIN: usize = 4 << 10;
const BLOCK_SIZE_BYTES_MAX: usize = 2 << 20;

/// How a [`FileBuffer`](crate::FileBuffer) works.
///
/// ```
/// use storage::FileBufferOptions;
///
/// let options = FileBufferOptions::default().block_size_bytes(16 << 10).memory_limit_bytes(8 << 20);
/// assert_eq!(options.read_ahead_blocks_max, 16);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FileBufferOptions {
    /// The size of a block: a power of two from 4 KiB to 2 MiB. Small writes and random reads want
    /// small blocks, scans want larger ones. Default 64 KiB.
    pub block_size_bytes: usize,
    /// The limit on all memory of blocks: cached, dirty, private copies, and blocks in users' hands. At least
    /// one block. It does not count the buffers that a backend reads into. Default 64 MiB.
    pub memory_limit_bytes: u64,
    /// How many blocks at most are read ahead at a time, 0 for none. Never more than a quarter of
    /// those that fit. Default 16.
    pub read_ahead_blocks_max: u32,
    /// How long to wait for memory while all of it is in use. Default 5 s.
    pub wait_max: Duration,
    /// Whether blocks are kept in memory. Default [`Caching::Auto`].
    pub caching: Caching,
}

/// Whether a [`FileBuffer`](crate::FileBuffer) keeps blocks in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Caching {
    /// Decided by the file. A file that can be written is buffered. A file whose reads are views
    /// ([`StorageBackend::reads_are_views`](crate::StorageBackend::reads_are_views)), as a sealed one that is
    /// mapped, passes through. One that is sealed while the buffer exists does from the next block that is not
    /// in memory.
    #[default]
    Auto,
    /// Blocks are cached, and written when memory is needed or at a flush.
    Buffered,
    /// Nothing is cached: reads and writes go straight to the backend.
    PassThrough,
}

impl Default for FileBufferOptions {
    fn default() -> Self {
        Self {
            block_size_bytes: 64 << 10,
            memory_limit_bytes: 64 << 20,
            read_ahead_blocks_max: 16,
            wait_max: Duration::from_secs(5),
            caching: Caching::Auto,
        }
    }
}

/// The block size, the memory limit and the caching of a configuration, and the defaults for everything
/// else.
impl From<&StorageConfig> for FileBufferOptions {
    fn from(config: &StorageConfig) -> Self {
        Self {
            // A size that no memory has is refused when the buffer is made.
            block_size_bytes: usize::try_from(config.block_size_bytes).unwrap_or(usize::MAX),
            memory_limit_bytes: config.cache_size_bytes,
            caching: config.caching,
            ..Self::default()
        }
    }
}

impl FileBufferOptions {
    /// The same with another size of blocks.
    #[must_use]
    pub const fn block_size_bytes(mut self, bytes: usize) -> Self {
        self.block_size_bytes = bytes;
        self
    }

    /// The same with another limit of memory.
    #[must_use]
    pub const fn memory_limit_bytes(mut self, bytes: u64) -> Self {
        self.memory_limit_bytes = bytes;
        self
    }

    /// The same with another bound on reading ahead.
    #[must_use]
    pub const fn read_ahead_blocks_max(mut self, count: u32) -> Self {
        self.read_ahead_blocks_max = count;
        self
    }

    /// The same with another time to wait for memory.
    #[must_use]
    pub const fn wait_max(mut self, time: Duration) -> Self {
        self.wait_max = time;
        self
    }

    /// The same with another way of caching.
    #[must_use]
    pub const fn caching(mut self, caching: Caching) -> Self {
        self.caching = caching;
        self
    }

    pub(super) fn check(&self) -> Result<(), StorageError> {
        let size = self.block_size_bytes;
        if !size.is_power_of_two() || !(BLOCK_SIZE_BYTES_MIN..=BLOCK_SIZE_BYTES_MAX).contains(&size)
        {
            return Err(StorageError::Config {
                field: "block_size_bytes",
                value: size.to_string(),
                allowed: "pass a power of two from 4096 to 2097152".to_owned(),
            });
        }
        if self.memory_limit_bytes < size as u64 {
            return Err(StorageError::Config {
                field: "memory_limit_bytes",
                value: self.memory_limit_bytes.to_string(),
                allowed: format!("pass at least the {size} bytes of one block"),
            });
        }
        Ok(())
    }

    /// How many blocks are read ahead at a time.
    pub(super) fn ahead_count_max(&self) -> u32 {
        let fitting = self.memory_limit_bytes / self.block_size_bytes as u64;
        let quarter = u32::try_from(fitting / 4).unwrap_or(u32::MAX);
        self.read_ahead_blocks_max.min(quarter)
    }
}
