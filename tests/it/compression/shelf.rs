//! A backend in memory whose stored bytes a test reaches, and the forging of checksums.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use storage::{BackendId, BufferPool, Compressed, Operation, StorageBackend, StorageError};
use tokio::sync::Semaphore;

pub(crate) const KIB: usize = 1024;
/// The file that most tests use.
pub(crate) const PATH: &str = "dir/file";

/// Where slots begin, and the part of a slot that is not the block.
pub(crate) const PAGE: usize = 4096;

#[derive(Clone)]
pub(crate) struct Shelf {
    id: BackendId,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    sealed: Arc<Mutex<Vec<String>>>,
    /// How many writes go well before each one writes half and fails; counts down.
    pub(crate) good_writes: Arc<AtomicUsize>,
    /// Whether the next write, and only that, writes half and fails.
    pub(crate) tear_next: Arc<AtomicBool>,
    /// Writes pass one permit each.
    pub(crate) gate: Arc<Semaphore>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            id: BackendId::unique(),
            files: Arc::default(),
            sealed: Arc::default(),
            good_writes: Arc::new(AtomicUsize::new(usize::MAX)),
            tear_next: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }
}

impl Shelf {
    /// A layer over this, of blocks of 4 KiB.
    pub(crate) fn layer(&self) -> Compressed<Self> {
        self.layer_of(4096)
    }

    pub(crate) fn layer_of(&self, block_size_bytes: u64) -> Compressed<Self> {
        Compressed::new(self.clone(), block_size_bytes, BufferPool::new(1 << 30)).unwrap()
    }

    pub(crate) fn stored(&self, path: &str) -> Vec<u8> {
        self.files.lock().unwrap()[path].clone()
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        self.files.lock().unwrap().insert(path.to_owned(), bytes.to_vec());
    }

    fn with<T>(
        &self,
        operation: Operation,
        path: &str,
        f: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> Result<T, StorageError> {
        match self.files.lock().unwrap().get_mut(path) {
            Some(file) => Ok(f(file)),
            None => Err(StorageError::NotFound { operation, path: path.to_owned() }),
        }
    }

    fn check_unsealed(&self, operation: Operation, path: &str) -> Result<(), StorageError> {
        match self.sealed.lock().unwrap().iter().any(|sealed| sealed == path) {
            true => Err(StorageError::Sealed { operation, path: path.to_owned() }),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Shelf {
    type Error = StorageError;

    fn id(&self) -> BackendId {
        self.id
    }

    async fn read(&self, path: &str, offset: u64, length: usize) -> Result<Bytes, StorageError> {
        // Somebody else's turn, so that calls that run at the same time do meet.
        tokio::task::yield_now().await;
        self.with(Operation::Read, path, |file| {
            let file_len = file.len() as u64;
            let range = usize::try_from(offset).unwrap()..usize::try_from(offset).unwrap() + length;
            file.get(range).map(Bytes::copy_from_slice).ok_or_else(|| StorageError::PastEnd {
                path: path.to_owned(),
                offset,
                length,
                file_len,
            })
        })?
    }

    async fn write(&self, path: &str, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        self.check_unsealed(Operation::Write, path)?;
        self.gate.acquire().await.unwrap().forget();
        tokio::task::yield_now().await;
        let left = |n: usize| Some(n.saturating_sub(1));
        let good = self.good_writes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).unwrap();
        let torn = self.tear_next.swap(false, Ordering::SeqCst) || good == 0;
        let part = if torn { &data[..data.len() / 2] } else { data };
        let mut files = self.files.lock().unwrap();
        let file = files.entry(path.to_owned()).or_default();
        let offset = usize::try_from(offset).unwrap();
        if !data.is_empty() {
            file.resize(file.len().max(offset + part.len()), 0);
            file[offset..offset + part.len()].copy_from_slice(part);
        }
        if torn {
            let full = io::ErrorKind::StorageFull;
            return Err(StorageError::io(Operation::Write, path)(io::Error::from(full)));
        }
        Ok(())
    }

    async fn delete(&self, path: &str) -> Result<(), StorageError> {
        self.with(Operation::Delete, path, |_| ())?;
        self.files.lock().unwrap().remove(path);
        self.sealed.lock().unwrap().retain(|sealed| sealed != path);
        Ok(())
    }

    async fn exists(&self, path: &str) -> Result<bool, StorageError> {
        Ok(self.files.lock().unwrap().contains_key(path))
    }

    async fn len(&self, path: &str) -> Result<u64, StorageError> {
        self.with(Operation::Examine, path, |file| file.len() as u64)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let files = self.files.lock().unwrap();
        Ok(files.keys().filter(|path| path.starts_with(prefix)).cloned().collect())
    }

    async fn sync(&self, path: &str) -> Result<(), StorageError> {
        self.with(Operation::Sync, path, |_| ())
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let file = self.with(Operation::Rename, from, std::mem::take)?;
        let mut files = self.files.lock().unwrap();
        files.remove(from);
        files.insert(to.to_owned(), file);
        Ok(())
    }

    async fn truncate(&self, path: &str, len: u64) -> Result<(), StorageError> {
        self.check_unsealed(Operation::Truncate, path)?;
        self.with(Operation::Truncate, path, |file| file.resize(usize::try_from(len).unwrap(), 0))
    }

    async fn seal(&self, path: &str) -> Result<(), StorageError> {
        self.with(Operation::Seal, path, |_| ())?;
        self.sealed.lock().unwrap().push(path.to_owned());
        Ok(())
    }
}

/// Text that LZ4 makes a third of.
pub(crate) fn text(len: usize) -> Vec<u8> {
    let lines = (0_u64..).flat_map(|i| {
        format!("key-{:06}: value {} of the table\n", i, i.wrapping_mul(2_654_435_761) % 977)
            .into_bytes()
    });
    lines.take(len).collect()
}

/// Bytes that nothing makes smaller.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| random.u8(..)).collect()
}

/// CRC32C, bit by bit, as `docs/compression.md` says it.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}

pub(crate) fn number(bytes: &[u8], offset: usize) -> usize {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap()) as usize
}

/// The whole content.
pub(crate) async fn content<B: StorageBackend<Error = StorageError>>(
    layer: &B,
    path: &str,
) -> Result<Bytes, StorageError> {
    let len = usize::try_from(layer.len(path).await?).unwrap();
    layer.read(path, 0, len).await
}
