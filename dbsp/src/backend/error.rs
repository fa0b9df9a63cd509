//! From our errors, which say what happened, to DBSP's, which say of what kind it was.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use feldera_storage::error::StorageError;

/// Makes the function that turns an error of the operating system into DBSP's, for `map_err`.
pub(super) fn io_error<E: Into<io::Error>>(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(E) -> StorageError {
    move |error| StorageError::stdio(error.into().kind(), operation, path.display())
}

/// Makes the function that turns an error of the page store into DBSP's, for `map_err`. The kind is
/// all that DBSP's can hold, so what happened, and what to do about it, goes to the log.
pub(super) fn page_error(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(storage::Error) -> StorageError {
    move |error| {
        if matches!(error, storage::Error::PastEnd { .. }) {
            tracing::debug!(error = %storage::WithCauses(&error), operation);
        } else {
            tracing::error!(error = %storage::WithCauses(&error), operation, "storage failed");
        }
        StorageError::stdio(io::Error::from(error).kind(), operation, path.display())
    }
}

/// An error of ours alone.
pub(super) fn failure(
    kind: ErrorKind,
    operation: &'static str,
    path: &Path,
    reason: &'static str,
) -> StorageError {
    tracing::error!(reason, operation, path = %path.display(), "storage failed");
    StorageError::stdio(kind, operation, path.display())
}
