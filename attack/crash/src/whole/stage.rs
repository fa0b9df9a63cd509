//! The folder that all states are laid out in, on a disk in memory.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::fs::XattrFlags;
use tempfile::TempDir;

use super::folder::File;
use crate::{
    disk::{SECTOR, index},
    stage,
};

pub(crate) struct Stage {
    folder: TempDir,
    /// The files that are as they were laid out, with the hashes of their bytes.
    there: HashMap<OsString, u64>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { folder: stage::folder(), there: HashMap::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The names that are there, in order.
    pub(crate) fn names(&self) -> Vec<OsString> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<OsString> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    /// What is under a name may be otherwise now.
    pub(crate) fn touch(&mut self, name: &OsStr) {
        self.there.remove(name);
    }

    /// Nobody knows what is there.
    pub(crate) fn touch_all(&mut self) {
        self.there.clear();
    }

    /// Makes the folder have these files, and no others.
    pub(crate) fn set(&mut self, files: &[File<'_>]) {
        for name in self.names() {
            let is_there = files.iter().any(|file| {
                file.name == name.as_os_str() && self.there.get(&name) == Some(&file.hash)
            });
            if !is_there {
                // A new file, so that nothing of the old one stays.
                fs::remove_file(self.path().join(&name)).unwrap();
                self.there.remove(&name);
            }
        }
        for file in files {
            if !self.there.contains_key(file.name) {
                self.write(file);
                self.there.insert(file.name.into(), file.hash);
            }
        }
    }

    fn write(&self, file: &File<'_>) {
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let made = options.open(self.path().join(file.name)).unwrap();
        made.set_len(file.len).unwrap();
        let put = |start: u64, run: &[u8]| {
            let offset = start * SECTOR as u64;
            let room = index(file.len - offset).min(run.len());
            made.write_all_at(&run[..room], offset).unwrap();
        };
        let (mut start, mut run) = (0, Vec::new());
        for (sector, bytes) in file.sectors() {
            if sector != start + (run.len() / SECTOR) as u64 {
                put(start, &run);
                run.clear();
                start = sector;
            }
            run.extend_from_slice(bytes);
        }
        put(start, &run);
        for (name, value) in &file.attributes.extended {
            rustix::fs::fsetxattr(&made, name, value, XattrFlags::empty()).unwrap();
        }
        let mode = Permissions::from_mode(file.attributes.mode.into());
        made.set_permissions(mode).unwrap();
    }
}
