//! A folder that no name leads out of.
//!
//! Whatever stands in the folder, and whoever moves it about meanwhile, each operation stays
//! beneath the root: it first resolves the folder of the file, to a descriptor and without
//! following any symlink (`resolve`), and then names the file itself by its last part only, in
//! calls that do not follow a symlink there either.
//!
//! Only regular files can be seen. Folders come with the first file that needs them and go with
//! the last one, so every operation that makes a name expects folders to vanish under it.

use std::{
    fmt,
    fs::{DirBuilder, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::Path,
};

use pagestore::has_seal;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use crate::{Operation, Result, StorageError, StoragePath};

mod list;
mod manifest;
mod obstacle;
mod resolve;
#[cfg(test)]
mod tests;

use resolve::Lookup;

/// How often an operation begins anew because a folder or file came or went under it. Each time
/// somebody else got their operation done, so many threads would have to conspire to reach this.
const TRIES_MAX: usize = 1000;

const FOLDER_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// What to do about a file that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Missing {
    /// Fail with [`StorageError::NotFound`].
    Fail,
    /// Make it, and its folders.
    Make,
}

/// The folder that all files of a backend lie in.
pub(crate) struct Root {
    folder: OwnedFd,
    lookup: Lookup,
}

impl Root {
    /// Opens the folder at `path`; makes it, and the folders that it lies in, where they are
    /// missing. Symlinks on the way to it are followed, since whoever passes the path may use any.
    fn open(path: &Path) -> Result<Self> {
        let fail = || path.to_string_lossy();
        make_root(path).map_err(StorageError::io(Operation::Open, fail()))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())
            .map_err(StorageError::io(Operation::Open, fail()))?;
        Ok(Self { folder, lookup: Lookup::Kernel })
    }

    /// Opens a file: for reading only where it is sealed, else for both.
    pub(crate) fn open_file(
        &self,
        operation: Operation,
        path: StoragePath<'_>,
        missing: Missing,
    ) -> Result<File> {
        let opened = self.again(missing, || {
            let (folder, name) = path.split();
            match missing {
                Missing::Fail => open_in(self.folder(folder)?.as_fd(), name),
                Missing::Make => make_in(self.make_folder(folder)?.as_fd(), name),
            }
        });
        opened.map_err(|errno| {
            if missing == Missing::Make {
                self.prune(path);
            }
            self.explain(operation, path, missing, errno)
        })
    }

    /// The files that somebody else than root and this process's user could write to, by owner and mode.
    pub(crate) fn writable_by_others(&self) -> Result<Vec<String>> {
        let caller_uid = rustix::process::geteuid().as_raw();
        let by_others = Mode::WGRP | Mode::WOTH;
        let is_theirs = |name: &String| {
            let (folder, name) = split(name);
            let stat = self.folder(folder).and_then(|folder| stat_in(folder.as_fd(), name));
            // What is gone meanwhile is nobody's.
            stat.is_ok_and(|stat| {
                ![0, caller_uid].contains(&stat.st_uid)
                    || Mode::from_raw_mode(stat.st_mode).intersects(by_others)
            })
        };
        let mut names = self.list("")?;
        names.retain(is_theirs);
        Ok(names)
    }

    /// The length of a file in bytes, without opening it.
    pub(crate) fn len(&self, path: StoragePath<'_>) -> Result<u64> {
        let (folder, name) = path.split();
        let len = || {
            let stat = stat_in(self.folder(folder)?.as_fd(), name)?;
            regular(&stat)?;
            u64::try_from(stat.st_size).map_err(|_| Errno::OVERFLOW)
        };
        len().map_err(|errno| self.explain(Operation::Examine, path, Missing::Fail, errno))
    }

    /// Removes a file, and the folders that become empty by that.
    pub(crate) fn delete(&self, path: StoragePath<'_>) -> Result<()> {
        let (folder, name) = path.split();
        let delete = || {
            let folder = self.folder(folder)?;
            regular(&stat_in(folder.as_fd(), name)?)?;
            rustix::fs::unlinkat(&folder, name, AtFlags::empty())
        };
        delete().map_err(|errno| self.explain(Operation::Delete, path, Missing::Fail, errno))?;
        self.prune(path);
        Ok(())
    }

    /// Gives a file another path; makes the folders that this needs. Neither makes that durable nor
    /// removes folders that became empty, see [`settle`](Self::settle).
    pub(crate) fn rename(&self, from: StoragePath<'_>, to: StoragePath<'_>) -> Result<()> {
        /// Which of the two paths an error is about.
        enum Side {
            From(Errno),
            To(Errno),
        }
        let mut tries = 0..TRIES_MAX;
        let result = loop {
            let attempt = || {
                let from_folder = self.folder(from.split().0).map_err(Side::From)?;
                let stat = stat_in(from_folder.as_fd(), from.split().1).map_err(Side::From)?;
                regular(&stat).map_err(Side::From)?;
                let to_folder = self.make_folder(to.split().0).map_err(Side::To)?;
                free_for_file(to_folder.as_fd(), to.split().1).map_err(Side::To)?;
                let (from_name, to_name) = (from.split().1, to.split().1);
                rustix::fs::renameat(&from_folder, from_name, &to_folder, to_name).map_err(
                    |errno| match errno {
                        // Something changed since it was looked at.
                        Errno::ISDIR | Errno::NOTDIR => Side::To(Errno::AGAIN),
                        errno => Side::To(errno),
                    },
                )
            };
            match attempt() {
                Err(Side::To(Errno::NOENT | Errno::AGAIN) | Side::From(Errno::AGAIN))
                    if tries.next().is_some() => {}
                result => break result,
            }
        };
        result.map_err(|side| {
            self.prune(to);
            match side {
                Side::From(errno) => self.explain(Operation::Rename, from, Missing::Fail, errno),
                Side::To(errno) => self.explain(Operation::Rename, to, Missing::Make, errno),
            }
        })
    }

    /// Makes a rename that was done durable, and then removes the folders that it left empty.
    ///
    /// The order matters: a folder that is removed before the name's absence from it is durable
    /// can be back after a crash, with the old name in it.
    pub(crate) fn settle(&self, from: StoragePath<'_>, to: StoragePath<'_>) -> Result<()> {
        self.sync_names(Operation::Rename, to)?;
        self.sync_folder(from.split().0)
            .map_err(StorageError::io(Operation::Rename, from.as_str()))?;
        self.prune(from);
        Ok(())
    }

    /// Makes a file's name durable: all folders from its own up to the root.
    pub(crate) fn sync_names(&self, operation: Operation, path: StoragePath<'_>) -> Result<()> {
        let folders = path.folders().map(Some);
        std::iter::once(None)
            .chain(folders)
            .try_for_each(|folder| self.sync_folder(folder))
            .map_err(StorageError::io(operation, path.as_str()))
    }

    /// Makes the names in one folder durable. One that is gone has no names.
    fn sync_folder(&self, folder: Option<&str>) -> io::Result<()> {
        let folder = match self.folder(folder) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        pagestore::sync_folder(&folder)
    }

    /// Removes the folders on the way to `path`, from the innermost on, as far as they are empty.
    pub(crate) fn prune(&self, path: StoragePath<'_>) {
        let folders: Vec<&str> = path.folders().collect();
        for folder in folders.into_iter().rev() {
            let (parent, name) = split(folder);
            let Ok(parent) = self.folder(parent) else { return };
            if rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR).is_err() {
                return;
            }
        }
    }

    /// Runs `attempt` again as long as something came or went under it.
    fn again<T>(
        &self,
        missing: Missing,
        attempt: impl Fn() -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        let mut tries = 0..TRIES_MAX;
        loop {
            match attempt() {
                Err(Errno::NOENT) if missing == Missing::Make && tries.next().is_some() => {}
                Err(Errno::AGAIN) if tries.next().is_some() => {}
                result => return result,
            }
        }
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").field("lookup", &self.lookup).finish_non_exhaustive()
    }
}

