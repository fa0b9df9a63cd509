//! What a result tells about the medium.

use std::io::ErrorKind;

use backends::{Result, StorageError};

/// What a result tells about the medium. In ascending order of how much it decides where several
/// come together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Outcome {
    /// Nothing.
    Silent,
    /// It works.
    Healthy,
    /// It does not.
    Failed,
}

#[inline]
pub(super) fn outcome<T>(result: &Result<T>) -> Outcome {
    match result {
        Ok(_) => Outcome::Healthy,
        Err(error) => of_error(error),
    }
}

#[cold]
fn of_error(error: &StorageError) -> Outcome {
    match error {
        StorageError::NotFound { .. }
        | StorageError::PastEnd { .. }
        | StorageError::Sealed { .. }
        | StorageError::Locked { .. } => Outcome::Healthy,
        StorageError::Io { .. } => of_kind(error.io_kind()),
        StorageError::Backend { source, .. } if source.is::<pagestore::Error>() => {
            // The page store found something wrong with this one file, unless the system did.
            match error.io_kind() {
                ErrorKind::Other => Outcome::Silent,
                kind => of_kind(kind),
            }
        }
        StorageError::Backend { .. } => of_kind(error.io_kind()),
        _ => Outcome::Silent,
    }
}

/// Which errors of the operating system come from the request or the file that it is for.
fn of_kind(kind: ErrorKind) -> Outcome {
    match kind {
        ErrorKind::PermissionDenied
        | ErrorKind::AlreadyExists
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::DirectoryNotEmpty
        | ErrorKind::InvalidInput
        | ErrorKind::InvalidFilename
        | ErrorKind::FileTooLarge
        | ErrorKind::StorageFull
        | ErrorKind::QuotaExceeded
        | ErrorKind::Unsupported => Outcome::Silent,
        _ => Outcome::Failed,
    }
}
