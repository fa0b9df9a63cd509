//! Subjects whose files lie in a folder of the disk.

use std::{path::Path, sync::Arc};

use storage::{BlockingBackend, Limits, Medium, StorageError};
use tempfile::TempDir;

use crate::conformance::Subject;

/// What one kind of backend says about itself.
pub(crate) trait Kind: Send + Sync + 'static {
    type Medium: Medium;

    const SEALED_IS_ZERO_COPY: bool;

    fn open(root: &Path, limits: Limits) -> Result<BlockingBackend<Self::Medium>, StorageError>;
}

/// A backend over a temporary folder.
pub(crate) struct InFolder<K: Kind> {
    backend: Arc<BlockingBackend<K::Medium>>,
    limits: Limits,
    /// Dropped last: it removes the folder.
    folder: TempDir,
}

impl<K: Kind> InFolder<K> {
    fn open(folder: TempDir, limits: Limits) -> Self {
        let backend = K::open(&folder.path().join("root"), limits.clone()).unwrap();
        Self { backend: Arc::new(backend), limits, folder }
    }
}

impl<K: Kind> Subject for InFolder<K> {
    type Backend = BlockingBackend<K::Medium>;

    const SEALED_IS_ZERO_COPY: bool = K::SEALED_IS_ZERO_COPY;
    const HOLES_ARE_FREE: bool = true;

    fn make(limits: Limits) -> Self {
        Self::open(tempfile::tempdir().unwrap(), limits)
    }

    fn backend(&self) -> &Arc<Self::Backend> {
        &self.backend
    }

    fn reopen(self) -> Option<Self> {
        let Self { backend, limits, folder } = self;
        drop(backend);
        Some(Self::open(folder, limits))
    }
}
