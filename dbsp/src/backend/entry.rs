//! A file's name in the folder, and what becomes of it when the file is dropped.

use std::{
    fs::File,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use dbsp::{
    circuit::metrics::FILES_DELETED,
    profile::{BlockingFor, ParkReason},
};
use feldera_storage::{StoragePath, error::StorageError};

use super::{folder::Folder, signed};
use crate::names::Given;

/// The name of a file, removed on drop unless it is to be kept.
#[derive(Debug)]
pub(super) struct Entry {
    folder: Arc<Folder>,
    usage: Arc<AtomicI64>,
    name: StoragePath,
    /// The bytes of the file that are counted in the usage.
    len: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Under a temporary name, until its writer gives it up.
    Unfinished,
    /// Under its name, to be removed unless it is marked. One that was there before has got that from elsewhere.
    Finished { keep: AtomicBool, given: Option<Given> },
    /// Its writer removed it.
    Gone,
}

impl Entry {
    /// The entry of a file that is being written.
    pub(super) fn unfinished(
        folder: &Arc<Folder>,
        usage: &Arc<AtomicI64>,
        name: StoragePath,
    ) -> Self {
        let (folder, usage) = (Arc::clone(folder), Arc::clone(usage));
        Self { folder, usage, name, len: 0, state: State::Unfinished }
    }

    /// The entry of a file that was there before.
    pub(super) fn kept(
        folder: &Arc<Folder>,
        usage: &Arc<AtomicI64>,
        name: StoragePath,
        len: u64,
    ) -> Self {
        let state = State::Finished { keep: AtomicBool::new(true), given: None };
        Self { folder: Arc::clone(folder), usage: Arc::clone(usage), name, len, state }
    }

    pub(super) fn name(&self) -> &StoragePath {
        &self.name
    }

    /// Where the file lies, for messages.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path_of(&self.name)
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Counts bytes that were written.
    pub(super) fn grew(&mut self, bytes: usize) {
        self.len += bytes as u64;
        self.usage.fetch_add(signed(bytes as u64), Ordering::Relaxed);
    }

    /// The bytes that are in use in the whole backend.
    pub(super) fn usage_bytes(&self) -> i64 {
        self.usage.load(Ordering::Relaxed)
    }

    /// Whether another file has the name so far.
    pub(super) fn replaces(&self) -> Result<bool, StorageError> {
        self.folder.is_taken(&self.name)
    }

    /// Gives the file, which is complete, its name.
    pub(super) fn finish(&mut self, file: &File) -> Result<(), StorageError> {
        let (replaced_bytes, given) = self.folder.finish(&self.name, file)?;
        self.usage.fetch_sub(replaced_bytes, Ordering::Relaxed);
        self.state = State::Finished { keep: AtomicBool::new(false), given: Some(given) };
        Ok(())
    }

    /// Fails where the name could not be made durable. The kernel says that once, to whoever asked.
    pub(super) fn check_name(&self) -> Result<(), StorageError> {
        match &self.state {
            State::Finished { given: Some(given), .. } => given.check(),
            _ => Ok(()),
        }
    }

    /// Removes the file of a writer that was dropped before it was complete.
    pub(super) fn abandon(&mut self, file: &File) {
        if matches!(self.state, State::Unfinished) {
            let removed = self.folder.abandon(&self.name, file);
            self.state = State::Gone;
            self.note(removed);
        }
    }

    /// Keeps the file when this is dropped.
    pub(super) fn keep(&self) {
        if let State::Finished { keep, .. } = &self.state {
            keep.store(true, Ordering::Relaxed);
        }
    }

    /// Takes a removed file out of the usage. Nobody can be told of a failure, but in the log.
    fn note(&self, removed: Result<(), StorageError>) {
        match removed {
            Ok(()) => {
                self.usage.fetch_sub(signed(self.len), Ordering::Relaxed);
                FILES_DELETED.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "a dropped file could not be removed"),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let State::Finished { keep, .. } = &self.state
            && !keep.load(Ordering::Relaxed)
        {
            let _waiting = BlockingFor::new(ParkReason::StorageMetadata);
            self.note(self.folder.delete(&self.name).map(drop));
        }
    }
}
