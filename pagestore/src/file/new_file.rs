//! A file of any bytes that appears only when it is whole.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    file::{
        durable::sync_file,
        pending::{Existing, PendingFile},
    },
};

/// A new file of any bytes. It gets its name when it is [published](Self::publish), whole and
/// durable; dropped before that, it is gone.
///
/// The file has no name while it is written, so a process that is killed leaves nothing behind.
/// (Where the filesystem has no files without a name, it has a hidden one that ends in `.tmp`.)
///
/// ```
/// use std::io::Write;
/// # extern crate pagestore as storage;
/// use storage::{Existing, NewFile};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("report");
/// let mut file = NewFile::create(&path, Existing::Refuse)?;
/// file.write_all(b"all of it")?;
/// assert!(!path.exists());
/// file.publish()?;
/// assert_eq!(std::fs::read(&path)?, b"all of it");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NewFile {
    pending: PendingFile,
    file: File,
    path: PathBuf,
}

impl NewFile {
    /// Makes the file, with mode 0600. What stands in its way is an error here, before any work goes into its
    /// content.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the name is taken and `existing` does not replace it; [`Error::NotAFile`] if
    /// what it would replace is not a regular file; [`Error::Io`] if the folder is missing, cannot be read or
    /// written to, or is on a read-only filesystem.
    pub fn create(path: impl AsRef<Path>, existing: Existing) -> Result<Self> {
        let path = path.as_ref();
        let (pending, file) = PendingFile::create_nameless(path, existing)?;
        Ok(Self { pending, file, path: path.into() })
    }

    /// Makes the bytes durable, then gives the file its name, then makes the name durable.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] where somebody took the name in the meantime; [`Error::Io`].
    pub fn publish(mut self) -> Result<()> {
        self.pending.give_temporary_name(&self.file)?;
        sync_file(&self.file).map_err(Error::io("make durable", &self.path))?;
        self.pending.publish()
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
