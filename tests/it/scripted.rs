//! A backend that plays a script: each call takes the next result from it, and is noted with its
//! time. Calls after the end of the script succeed.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{
    collections::VecDeque,
    future::Future,
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use storage::{BackendId, Operation, Stats, StorageBackend, StorageError};
use tokio::time::Instant;

type Result<T> = std::result::Result<T, StorageError>;

/// What a call is to do.
pub(crate) enum Step {
    /// Succeed.
    Succeed,
    /// Fail with what this makes.
    Fail(StorageError),
    /// Stay pending for this long, then succeed.
    SucceedAfter(Duration),
    /// Stay pending for this long, then fail.
    FailAfter(Duration, StorageError),
    /// Never end.
    Hang,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Noted {
    pub(crate) operation: Operation,
    pub(crate) path: String,
    pub(crate) offset: u64,
    pub(crate) data: Bytes,
    pub(crate) at: Instant,
}

#[derive(Default)]
struct State {
    script: VecDeque<Step>,
    noted: Vec<Noted>,
}

/// Cloning shares the script.
#[derive(Clone)]
pub(crate) struct Scripted {
    id: BackendId,
    state: Arc<Mutex<State>>,
}

impl Scripted {
    pub(crate) fn new(script: impl IntoIterator<Item = Step>) -> Self {
        let backend = Self { id: BackendId::unique(), state: Arc::default() };
        backend.state().script.extend(script);
        backend
    }

    /// Adds to the script.
    pub(crate) fn then(&self, step: Step) {
        self.state().script.push_back(step);
    }

    /// The calls so far.
    pub(crate) fn noted(&self) -> Vec<Noted> {
        self.state().noted.clone()
    }

    /// How many calls there were.
    pub(crate) fn count(&self) -> usize {
        self.state().noted.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds this")
    }

    async fn play(&self, operation: Operation, path: &str, offset: u64, data: &[u8]) -> Result<()> {
        let step = {
            let mut state = self.state();
            let (path, data, at) = (path.to_owned(), Bytes::copy_from_slice(data), Instant::now());
            state.noted.push(Noted { operation, path, offset, data, at });
            state.script.pop_front()
        };
        match step {
            None | Some(Step::Succeed) => Ok(()),
            Some(Step::Fail(error)) => Err(error),
            Some(Step::SucceedAfter(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Some(Step::FailAfter(time, error)) => {
                tokio::time::sleep(time).await;
                Err(error)
            }
            Some(Step::Hang) => std::future::pending().await,
        }
    }
}

impl StorageBackend for Scripted {
    type Error = StorageError;

    fn id(&self) -> BackendId {
        self.id
    }

    async fn read(&self, path: &str, offset: u64, length: usize) -> Result<Bytes> {
        self.play(Operation::Read, path, offset, &[]).await?;
        Ok(Bytes::from(vec![7; length]))
    }

    async fn write(&self, path: &str, offset: u64, data: &[u8]) -> Result<()> {
        self.play(Operation::Write, path, offset, data).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.play(Operation::Delete, path, 0, &[]).await
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        self.play(Operation::Examine, path, 0, &[]).await?;
        Ok(true)
    }

    async fn len(&self, path: &str) -> Result<u64> {
        self.play(Operation::Examine, path, 0, &[]).await?;
        Ok(7)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.play(Operation::List, prefix, 0, &[]).await?;
        Ok(vec!["a".to_owned()])
    }

    async fn sync(&self, path: &str) -> Result<()> {
        self.play(Operation::Sync, path, 0, &[]).await
    }

    async fn rename(&self, from: &str, _to: &str) -> Result<()> {
        self.play(Operation::Rename, from, 0, &[]).await
    }

    async fn truncate(&self, path: &str, len: u64) -> Result<()> {
        self.play(Operation::Truncate, path, len, &[]).await
    }

    async fn seal(&self, path: &str) -> Result<()> {
        self.play(Operation::Seal, path, 0, &[]).await
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        stats.open_files = 3;
        stats
    }
}

/// An error of the operating system, by kind.
pub(crate) fn io_error(operation: Operation, kind: io::ErrorKind) -> StorageError {
    StorageError::io::<io::Error>(operation, "f")(kind.into())
}

/// One that passes by itself.
pub(crate) fn transient(operation: Operation) -> StorageError {
    io_error(operation, io::ErrorKind::WouldBlock)
}

/// A failing medium: EIO, which has no kind that could be named.
pub(crate) fn broken(operation: Operation) -> StorageError {
    StorageError::io::<io::Error>(operation, "f")(io::Error::from_raw_os_error(5))
}

/// Polls a future once, outside of any waiting.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}
