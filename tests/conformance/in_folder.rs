//! Subjects whose files lie in a folder of the disk.

use std::path::Path;

use storage::{BlockingBackend, Limits, Medium, StorageError};
use tempfile::TempDir;

use crate::Subject;

/// Opens a backend over a folder.
type Open<M> = fn(&Path, Limits) -> Result<BlockingBackend<M>, StorageError>;

/// A backend over a temporary folder.
pub(crate) fn in_folder<M: Medium>(open: Open<M>, limits: Limits) -> Subject {
    over(tempfile::tempdir().unwrap(), open, limits)
}

fn over<M: Medium>(folder: TempDir, open: Open<M>, limits: Limits) -> Subject {
    let backend = open(&folder.path().join("root"), limits.clone()).unwrap();
    Subject::lasting(backend, move || over(folder, open, limits))
}