/// Makes the root folder and those that it lies in, each with its name made durable: later syncs
/// reach up to the root only.
fn make_root(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && rustix::fs::stat(*folder).is_err())
        .collect();
    for folder in missing.into_iter().rev() {
        match DirBuilder::new().mode(FOLDER_MODE.bits()).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let parent = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        pagestore::sync_folder(File::open(parent)?)?;
    }
    Ok(())
}

/// The path of the folder that something lies in, if that is not the root, and its name in there.
fn split(path: &str) -> (Option<&str>, &str) {
    match path.rsplit_once('/') {
        Some((folder, name)) => (Some(folder), name),
        None => (None, path),
    }
}

fn stat_in(folder: BorrowedFd<'_>, name: &str) -> rustix::io::Result<Stat> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Checks that this is a regular file. The error only says which question to ask next; what stands
/// there is found out for the message.
fn regular(stat: &Stat) -> rustix::io::Result<()> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Errno::ISDIR),
        FileType::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::NXIO),
    }
}

/// Opens the file `name` of a folder. [`Errno::AGAIN`] where it was exchanged meanwhile.
fn open_in(folder: BorrowedFd<'_>, name: &str) -> rustix::io::Result<File> {
    // Looked at before it is opened, since opening a device can have effects.
    regular(&stat_in(folder, name)?)?;
    // NONBLOCK: a FIFO that took the file's place since must not hang the open.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = |access| {
        let file = File::from(rustix::fs::openat(folder, name, access | flags, Mode::empty())?);
        let stat = rustix::fs::fstat(&file)?;
        regular(&stat).map(|()| (file, (stat.st_dev, stat.st_ino)))
    };
    // To read first: nobody opens a sealed file to write, and only an open file tells whether it is one.
    let (file, seen) = open(OFlags::RDONLY)?;
    if has_seal(&file).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))? {
        return Ok(file);
    }
    let (file, opened) = open(OFlags::RDWR)?;
    if opened == seen { Ok(file) } else { Err(Errno::AGAIN) }
}

/// Opens the file `name` of a folder, or makes it. [`Errno::AGAIN`] where it came or was exchanged
/// meanwhile.
fn make_in(folder: BorrowedFd<'_>, name: &str) -> rustix::io::Result<File> {
    match open_in(folder, name) {
        Err(Errno::NOENT | Errno::ISDIR) => free_for_file(folder, name)?,
        result => return result,
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(folder, name, flags, FILE_MODE) {
        Ok(file) => Ok(File::from(file)),
        Err(Errno::EXIST) => Err(Errno::AGAIN),
        Err(errno) => Err(errno),
    }
}

/// Checks that a file can get this name, or have it taken over. An empty folder is nothing that
/// can be seen, so it makes room.
fn free_for_file(folder: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    let stat = match stat_in(folder, name) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    match regular(&stat) {
        Err(Errno::ISDIR) => match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(Errno::ISDIR),
            Err(Errno::NOTDIR) => Err(Errno::AGAIN),
            Err(errno) => Err(errno),
        },
        result => result,
    }
}
