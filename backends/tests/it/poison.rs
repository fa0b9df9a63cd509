//! A sync that fails poisons its file for good, and nothing but a new file helps.
//!
//! Method: an ext4 filesystem in an image that the tmpfs below it has no room for. Writes go to the
//! page cache and succeed; the sync that sends them to the image fails, once, as a broken disk would
//! have it. Needs root; says so where it cannot run.

use std::{fs::File, path::Path, path::PathBuf, process::Command};

use backends::{Limits, PosixBackend, StorageBackend, StorageError};
use tempfile::TempDir;

use crate::skip;

/// A disk that has less room than its filesystem believes.
struct HollowDisk {
    folder: TempDir,
    mounted: Vec<PathBuf>,
}

impl HollowDisk {
    fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting needs root".into());
        }
        let folder = tempfile::tempdir().unwrap();
        let (below, top) = (folder.path().join("below"), folder.path().join("top"));
        std::fs::create_dir(&below).unwrap();
        std::fs::create_dir(&top).unwrap();
        let mut disk = Self { folder, mounted: Vec::new() };
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&below))?;
        disk.mounted.push(below.clone());
        let image = below.join("image");
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let options = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-N", "64"];
        run(Command::new("mkfs.ext4").args(options).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop,errors=continue"]).arg(&image).arg(&top))?;
        disk.mounted.push(top);
        Ok(disk)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("top")
    }
}

impl Drop for HollowDisk {
    fn drop(&mut self) {
        for mounted in self.mounted.iter().rev() {
            // Lazily, since a test that panicked may have files open.
            let _may_fail = run(Command::new("umount").arg("-l").arg(mounted));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// Checks that every operation on a file but deleting it is refused.
async fn check_poisoned(backend: &PosixBackend, path: &str) {
    let errors = [
        backend.read(path, 0, 1).await.map(drop),
        backend.read(path, 0, 1 << 20).await.map(drop),
        backend.write(path, 0, b"x").await,
        backend.len(path).await.map(drop),
        backend.truncate(path, 0).await,
        // The kernel would say that this one succeeded.
        backend.sync(path).await,
        backend.seal(path).await,
        backend.rename(path, "elsewhere").await,
    ];
    for result in errors {
        let error = result.unwrap_err();
        assert!(matches!(error, StorageError::Poisoned { .. }), "{error}");
        assert!(!error.is_transient(), "{error}");
    }
}

async fn poison(backend: &PosixBackend, path: &str, disk: &Path) {
    backend.write(path, 0, &vec![7; 16 << 20]).await.unwrap();
    let error = backend.sync(path).await.unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
    assert!(!error.is_transient(), "{error}");
    assert!(disk.join(path).exists());
}

#[tokio::test]
async fn a_sync_that_fails_poisons_the_file_for_good() {
    let disk = match HollowDisk::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped("a failing sync", &reason),
    };
    let backend = PosixBackend::open(disk.path(), Limits::default()).unwrap();
    // Before the disk is full, since its folders are on it as well.
    for path in ["bad", "good", "worse"] {
        backend.write(path, 0, b"good").await.unwrap();
        backend.sync(path).await.unwrap();
    }
    poison(&backend, "bad", &disk.path()).await;
    check_poisoned(&backend, "bad").await;
    check_poisoned(&backend, "bad").await;
    assert_eq!(backend.read("good", 0, 4).await.unwrap(), &b"good"[..]);

    backend.delete("bad").await.unwrap();
    assert!(!backend.exists("bad").await.unwrap());
    backend.write("bad", 0, b"new").await.unwrap();
    assert_eq!(backend.read("bad", 0, 3).await.unwrap(), &b"new"[..]);
    assert_eq!(backend.stats().open_files, 3);
}
