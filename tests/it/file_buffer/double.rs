//! A backend of one file in memory that records each call, and fails or stalls when told to.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use storage::{
    AsyncFile, BackendId, FileBuffer, FileBufferOptions, Operation, ReadRequest, StorageBackend,
    StorageError, WriteRequest,
};
use tokio::sync::watch;

pub(crate) const BLOCK: usize = 4096;
pub(crate) const PATH: &str = "folder/file";

/// What the backend was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    Read {
        offset: u64,
        length: usize,
    },
    /// One call, its requests that are neighbours merged: where each piece begins, and its length.
    Write(Vec<(u64, usize)>),
    Sync,
}

#[derive(Clone)]
pub(crate) struct Double {
    shared: Arc<Shared>,
    pub(crate) views: bool,
}

struct Shared {
    id: BackendId,
    /// `None` while there is no file.
    file: Mutex<Option<Bytes>>,
    calls: Mutex<Vec<Call>>,
    failing_writes: AtomicU32,
    failing_reads: AtomicU32,
    /// Whether reads and writes get on.
    runs: watch::Sender<bool>,
}

impl Double {
    pub(crate) fn new(content: impl Into<Option<Vec<u8>>>) -> Self {
        let shared = Shared {
            id: BackendId::unique(),
            file: Mutex::new(content.into().map(Bytes::from)),
            calls: Mutex::default(),
            failing_writes: AtomicU32::new(0),
            failing_reads: AtomicU32::new(0),
            runs: watch::Sender::new(true),
        };
        Self { shared: Arc::new(shared), views: false }
    }

    pub(crate) async fn buffer(&self, options: FileBufferOptions) -> FileBuffer<Self> {
        let file = AsyncFile::new(self.clone(), PATH).unwrap();
        FileBuffer::new(file, options.block_size_bytes(BLOCK)).await.unwrap()
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        self.shared.file.lock().as_deref().unwrap_or_default().to_vec()
    }

    pub(crate) fn view(&self) -> Bytes {
        self.shared.file.lock().clone().unwrap()
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().clone()
    }

    pub(crate) fn reads(&self) -> Vec<(u64, usize)> {
        let reads = |call| match call {
            Call::Read { offset, length } => Some((offset, length)),
            _ => None,
        };
        self.calls().into_iter().filter_map(reads).collect()
    }

    pub(crate) fn forget_calls(&self) {
        self.shared.calls.lock().clear();
    }

    /// The next so many requests to write fail, and are half done.
    pub(crate) fn fail_writes(&self, count: u32) {
        self.shared.failing_writes.store(count, Ordering::SeqCst);
    }

    pub(crate) fn fail_reads(&self, count: u32) {
        self.shared.failing_reads.store(count, Ordering::SeqCst);
    }

    /// Reads and writes wait from now on.
    pub(crate) fn stall(&self) {
        self.shared.runs.send_replace(false);
    }

    pub(crate) fn go_on(&self) {
        self.shared.runs.send_replace(true);
    }

    /// Runs work as a thread that blocks would: it goes on when nobody waits for it any more.
    async fn detached<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> T {
        if *self.shared.runs.borrow() {
            return work(&self.shared);
        }
        let shared = Arc::clone(&self.shared);
        let joined = tokio::spawn(async move {
            shared.runs.subscribe().wait_for(|runs| *runs).await.unwrap();
            work(&shared)
        });
        joined.await.unwrap()
    }
}

