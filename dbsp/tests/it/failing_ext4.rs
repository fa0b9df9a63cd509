//! A disk that has room by its own account and cannot write: ext4 on a loop device on a tmpfs, which is
//! full. Its write-back ends in EIO, so a sync fails.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::PathBuf,
    process::Command,
};

use tempfile::TempDir;

/// ext4 on a loop device on a tmpfs; unmounted on drop.
pub(crate) struct FailingExt4(TempDir);

impl FailingExt4 {
    /// Mounts it; the error says what is missing here.
    pub(crate) fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting needs root".into());
        }
        let disk = Self(tempfile::tempdir().map_err(|error| error.to_string())?);
        fs::create_dir(disk.below()).and_then(|()| fs::create_dir(disk.above())).unwrap();
        let tmpfs = ["-t", "tmpfs", "-o", "size=24m", "failing_disk"];
        run(Command::new("mount").args(tmpfs).arg(disk.below()))?;
        let image = disk.below().join("image");
        File::create(&image).unwrap().set_len(128 << 20).unwrap();
        // Its tables are written now, so that only data is missing later.
        let options = ["-q", "-F", "-m", "0", "-b", "4096", "-N", "1000"];
        let eager = ["-O", "^has_journal", "-E", "lazy_itable_init=0,nodiscard"];
        run(Command::new("mkfs.ext4").args(options).args(eager).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.above()))?;
        Ok(disk)
    }

    fn below(&self) -> PathBuf {
        self.0.path().join("below")
    }

    /// Its folder.
    pub(crate) fn above(&self) -> PathBuf {
        self.0.path().join("above")
    }

    /// Takes all room below: what is written from now on cannot be made durable.
    pub(crate) fn fill(&self) {
        let mut ballast = File::create(self.below().join("ballast")).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    /// What the operating system says of a sync that fails here: the kind of its error.
    pub(crate) fn sync_error_kind(&self) -> ErrorKind {
        self.sync_error().kind()
    }

    /// What the operating system says of a sync that fails here.
    pub(crate) fn sync_error(&self) -> io::Error {
        let path = self.above().join("plain");
        let mut file = File::create(&path).unwrap();
        // More than there ever was room for below.
        file.write_all(&vec![1; 32 << 20]).unwrap();
        let error = file.sync_all().unwrap_err();
        fs::remove_file(path).unwrap();
        error
    }

    /// Gives the room back.
    #[allow(dead_code, reason = "not every suite goes on afterwards")]
    pub(crate) fn heal(&self) {
        fs::remove_file(self.below().join("ballast")).unwrap();
    }
}

impl Drop for FailingExt4 {
    fn drop(&mut self) {
        let _room = fs::remove_file(self.below().join("ballast"));
        for mounted in [self.above(), self.below()] {
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
