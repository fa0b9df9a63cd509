//! The raw file.

use std::{
    fmt,
    fs::File,
    path::Path,
    sync::{Arc, OnceLock},
};

use crate::{
    error::{Error, Result},
    file::{claim::Claim, evidence::Evidence},
    raw::{
        backing::Backing, options::RawFileOptions, sealed::Sealed, stripes::Striped,
        unsynced::Unsynced, window::Window,
    },
    residency::{
        budget::Held,
        cache::{self, Residency},
    },
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// A file without a header: any bytes, of any length, read through a mapping.
///
/// * While it is **mutable**, [`read_at`](Self::read_at) gives a *copy*, taken under latches on the range: a
///   read sees each concurrent [`write_at`](Self::write_at) whole or not at all. Writes are system calls, not
///   stores to the mapping. So a full disk is an error and not a signal, and appending is faster.
/// * Once it is **sealed**, [`view`](Self::view) gives the mapped bytes themselves, *without a copy*. A view
///   never changes. It keeps the mapping and the lock alive, and outlives this value, and the file's name.
///
/// A file is sealed if its mode has no write bit, or an attribute marks it so; [`seal`](Self::seal) sets both
/// ([`has_seal`](crate::has_seal)). An open file is locked by flock(2): a mutable one against everybody else
/// who asks, a sealed one against writers.
///
/// If somebody cuts the file short, or the disk cannot read it, reads fail. Nothing wrong is handed out as
/// right, but for views that were taken before, which [`still_valid`](Self::still_valid) checks.
///
/// ```
/// use std::{fs::OpenOptions, io::IoSlice, os::unix::fs::OpenOptionsExt};
/// # extern crate pagestore as storage;
/// use storage::RawFile;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("bytes");
/// let mut options = OpenOptions::new();
/// let opened = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
/// let file = RawFile::open(opened, &path)?;
/// file.write_at(5, &[IoSlice::new(b"world")])?;
/// file.write_at(0, &[IoSlice::new(b"hello")])?;
/// let mut copy = [0; 4];
/// file.read_at(3, &mut copy)?;
/// assert_eq!(&copy, b"lowo");
/// file.seal()?;
/// assert_eq!(file.view(0, 10)?, "helloworld");
/// assert!(file.write_at(0, &[IoSlice::new(b"H")]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RawFile {
    /// What a sealed file is read through. Set once, under all latches, and for good.
    pub(super) sealed: OnceLock<Sealed>,
    /// The bytes that the file has, as far as they were written through here.
    ///
    /// Invariant: changed only by the holder of `growth`; while it grows, under the latches of what
    /// is written, and while it falls, under all latches. The file itself is at least as long,
    /// unless somebody cut it.
    pub(super) len: AtomicU64,
    pub(super) growth: Mutex<()>,
    /// The mapping that a mutable file is read through; none where nothing was read yet. Bytes of
    /// the file are read under the shared latches of their range, and written under the exclusive
    /// ones.
    ///
    /// Who takes several of the locks here takes them in this order: `syncing`, `growth`, latches.
    pub(super) window: Striped<Option<Arc<Window>>>,
    pub(super) syncing: Mutex<()>,
    pub(super) unsynced: Unsynced,
    /// Behind what maps the file.
    pub(super) backing: Held<Backing>,
}

impl RawFile {
    /// How to open a file otherwise than by default.
    pub const fn options() -> RawFileOptions {
        RawFileOptions::new()
    }

    /// Adopts an opened file by default options; see [`RawFileOptions::open`].
    ///
    /// # Errors
    /// As [`RawFileOptions::open`].
    pub fn open(file: File, path: &Path) -> Result<Self> {
        Self::options().open(file, path)
    }

    /// The file's path when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.claim().path()
    }

    /// Whether the file is sealed.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealed.get().is_some()
    }

    /// What shows that nobody else writes to the file.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.claim().evidence()
    }

    /// How many bytes the file has.
    ///
    /// # Errors
    /// [`Error::RawPoisoned`].
    pub fn len(&self) -> Result<u64> {
        self.check()?;
        Ok(self.current_len())
    }

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// [`Error::RawPoisoned`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// What the page cache holds of the file; `None` where the kernel does not tell. One system
    /// call (0.4 us).
    #[must_use]
    pub fn residency(&self) -> Option<Residency> {
        cache::of_file(self.claim().file())
    }

    pub(super) fn claim(&self) -> &Arc<Claim> {
        self.backing.claim()
    }

    pub(super) fn current_len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// The error for a range that the file does not have.
    #[cold]
    pub(super) fn past_end(&self, offset: u64, len: u64, file_len: u64) -> Error {
        Error::PastEnd { path: self.path().into(), offset, len, file_len }
    }
}

impl fmt::Debug for RawFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawFile")
            .field("path", &self.path())
            .field("len", &self.current_len())
            .field("is_sealed", &self.is_sealed())
            .finish_non_exhaustive()
    }
}
