//! Feldera's storage interface over files that are read through mappings.

use std::{
    fmt,
    io::ErrorKind,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use dbsp::{
    circuit::{CircuitStorageConfig, metrics::FILES_CREATED},
    profile::{BlockingFor, ParkReason},
};
use feldera_storage::{
    DirEntry, FileCommitter, FileReader, FileWriter, StorageBackend, StoragePath,
    error::StorageError,
};
use feldera_types::config::{StorageConfig, StorageOptions, StorageSyncMode};

mod durability;
mod entry;
mod error;
mod folder;
mod mounted;
mod read_pool;
mod reader;
mod source;
mod syncs;
mod writer;

use durability::Durability;
use entry::Entry;
use folder::Folder;
use read_pool::ReadPool;
use reader::MappedReader;
use source::Source;
use syncs::Syncs;
use writer::MappedWriter;

/// How many threads wait for the disk on behalf of asynchronous reads. They mostly sleep: what is
/// in memory already is copied in microseconds, and the rest waits for the device.
const READ_THREADS: usize = 4;

/// A storage backend for DBSP: files in a folder, read through mappings.
///
/// It takes the place of DBSP's own file backend, with the same files: same names, same bytes, so
/// that either of the two restores from a checkpoint that the other one made. What differs is how
/// they are read. A file that is complete is sealed ([`put_seal`](storage::put_seal)) and mapped; reading
/// a block that is in memory is a copy and no system call for it. *One* copy it is: the blocks that DBSP
/// asks for own their memory (`FBuf`), so it cannot be lent the mapping itself. (Batches that read
/// in place do without that copy.)
///
/// * A file that is complete can be read, and is durable once it is committed, as with DBSP's own backend:
///   that is what a checkpoint waits for, for all of its files together
///   ([`MappedStorageOptions::sync_mode`]). The names are made durable when DBSP asks for it, with the
///   checkpoint. A file that takes another's place is made durable before, so that a power cut leaves one
///   of the two: DBSP's list of checkpoints is such a file.
/// * Files that this user does not hold alone, that are not sealed (those that DBSP's own backend
///   left), or that cannot be mapped are read by pread(2), as there.
/// * Errors keep the kind that the operating system gave. Whatever a [`StorageError`] cannot hold
///   is in the log. A disk that cannot be read, or a file that somebody cut short, is an error too
///   and neither a signal nor a panic. A file that could not be made durable stays failed: the kernel
///   reports it once, so every later commit of the file gives that error again. So it is for files whose names
///   could not be.
/// * Names stay beneath the folder: `..` is refused, and symlinks in it are not followed.
/// * Mapped pages count in the resident set of the process while they are in memory, and DBSP takes
///   them into account where it was given a limit (`max_rss`). They are the page cache's, so
///   the kernel takes them back when memory becomes scarce; leave room for them in that limit.
///
/// ```
/// use dbsp::circuit::CircuitConfig;
/// use feldera_types::size::ConfigSize;
/// use storage_dbsp::MappedStorage;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("state");
/// let mut storage = MappedStorage::open(&path)?.into_config();
/// storage.options.cache_size = Some(ConfigSize::from_mib(64));
/// let config = CircuitConfig::with_workers(2).with_storage(Some(storage));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MappedStorage {
    folder: Arc<Folder>,
    usage: Arc<AtomicI64>,
    pool: Arc<ReadPool>,
    syncs: Arc<Syncs>,
}

/// How to open a [`MappedStorage`] otherwise than by default.
///
/// ```
/// use feldera_types::config::StorageSyncMode;
/// use storage_dbsp::MappedStorage;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("state");
/// let storage = MappedStorage::options().sync_mode(StorageSyncMode::PerFile).open(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MappedStorageOptions {
    sync_mode: StorageSyncMode,
}

impl MappedStorageOptions {
    /// How the files of a checkpoint are made durable; by default [`StorageSyncMode::Auto`].
    ///
    /// * `Auto`: by one syncfs(2) where the folder is a mount that has its filesystem to itself, as far as
    ///   this process sees; else file by file, 16 at a time.
    /// * `Syncfs`: by one syncfs(2), whatever else of the filesystem is written to the disk with it.
    /// * `PerFile`: file by file.
    ///
    /// Before Linux 5.8, where a syncfs(2) says nothing of failures, it is always file by file; so too on filesystems
    /// other than ext2 to ext4, XFS and btrfs: on FUSE, network filesystems or overlayfs it may do nothing, or say
    /// nothing of failures. `Syncfs` says so in the log then.
    ///
    /// A syncfs(2) that fails does not say for which file. All are asked for one by one from then on.
    #[must_use]
    pub const fn sync_mode(mut self, mode: StorageSyncMode) -> Self {
        self.sync_mode = mode;
        self
    }

