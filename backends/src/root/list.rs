//! The paths of all files, by walking those folders that can hold them.

use std::{io, os::fd::AsFd};

use rustix::{
    fs::{AtFlags, Dir, DirEntry, FileType},
    io::Errno,
};

use super::{Root, resolve::Folder, split, stat_in};
use crate::{Operation, Result, StorageError, StoragePath, path::is_reserved};

impl Root {
    /// The paths of all files that begin with `prefix`, in any order. What is not a file, has no path
    /// that a backend takes, or lies in a folder of another user that this one may not look into, is
    /// left out, and said in the log.
    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let start = match prefix.rsplit_once('/') {
            Some((folder, _)) => match StoragePath::new(folder) {
                Ok(_) => Some(folder.to_owned()),
                Err(_) => return Ok(Vec::new()),
            },
            None => None,
        };
        let mut found = Vec::new();
        // One descriptor at a time, however deep the folders are.
        let mut waiting = vec![start.clone()];
        while let Some(folder) = waiting.pop() {
            let path = folder.as_deref();
            match self.list_folder(path, prefix, &mut found, &mut waiting) {
                Err(Errno::ACCESS | Errno::PERM)
                    if folder != start && path.is_some_and(|path| self.is_of_another(path)) =>
                {
                    tracing::warn!(target: "storage", path, "not listed, since it belongs to another user");
                }
                listed => {
                    listed.map_err(StorageError::io(Operation::List, path.unwrap_or_default()))?;
                }
            }
        }
        if found.is_empty() && self.is_removed() {
            let source = io::Error::other("the backend's root folder was removed");
            let path = prefix.to_owned();
            return Err(StorageError::Io { operation: Operation::List, path, source });
        }
        Ok(found)
    }

    /// Whether a folder belongs to somebody else, as `lost+found` does. The store made no such folder,
    /// and this user can reach no file in it. One of this user's own that cannot be read is another
    /// matter: there may be files in it that were written here.
    fn is_of_another(&self, path: &str) -> bool {
        let (parent, name) = split(path);
        let owner =
            self.folder(parent).and_then(|parent| Ok(stat_in(parent.as_fd(), name)?.st_uid));
        owner.is_ok_and(|owner| owner != rustix::process::geteuid().as_raw())
    }

    /// Adds the files of one folder to `found` and its folders to `waiting`.
    fn list_folder(
        &self,
        path: Option<&str>,
        prefix: &str,
        found: &mut Vec<String>,
        waiting: &mut Vec<Option<String>>,
    ) -> rustix::io::Result<()> {
        let folder = match self.folder(path) {
            Ok(folder) => folder,
            // It went since its name was read, or was none from the start.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG) => {
                return Ok(());
            }
            Err(errno) => return Err(errno),
        };
        let mut entries = match Dir::read_from(&folder) {
            // It went since it was opened; most filesystems let it be read as an empty one.
            Err(Errno::NOENT) => return Ok(()),
            entries => entries?,
        };
        while let Some(entry) = entries.read().transpose()? {
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if path.is_none() && entry.file_name().to_str().is_ok_and(is_reserved) {
                continue;
            }
            let Some(path) = path_of(path, &entry) else { continue };
            if !path.starts_with(prefix) {
                continue;
            }
            match kind_of(&folder, &entry)? {
                Some(FileType::RegularFile) => found.push(path),
                Some(FileType::Directory) => waiting.push(Some(path)),
                Some(kind) => {
                    tracing::warn!(target: "storage", ?path, ?kind, "not listed, since it is no file");
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// The path of an entry, if it can have one.
fn path_of(folder: Option<&str>, entry: &DirEntry) -> Option<String> {
    let Ok(name) = entry.file_name().to_str() else {
        let name = entry.file_name().to_string_lossy();
        tracing::warn!(target: "storage", ?folder, ?name, "not listed, since its name is not UTF-8");
        return None;
    };
    let path = match folder {
        Some(folder) => format!("{folder}/{name}"),
        None => name.to_owned(),
    };
    match StoragePath::new(&path) {
        Ok(_) => Some(path),
        Err(error) => {
            tracing::warn!(target: "storage", %error, "not listed");
            None
        }
    }
}

/// What an entry is; asks for it where the filesystem does not tell along with the name. `None`
/// where it is gone.
fn kind_of(folder: &Folder<'_>, entry: &DirEntry) -> rustix::io::Result<Option<FileType>> {
    match entry.file_type() {
        FileType::Unknown => {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            match rustix::fs::statat(folder.as_fd(), entry.file_name(), flags) {
                Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
                Err(Errno::NOENT) => Ok(None),
                Err(errno) => Err(errno),
            }
        }
        kind => Ok(Some(kind)),
    }
}
