//! The folder that all names stay beneath.
//!
//! A name is resolved part by part, each from the opened folder before it and without following a
//! symlink, so that nothing that stands in the folder leads out of it. DBSP's names have one or two
//! parts; most files need no step at all.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use feldera_storage::{
    DirEntry, StorageFileType, StoragePath, StoragePathPart, error::StorageError,
};
use parking_lot::Mutex;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::{error::io_error, mounted::Mounted, signed};
use crate::names::{Given, Names};

const FOLDER_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FOLDER_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// What a file that is being written has behind its name, as with DBSP's own backend: at start DBSP
/// removes files that end so.
const UNFINISHED: &str = ".mut";

/// How often a file is made anew because a left-over one of its name comes back meanwhile.
const TRIES_MAX: usize = 100;

/// The folder, open.
#[derive(Debug)]
pub(super) struct Folder {
    root: OwnedFd,
    path: PathBuf,
    /// The names in it and in the folders in there, for as long as anybody may ask what became of those.
    names: Mutex<BTreeMap<String, Weak<Names>>>,
}

/// What to do about a folder on the way that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Fail,
    Make,
}

/// A folder on the way to a name, and the name's last part in it.
struct Place<'a> {
    folder: Inner<'a>,
    last: &'a str,
}

/// An open folder at or beneath the root.
enum Inner<'a> {
    Root(BorrowedFd<'a>),
    Beneath(OwnedFd),
}

impl AsFd for Inner<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Beneath(fd) => fd.as_fd(),
        }
    }
}

impl Folder {
    /// Opens the folder at `path`; makes it where it is missing. Symlinks on the way to it are
    /// followed, since whoever passes the path may use any.
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        make(path).map_err(io_error("create the storage folder", path))?;
        let flags = FOLDER_FLAGS.difference(OFlags::NOFOLLOW);
        let root = rustix::fs::open(path, flags, Mode::empty())
            .map_err(io_error("open the storage folder", path))?;
        Ok(Self { root, path: path.into(), names: Mutex::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn mounted(&self) -> Mounted {
        Mounted::of(&self.root)
    }

    /// Makes all of the filesystem durable. What failed since the last time, or since the folder was opened,
    /// fails it.
    pub(super) fn sync_filesystem(&self) -> Result<(), StorageError> {
        rustix::fs::syncfs(&self.root).map_err(io_error("syncfs", &self.path))?;
        // From Linux 5.8 to 5.16 it passes on what it could not write of files, and nothing that failed in the filesystem
        // itself. An fsync(2) does.
        self.sync(&StoragePath::default())
    }

    /// Whether there is something of that name already.
    pub(super) fn is_taken(&self, name: &StoragePath) -> Result<bool, StorageError> {
        let place = self.place(name, Missing::Fail)?;
        match stat_in(&place.folder, place.last) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(io_error("fstat", &self.path_of(name))(errno)),
        }
    }

    /// Where a name lies, for messages.
    pub(super) fn path_of(&self, name: &StoragePath) -> PathBuf {
        self.path.join(name.as_ref())
    }

    /// Makes the file that is to become `name`, with the folders that it needs. One that is left of
    /// an earlier attempt goes.
    pub(super) fn create(&self, name: &StoragePath) -> Result<File, StorageError> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut tries = 0..TRIES_MAX;
        let created = loop {
            let place = self.place(name, Missing::Make)?;
            let unfinished = unfinished(place.last);
            match rustix::fs::openat(&place.folder, &unfinished, flags, FILE_MODE) {
                Err(Errno::EXIST) if tries.next().is_some() => {
                    match rustix::fs::unlinkat(&place.folder, &unfinished, AtFlags::empty()) {
                        Ok(()) | Err(Errno::NOENT) => {}
                        Err(errno) => break Err(errno),
                    }
                }
                // Its folder was removed since it was opened.
                Err(Errno::NOENT) if tries.next().is_some() => {}
                result => break result,
            }
        };
        created.map(File::from).map_err(io_error("create", &self.path_of(name)))
    }

    /// Gives a file that was [created](Self::create) and is complete its name, in one step. Says how
    /// long the file was that had the name before.
    pub(super) fn finish(
        &self,
        name: &StoragePath,
        file: &File,
    ) -> Result<(i64, Given), StorageError> {
        let path = self.path_of(name);
        let place = self.place(name, Missing::Fail)?;
        let unfinished = unfinished(place.last);
        if !is_same(&place.folder, &unfinished, file).map_err(io_error("rename", &path))? {
            let reason = "its unfinished file was removed, or another writer of the name took over";
            return Err(super::error::failure(ErrorKind::ResourceBusy, "rename", &path, reason));
        }
        let replaced = stat_in(&place.folder, place.last).map_or(0, |stat| len_of(&stat));
        let rename = || rustix::fs::renameat(&place.folder, &unfinished, &place.folder, place.last);
        let names = self.names_in(split(name).0);
        let ((), given) = names.give(rename).map_err(io_error("rename", &path))?;
        Ok((replaced, given))
    }

