//! Pages of mapped files, borrowed without a copy: raw-mmap speed without mmap's dangers.
//!
//! For now this crate is the core, [`pagestore`], under the name that will stay: page files that
//! are read and written in place ([`PageFile`]), and files that are appended to, sealed and then
//! borrowed with no latch at all ([`PageWriter`], [`SealedFile`]).
#![forbid(unsafe_code)]

#[doc(inline)]
pub use backends::{
    BlockingBackend, BufferPool, DynBackend, ErasedBackend, FBuf, Histogram, Limits, Medium,
    Operation, OperationStats, ReadRequest, Stats, StorageBackend, StorageError, StoragePath,
    WriteRequest,
};
#[doc(inline)]
pub use pagestore::*;

/// Runs the examples of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
