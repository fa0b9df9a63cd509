//! Sequences of operations on a backend, each of which must end as the model says.

use std::{cell::RefCell, future::Future, io, sync::Arc};

use arbitrary::Arbitrary;
use bytes::Bytes;
use storage::{DynBackend, ReadRequest, StorageBackend, StorageError, WriteRequest};
use tokio::runtime::{Builder, Runtime};

use crate::model::{Model, Refusal};

/// Names that get in each other's way, and one that is none.
const PATHS: [&str; 8] = ["a", "b", "a/b", "a/b/c", "a/d", "e/f", "\u{e9} x", "../a"];

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Name(u8);

impl Name {
    fn get(self) -> &'static str {
        PATHS[usize::from(self.0) % PATHS.len()]
    }
}

/// A length or offset: small, or next to a border of pages or stripes.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Size {
    Small(u8),
    Pages(u8, i8),
    Stripes(u8, i8),
}

impl Size {
    fn get(self) -> usize {
        let near = |unit: usize, count: u8, by: i8| {
            (unit * usize::from(count % 4)).saturating_add_signed(by.into())
        };
        match self {
            Self::Small(size) => size.into(),
            Self::Pages(count, by) => near(4096, count, by),
            Self::Stripes(count, by) => near(65_536, count, by),
        }
    }
}

/// One operation.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) enum Step {
    Read(Name, Size, Size),
    Write(Name, Size, Size, u8),
    Append(Name, Size, u8),
    Delete(Name),
    Exists(Name),
    Len(Name),
    List(Name),
    Sync(Name),
    Rename(Name, Name),
    Truncate(Name, Size),
    Seal(Name),
    ReadMany([(Name, Size, Size); 3]),
    WriteMany([(Name, Size, Size, u8); 3]),
    /// Numbers that no file has.
    ReadFar(Name, u64, u64),
    Prefetch(Name, Size, Size),
    /// Only some media can: what is kept must be there again.
    Reopen,
}

/// Bytes that tell where they belong, and that compress in part.
fn pattern(seed: u8, len: usize) -> Vec<u8> {
    let noisy = seed.is_multiple_of(2);
    let byte = |at: usize| {
        let mixed = (at as u64 ^ u64::from(seed) << 24).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if noisy { mixed.to_le_bytes()[7] } else { seed ^ (at / 100).to_le_bytes()[0] }
    };
    (0..len).map(byte).collect()
}

/// The reason that an error gives.
fn refusal(error: &StorageError) -> Refusal {
    match (error, error.io_kind()) {
        (StorageError::NotFound { .. }, _) => Refusal::NotFound,
        (StorageError::PastEnd { file_len, .. }, _) => Refusal::PastEnd { file_len: *file_len },
        (StorageError::Path { .. }, _) => Refusal::Path,
        (StorageError::Sealed { .. }, _) => Refusal::Sealed,
        (_, io::ErrorKind::IsADirectory) => Refusal::IsFolder,
        (_, io::ErrorKind::NotADirectory) => Refusal::UnderFile,
        _ => panic!("no reason of the contract: {error:?}"),
    }
}

fn plain<T>(result: Result<T, StorageError>) -> Result<T, Refusal> {
    result.map_err(|error| refusal(&error))
}

/// A backend and the model side by side. The backend is erased, so that the steps are compiled once.
pub(crate) struct Pair {
    pub(crate) backend: DynBackend,
    model: Model,
    views: Vec<(Bytes, Vec<u8>)>,
}

impl Pair {
    pub(crate) fn new(backend: impl StorageBackend<Error = StorageError> + 'static) -> Self {
        Self { backend: Arc::new(backend), model: Model::new(u64::MAX), views: Vec::new() }
    }

    /// Does one step on both. [`Step::Reopen`] is for the caller to do.
    pub(crate) async fn step(&mut self, step: &Step) {
        match *step {
            Step::Read(path, offset, len) => self.read(path, offset, len).await,
            Step::Write(path, offset, len, seed) => {
                self.write(path, offset.get() as u64, &pattern(seed, len.get())).await;
            }
            Step::Append(path, len, seed) => {
                let end = self.model.len(path.get()).unwrap_or(0);
                self.write(path, end, &pattern(seed, len.get())).await;
            }
            Step::Delete(path) => {
                let seen = plain(self.backend.delete(path.get()).await);
                assert_eq!(seen, self.model.delete(path.get()));
            }
            Step::Exists(path) => {
                let expected = match self.model.len(path.get()) {
                    Err(Refusal::NotFound) => Ok(false),
                    other => other.map(|_| true),
                };
                assert_eq!(plain(self.backend.exists(path.get()).await), expected);
            }
            Step::Len(path) => {
                let seen = plain(self.backend.len(path.get()).await);
                assert_eq!(seen, self.model.len(path.get()));
            }
            Step::List(prefix) => self.list(prefix.get()).await,
            Step::Sync(path) => {
                let seen = plain(self.backend.sync(path.get()).await);
                assert_eq!(seen, self.model.sync(path.get()));
            }
            Step::Rename(from, to) => self.rename(from.get(), to.get()).await,
            Step::Truncate(path, len) => {
                let seen = plain(self.backend.truncate(path.get(), len.get() as u64).await);
                assert_eq!(seen, self.model.truncate(path.get(), len.get() as u64));
            }
            Step::Seal(path) => {
                let seen = plain(self.backend.seal(path.get()).await);
                assert_eq!(seen, self.model.seal(path.get()));
            }
            Step::ReadMany(ref ranges) => self.read_many(ranges).await,
            Step::WriteMany(ref ranges) => self.write_many(ranges).await,
            Step::ReadFar(path, offset, len) => {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                let read = plain(self.backend.read(path.get(), offset, len).await);
                self.compare(path.get(), offset, len, read);
            }
            Step::Prefetch(path, offset, len) => {
                // A hint: only what it must not do can be looked at, below.
                let ranges = [(offset.get() as u64, len.get())];
                drop(self.backend.prefetch(path.get(), &ranges).await);
            }
            Step::Reopen => {}
        }
    }

