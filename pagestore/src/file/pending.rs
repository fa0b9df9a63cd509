//! Files that appear under their name only when they are whole.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags},
    io::Errno,
};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    file::{
        claim::{check_kind, open_folder},
        durable::sync_folder_of,
    },
    kernel::hint::{Hint, is_refusal},
};

/// What to do where the name is taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Existing {
    /// Fail with [`Error::AlreadyExists`] and leave the old file alone.
    #[default]
    Refuse,
    /// Replace the old file, in one step: whoever opens the name finds either the old file or the new one,
    /// whole. Open handles keep the old file.
    Replace,
}

/// A new file that has not got its final name yet. Removed on drop unless published, or kept.
#[derive(Debug)]
pub(crate) struct PendingFile {
    folder: File,
    temporary_name: PathBuf,
    final_name: PathBuf,
    path: PathBuf,
    existing: Existing,
    named: Named,
}

/// The name that a pending file has in its folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Named {
    /// None: the kernel removes the file with its last descriptor, also when the process is killed.
    Not,
    /// A temporary one, which goes when this is dropped.
    Temporarily,
    /// A temporary one that stays: the file is finished, and somebody was told of it.
    Kept,
    Finally,
}

impl PendingFile {
    /// Makes the file under a temporary name, mode 0600 whatever the umask adds, and opens it to
    /// read and write.
    ///
    /// # Errors
    /// At once, so that nobody works for nothing: [`Error::AlreadyExists`] where `existing` forbids
    /// what is there (asked again, atomically, when the file is published), [`Error::NotAFile`]
    /// where what is to be replaced is no regular file, and [`Error::Io`] where there can be no
    /// file of that name.
    pub(crate) fn create(path: &Path, existing: Existing) -> Result<(Self, File)> {
        let mut pending = Self::prepare(path, existing)?;
        let file = pending.create_named()?;
        Ok((pending, file))
    }