impl Shared {
    fn read(&self, offset: u64, length: usize) -> Result<Bytes, StorageError> {
        take_one(&self.failing_reads, Operation::Read)?;
        let file = self.file.lock().clone().unwrap_or_default();
        let begin = usize::try_from(offset).unwrap();
        if begin + length > file.len() {
            let (path, file_len) = (PATH.to_owned(), file.len() as u64);
            return Err(StorageError::PastEnd { path, offset, length, file_len });
        }
        Ok(file.slice(begin..begin + length))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let failure = take_one(&self.failing_writes, Operation::Write);
        let written = if failure.is_err() { &data[..data.len() / 2] } else { data };
        let mut file = self.file.lock();
        let mut changed = file.as_deref().unwrap_or_default().to_vec();
        let begin = usize::try_from(offset).unwrap();
        changed.resize(changed.len().max(begin + written.len()), 0);
        changed[begin..begin + written.len()].copy_from_slice(written);
        *file = Some(changed.into());
        failure
    }
}

fn take_one(count: &AtomicU32, operation: Operation) -> Result<(), StorageError> {
    let less = |count: u32| count.checked_sub(1);
    match count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
        Ok(_) => Err(StorageError::Io {
            operation,
            path: PATH.to_owned(),
            source: std::io::Error::from(std::io::ErrorKind::StorageFull),
        }),
        Err(_) => Ok(()),
    }
}

impl StorageBackend for Double {
    type Error = StorageError;

    fn id(&self) -> BackendId {
        self.shared.id
    }

    async fn read(&self, _: &str, offset: u64, length: usize) -> Result<Bytes, StorageError> {
        self.shared.calls.lock().push(Call::Read { offset, length });
        self.detached(move |shared| shared.read(offset, length)).await
    }

    async fn write(&self, path: &str, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let data = Bytes::copy_from_slice(data);
        self.write_many(&[WriteRequest { path, offset, data }]).await.pop().unwrap()
    }

    async fn write_many(&self, requests: &[WriteRequest<'_>]) -> Vec<Result<(), StorageError>> {
        let mut pieces: Vec<(u64, usize)> = Vec::new();
        for request in requests {
            match pieces.last_mut() {
                Some((begin, len)) if *begin + *len as u64 == request.offset => {
                    *len += request.data.len();
                }
                _ => pieces.push((request.offset, request.data.len())),
            }
        }
        self.shared.calls.lock().push(Call::Write(pieces));
        let parts: Vec<_> = requests.iter().map(|r| (r.offset, r.data.clone())).collect();
        self.detached(move |shared| {
            parts.iter().map(|(offset, data)| shared.write(*offset, data)).collect()
        })
        .await
    }

    async fn read_many(&self, _: &[ReadRequest<'_>]) -> Vec<Result<Bytes, StorageError>> {
        unimplemented()
    }

    async fn len(&self, path: &str) -> Result<u64, StorageError> {
        let file = self.shared.file.lock();
        let (operation, path) = (Operation::Examine, path.to_owned());
        file.as_ref().map(|f| f.len() as u64).ok_or(StorageError::NotFound { operation, path })
    }

    async fn sync(&self, _: &str) -> Result<(), StorageError> {
        self.shared.calls.lock().push(Call::Sync);
        Ok(())
    }

    async fn delete(&self, _: &str) -> Result<(), StorageError> {
        unimplemented()
    }

    async fn exists(&self, _: &str) -> Result<bool, StorageError> {
        unimplemented()
    }

    async fn list(&self, _: &str) -> Result<Vec<String>, StorageError> {
        unimplemented()
    }

    async fn rename(&self, _: &str, _: &str) -> Result<(), StorageError> {
        unimplemented()
    }

    async fn truncate(&self, _: &str, _: u64) -> Result<(), StorageError> {
        unimplemented()
    }

    async fn seal(&self, _: &str) -> Result<(), StorageError> {
        unimplemented()
    }

    fn reads_are_views(&self, _: &str) -> bool {
        self.views
    }
}

fn unimplemented() -> ! {
    panic!("a file buffer does not ask for this")
}

/// Bytes that differ from block to block and within.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 7 + at / BLOCK * 13) % 251).unwrap()).collect()
}

/// The limit for so many blocks.
pub(crate) fn blocks(count: u64) -> FileBufferOptions {
    FileBufferOptions::default().memory_limit_bytes(count * BLOCK as u64)
}
