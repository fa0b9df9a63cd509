//! The model of a backend, made a backend: everything is answered at once, in memory, on the thread
//! that asks.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use storage::{BackendId, Operation, StorageBackend, StorageError};

use crate::model::{Model, Refusal};

/// A backend whose stored bytes can be reached, and whose writes fail when told to.
#[derive(Clone)]
pub(crate) struct Shelf {
    id: BackendId,
    model: Arc<Mutex<Model>>,
    failing_writes: Arc<AtomicU32>,
}

type Result<T> = std::result::Result<T, StorageError>;

impl Shelf {
    pub(crate) fn new() -> Self {
        let model = Arc::new(Mutex::new(Model::new(1 << 30)));
        Self { id: BackendId::unique(), model, failing_writes: Arc::default() }
    }

    /// The stored bytes of a file; none where there is no such file.
    pub(crate) fn stored(&self, path: &str) -> Vec<u8> {
        self.lock().files().get(path).map(|file| file.bytes.clone()).unwrap_or_default()
    }

    /// Makes these the stored bytes of a file.
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        let mut model = self.lock();
        if model.files().contains_key(path) {
            model.delete(path).unwrap();
        }
        model.write(path, 0, bytes).unwrap();
    }

    /// The next so many writes fail, and are half done.
    pub(crate) fn fail_writes(&self, count: u32) {
        self.failing_writes.store(count, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    fn fails_now(&self) -> bool {
        let less = |count: u32| count.checked_sub(1);
        self.failing_writes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }
}

/// Turns a refusal into the error that says it.
fn because(operation: Operation, path: &str) -> impl Fn(Refusal) -> StorageError {
    move |refusal| {
        let owned = path.to_owned();
        let io = |kind: io::ErrorKind| StorageError::io(operation, path)(io::Error::from(kind));
        match refusal {
            Refusal::NotFound => StorageError::NotFound { operation, path: owned },
            Refusal::Sealed => StorageError::Sealed { operation, path: owned },
            Refusal::IsFolder => io(io::ErrorKind::IsADirectory),
            Refusal::UnderFile => io(io::ErrorKind::NotADirectory),
            Refusal::NoRoom | Refusal::PastEnd { .. } => io(io::ErrorKind::StorageFull),
            Refusal::Path => StorageError::Path { path: owned, reason: "it breaks a rule" },
        }
    }
}

impl StorageBackend for Shelf {
    type Error = StorageError;

    fn id(&self) -> BackendId {
        self.id
    }

    async fn read(&self, path: &str, offset: u64, length: usize) -> Result<Bytes> {
        match self.lock().read(path, offset, length) {
            Ok(bytes) => Ok(Bytes::copy_from_slice(bytes)),
            Err(Refusal::PastEnd { file_len }) => {
                Err(StorageError::PastEnd { path: path.to_owned(), offset, length, file_len })
            }
            Err(other) => Err(because(Operation::Read, path)(other)),
        }
    }

    async fn write(&self, path: &str, offset: u64, data: &[u8]) -> Result<()> {
        let fails = self.fails_now();
        let written = if fails { &data[..data.len() / 2] } else { data };
        let refused = because(Operation::Write, path);
        self.lock().write(path, offset, written).map_err(&refused)?;
        if fails { Err(refused(Refusal::NoRoom)) } else { Ok(()) }
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.lock().delete(path).map_err(because(Operation::Delete, path))
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        match self.lock().len(path) {
            Err(Refusal::NotFound) => Ok(false),
            other => other.map(|_| true).map_err(because(Operation::Examine, path)),
        }
    }

    async fn len(&self, path: &str) -> Result<u64> {
        self.lock().len(path).map_err(because(Operation::Examine, path))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(self.lock().list(prefix))
    }

    async fn sync(&self, path: &str) -> Result<()> {
        self.lock().sync(path).map_err(because(Operation::Sync, path))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.lock().rename(from, to).map_err(because(Operation::Rename, from))
    }

    async fn truncate(&self, path: &str, len: u64) -> Result<()> {
        self.lock().truncate(path, len).map_err(because(Operation::Truncate, path))
    }

    async fn seal(&self, path: &str) -> Result<()> {
        self.lock().seal(path).map_err(because(Operation::Seal, path))
    }
}
