//! Pages of mapped files, borrowed without a copy: raw-mmap speed without mmap's dangers.
//!
//! For now this crate is the core, [`pagestore`], under the name that will stay: page files that
//! are read and written in place ([`PageFile`]), and files that are appended to, sealed and then
//! borrowed with no latch at all ([`PageWriter`], [`SealedFile`]).
#![forbid(unsafe_code)]

pub mod backend;
mod block;
mod codec;
pub mod config;
mod file;
mod file_buffer;

#[doc(inline)]
pub use backends::{
    BlockingBackend, BufferPool, CircuitState, DynBackend, ErasedBackend, FBuf, Histogram, Limits,
    Medium, MemoryBackend, MemoryMedium, MmapBackend, MmapMedium, Operation, OperationStats,
    PosixBackend, PosixMedium, ReadRequest, Stats, StorageBackend, StorageError, StoragePath,
    WriteRequest,
};
#[doc(inline)]
pub use block::Block;
#[doc(inline)]
pub use codec::Compressed;
#[doc(inline)]
pub use config::StorageConfig;
#[doc(inline)]
pub use file::AsyncFile;
#[doc(inline)]
pub use file_buffer::{Caching, FileBuffer, FileBufferOptions, FileBufferStats};
#[doc(inline)]
pub use pagestore::*;

/// Runs the examples of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
