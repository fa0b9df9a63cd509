//! The conformance suite against the file backends on other filesystems: tmpfs, the upper layer of
//! an overlay, and ext4 with blocks smaller than a page.
//!
//! Purpose and method: see `conformance/mod.rs`. Each test has a folder of its own, on a filesystem
//! of its own where one has to be mounted for it. That needs root; without it a test says that it
//! was skipped there, and runs in an ordinary folder.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs, io,
    io::Write as _,
    marker::PhantomData,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use storage::{Limits, MmapBackend, PosixBackend, StorageBackend, StorageError};
use tempfile::TempDir;

use crate::conformance::{Erased, Subject, conformance};

mod conformance;

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

/// A file backend on one of these filesystems.
trait Place: Send + Sync + 'static {
    type Backend: StorageBackend<Error = StorageError> + 'static;
    const SEALED_IS_ZERO_COPY: bool;
    fn folder() -> Result<Folder, String>;
    fn open(root: &Path, limits: Limits) -> Result<Self::Backend, StorageError>;
}

macro_rules! place {
    ($name:ident, $backend:ty, $zero_copy:literal, $folder:path) => {
        struct $name;
        impl Place for $name {
            type Backend = $backend;
            const SEALED_IS_ZERO_COPY: bool = $zero_copy;
            fn folder() -> Result<Folder, String> {
                $folder()
            }
            fn open(root: &Path, limits: Limits) -> Result<$backend, StorageError> {
                <$backend>::open(root, limits)
            }
        }
    };
}

place!(MmapOnTmpfs, MmapBackend, true, tmpfs);
place!(MmapOnOverlay, MmapBackend, true, overlay);
place!(MmapOnSmallBlocks, MmapBackend, true, small_blocks);
place!(PosixOnTmpfs, PosixBackend, false, tmpfs);
place!(PosixOnOverlay, PosixBackend, false, overlay);

/// A backend at such a place.
struct At<P: Place> {
    backend: Arc<P::Backend>,
    limits: Limits,
    /// Dropped last: it takes the filesystem away.
    folder: Folder,
    place: PhantomData<P>,
}

impl<P: Place> At<P> {
    fn open(folder: Folder, limits: Limits) -> Self {
        let backend = Arc::new(P::open(&folder.path().join("root"), limits.clone()).unwrap());
        Self { backend, limits, folder, place: PhantomData }
    }
}

impl<P: Place> Subject for At<P> {
    type Backend = P::Backend;

    const SEALED_IS_ZERO_COPY: bool = P::SEALED_IS_ZERO_COPY;
    const HOLES_ARE_FREE: bool = true;

    fn make(limits: Limits) -> Self {
        let folder = P::folder().unwrap_or_else(|reason| {
            let line = format!("\nSKIPPED {}: {reason}\n", std::any::type_name::<P>());
            io::stderr().write_all(line.as_bytes()).unwrap();
            plain(tempfile::tempdir()).unwrap()
        });
        Self::open(folder, limits)
    }

    fn backend(&self) -> &Arc<P::Backend> {
        &self.backend
    }

    fn reopen(self) -> Option<Self> {
        let Self { backend, limits, folder, .. } = self;
        drop(backend);
        Some(Self::open(folder, limits))
    }
}

mod mmap_on_tmpfs {
    use super::*;
    conformance!(At<MmapOnTmpfs>, "multi_thread");
}

mod mmap_on_overlay {
    use super::*;
    conformance!(At<MmapOnOverlay>, "multi_thread");
}

mod mmap_on_small_blocks {
    use super::*;
    conformance!(At<MmapOnSmallBlocks>, "multi_thread");
}

mod posix_on_tmpfs {
    use super::*;
    conformance!(At<PosixOnTmpfs>, "current_thread");
}

mod posix_on_overlay {
    use super::*;
    conformance!(Erased<At<PosixOnOverlay>>, "current_thread");
}