    /// Makes the file without a name (open(2), `O_TMPFILE`), so that a process that is killed
    /// leaves nothing behind; otherwise like [`create`](Self::create). Where the filesystem cannot
    /// do that, it gets a temporary name at once.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub(crate) fn create_nameless(path: &Path, existing: Existing) -> Result<(Self, File)> {
        let mut pending = Self::prepare(path, existing)?;
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&pending.folder, ".", flags, PRIVATE);
        let file = match made.and_then(|file| pending.check_namable(&file).map(|()| file)) {
            Ok(file) => File::from(file),
            // Whatever the reason is, if it stands in the way of a file with a name as well, that
            // tells it in the words of open(2).
            Err(errno) => {
                let file = pending.create_named()?;
                Hint::Nameless.note(&errno.into());
                file
            }
        };
        Ok((pending, file))
    }

    /// Whether a file without a name can get one later. It is given by way of /proc, which is not there
    /// in every container, and by linkat(2), which a filter can forbid. Asked for the name `.`, which is
    /// taken in every folder: that is all that may be wrong with it.
    fn check_namable(&self, file: &impl AsFd) -> rustix::io::Result<()> {
        match self.link(file, Path::new(".")) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn link(&self, file: &impl AsFd, name: &Path) -> rustix::io::Result<()> {
        let flags = AtFlags::SYMLINK_FOLLOW;
        rustix::fs::linkat(CWD, proc_path(file), &self.folder, name, flags)
    }

    fn prepare(path: &Path, existing: Existing) -> Result<Self> {
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
        let path = path.to_path_buf();
        Ok(Self { folder, temporary_name, final_name, path, existing, named: Named::Not })
    }

    fn create_named(&mut self) -> Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, &self.temporary_name, flags, PRIVATE)
            .map_err(Error::io("create", &self.path))?;
        self.named = Named::Temporarily;
        Ok(File::from(file))
    }

    /// Gives `file`, which this made, its temporary name, if it has none.
    ///
    /// This comes *before* the file is made durable: the name counts in the file's inode, and a
    /// name must not reach the disk before an inode that is in use. The final name is then a
    /// rename, as it is of a file that had a name from the beginning.
    pub(crate) fn give_temporary_name(&mut self, file: &File) -> Result<()> {
        if self.named == Named::Not {
            self.link(file, &self.temporary_name)
                .map_err(Error::io("give a name (linkat) to the new file for", &self.path))?;
            self.named = Named::Temporarily;
        }
        Ok(())
    }

    /// Opens the file once more, to read. It must have its temporary name.
    pub(crate) fn reopen(&self) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, &self.temporary_name, flags, Mode::empty())
            .map_err(Error::io("open", &self.path))?;
        Ok(File::from(file))
    }

    /// Gives the file its final name and makes the name durable. The file itself must be durable
    /// already, with its temporary name. Can be tried again where the name was not given.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] where the name was taken meanwhile; [`Error::Io`] where it cannot be
    /// given. Where making it durable failed, [`is_published`](Self::is_published) is true.
    pub(crate) fn publish(&mut self) -> Result<()> {
        self.take_name().map_err(|errno| match errno {
            Errno::EXIST => Error::AlreadyExists { path: self.path.clone() },
            errno => Error::io("rename the finished file to", &self.path)(errno),
        })?;
        self.named = Named::Finally;
        sync_folder_of(&self.folder, &self.path)
    }

    /// Whether the file has its final name.
    pub(crate) fn is_published(&self) -> bool {
        self.named == Named::Finally
    }

    /// For a finished file that could not be published: where that is nobody's doing who wanted the name,
    /// keeps it under its temporary name, and has the error say so.
    pub(crate) fn keep(&mut self, error: Error) -> Error {
        match error {
            Error::Io { source, .. } if !self.is_published() => {
                self.named = Named::Kept;
                let kept_as = self.path.with_file_name(&self.temporary_name);
                Error::NotNamed { path: self.path.clone(), kept_as, source }
            }
            error => error,
        }
    }

    /// Renames the file to its final name.
    fn take_name(&self) -> rustix::io::Result<()> {
        let (folder, from, to) = (&self.folder, &self.temporary_name, &self.final_name);
        if self.existing == Existing::Replace {
            return rustix::fs::renameat(folder, from, folder, to);
        }
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(folder, from, folder, to, flags) {
            Err(errno) if is_refusal(&errno.into()) => {
                self.take_free_name()?;
                // Noted only now: it could have been that nobody may give names here.
                Hint::RenameNoReplace.note(&errno.into());
                Ok(())
            }
            renamed => renamed,
        }
    }

    /// The same on filesystems that do not know `RENAME_NOREPLACE` (mergerfs, older ZFS, GlusterFS):
    /// link(2), which never replaces anything, and then unlink(2). Without links too (FAT), the name is
    /// looked for under a lock on the folder, which keeps out others who do the same.
    fn take_free_name(&self) -> rustix::io::Result<()> {
        let (folder, from, to) = (&self.folder, &self.temporary_name, &self.final_name);
        match rustix::fs::linkat(folder, from, folder, to, AtFlags::empty()) {
            // The file is under its name; should the other one stay, it is only a second one, which
            // nobody takes for a finished file.
            Ok(()) => {
                let _other_name = rustix::fs::unlinkat(folder, from, AtFlags::empty());
                return Ok(());
            }
            Err(errno) if errno == Errno::MLINK || is_refusal(&errno.into()) => {}
            Err(errno) => return Err(errno),
        }
        rustix::fs::flock(folder, FlockOperation::LockExclusive)?;
        let renamed = match rustix::fs::statat(folder, to, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => rustix::fs::renameat(folder, from, folder, to),
            Err(errno) => Err(errno),
        };
        // A lock that cannot be given back ends with the descriptor, a moment later.
        let _unlocked = rustix::fs::flock(folder, FlockOperation::Unlock);
        renamed
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if self.named == Named::Temporarily {
            // Nobody can be told here. A file that stays behind has a name that starts with a dot
            // and ends in `.tmp`, and nobody takes it for a finished one.
            let _unlinked =
                rustix::fs::unlinkat(&self.folder, &self.temporary_name, AtFlags::empty());
        }
    }
}

/// Makes a file without a name in `folder`, mode 0600, which nobody can ever give one (open(2),
/// `O_TMPFILE` with `O_EXCL`). Where the filesystem cannot do that, its name is removed at once.
pub(crate) fn create_temporary(folder: &Path) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::EXCL | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, PRIVATE) {
        Ok(file) => Ok(File::from(file)),
        // Dropping what is pending removes its name.
        Err(_) => PendingFile::create(&folder.join("temporary"), Existing::Replace)
            .map(|(_pending, file)| file),
    }
}

/// The mode of a new file: its owner's alone.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Where proc(5) shows what an open descriptor is of.
fn proc_path(file: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}
