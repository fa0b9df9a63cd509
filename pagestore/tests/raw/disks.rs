//! Disks that are full, and one that fails when it is synced.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::Command,
};

use pagestore::{Error, RawFile, RawPoisonCause};
use tempfile::TempDir;

use crate::{
    MIB,
    loop_disk::{BLOCK_BYTES, LoopDisk},
    open, read, skip, write,
};

#[track_caller]
fn check_full(result: Result<(), Error>) {
    let error = result.unwrap_err();
    let words = pagestore::WithCauses(&error).to_string();
    assert!(matches!(error, Error::Io { operation: "write to", .. }), "{error}");
    assert!(words.contains("No space left") && words.contains("(free some space)"), "{error}");
}

fn check(file: &RawFile, len: usize, byte: u8) {
    assert_eq!(file.len().unwrap(), len as u64);
    assert_eq!(read(file, 0, len).unwrap().iter().position(|&found| found != byte), None);
}

#[test]
fn a_write_to_a_full_disk_is_an_error_and_leaves_the_length() {
    let name = "a_write_to_a_full_disk_is_an_error_and_leaves_the_length";
    let disk = match LoopDisk::new(24, 32) {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(name, &reason),
    };
    let path = disk.path().join("file");
    let file = open(&path).unwrap();
    let len = usize::try_from(MIB).unwrap() + 10;
    write(&file, 0, &vec![1; len]).unwrap();
    file.sync().unwrap();
    let ballast = disk.fill_but(100);
    let large = vec![2; 120 * usize::try_from(BLOCK_BYTES).unwrap()];
    for offset in [len as u64, len as u64 + 5 * MIB] {
        check_full(write(&file, offset, &large));
        check(&file, len, 1);
        assert_eq!(path.metadata().unwrap().len(), len as u64);
    }
    // What a failed write left behind does not show in a gap.
    write(&file, 3 * MIB, b"x").unwrap();
    let gap = usize::try_from(2 * MIB).unwrap() - 10;
    assert_eq!(read(&file, len as u64, gap).unwrap(), vec![0; gap]);
    // A hole of a sparse file is an error too, where a store would have been a signal.
    file.set_len(8 * MIB).unwrap();
    check_full(write(&file, 5 * MIB, &large));
    assert_eq!(file.len().unwrap(), 8 * MIB);
    assert!(!file.is_poisoned(), "a full disk is no reason to distrust the file");
    file.set_len(len as u64).unwrap();
    check(&file, len, 1);
    file.sync().unwrap();
    fs::remove_file(ballast).unwrap();
    write(&file, len as u64, &vec![1; large.len()]).unwrap();
    file.seal().unwrap();
    check(&file, len + large.len(), 1);
}

/// ext4 on a loop device over a file on a tmpfs: when that is full, write-back fails with EIO
/// although ext4 itself has room. Unmounted on drop.
struct FailingDisk(TempDir);

impl FailingDisk {
    fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting needs root".into());
        }
        let disk = Self(tempfile::tempdir().map_err(|error| error.to_string())?);
        for folder in ["below", "above"] {
            fs::create_dir(disk.path(folder)).map_err(|error| error.to_string())?;
        }
        let below = disk.path("below");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "raw"]).arg(&below))?;
        let image = below.join("image");
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(64 << 20).map_err(|error| error.to_string())?;
        // Its tables are written now, so that only data is missing later.
        let options = ["-q", "-F", "-m", "0", "-b", "4096", "-N", "64", "-O", "^has_journal"];
        let eager = ["-E", "lazy_itable_init=0,nodiscard"];
        run(Command::new("mkfs.ext4").args(options).args(eager).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.path("above")))?;
        Ok(disk)
    }

    fn path(&self, folder: &str) -> PathBuf {
        self.0.path().join(folder)
    }

    /// From now on, what was not written yet cannot be.
    fn fail(&self) {
        let mut ballast = File::create(self.path("below").join("ballast")).unwrap();
        while std::io::Write::write_all(&mut ballast, &[0; 64 << 10]).is_ok() {}
    }

    /// From now on everything can be written.
    fn heal(&self) {
        fs::remove_file(self.path("below").join("ballast")).unwrap();
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        let _room = fs::remove_file(self.path("below").join("ballast"));
        for mounted in [self.path("above"), self.path("below")] {
            if run(Command::new("umount").arg(&mounted)).is_err() {
                let _lazily = run(Command::new("umount").arg("-l").arg(&mounted));
            }
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", errors.trim())) }
}

#[test]
fn a_failed_sync_poisons_for_good() {
    let name = "a_failed_sync_poisons_for_good";
    for make_durable in [RawFile::sync as fn(&RawFile) -> Result<(), Error>, RawFile::seal] {
        let disk = match FailingDisk::new() {
            Ok(disk) => disk,
            Err(reason) => return skip::skipped(name, &reason),
        };
        let path = disk.path("above").join("file");
        let file = open(&path).unwrap();
        file.sync().unwrap();
        write(&file, 0, &vec![1; 30 << 20]).unwrap();
        disk.fail();
        let error = make_durable(&file).unwrap_err();
        assert!(matches!(error, Error::SyncFailed { .. }), "{error}");
        // The kernel has told, and would now let a sync succeed that writes nothing.
        disk.heal();
        let poisoned = |error: Error| {
            let Error::RawPoisoned { cause: RawPoisonCause::Sync(reason), .. } = error else {
                panic!("{error}")
            };
            assert!(!reason.is_empty());
        };
        poisoned(file.sync().unwrap_err());
        poisoned(file.seal().unwrap_err());
        poisoned(read(&file, 0, 1).unwrap_err());
        poisoned(file.try_read_at(0, &mut [0]).unwrap().unwrap_err());
        poisoned(write(&file, 0, b"x").unwrap_err());
        poisoned(file.set_len(0).unwrap_err());
        poisoned(file.len().unwrap_err());
        poisoned(file.view(0, 1).unwrap_err());
        assert!(file.is_poisoned() && !file.is_sealed());
        assert_ne!(file.unsynced_bytes(), 0, "what was not synced is not forgotten");
        assert_ne!(path.metadata().unwrap().mode() & 0o200, 0, "not recorded as sealed");
    }
}
