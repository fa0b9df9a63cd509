//! Media that hold files, behind one asynchronous interface.
//!
//! [`StorageBackend`] is what programs use: files named by relative paths, read and written at byte
//! offsets. Three media implement it:
//!
//! * [`MmapBackend`]: files in a folder, read through mappings. A file that is sealed is read
//!   without a copy.
//! * [`PosixBackend`]: files in a folder, read and written by positioned system calls.
//! * [`MemoryBackend`]: files in anonymous memory, within a hard budget of bytes.
//!
//! The first two put the same bytes into the same files, so each reads what the other wrote.
//!
//! A medium of your own implements the small synchronous contract [`Medium`];
//! [`BlockingBackend`] makes the asynchronous interface out of it.
#![forbid(unsafe_code)]

mod backend;
mod blocking;
mod buffers;
mod erased;
mod error;
#[cfg(feature = "testing")]
mod faulty;
mod folder;
mod id;
mod jobs;
mod medium;
mod memory;
mod metrics;
mod mmap;
mod path;
mod posix;
mod root;
mod stats;

pub use backend::{ReadRequest, StorageBackend, WriteRequest};
pub use blocking::{BlockingBackend, Limits};
pub use buffers::{BufferPool, FBuf};
pub use erased::{DynBackend, ErasedBackend};
pub use error::{Operation, Result, StorageError};
#[cfg(feature = "testing")]
pub use faulty::{Fault, FaultPlan, FaultyBackend, InjectedFaults};
pub use id::BackendId;
#[doc(inline)]
pub use layout::StoredContent;
pub use medium::Medium;
pub use memory::{MemoryBackend, MemoryMedium};
pub use mmap::{MmapBackend, MmapMedium};
pub use path::{PATH_LEN_MAX, StoragePath};
pub use posix::{PosixBackend, PosixMedium};
pub use stats::{Bucket, CircuitState, Histogram, OperationStats, Stats};
