//! Files that appear under their name only when they are whole.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use uuid::Uuid;

use crate::{
    Error, Result,
    claim::{check_kind, open_folder, sync_folder},
};

/// What to do where the name is taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Existing {
    /// Fail with [`Error::AlreadyExists`] and leave the old file alone.
    #[default]
    Refuse,
    /// Put the new file in the old one's place, in one step: whoever opens the name finds either
    /// the old file whole or the new one whole. Who has the old one open keeps it.
    Replace,
}

/// A new file under a temporary name beside its final one. Removed on drop unless published.
#[derive(Debug)]
pub(crate) struct PendingFile {
    folder: File,
    temporary_name: PathBuf,
    final_name: PathBuf,
    path: PathBuf,
    existing: Existing,
    published: bool,
}

impl PendingFile {
    /// Makes the file, mode 0600 whatever the umask adds, and opens it to read and write.
    ///
    /// # Errors
    /// At once, so that nobody works for nothing: [`Error::AlreadyExists`] where `existing` forbids
    /// what is there (asked again, atomically, when the file is published), [`Error::NotAFile`]
    /// where what is to be replaced is no regular file, and [`Error::Io`] where there can be no
    /// file of that name.
    pub(crate) fn create(path: &Path, existing: Existing) -> Result<(Self, File)> {
        let (folder, final_name) = open_folder(path)?;
        match check_kind(path) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error @ Error::Io { .. }) => return Err(error),
            _ if existing == Existing::Refuse => {
                return Err(Error::AlreadyExists { path: path.into() });
            }
            // Nobody wants to lose a device or a symlink to a file that takes its name.
            checked => checked?,
        }
        let temporary_name = PathBuf::from(format!(".{}.tmp", Uuid::new_v4().simple()));
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&folder, &temporary_name, flags, mode)
            .map_err(Error::io("create", path))?;
        let path = path.to_path_buf();
        let pending = Self { folder, temporary_name, final_name, path, existing, published: false };
        Ok((pending, File::from(file)))
    }

    /// Opens the file once more, to read.
    pub(crate) fn reopen(&self) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, &self.temporary_name, flags, Mode::empty())
            .map_err(Error::io("open", &self.path))?;
        Ok(File::from(file))
    }

    /// Gives the file its final name and makes the name durable. The file itself must be durable
    /// already.
    pub(crate) fn publish(mut self) -> Result<()> {
        let flags = match self.existing {
            Existing::Refuse => RenameFlags::NOREPLACE,
            Existing::Replace => RenameFlags::empty(),
        };
        let (folder, from, to) = (&self.folder, &self.temporary_name, &self.final_name);
        match rustix::fs::renameat_with(folder, from, folder, to, flags) {
            Ok(()) => self.published = true,
            Err(rustix::io::Errno::EXIST) => {
                return Err(Error::AlreadyExists { path: self.path.clone() });
            }
            Err(errno) => return Err(Error::io("rename the finished file to", &self.path)(errno)),
        }
        sync_folder(&self.folder, &self.path)
    }

    /// The final path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if !self.published {
            // Nobody can be told here. A file that stays behind has a name that starts with a dot
            // and ends in `.tmp`, and nobody takes it for a finished one.
            let _unlinked =
                rustix::fs::unlinkat(&self.folder, &self.temporary_name, AtFlags::empty());
        }
    }
}
