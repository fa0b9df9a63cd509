//! Where the files of batches go, and when.

use std::{
    fs::DirBuilder,
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use dbsp::{Runtime, trace::BatchLocation};

/// The folder in which files come into being. When DBSP starts, it removes the folders in that of its
/// storage, but no files that are not named as its own: so what a killed process leaves half-written goes
/// with this one, and would stay for good beside the others.
const UNFINISHED: &str = "in_place.unfinished";

/// The folder of the circuit's storage, or `None` where it keeps no files in one: then its batches
/// stay in memory.
pub(super) fn of_circuit() -> Option<PathBuf> {
    // Asked first, as the next call panics outside of a circuit.
    Runtime::runtime()?;
    let backend = Runtime::storage_backend().ok()?;
    backend.file_system_path().map(PathBuf::from)
}

/// Makes the folder for unfinished files in that of the storage, if it is not there.
pub(super) fn unfinished_in(folder: &Path) -> storage::Result<PathBuf> {
    const PRIVATE: u32 = 0o700;
    let unfinished = folder.join(UNFINISHED);
    match DirBuilder::new().mode(PRIVATE).create(&unfinished) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(io_error("create the folder", &unfinished)(error))
        }
        _ => Ok(unfinished),
    }
}

/// Makes the function that turns an error of the operating system into the store's, for `map_err`.
pub(super) fn io_error(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> storage::Error {
    move |source| storage::Error::Io { operation, path: path.into(), source }
}

/// What DBSP takes a key or a value for, before it has any.
const GUESSED_BYTES: usize = 32;

/// Where a batch is built.
pub(super) enum Destination {
    Memory,
    Folder(PathBuf),
    /// In memory, until it is of this size.
    MemoryUpTo {
        limit_bytes: usize,
        folder: PathBuf,
    },
}

impl Destination {
    /// By the rule of DBSP's own batches: where it was asked for; else by the size that is expected
    /// of it, guessed at 32 bytes for each key and value, against `min_step_spill_size`. If that is 0, a
    /// batch goes to a file with its first tuple, so that an empty one needs none.
    pub(super) fn of_step(keys: usize, vals: usize, asked: Option<BatchLocation>) -> Self {
        let limit_bytes = match asked {
            Some(BatchLocation::Memory) => return Self::Memory,
            Some(BatchLocation::Storage) => return of_circuit().map_or(Self::Memory, Self::Folder),
            None => match Runtime::min_step_storage_bytes() {
                None | Some(usize::MAX) => return Self::Memory,
                Some(limit_bytes) => limit_bytes,
            },
        };
        let Some(folder) = of_circuit() else { return Self::Memory };
        let expected_bytes = keys.saturating_add(vals).saturating_mul(GUESSED_BYTES);
        if limit_bytes > 0 && expected_bytes >= limit_bytes {
            Self::Folder(folder)
        } else {
            Self::MemoryUpTo { limit_bytes, folder }
        }
    }

    /// For how many of the items that are expected there is room in memory.
    pub(super) fn room_for(&self, items: usize) -> usize {
        match self {
            Self::Memory => items,
            Self::MemoryUpTo { limit_bytes, .. } => items.min(limit_bytes / GUESSED_BYTES),
            Self::Folder(_) => 0,
        }
    }

    /// Where a merge goes: `location` was picked by DBSP's rule.
    pub(super) fn of_merge(location: BatchLocation) -> Self {
        match (location, of_circuit()) {
            (BatchLocation::Storage, Some(folder)) => Self::Folder(folder),
            _ => Self::Memory,
        }
    }
}

/// Takes what storage gave, or ends the worker as DBSP's own batches do: its batches have no way to
/// hand an error on.
///
/// # Panics
/// With the error.
#[track_caller]
pub(super) fn unwrap_storage<T>(result: Result<T, impl std::error::Error>, doing: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => {
            panic!("the circuit's storage failed to {doing}: {}", storage::WithCauses(&error))
        }
    }
}
