//! The names of batches' files: given one by one, made durable all at once.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use dbsp::profile::{BlockingFor, ParkReason};
use feldera_storage::error::StorageError;
use parking_lot::Mutex;

use super::{file::failure, folder::io_error};

/// How many names were given so far, in all folders.
static GIVEN: AtomicU64 = AtomicU64::new(0);

/// The folders in which names were made durable.
static FOLDERS: Mutex<BTreeMap<PathBuf, Names>> = Mutex::new(BTreeMap::new());

/// What is known of the names in a folder.
enum Names {
    /// Those with lower numbers are durable.
    Durable(u64),
    /// The kernel reports a failure once, so it stays.
    Failed(StorageError),
}

/// A name that a file has in its folder, and has got from here.
pub(super) struct Given {
    number: u64,
}

/// Gives a file that is whole and durable its name, in the folder in which it has to stay.
pub(super) fn give(unfinished: &Path, path: &Path) -> storage::Result<Given> {
    fs::rename(unfinished, path).map_err(io_error("rename", unfinished))?;
    Ok(Given { number: GIVEN.fetch_add(1, Ordering::SeqCst) })
}

impl Given {
    /// Makes the name durable, and with it all others that were given in its folder: of those who ask at the same
    /// time, one waits for the disk, and the others for that one.
    pub(super) fn make_durable(&self, path: &Path) -> Result<(), StorageError> {
        let folder = path.parent().expect("a path with a name has a folder");
        let mut folders = FOLDERS.lock();
        match folders.get(folder) {
            Some(Names::Durable(number)) if self.number < *number => return Ok(()),
            Some(Names::Failed(error)) => return Err(error.clone()),
            _ => {}
        }
        let given = GIVEN.load(Ordering::SeqCst);
        let _waiting = BlockingFor::new(ParkReason::StorageSync);
        let operation = "make the names durable in";
        let failed = |error| failure("commit", folder, io_error(operation, folder)(error));
        // Where it cannot be opened, as for want of a descriptor, nothing was lost: the next one may try again.
        let opened = File::open(folder).map_err(failed)?;
        let synced = storage::sync_folder(opened).map_err(failed);
        let names = match &synced {
            Ok(()) => Names::Durable(given),
            Err(error) => Names::Failed(error.clone()),
        };
        folders.insert(folder.into(), names);
        synced
    }
}
