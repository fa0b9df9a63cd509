//! An overlay, as the files of containers lie on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// Mounted as long as the value lives; unmounted on drop, also when a test panics.
pub(crate) struct Overlay {
    layers: TempDir,
}

impl Overlay {
    /// Mounts one whose files lie in a folder; the error says what is missing here.
    pub(crate) fn over(folder: &Path) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting needs root".into());
        }
        let layers = tempfile::tempdir_in(folder).map_err(|error| error.to_string())?;
        let overlay = Self { layers };
        let parts = ["lower", "upper", "work", "mounted"].map(|name| overlay.part(name));
        for part in &parts {
            fs::create_dir(part).map_err(|error| error.to_string())?;
        }
        let [lower, upper, work, mounted] = parts;
        let (lower, upper, work) = (lower.display(), upper.display(), work.display());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "overlay", "-o", &options, "overlay"]).arg(mounted);
        let output = mount.output().map_err(|error| format!("{mount:?}: {error}"))?;
        match output.status.success() {
            true => Ok(overlay),
            false => Err(format!("{mount:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        }
    }

    /// The folder in which it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.part("mounted")
    }

    /// The folder below, in which its files lie.
    #[allow(dead_code, reason = "not every suite looks below")]
    pub(crate) fn upper(&self) -> PathBuf {
        self.part("upper")
    }

    fn part(&self, name: &str) -> PathBuf {
        self.layers.path().join(name)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Lazily, as a child that another test starts may have copies of descriptors. Where it stays mounted, its
        // folder does too.
        let _unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
