//! A page store over memory-mapped files, and the asynchronous storage layer on top of it:
//! raw-mmap speed without mmap's dangers.
//!
//! **Pages**, borrowed without a copy (the crate [`pagestore`]): files that are read and written in
//! place ([`PageFile`]), and files that are appended to, sealed and then borrowed with no latch at
//! all ([`PageWriter`], [`SealedFile`]). In those lie typed [`Columns`], and sorted runs of records
//! ([`run`]) that are read in place.
//!
//! Pages that change by transactions, read by snapshots ([`VersionedFile`]), and [`backup`]s of them.
//!
//! **Files by name**, asynchronously: [`StorageBackend`] over mapped files ([`MmapBackend`]),
//! positioned reads and writes ([`PosixBackend`]) or memory ([`MemoryBackend`]), opened by hand or
//! as a [`StorageConfig`] says ([`backend::open`]), with retries, a circuit breaker, logs and
//! compression around them. [`AsyncFile`] is one file of a backend, and [`FileBuffer`] keeps blocks
//! of it in memory, within a hard limit.
//!
//! **More than memory** ([`spill`]): records written to a nameless file and read back in place, within
//! a budget; sorted runs of them merged.
//!
//! ```
//! use storage::{Limits, MmapBackend, StorageBackend};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), storage::StorageError> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let root = folder.path().join("store");
//! let backend = MmapBackend::open(&root, Limits::default())?;
//! backend.write("batches/7", 0, b"ten  bytes").await?;
//! backend.seal("batches/7").await?;
//! assert_eq!(backend.read("batches/7", 5, 5).await?, "bytes");
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod backend;
pub mod backup;
mod block;
mod codec;
pub mod columns;
pub mod config;
mod driver;
mod file;
mod file_buffer;
pub mod run;
pub mod spill;

#[doc(inline)]
pub use backends::{
    BackendId, BlockingBackend, Bucket, BufferPool, CircuitState, DynBackend, ErasedBackend, FBuf,
    Histogram, Limits, Medium, MemoryBackend, MemoryMedium, MmapBackend, MmapMedium, Operation,
    OperationStats, PosixBackend, PosixMedium, ReadRequest, Stats, StorageBackend, StorageError,
    StoragePath, StoredContent, WriteRequest,
};
#[doc(inline)]
pub use block::Block;
#[doc(inline)]
pub use codec::Compressed;
#[doc(inline)]
pub use columns::{
    AppendOrder, ByteStrings, ColumnSpec, Columns, ColumnsError, ColumnsWriter,
    ColumnsWriterOptions, FixedLayout, TempColumnsWriter,
};
#[doc(inline)]
pub use config::StorageConfig;
#[doc(inline)]
pub use file::AsyncFile;
#[doc(inline)]
pub use file_buffer::{Caching, FileBuffer, FileBufferOptions, FileBufferStats};
#[doc(inline)]
pub use layout::{ColumnDirectory, ColumnEntry, ColumnsKind, ItemLayout, ItemName};
#[doc(inline)]
pub use pagestore::*;

/// Runs the examples of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
