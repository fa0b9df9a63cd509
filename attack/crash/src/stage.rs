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

use crate::{
    disk::{Disk, SECTOR, Version, index},
    record::{Event, Operation},
};

pub(crate) struct Stage {
    _folder: TempDir,
    path: PathBuf,
    file: File,
    len: u64,
    /// The shortest that the file was since the last state: what lies behind was zeros then.
    len_min: u64,
    /// Sectors that may differ from the image of the disk that is on stage, beside those.
    dirty: Vec<u64>,
}

/// A folder in memory, where there is one.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder can be made")
}

impl Stage {
    pub(crate) fn new() -> Self {
        let folder = folder();
        let path = folder.path().join("state");
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path).unwrap();
        Self { _folder: folder, path, file, len: 0, len_min: 0, dirty: Vec::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a whole disk on stage.
    pub(crate) fn put(&mut self, disk: &Disk) {
        self.file.set_len(0).unwrap();
        (self.len, self.len_min) = (0, 0);
        self.dirty.clear();
        self.set(disk, disk.len, &[]);
    }

    pub(crate) fn touch(&mut self, sectors: impl IntoIterator<Item = u64>) {
        self.dirty.extend(sectors);
    }

    /// Notes what a file on stage was asked to write.
    pub(crate) fn touch_written(&mut self, events: &[Event]) {
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
        self.len = len;
        self.len_min = self.len_min.min(len);
    }

    /// Makes the file a state: the disk's image, but for some sectors and the length.
    pub(crate) fn set(&mut self, disk: &Disk, len: u64, sectors: &[(u64, Rc<Version>)]) {
        if len != self.len {
            self.file.set_len(len).unwrap();
            self.note_len(len);
        }
        let end = len.div_ceil(SECTOR as u64);
        let mut stale = std::mem::take(&mut self.dirty);
        // Zeros now, and whatever the image has there.
        stale.extend((self.len_min / SECTOR as u64..end).filter(|&sector| !disk.is_zero(sector)));
        self.len_min = len;
        stale.sort_unstable();
        stale.dedup();
        // What lies behind the end is zeros when the file is longer.
        let inside = stale.partition_point(|&sector| sector < end);
        let mut bytes = Vec::new();
        for run in stale[..inside].chunk_by(|one, next| one + 1 == *next) {
            bytes.clear();
            run.iter().for_each(|&sector| bytes.extend_from_slice(disk.sector(sector)));
            self.write(run[0], &bytes);
        }
        for run in sectors.chunk_by(|one, next| one.0 + 1 == next.0) {
            bytes.clear();
            run.iter().for_each(|(_, version)| bytes.extend_from_slice(&version.bytes));
            self.write(run[0].0, &bytes);
            self.dirty.extend(run.iter().map(|(sector, _)| sector));
        }
    }

    /// Fails where the file is not that state: then the explorer has a fault.
    pub(crate) fn check(&self, disk: &Disk, len: u64, sectors: &[(u64, Rc<Version>)]) {
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
