//! How the files of a checkpoint are made durable.

use std::{
    panic,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use feldera_storage::{FileCommitter, error::StorageError};
use feldera_types::config::StorageSyncMode;
use parking_lot::Mutex;

use super::{folder::Folder, mounted::Mounted};

/// How many files are synchronised at a time. The threads sleep meanwhile; a filesystem with a journal
/// commits it once for all that ask for it at the same time.
const SYNCS_AT_ONCE: usize = 16;

/// What the files of one folder have in common on their way to the disk.
///
/// One syncfs(2) makes all files durable, however many there are. It says once that the kernel could not
/// write something, but not of which file. So where it fails, it is not used any more: each file is asked
/// for by itself then, and says what became of it.
#[derive(Debug)]
pub(super) struct Syncs {
    folder: Arc<Folder>,
    /// Whether all files are made durable at once. Locked while that is done: the kernel reports a failure to one that
    /// asks, and another one beside it would be told that all is in order.
    at_once: Mutex<bool>,
    /// How many files were written or opened so far.
    files: AtomicU64,
    /// All files with lower numbers are durable.
    durable: AtomicU64,
}

impl Syncs {
    pub(super) fn new(folder: &Arc<Folder>, mode: StorageSyncMode) -> Self {
        let mounted = folder.mounted();
        let at_once = match mode {
            StorageSyncMode::PerFile => false,
            StorageSyncMode::Auto => mounted == Mounted::Alone,
            StorageSyncMode::Syncfs => matches!(mounted, Mounted::Shared | Mounted::Alone),
        };
        let reason = match mounted {
            Mounted::Unknown => {
                "it says nothing of failures before Linux 5.8, and which kernel this is cannot be told"
            }
            Mounted::Unreliable => {
                "only on ext4, XFS and btrfs is it known to make files durable and to say what failed"
            }
            Mounted::Shared | Mounted::Alone => "",
        };
        if mode == StorageSyncMode::Syncfs && !at_once {
            let folder = folder.path().display();
            tracing::warn!(%folder, reason, "no syncfs(2): files are synchronised one by one");
        }
        tracing::info!(folder = %folder.path().display(), at_once, "how checkpoints are made durable");
        Self {
            folder: Arc::clone(folder),
            at_once: Mutex::new(at_once),
            files: AtomicU64::new(0),
            durable: AtomicU64::new(0),
        }
    }

    /// A number for a file, all of which was written before.
    pub(super) fn number(&self) -> u64 {
        self.files.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether the file of this number was made durable with all others.
    pub(super) fn covers(&self, number: u64) -> bool {
        number < self.durable.load(Ordering::SeqCst)
    }

    /// Makes files durable. Where one cannot be, some others may not be tried.
    pub(super) fn sync(&self, files: &[Arc<dyn FileCommitter>]) -> Result<(), StorageError> {
        self.sync_at_once();
        // Those that are durable by now say so at once.
        commit_side_by_side(files)
    }

    /// Makes all files durable by one call, if that is done here and never failed.
    fn sync_at_once(&self) {
        let mut at_once = self.at_once.lock();
        if !*at_once {
            return;
        }
        let files = self.files.load(Ordering::SeqCst);
        match self.folder.sync_filesystem() {
            Ok(()) => {
                self.durable.fetch_max(files, Ordering::SeqCst);
            }
            Err(error) => {
                *at_once = false;
                tracing::error!(%error, "from now on files are synchronised one by one");
            }
        }
    }
}

/// Commits some files at a time, on the caller's thread and others.
fn commit_side_by_side(files: &[Arc<dyn FileCommitter>]) -> Result<(), StorageError> {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<StorageError>> = Mutex::new(None);
    let commit_some = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.lock().is_some() {
                return;
            }
            let committed = file.commit();
            if let Err(error) = committed {
                failed.lock().get_or_insert(error);
            }
        }
    };
    thread::scope(|scope| {
        let others = SYNCS_AT_ONCE.min(files.len()).saturating_sub(1);
        let start = |_| {
            let named = thread::Builder::new().name("storage-sync".into());
            // Where no thread can be started, those that there are do all of it.
            named.spawn_scoped(scope, commit_some).ok()
        };
        let threads: Vec<_> = (0..others).map_while(start).collect();
        commit_some();
        for thread in threads {
            if let Err(panicked) = thread.join() {
                panic::resume_unwind(panicked);
            }
        }
    });
    failed.into_inner().map_or(Ok(()), Err)
}
