//! What is being done and to which file: for errors, and for work that goes to another thread.

use std::{io, sync::Arc};

use super::threads;
use crate::{BufferPool, FBuf, Operation, StorageError};

/// The most bytes that are compressed or decompressed in one go on the thread of the process's runtime.
///
/// Measured with LZ4 on text: 64 KiB take 75 us to compress and 35 us to decompress, which other
/// tasks can wait for; 256 KiB take 370 us and 165 us, and 2 MiB 2.7 ms and 1 ms. A hop to another
/// thread takes 8 us, a tenth of the work from here on.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// One call of a method.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    pub(super) path: Arc<str>,
}

impl Call {
    pub(super) fn new(operation: Operation, path: &str) -> Self {
        Self { operation, path: path.into() }
    }

    fn owned_path(&self) -> String {
        self.path.as_ref().to_owned()
    }

    /// The error for damage at a byte of the stored file.
    pub(super) fn corrupt(&self, offset: u64, reason: String) -> StorageError {
        StorageError::Corrupt { operation: self.operation, path: self.owned_path(), offset, reason }
    }

    /// The error for a file that is not ours to read.
    pub(super) fn unsupported(&self, reason: String) -> StorageError {
        StorageError::Unsupported { operation: self.operation, path: self.owned_path(), reason }
    }

    /// The error for an end that no file can have.
    pub(super) fn too_large(&self) -> StorageError {
        let source = io::ErrorKind::FileTooLarge.into();
        StorageError::Io { operation: self.operation, path: self.owned_path(), source }
    }

    /// What the backend below said when it was asked on behalf of this call.
    pub(super) fn below(&self, error: StorageError) -> StorageError {
        match error {
            StorageError::NotFound { path, .. } => {
                StorageError::NotFound { operation: self.operation, path }
            }
            // We ask for bytes that the file is known to have.
            StorageError::PastEnd { offset, length, file_len, .. } => self.corrupt(
                offset,
                format!(
                    "{length} bytes were expected, and the stored file now ends at {file_len}; was \
                     it changed by somebody else"
                ),
            ),
            other => other,
        }
    }

    /// A buffer of `len` bytes.
    pub(super) fn buffer(&self, buffers: &BufferPool, len: usize) -> Result<FBuf, StorageError> {
        buffers.take(len).ok_or_else(|| StorageError::BudgetExceeded {
            operation: self.operation,
            path: self.owned_path(),
            needed_bytes: len as u64,
            used_bytes: buffers.used_bytes(),
            budget_bytes: buffers.limit_bytes(),
        })
    }

    /// Runs a job that keeps a processor busy with `bytes` bytes: here if that is short, else on a
    /// thread for that. Called by driven work.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        bytes: usize,
        job: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        if bytes <= INLINE_BYTES_MAX {
            return job();
        }
        threads::run(job).await
    }
}
