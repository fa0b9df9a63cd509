//! From the path of a folder to a descriptor of it, without following a symlink.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};

use super::{FOLDER_MODE, Root};

/// How folders are looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lookup {
    /// By openat2(2), which walks the whole path in one call; and in steps where the kernel does
    /// not know that call, or a filter forbids it.
    Kernel,
    /// In steps only.
    #[cfg(test)]
    Steps,
}

/// How often openat2(2) is tried again while the kernel says that it cannot tell whether the path
/// stays beneath the root, because somebody renames folders at that moment.
const BENEATH_TRIES_MAX: usize = 128;

const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub(super) enum Folder<'a> {
    Root(BorrowedFd<'a>),
    Beneath(OwnedFd),
}

impl AsFd for Folder<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Beneath(fd) => fd.as_fd(),
        }
    }
}

impl Root {
    /// Opens a folder; `None` is the root. The path is one that [`StoragePath`](crate::StoragePath)
    /// let through, or a leading part of one.
    pub(super) fn folder(&self, path: Option<&str>) -> rustix::io::Result<Folder<'_>> {
        let Some(path) = path else { return Ok(Folder::Root(self.folder.as_fd())) };
        let by_kernel = match self.lookup {
            Lookup::Kernel => open_beneath(self.folder.as_fd(), path),
            #[cfg(test)]
            Lookup::Steps => None,
        };
        by_kernel.unwrap_or_else(|| self.walk(path, step)).map(Folder::Beneath)
    }

    /// Opens a folder, made together with those on the way where they are missing.
    /// [`Errno::NOENT`] says that one vanished again meanwhile.
    pub(super) fn make_folder(&self, path: Option<&str>) -> rustix::io::Result<Folder<'_>> {
        match (self.folder(path), path) {
            (Err(Errno::NOENT), Some(path)) => self.walk(path, make_step).map(Folder::Beneath),
            (result, _) => result,
        }
    }

    /// Goes down a path part by part.
    fn walk(
        &self,
        path: &str,
        step: fn(BorrowedFd<'_>, &str) -> rustix::io::Result<OwnedFd>,
    ) -> rustix::io::Result<OwnedFd> {
        let mut parts = path.split('/');
        let first = parts.next().expect("a split has at least one part");
        let outermost = step(self.folder.as_fd(), first)?;
        parts.try_fold(outermost, |folder, part| step(folder.as_fd(), part))
    }
}

/// Has the kernel walk the path. `None` where it cannot.
fn open_beneath(root: BorrowedFd<'_>, path: &str) -> Option<rustix::io::Result<OwnedFd>> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0..BENEATH_TRIES_MAX;
    loop {
        match rustix::fs::openat2(root, path, FLAGS, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries.next().is_some() => {}
            Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::INVAL) => return None,
            result => return Some(result),
        }
    }
}

/// Opens the folder `part` of a folder. A symlink is refused, wherever it leads, and so is what
/// could lead upwards, though no checked path has such a part.
fn step(folder: BorrowedFd<'_>, part: &str) -> rustix::io::Result<OwnedFd> {
    if matches!(part, "" | "." | "..") || part.contains('/') {
        return Err(Errno::XDEV);
    }
    rustix::fs::openat(folder, part, FLAGS, Mode::empty())
}

/// The same, and makes the folder where it is missing.
fn make_step(folder: BorrowedFd<'_>, part: &str) -> rustix::io::Result<OwnedFd> {
    match step(folder, part) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    match rustix::fs::mkdirat(folder, part, FOLDER_MODE) {
        Ok(()) | Err(Errno::EXIST) => step(folder, part),
        Err(errno) => Err(errno),
    }
}
