//! Where the files of batches go, and when.

use std::{fmt, path::PathBuf};

use dbsp::{Runtime, trace::BatchLocation};

/// The folder of the circuit's storage, or `None` where it keeps no files in one: then its batches
/// stay in memory.
pub(super) fn of_circuit() -> Option<PathBuf> {
    // Asked first, as the next call panics outside of a circuit.
    Runtime::runtime()?;
    let backend = Runtime::storage_backend().ok()?;
    backend.file_system_path().map(PathBuf::from)
}

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
    /// of it, guessed at 32 bytes for each key and value, against `min_step_storage_bytes`.
    pub(super) fn of_step(keys: usize, vals: usize, asked: Option<BatchLocation>) -> Self {
        let limit_bytes = match asked {
            Some(BatchLocation::Memory) => return Self::Memory,
            Some(BatchLocation::Storage) => 0,
            None => match Runtime::min_step_storage_bytes() {
                None | Some(usize::MAX) => return Self::Memory,
                Some(limit_bytes) => limit_bytes,
            },
        };
        let Some(folder) = of_circuit() else { return Self::Memory };
        if keys.saturating_add(vals).saturating_mul(32) >= limit_bytes {
            Self::Folder(folder)
        } else {
            Self::MemoryUpTo { limit_bytes, folder }
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