    /// Removes what [`create`](Self::create) made, unless another writer took over its name.
    pub(super) fn abandon(&self, name: &StoragePath, file: &File) -> Result<(), StorageError> {
        let remove = |place: &Place<'_>| {
            let unfinished = unfinished(place.last);
            if is_same(&place.folder, &unfinished, file)? {
                rustix::fs::unlinkat(&place.folder, &unfinished, AtFlags::empty())?;
            }
            Ok::<(), Errno>(())
        };
        let place = self.place(name, Missing::Fail)?;
        remove(&place).map_err(io_error("unlink", &self.path_of(name)))
    }

    /// Opens a regular file to read; gives its length too.
    pub(super) fn open_file(&self, name: &StoragePath) -> Result<(File, u64), StorageError> {
        let path = self.path_of(name);
        let place = self.place(name, Missing::Fail)?;
        // NONBLOCK: a FIFO must not hang the open.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&place.folder, place.last, flags, Mode::empty())
            .map_err(io_error("open", &path))?;
        let stat = rustix::fs::fstat(&file).map_err(io_error("fstat", &path))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => {
                return Err(StorageError::stdio(ErrorKind::IsADirectory, "open", path.display()));
            }
            _ => return Err(StorageError::stdio(ErrorKind::InvalidInput, "open", path.display())),
        }
        Ok((File::from(file), u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// Removes a file. Says how long it was.
    pub(super) fn delete(&self, name: &StoragePath) -> Result<i64, StorageError> {
        let place = self.place(name, Missing::Fail)?;
        let delete = || {
            let stat = stat_in(&place.folder, place.last)?;
            rustix::fs::unlinkat(&place.folder, place.last, AtFlags::empty())?;
            Ok::<i64, Errno>(len_of(&stat))
        };
        delete().map_err(io_error("unlink", &self.path_of(name)))
    }

    /// Removes a file, or a folder with all that is in it. Adds up in `freed_bytes` how long the
    /// removed files were, also where an error ends it half-way.
    pub(super) fn delete_recursive(
        &self,
        name: &StoragePath,
        freed_bytes: &mut i64,
    ) -> Result<(), StorageError> {
        let place = self.place(name, Missing::Fail)?;
        delete_tree(place.folder.as_fd(), place.last, freed_bytes)
            .map_err(io_error("recursive delete", &self.path_of(name)))
    }

    /// Makes the names in a folder durable. Where that fails, it fails for the files that have them, for good.
    pub(super) fn sync(&self, name: &StoragePath) -> Result<(), StorageError> {
        let path = self.path_of(name);
        let folder = self.inner(name).map_err(io_error("open dir for fsync", &path))?;
        let sync = || storage::sync_folder(folder).map_err(io_error("fsync dir", &path));
        self.names_in(name.as_ref()).sync(sync)
    }

    fn names_in(&self, folder: &str) -> Arc<Names> {
        let mut all = self.names.lock();
        if let Some(names) = all.get(folder).and_then(Weak::upgrade) {
            return names;
        }
        all.retain(|_, names| names.strong_count() > 0);
        let names = Arc::default();
        all.insert(folder.into(), Arc::downgrade(&names));
        names
    }

    /// Calls `cb` with each name in a folder, not with those in the folders in there.
    pub(super) fn list(
        &self,
        parent: &StoragePath,
        cb: &mut dyn FnMut(DirEntry),
    ) -> Result<(), StorageError> {
        let path = self.path_of(parent);
        let folder = self.inner(parent).map_err(io_error("readdir", &path))?;
        for entry in Dir::read_from(&folder).map_err(io_error("readdir", &path))? {
            let entry = entry.map_err(io_error("readdir entry", &path))?;
            let file_name = entry.file_name();
            if matches!(file_name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(&folder, file_name, AtFlags::SYMLINK_NOFOLLOW);
            if matches!(stat, Err(Errno::NOENT)) {
                // Renamed or removed since the folder was read.
                continue;
            }
            let name = parent.clone().join(StoragePathPart::from(file_name.to_bytes()));
            let file_type = stat
                .map(|stat| kind_of(&stat))
                .map_err(io_error("readdir fstat", &self.path_of(&name)));
            if let Err(error) = &file_type {
                tracing::warn!(%error, %name, "the kind of a file is not known");
            }
            cb(DirEntry { name, file_type });
        }
        Ok(())
    }

    /// Opens the folder of that name; the empty name is the root.
    fn inner(&self, name: &StoragePath) -> rustix::io::Result<Inner<'_>> {
        self.walk(name.as_ref(), Missing::Fail)
    }

    /// Opens the folder in which a name lies.
    fn place<'a>(
        &'a self,
        name: &'a StoragePath,
        missing: Missing,
    ) -> Result<Place<'a>, StorageError> {
        let (parent, last) = split(name);
        check_part(last).map_err(|_| StorageError::InvalidPath(name.as_ref().into()))?;
        match self.walk(parent, missing) {
            Ok(folder) => Ok(Place { folder, last }),
            Err(Errno::XDEV) => Err(StorageError::InvalidPath(name.as_ref().into())),
            Err(errno) => Err(io_error("open the folder of", &self.path_of(name))(errno)),
        }
    }

    fn walk(&self, path: &str, missing: Missing) -> rustix::io::Result<Inner<'_>> {
        let mut folder = Inner::Root(self.root.as_fd());
        for part in path.split('/').filter(|part| !part.is_empty()) {
            check_part(part)?;
            let mut opened = rustix::fs::openat(&folder, part, FOLDER_FLAGS, Mode::empty());
            if matches!(opened, Err(Errno::NOENT)) && missing == Missing::Make {
                match rustix::fs::mkdirat(&folder, part, FOLDER_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                opened = rustix::fs::openat(&folder, part, FOLDER_FLAGS, Mode::empty());
            }
            folder = Inner::Beneath(opened?);
        }
        Ok(folder)
    }
}

