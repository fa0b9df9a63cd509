//! Whether a file is durable, and making it so.

use std::{fs::File, path::Path, sync::Arc};

use dbsp::{
    circuit::metrics::FILES_SYNCED,
    profile::{BlockingFor, ParkReason},
};
use feldera_storage::{error::StorageError, metrics::SYNC_LATENCY_MICROSECONDS};
use parking_lot::Mutex;
use std::sync::atomic::Ordering;

use super::{error::io_error, syncs::Syncs};

/// What is known of a file's way to the disk.
#[derive(Debug)]
pub(super) struct Durability {
    state: Mutex<State>,
    number: u64,
    syncs: Arc<Syncs>,
}

#[derive(Debug)]
enum State {
    /// Nobody asked yet. The kernel reports to a description what it could not write since that was opened, even if
    /// that was long ago. A file that was written here is held by the one that it was written through. One that was
    /// only opened here is held by one that is younger than its bytes: of what failed before, it is told what nobody
    /// was told of, if the kernel had the file in memory since.
    Unknown(Arc<File>),
    Durable,
    /// The kernel reports a failure once, and counts the pages as written from then on.
    Failed(StorageError),
}

impl Durability {
    /// Of a file to which nothing is written any more.
    pub(super) fn unknown(file: &Arc<File>, syncs: &Arc<Syncs>) -> Self {
        let state = Mutex::new(State::Unknown(Arc::clone(file)));
        Self { state, number: syncs.number(), syncs: Arc::clone(syncs) }
    }

    /// Makes the file durable, if it is not. Once this failed, it fails for good.
    pub(super) fn commit(&self, path: &Path) -> Result<(), StorageError> {
        let mut state = self.state.lock();
        let synced = match &*state {
            State::Durable => return Ok(()),
            State::Failed(error) => return Err(error.clone()),
            State::Unknown(_) if self.syncs.covers(self.number) => Ok(()),
            State::Unknown(file) => sync(file, path),
        };
        *state = match &synced {
            Ok(()) => State::Durable,
            Err(error) => State::Failed(error.clone()),
        };
        synced
    }
}

fn sync(file: &File, path: &Path) -> Result<(), StorageError> {
    let _waiting = BlockingFor::new(ParkReason::StorageSync);
    SYNC_LATENCY_MICROSECONDS.record_callback(|| match storage::sync_file(file) {
        Ok(()) => {
            FILES_SYNCED.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "a file could not be made durable");
            Err(io_error("fsync", path)(error))
        }
    })
}
