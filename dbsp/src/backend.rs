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

use dbsp::circuit::{CircuitStorageConfig, metrics::FILES_CREATED};
use feldera_storage::{
    DirEntry, FileReader, FileWriter, StorageBackend, StoragePath, error::StorageError,
};
use feldera_types::config::{StorageConfig, StorageOptions};

mod entry;
mod error;
mod folder;
mod read_pool;
mod reader;
mod source;
mod writer;

use entry::Entry;
use folder::Folder;
use read_pool::ReadPool;
use reader::MappedReader;
use source::Source;
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
/// * A file is made durable before it gets its name, as DBSP's own backend does it. The names are
///   made durable when DBSP asks for it, with the checkpoint.
/// * Files that this user does not hold alone, that are not sealed (those that DBSP's own backend
///   left), or that cannot be mapped are read by pread(2), as there.
/// * Errors keep the kind that the operating system gave. Whatever a [`StorageError`] cannot hold
///   is in the log. A disk that cannot be read, or a file that somebody cut short, is an error too
///   and neither a signal nor a panic; a file that could not be made durable never gets its name.
/// * Names stay beneath the folder: `..` is refused, and symlinks in it are not followed.
/// * Mapped pages count in the resident set of the process while they are in memory, and DBSP takes
///   them into account where it was given a limit (`max_rss_bytes`). They are the page cache's, so
///   the kernel takes them back when memory becomes scarce; leave room for them in that limit.
///
/// ```
/// use dbsp::circuit::CircuitConfig;
/// use storage_dbsp::MappedStorage;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("state");
/// let mut storage = MappedStorage::open(&path)?.into_config();
/// storage.options.cache_mib = Some(64);
/// let config = CircuitConfig::with_workers(2).with_storage(Some(storage));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MappedStorage {
    folder: Arc<Folder>,
    usage: Arc<AtomicI64>,
    pool: Arc<ReadPool>,
}

impl MappedStorage {
    /// Opens the folder at `path`; makes it, for this user alone, where it is missing. It is for one
    /// circuit at a time, which DBSP makes sure of by a lock file in there.
    ///
    /// # Errors
    /// [`StorageError::StdIo`] where the folder cannot be made or opened;
    /// [`StorageError::InvalidPath`] where its path is not UTF-8, which DBSP's configuration needs.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        let path = path.as_ref();
        if path.to_str().is_none() {
            return Err(StorageError::InvalidPath(path.into()));
        }
        dbsp::storage::init();
        let folder = Arc::new(Folder::open(path)?);
        Ok(Self {
            folder,
            usage: Arc::new(AtomicI64::new(0)),
            pool: Arc::new(ReadPool::new(READ_THREADS)),
        })
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
        let file = self.folder.create(name)?;
        FILES_CREATED.fetch_add(1, Ordering::Relaxed);
        let entry = Entry::unfinished(&self.folder, &self.usage, name.clone());
        Ok(Box::new(MappedWriter::new(file, entry, &self.pool)))
    }

    fn open(&self, name: &StoragePath) -> Result<Arc<dyn FileReader>, StorageError> {
        let (file, len) = self.folder.open_file(name)?;
        let source = Source::open(file, self.folder.path_of(name))?;
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

    fn fsync_dir(&self, dir: &StoragePath) -> Result<(), StorageError> {
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