    async fn read(&mut self, path: Name, offset: Size, len: Size) {
        let (path, offset, len) = (path.get(), offset.get() as u64, len.get());
        let read = plain(self.backend.read(path, offset, len).await);
        self.compare(path, offset, len, read);
    }

    fn compare(&mut self, path: &str, offset: u64, len: usize, read: Result<Bytes, Refusal>) {
        let expected = self.model.read(path, offset, len);
        assert!(
            read.as_deref() == expected.as_ref().copied(),
            "read {len} bytes at {offset} of {path:?}: {:?}, expected {:?}",
            read.map(|bytes| bytes.len()),
            expected.map(<[u8]>::len)
        );
        if let (Ok(view), Ok(bytes)) = (read, expected) {
            self.views.push((view, bytes.to_vec()));
        }
    }

    async fn write(&mut self, path: Name, offset: u64, data: &[u8]) {
        let seen = plain(self.backend.write(path.get(), offset, data).await);
        assert_eq!(seen, self.model.write(path.get(), offset, data));
    }

    async fn list(&self, prefix: &str) {
        let seen = plain(self.backend.list(prefix).await);
        assert_eq!(seen, Ok(self.model.list(prefix)));
    }

    async fn rename(&mut self, from: &str, to: &str) {
        let seen = plain(self.backend.rename(from, to).await);
        let names = self.model.check_free(to);
        let expected = self.model.rename(from, to);
        // Where both names are wrong, either may be the one that is told.
        let either = expected == Err(Refusal::NotFound) && seen == names && seen.is_err();
        assert!(seen == expected || either, "{from:?} to {to:?}: {seen:?}, not {expected:?}");
    }

    async fn read_many(&mut self, ranges: &[(Name, Size, Size)]) {
        let request = |&(path, offset, len): &(Name, Size, Size)| ReadRequest {
            path: path.get(),
            offset: offset.get() as u64,
            length: len.get(),
        };
        let requests: Vec<_> = ranges.iter().map(request).collect();
        let results = self.backend.read_many(&requests).await;
        assert_eq!(results.len(), requests.len());
        for (request, result) in requests.iter().zip(results) {
            self.compare(request.path, request.offset, request.length, plain(result));
        }
    }

    async fn write_many(&mut self, ranges: &[(Name, Size, Size, u8)]) {
        let request = |&(path, offset, len, seed): &(Name, Size, Size, u8)| WriteRequest {
            path: path.get(),
            offset: offset.get() as u64,
            data: Bytes::from(pattern(seed, len.get())),
        };
        let requests: Vec<_> = ranges.iter().map(request).collect();
        let results = self.backend.write_many(&requests).await;
        assert_eq!(results.len(), requests.len());
        for (request, result) in requests.iter().zip(results) {
            let expected = self.model.write(request.path, request.offset, &request.data);
            assert_eq!(plain(result), expected, "{:?}", request.path);
        }
    }

    /// Everything that is kept, and every view that was handed out, is as it was written.
    pub(crate) async fn compare_all(&mut self) {
        self.list("").await;
        for (path, file) in self.model.files().clone() {
            let read = plain(self.backend.read(&path, 0, file.bytes.len()).await);
            self.compare(&path, 0, file.bytes.len(), read);
            assert_eq!(plain(self.backend.len(&path).await), self.model.len(&path));
            let sealed = plain(self.backend.write(&path, 0, b"").await);
            assert_eq!(sealed == Err(Refusal::Sealed), file.sealed, "{path:?}");
        }
        for (view, bytes) in &self.views {
            assert!(view == bytes, "a view has changed");
        }
    }
}

/// Runs a future to its end, on a runtime that the thread keeps.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: RefCell<Runtime> =
            RefCell::new(Builder::new_current_thread().enable_time().build().unwrap());
    }
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}
