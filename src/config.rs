//! The configuration of a store, with what each field means and may be.
//!
//! ```
//! use storage::config::{BackendKind, StorageConfig};
//!
//! let config = StorageConfig {
//!     root: "/var/lib/app/state".into(),
//!     backend: BackendKind::Posixio,
//!     ..Default::default()
//! };
//! config.validate()?;
//! # Ok::<(), storage::StorageError>(())
//! ```
//!
//! With the feature `serde` a configuration is read from whatever serde reads, and single fields are
//! set by environment variables: see `docs/configuration.md`.

use std::{path::PathBuf, time::Duration};

use backends::StoredContent;

use crate::Caching;

mod limits;
#[cfg(feature = "serde")]
mod near;
#[cfg(feature = "serde")]
mod text;
#[cfg(feature = "serde")]
mod vars;

/// How [`backend::open`](crate::backend::open) opens a store.
///
/// All fields have defaults; only [`root`](Self::root) has to be set, and not even that for
/// [`BackendKind::Memory`]. End the literal with `..Default::default()`, and a field that a later
/// version adds changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct StorageConfig {
    /// Where bytes are stored. Default [`BackendKind::Mmap`].
    pub backend: BackendKind,
    /// The folder that holds the files; it is made where there is none. Default empty, which only
    /// [`BackendKind::Memory`] takes: that one has no folder and ignores this.
    pub root: PathBuf,
    /// The limit on the bytes of all files together in [`BackendKind::Memory`]; the others ignore it. Default 1
    /// GiB; from one block to 64 TiB.
    #[cfg_attr(feature = "serde", serde(with = "text::bytes"))]
    pub memory_budget_bytes: u64,
    /// The bytes of blocks that a [`FileBuffer`](crate::FileBuffer) keeps in memory, a hard limit
    /// (`FileBufferOptions::from(&config)`; each buffer has its own). Default 64 MiB; from 16 blocks
    /// up.
    #[cfg_attr(feature = "serde", serde(with = "text::bytes"))]
    pub cache_size_bytes: u64,
    /// The bytes of a block: what the cache reads and writes at a time, and what is compressed by
    /// itself. Default 64 KiB, which is valid on each machine, whatever its page size; a power of
    /// two from 4 KiB to 2 MiB.
    #[cfg_attr(feature = "serde", serde(with = "text::bytes"))]
    pub block_size_bytes: u64,
    /// Whether a [`FileBuffer`](crate::FileBuffer) keeps blocks in memory. Default [`Caching::Auto`],
    /// which goes by whether the file is sealed.
    pub caching: Caching,
    /// How many operations may wait for the medium at the same time, each on a thread that blocks;
    /// more queue in the order of their coming. Default 64; from 1 to 4096. A tokio runtime has 512
    /// such threads unless its builder says otherwise.
    pub max_concurrent_ops: usize,
    /// The limit on the bytes of all buffers that data passes through on its way to and from the medium;
    /// compression gets half of it. Default 1 GiB; from 16 MiB up.
    #[cfg_attr(feature = "serde", serde(with = "text::bytes"))]
    pub buffer_budget_bytes: u64,
    /// The limit on the bytes of files that [`BackendKind::Mmap`] has in memory, mapped or cached. Beyond it,
    /// pages that were not used lately are evicted (`docs/memory.md`). Default none: the kernel alone decides.
    /// From 1 MiB up.
    #[cfg_attr(feature = "serde", serde(with = "text::bytes_or_none"))]
    pub residency_budget_bytes: Option<u64>,
    /// What to do where files cannot be mapped under `root`. Default [`Degrade::ToPosixio`].
    pub degrade: Degrade,
    /// How blocks are stored. Default [`CompressionConfig::None`]. A root remembers it, and is
    /// refused with another one; the block size may change, files keep theirs.
    pub compression: CompressionConfig,
    /// When and how often an operation is tried again.
    pub retry: RetryConfig,
    /// When operations are no longer tried, and for how long.
    pub breaker: BreakerConfig,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            backend: BackendKind::Mmap,
            root: PathBuf::new(),
            memory_budget_bytes: 1 << 30,
            cache_size_bytes: 64 << 20,
            block_size_bytes: 64 << 10,
            caching: Caching::Auto,
            max_concurrent_ops: 64,
            buffer_budget_bytes: 1 << 30,
            residency_budget_bytes: None,
            degrade: Degrade::ToPosixio,
            compression: CompressionConfig::None,
            retry: RetryConfig::default(),
            breaker: BreakerConfig::default(),
        }
    }
}

/// Where bytes are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum BackendKind {
    /// In anonymous memory, within a budget. Gone when the backend is dropped.
    Memory,
    /// In files that are read through mappings.
    Mmap,
    /// In the same files, by positioned reads and writes.
    Posixio,
}

/// What to do if [`BackendKind::Mmap`] was asked for, but files under the root cannot be mapped, or not safely:
/// the filesystem cannot map them, address space is limited, or another user could write to them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Degrade {
    /// Use [`BackendKind::Posixio`], and log a warning that says why. The files are the same, but
    /// each read is a system call and a copy.
    #[default]
    ToPosixio,
    /// Fail with what keeps the files from being mapped.
    Never,
}

/// How blocks are stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum CompressionConfig {
    /// As they are: the only way to read without a copy.
    #[default]
    None,
    /// Each block compressed by itself with LZ4.
    Lz4,
}

/// What files hold that are stored so.
impl From<CompressionConfig> for StoredContent {
    fn from(compression: CompressionConfig) -> Self {
        match compression {
            CompressionConfig::None => Self::Plain,
            CompressionConfig::Lz4 => Self::Lz4Blocks,
        }
    }
}

/// When and how often an operation is tried again.
///
/// Only transient errors are tried again
/// ([`StorageError::is_transient`](backends::StorageError::is_transient)). See [`Retry`](crate::backend::Retry)
/// for what is never repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct RetryConfig {
    /// How often an operation is tried in all, the first time included; 1 never repeats. Default 4;
    /// from 1 to 100.
    pub attempts_max: u32,
    /// The bound of the random delay before the second attempt; it doubles before each further one.
    /// Default 10 ms; from 1 ms, since timers are no finer, to `delay_max`.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub delay_base: Duration,
    /// The most that the bound of the delay grows to. Default 1 s; from `delay_base` to one hour.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub delay_max: Duration,
    /// No attempt begins later than this after the operation began. An attempt that runs is not
    /// interrupted. Default 10 s; from `delay_base` to one day.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub total_max: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts_max: 4,
            delay_base: Duration::from_millis(10),
            delay_max: Duration::from_secs(1),
            total_max: Duration::from_secs(10),
        }
    }
}

/// When operations are no longer tried, and for how long. See
/// [`Breaker`](crate::backend::Breaker) for what counts as a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct BreakerConfig {
    /// The breaker opens at this many failures with no success between them. Default 10; from 1 up.
    /// [`u32::MAX`] never comes, so it turns the breaker off.
    pub failures_max: u32,
    /// How long nothing is tried before the next probe. Default 10 s; from 1 ms to one day.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub open_for: Duration,
    /// How many operations are then let through as probes. If all of them succeed, the breaker closes; if one
    /// fails, it opens again. Default 1; from 1 to 1000.
    pub half_open_probes: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures_max: 10, open_for: Duration::from_secs(10), half_open_probes: 1 }
    }
}
