//! Backends as a configuration describes them: a medium, and the layers around it.
//!
//! [`open`] puts everything together. The layers can also be put around a backend of one's own:
//!
//! ```
//! use storage::{
//!     Limits, MemoryBackend,
//!     backend::{Layered, Retry},
//!     config::RetryConfig,
//! };
//!
//! let medium = MemoryBackend::with_budget(1 << 20, Limits::default())?;
//! let backend = Layered::new(Retry::new(RetryConfig::default())?, medium);
//! # let _ = backend;
//! # Ok::<(), storage::StorageError>(())
//! ```

use std::sync::Arc;

use backends::{
    BufferPool, DynBackend, Limits, MemoryBackend, PosixBackend, Result, StorageError,
    StoredContent,
};
use pagestore::ResidencyBudget;

use crate::{
    codec::Compressed,
    config::{BackendKind, CompressionConfig, StorageConfig},
};

mod breaker;
mod degrade;
mod layer;
mod log;
mod outcome;
mod retry;
mod timed;

pub use breaker::Breaker;
use degrade::Chosen;
pub use layer::{Call, Layered, Picked, Policy};
pub use log::Log;
pub use retry::Retry;

/// Opens a backend.
///
/// Blocks for as long as it takes to make and sync one small file, by which it finds out whether
/// files can be mapped, and to look at owner and mode of each file that is there (2 us a file). Neither this nor
/// operations need a runtime, but what failed is tried again only within a tokio runtime, which must have its
/// timer enabled.
///
/// The root says in a file of its own whether what it holds is compressed (`docs/store.md`), so it is
/// never opened in another way than it was made.
///
/// # Errors
/// [`StorageError::Config`] where a value is not possible; [`StorageError::StoredOtherwise`] where
/// the root was made with another [`compression`](StorageConfig::compression); otherwise what the
/// medium says, with
/// [`Operation::Open`](backends::Operation::Open) where the root cannot be opened, and what keeps
/// files from being mapped where [`degrade`](StorageConfig::degrade) forbids doing without.
pub fn open(config: &StorageConfig) -> Result<DynBackend> {
    config.validate()?;
    let mut limits = Limits::default()
        .max_concurrent_ops(config.max_concurrent_ops)
        .buffer_bytes(buffer_share_bytes(config));
    limits.residency_budget = config.residency_budget_bytes.map(budget).transpose()?;
    let content = StoredContent::from(config.compression);
    let medium: DynBackend = match config.backend {
        BackendKind::Memory => {
            Arc::new(MemoryBackend::with_budget(config.memory_budget_bytes, limits)?)
        }
        BackendKind::Posixio => Arc::new(PosixBackend::open_store(&config.root, content, limits)?),
        BackendKind::Mmap => {
            match degrade::open_mapped(&config.root, content, limits, config.degrade)? {
                Chosen::Mapped(medium) => Arc::new(medium),
                Chosen::Positioned(medium) => Arc::new(medium),
            }
        }
    };
    // What the probe met. It is right without, but slower, and whoever wonders why finds it here.
    for refused in pagestore::refused_hints() {
        tracing::info!(target: "storage", hint = ?refused.hint, "{refused}");
    }
    around(medium, config)
}

/// Puts the layers around a medium, from the innermost to the outermost:
///
/// * *compression* turns the caller's bytes into the medium's, so it is next to it;
/// * *retry* around that: a compressed block is tried again as a whole;
/// * *breaker* around the retries: it counts what callers would see fail, however often it was
///   tried; it refuses before anybody waits between attempts; and a probe that meets a passing
///   error gets its further attempts, instead of opening the circuit again. The price is that
///   operations which are between attempts when it opens go on to their `total_max`;
/// * *log* sees every operation as the caller does, refused ones included.
///
/// Media and compression are erased, though each call then allocates once more: the layers around each
/// of them in its own type would be six times the code, most of what this crate takes to compile.
fn around(medium: DynBackend, config: &StorageConfig) -> Result<DynBackend> {
    let inner: DynBackend = match config.compression {
        CompressionConfig::None => medium,
        CompressionConfig::Lz4 => {
            let buffers = BufferPool::new(buffer_share_bytes(config));
            Arc::new(Compressed::new(medium, config.block_size_bytes, buffers)?)
        }
    };
    let retry = Layered::new(Retry::new(config.retry)?, inner);
    let breaker = Layered::new(Breaker::new(config.breaker)?, retry);
    Ok(Arc::new(Layered::new(Log, breaker)))
}

/// A budget for what mapped files have in memory.
fn budget(limit_bytes: u64) -> Result<ResidencyBudget> {
    ResidencyBudget::new(limit_bytes).map_err(|error| StorageError::Config {
        field: "residency_budget_bytes",
        value: limit_bytes.to_string(),
        allowed: error.to_string(),
    })
}

/// How much of the budget each pool of buffers gets: compression has one of its own.
fn buffer_share_bytes(config: &StorageConfig) -> u64 {
    match config.compression {
        CompressionConfig::None => config.buffer_budget_bytes,
        CompressionConfig::Lz4 => config.buffer_budget_bytes / 2,
    }
}