/// A name's folder, and its last part in there.
fn split(name: &StoragePath) -> (&str, &str) {
    name.as_ref().rsplit_once('/').unwrap_or(("", name.as_ref()))
}

/// Makes a folder and those that it lies in, as far as they are missing, each with its name made
/// durable. One whose name could not be is removed: the next who opens it would believe in a name that is there.
fn make(path: &Path) -> io::Result<()> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    for folder in missing.into_iter().rev() {
        let created = DirBuilder::new().mode(FOLDER_MODE.bits()).create(folder);
        match &created {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return created,
            _ => {}
        }
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let synced = File::open(parent.unwrap_or(Path::new("."))).and_then(storage::sync_folder);
        if synced.is_err() {
            if created.is_ok() {
                // Where somebody uses it by now, it stays.
                let _removed = fs::remove_dir(folder);
            }
            return synced;
        }
    }
    Ok(())
}

/// Refuses what could lead out of a folder. DBSP's paths have no such parts, as a rule.
fn check_part(part: &str) -> rustix::io::Result<()> {
    match part {
        "" | "." | ".." => Err(Errno::XDEV),
        part if part.bytes().any(|byte| matches!(byte, 0 | b'/')) => Err(Errno::XDEV),
        _ => Ok(()),
    }
}

fn unfinished(last: &str) -> String {
    format!("{last}{UNFINISHED}")
}

fn stat_in(folder: impl AsFd, name: &str) -> rustix::io::Result<Stat> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Whether a name is that of an open file.
fn is_same(folder: impl AsFd, name: &str, file: &File) -> rustix::io::Result<bool> {
    let ours = rustix::fs::fstat(file)?;
    match stat_in(folder, name) {
        Ok(stat) => Ok((stat.st_dev, stat.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The bytes that count as usage.
fn len_of(stat: &Stat) -> i64 {
    match kind_of(stat) {
        StorageFileType::File { size } => signed(size),
        _ => 0,
    }
}

fn kind_of(stat: &Stat) -> StorageFileType {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            StorageFileType::File { size: u64::try_from(stat.st_size).unwrap_or(0) }
        }
        FileType::Directory => StorageFileType::Directory,
        _ => StorageFileType::Other,
    }
}

/// Removes whatever a name stands for. What somebody else removed meanwhile is removed too.
fn delete_tree(folder: BorrowedFd<'_>, name: &str, freed_bytes: &mut i64) -> io::Result<()> {
    let stat = stat_in(folder, name)?;
    if kind_of(&stat) != StorageFileType::Directory {
        rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
        *freed_bytes += len_of(&stat);
        return Ok(());
    }
    let inner = rustix::fs::openat(folder, name, FOLDER_FLAGS, Mode::empty())?;
    for entry in Dir::read_from(&inner)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Ok("." | "..") => continue,
            Ok(child) => ignore_missing(delete_tree(inner.as_fd(), child, freed_bytes))?,
            Err(_) => return Err(io::Error::new(ErrorKind::InvalidData, "a name is not UTF-8")),
        }
    }
    ignore_missing(rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR).map_err(io::Error::from))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
