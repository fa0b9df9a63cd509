//! The conformance suite against the file backends on other filesystems: tmpfs, the upper layer of
//! an overlay, and ext4 with blocks smaller than a page.
//!
//! Purpose and method: see `main.rs`. Each test has a folder of its own, on a filesystem
//! of its own where one has to be mounted for it. That needs root; without it a test says that it
//! was skipped there, and runs in an ordinary folder.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use storage::{
    BlockingBackend, Limits, Medium, MmapBackend, MmapMedium, PosixBackend, PosixMedium,
    StorageError,
};
use tempfile::TempDir;

use crate::{Holes, Kind, Sealed, Subject, conformance};

/// A folder on some filesystem, mounted for it or not; unmounted and removed on drop.
struct Folder {
    folder: TempDir,
    mounted: Option<PathBuf>,
}

impl Folder {
    fn path(&self) -> PathBuf {
        self.mounted.clone().unwrap_or_else(|| self.folder.path().to_owned())
    }

    /// Mounts with these words of mount(8), in which `{}` is the temporary folder.
    fn mount(mut self, words: &[&str]) -> Result<Self, String> {
        let mounted = self.folder.path().join("mounted");
        fs::create_dir(&mounted).unwrap();
        let folder = self.folder.path().to_str().unwrap().to_owned();
        let words = words.iter().map(|word| word.replace("{}", &folder));
        run(Command::new("mount").args(words).arg(&mounted))?;
        self.mounted = Some(mounted);
        Ok(self)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(mounted) = &self.mounted {
            // Lazily, since views and cancelled operations may keep files open for a while.
            let _may_fail = run(Command::new("umount").arg("-l").arg(mounted));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", errors.trim())) }
}

fn plain(folder: io::Result<TempDir>) -> Result<Folder, String> {
    let folder = folder.map_err(|error| error.to_string())?;
    Ok(Folder { folder, mounted: None })
}

fn tmpfs() -> Result<Folder, String> {
    plain(tempfile::tempdir_in("/dev/shm"))
}

fn overlay() -> Result<Folder, String> {
    let folder = plain(tempfile::tempdir())?;
    for name in ["lower", "upper", "work"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let layers = "lowerdir={}/lower,upperdir={}/upper,workdir={}/work";
    folder.mount(&["-t", "overlay", "-o", layers, "overlay"])
}

fn small_blocks() -> Result<Folder, String> {
    let folder = plain(tempfile::tempdir())?;
    let image = folder.path().join("image");
    fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
    let options = ["-q", "-F", "-b", "1024", "-N", "8192", "-O", "^has_journal"];
    run(Command::new("mkfs.ext4").args(options).arg(&image))?;
    folder.mount(&["-o", "loop", "{}/image"])
}

/// A backend over a folder that was made for it.
fn at<M: Medium>(made: Result<Folder, String>, open: Open<M>, limits: Limits) -> Subject {
    let folder = made.unwrap_or_else(|reason| {
        let line = format!("\nSKIPPED on another filesystem: {reason}\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
        plain(tempfile::tempdir()).unwrap()
    });
    over(folder, open, limits)
}

fn over<M: Medium>(folder: Folder, open: Open<M>, limits: Limits) -> Subject {
    let backend = open(&folder.path().join("root"), limits.clone()).unwrap();
    // The folder goes last: it takes the filesystem away.
    Subject::lasting(backend, move || over(folder, open, limits))
}

type Open<M> = fn(&Path, Limits) -> Result<BlockingBackend<M>, StorageError>;

const MAPPED: Open<MmapMedium> = |root, limits| MmapBackend::open(root, limits);
const POSITIONED: Open<PosixMedium> = |root, limits| PosixBackend::open(root, limits);

const fn viewed(make: fn(Limits) -> Subject) -> Kind {
    Kind { make, sealed: Sealed::Viewed, holes: Holes::Free }
}

const fn copied(make: fn(Limits) -> Subject) -> Kind {
    Kind { make, sealed: Sealed::Copied, holes: Holes::Free }
}

mod mmap_on_tmpfs {
    use super::*;
    const KIND: Kind = viewed(|limits| at(tmpfs(), MAPPED, limits));
    conformance!(KIND, "multi_thread");
}

mod mmap_on_overlay {
    use super::*;
    const KIND: Kind = viewed(|limits| at(overlay(), MAPPED, limits));
    conformance!(KIND, "multi_thread");
}

mod mmap_on_small_blocks {
    use super::*;
    const KIND: Kind = viewed(|limits| at(small_blocks(), MAPPED, limits));
    conformance!(KIND, "multi_thread");
}

mod posix_on_tmpfs {
    use super::*;
    const KIND: Kind = copied(|limits| at(tmpfs(), POSITIONED, limits));
    conformance!(KIND, "current_thread");
}

mod posix_on_overlay {
    use super::*;
    const KIND: Kind = copied(|limits| at(overlay(), POSITIONED, limits));
    conformance!(KIND, "current_thread");
}
