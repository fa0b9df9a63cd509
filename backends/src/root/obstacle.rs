//! What stands in the way, said so that a person can act on it.

use std::{io, os::fd::AsFd};

use rustix::{fs::FileType, io::Errno};

use super::{Missing, Root, split, stat_in};
use crate::{Operation, StorageError, StoragePath};

impl Root {
    /// The error for an operation on `path` that the kernel refused.
    ///
    /// `missing` says whether the operation makes names: one that does not finds no file where
    /// there is a folder, or where a part on the way is a file.
    pub(super) fn explain(
        &self,
        operation: Operation,
        path: StoragePath<'_>,
        missing: Missing,
        errno: Errno,
    ) -> StorageError {
        let not_found = || StorageError::NotFound { operation, path: path.as_str().to_owned() };
        let io = |source| StorageError::Io { operation, path: path.as_str().to_owned(), source };
        match errno {
            Errno::NOENT if missing == Missing::Fail => return not_found(),
            Errno::NOENT if self.is_removed() => {
                return io(io::Error::other("the backend's root folder was removed"));
            }
            // Tried often enough.
            Errno::NOENT | Errno::AGAIN => return io(Errno::BUSY.into()),
            Errno::ISDIR | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO => {}
            errno => return io(errno.into()),
        }
        match self.obstacle(path) {
            Some((_, FileType::Directory | FileType::RegularFile)) if missing == Missing::Fail => {
                not_found()
            }
            Some((_, FileType::Directory)) => io(Errno::ISDIR.into()),
            Some((_, FileType::RegularFile)) => io(Errno::NOTDIR.into()),
            Some((part, kind)) => io(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{part:?} is {}, remove it or choose another name", name_of(kind)),
            )),
            // It is gone since.
            None if errno == Errno::LOOP => io(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a symlink was in the way (they are not followed), and somebody exchanges files",
            )),
            None if missing == Missing::Fail && matches!(errno, Errno::ISDIR | Errno::NOTDIR) => {
                not_found()
            }
            None => io(errno.into()),
        }
    }

    /// The first part on the way to a file that is not a folder, or the file where it is none.
    fn obstacle<'a>(&self, path: StoragePath<'a>) -> Option<(&'a str, FileType)> {
        let kind_of = |path| {
            let (folder, name) = split(path);
            let stat = stat_in(self.folder(folder).ok()?.as_fd(), name).ok()?;
            Some(FileType::from_raw_mode(stat.st_mode))
        };
        for folder in path.folders() {
            match kind_of(folder)? {
                FileType::Directory => {}
                kind => return Some((folder, kind)),
            }
        }
        match kind_of(path.as_str())? {
            FileType::RegularFile => None,
            kind => Some((path.as_str(), kind)),
        }
    }

    /// Whether the root itself was removed, so that nothing can be made in it any more.
    pub(super) fn is_removed(&self) -> bool {
        rustix::fs::fstat(&self.folder).is_ok_and(|stat| stat.st_nlink == 0)
    }
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Symlink => "a symlink (they are not followed)",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::BlockDevice | FileType::CharacterDevice => "a device",
        _ => "neither a file nor a folder",
    }
}
