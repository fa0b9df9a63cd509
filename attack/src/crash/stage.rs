//! The one file that all crash states are opened in.
//!
//! Making a file for each state would take longer than opening it. So there is one, on a disk in memory, and
//! it is turned from one state into the next by writing the sectors in which they differ.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    rc::Rc,
};

use tempfile::TempDir;

use super::{
    disk::{Disk, SECTOR, Version, index},
    record::{Event, Operation},
};

pub(super) struct Stage {
    _folder: TempDir,
    path: PathBuf,
    file: File,
    len: u64,
    /// Sectors that may differ from the image of the disk that is on stage.
    dirty: Vec<u64>,
}

/// A folder in memory, where there is one.
pub(super) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder can be made")
}

impl Stage {
    pub(super) fn new() -> Self {
        let folder = folder();
        let path = folder.path().join("state");
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path).unwrap();
        Self { _folder: folder, path, file, len: 0, dirty: Vec::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a whole disk on stage.
    pub(super) fn put(&mut self, disk: &Disk) {
        self.file.set_len(0).unwrap();
        self.file.write_all_at(&disk.image, 0).unwrap();
        self.file.set_len(disk.len).unwrap();
        self.len = disk.len;
        self.dirty.clear();
        // What the file is too short for.
        self.touch(self.len.div_ceil(SECTOR as u64)..(disk.image.len() / SECTOR) as u64);
    }

    pub(super) fn touch(&mut self, sectors: impl IntoIterator<Item = u64>) {
        self.dirty.extend(sectors);
    }

    /// Notes what a file on stage was asked to write.
    pub(super) fn touch_written(&mut self, events: &[Event]) {
        for event in events {
            let Event::Begin { operation, .. } = event else { continue };
            match operation {
                Operation::Write { offset, bytes, .. } => {
                    let end = offset + bytes.len() as u64;
                    self.touch(offset / SECTOR as u64..end.div_ceil(SECTOR as u64));
                    self.len = self.len.max(end);
                }
                Operation::Sync => {}
                Operation::SetLen(len) => self.note_len(*len),
            }
        }
    }

    fn note_len(&mut self, len: u64) {
        self.touch(len.div_ceil(SECTOR as u64)..self.len.div_ceil(SECTOR as u64));
        self.len = len;
    }

    /// Makes the file a state: the disk's image, but for some sectors and the length.
    pub(super) fn set(&mut self, disk: &Disk, len: u64, sectors: &[(u64, Rc<Version>)]) {
        if len != self.len {
            self.file.set_len(len).unwrap();
            self.note_len(len);
        }
        let end = len.div_ceil(SECTOR as u64);
        let mut stale = std::mem::take(&mut self.dirty);
        stale.sort_unstable();
        stale.dedup();
        let inside = stale.partition_point(|&sector| sector < end);
        let mut bytes = Vec::new();
        for run in stale[..inside].chunk_by(|one, next| one + 1 == *next) {
            bytes.clear();
            run.iter().for_each(|&sector| bytes.extend_from_slice(disk.sector(sector)));
            self.write(run[0], &bytes);
        }
        self.dirty.extend_from_slice(&stale[inside..]);
        for run in sectors.chunk_by(|one, next| one.0 + 1 == next.0) {
            bytes.clear();
            run.iter().for_each(|(_, version)| bytes.extend_from_slice(&version.bytes));
            self.write(run[0].0, &bytes);
            self.dirty.extend(run.iter().map(|(sector, _)| sector));
        }
    }

    /// Fails where the file is not that state: then the explorer has a fault.
    pub(super) fn check(&self, disk: &Disk, len: u64, sectors: &[(u64, Rc<Version>)]) {
        let after = disk.after(len, sectors);
        let found = std::fs::read(&self.path).unwrap();
        assert_eq!(found.len() as u64, len, "the stage has another length");
        let wrong = (0..found.len()).find(|&at| found[at] != after.image[at]);
        assert_eq!(wrong, None, "the stage has another byte");
    }

    fn write(&self, sector: u64, bytes: &[u8]) {
        let offset = sector * SECTOR as u64;
        let room = index(self.len.saturating_sub(offset)).min(bytes.len());
        self.file.write_all_at(&bytes[..room], offset).unwrap();
    }
}
