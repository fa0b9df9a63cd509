//! One failure that several callers are to hear of.

use std::{error::Error as StdError, fmt, io, sync::Arc};

use crate::{Operation, StorageError};

/// An error that can be told more than once.
#[derive(Clone, Debug)]
pub(super) struct SharedError(Arc<StorageError>);

impl SharedError {
    pub(super) fn new(error: StorageError) -> Self {
        Self(Arc::new(error))
    }

    /// The error again: the same variant where its fields can be had twice, with the same answers
    /// to `is_transient` and `io_kind`. `operation` is for those whose fields cannot be known here.
    pub(super) fn again(&self, operation: Operation) -> StorageError {
        let cause = || Box::new(Cause(Arc::clone(&self.0)));
        match &*self.0 {
            StorageError::Io { operation, path, source } => {
                let source = match source.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::new(source.kind(), source.to_string()),
                };
                StorageError::Io { operation: *operation, path: path.clone(), source }
            }
            StorageError::NotFound { operation, path } => {
                StorageError::NotFound { operation: *operation, path: path.clone() }
            }
            &StorageError::PastEnd { ref path, offset, length, file_len } => {
                StorageError::PastEnd { path: path.clone(), offset, length, file_len }
            }
            StorageError::Sealed { operation, path } => {
                StorageError::Sealed { operation: *operation, path: path.clone() }
            }
            &StorageError::BudgetExceeded {
                operation,
                ref path,
                needed_bytes,
                used_bytes,
                budget_bytes,
            } => {
                let path = path.clone();
                StorageError::BudgetExceeded {
                    operation,
                    path,
                    needed_bytes,
                    used_bytes,
                    budget_bytes,
                }
            }
            StorageError::Poisoned { operation, path, .. } => StorageError::Poisoned {
                operation: *operation,
                path: path.clone(),
                source: cause(),
            },
            &StorageError::CircuitOpen { operation, ref path, retry_after } => {
                StorageError::CircuitOpen { operation, path: path.clone(), retry_after }
            }
            &StorageError::BuffersInUse { operation, ref path, budget_bytes, waited } => {
                StorageError::BuffersInUse { operation, path: path.clone(), budget_bytes, waited }
            }
            other => StorageError::Backend {
                operation,
                path: other.path().unwrap_or_default().to_owned(),
                source: cause(),
            },
        }
    }
}

/// What an error that is shared was caused by.
#[derive(Debug)]
struct Cause(Arc<StorageError>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(source) => fmt::Display::fmt(source, f),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl StdError for Cause {
    /// What follows in the chain after what this shows.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()?.source()
    }
}