    /// Opens the folder at `path`; makes it, for this user alone, where it is missing. It is for one
    /// circuit at a time, which DBSP makes sure of by a lock file in there.
    ///
    /// # Errors
    /// [`StorageError::StdIo`] where the folder cannot be made or opened;
    /// [`StorageError::InvalidPath`] where its path is not UTF-8, which DBSP's configuration needs.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<MappedStorage, StorageError> {
        let path = path.as_ref();
        if path.to_str().is_none() {
            return Err(StorageError::InvalidPath(path.into()));
        }
        dbsp::storage::init();
        let folder = Arc::new(Folder::open(path)?);
        Ok(MappedStorage {
            syncs: Arc::new(Syncs::new(&folder, self.sync_mode)),
            folder,
            usage: Arc::new(AtomicI64::new(0)),
            pool: Arc::new(ReadPool::new(READ_THREADS)),
        })
    }
}

impl MappedStorage {
    /// How to open a storage otherwise than by default.
    #[must_use]
    pub fn options() -> MappedStorageOptions {
        MappedStorageOptions::default()
    }

    /// Opens a storage by default options; see [`MappedStorageOptions::open`].
    ///
    /// # Errors
    /// As [`MappedStorageOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        Self::options().open(path)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What a circuit's configuration takes, with DBSP's default options: a batch of an index goes
    /// to storage once it has 10 MiB, and blocks are compressed and cached as DBSP chooses. The
    /// fields are public; change `options`, or set `init_checkpoint` to restore from there.
    ///
    /// The rest of `CircuitConfig` is unaffected by the choice of a backend.
    #[must_use]
    pub fn into_config(self) -> CircuitStorageConfig {
        // It was seen to be UTF-8 when it was opened.
        let path = self.path().to_string_lossy().into_owned();
        CircuitStorageConfig {
            config: StorageConfig { path, cache: Default::default() },
            options: StorageOptions::default(),
            backend: Arc::new(self),
            init_checkpoint: None,
            defer_restore: false,
        }
    }
}

impl StorageBackend for MappedStorage {
    fn create_named(&self, name: &StoragePath) -> Result<Box<dyn FileWriter>, StorageError> {
        let _waiting = BlockingFor::new(ParkReason::StorageMetadata);
        let file = self.folder.create(name)?;
        FILES_CREATED.fetch_add(1, Ordering::Relaxed);
        let entry = Entry::unfinished(&self.folder, &self.usage, name.clone());
        Ok(Box::new(MappedWriter::new(file, entry, &self.pool, &self.syncs)))
    }

    fn open(&self, name: &StoragePath) -> Result<Arc<dyn FileReader>, StorageError> {
        let _waiting = BlockingFor::new(ParkReason::StorageMetadata);
        let (file, len) = self.folder.open_file(name)?;
        let file = Arc::new(file);
        let durability = Durability::unknown(&file, &self.syncs);
        let source = Source::open(file, self.folder.path_of(name), durability)?;
        let entry = Entry::kept(&self.folder, &self.usage, name.clone(), len);
        Ok(Arc::new(MappedReader::new(source, entry, &self.pool)))
    }

    fn file_system_path(&self) -> Option<&Path> {
        Some(self.path())
    }

    fn list(&self, parent: &StoragePath, cb: &mut dyn FnMut(DirEntry)) -> Result<(), StorageError> {
        self.folder.list(parent, cb)
    }

    fn delete(&self, name: &StoragePath) -> Result<(), StorageError> {
        let _waiting = BlockingFor::new(ParkReason::StorageMetadata);
        let freed_bytes = self.folder.delete(name)?;
        self.usage.fetch_sub(freed_bytes, Ordering::Relaxed);
        Ok(())
    }

    fn delete_recursive(&self, name: &StoragePath) -> Result<(), StorageError> {
        let mut freed_bytes = 0;
        let result = self.folder.delete_recursive(name, &mut freed_bytes);
        self.usage.fetch_sub(freed_bytes, Ordering::Relaxed);
        match result {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn sync_files(&self, files: &[Arc<dyn FileCommitter>]) -> Result<(), StorageError> {
        let _waiting = BlockingFor::new(ParkReason::StorageSync);
        self.syncs.sync(files)
    }

    fn fsync_dir(&self, dir: &StoragePath) -> Result<(), StorageError> {
        let _waiting = BlockingFor::new(ParkReason::StorageSync);
        self.folder.sync(dir)
    }

    fn usage(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.usage)
    }
}

impl fmt::Debug for MappedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedStorage")
            .field("path", &self.path())
            .field("usage_bytes", &self.usage.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// A length as the usage counts it. No file is as long as the maximum.
fn signed(len: u64) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
