//! The folder that the demo happens in, and how it is told.

use std::{
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use console::style;
use indicatif::ProgressBar;
use tempfile::TempDir;

use crate::{
    error::{Error, Result},
    interrupt::Interrupt,
    progress,
    streams::print,
};

/// The demo's temporary folder and its voice. The folder and what is in it are removed on drop,
/// whatever happened.
pub(crate) struct Stage {
    folder: TempDir,
    /// Locked as long as the demo runs; see [`clear_away`].
    _lock: File,
    interrupt: Interrupt,
    spinner: ProgressBar,
}

impl Stage {
    /// Makes the folder.
    pub(crate) fn set(interrupt: Interrupt) -> Result<Self> {
        let parent = std::env::temp_dir();
        clear_away(&parent);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .map_err(Error::io("make a folder in", &parent))?;
        // It gets its name when it is locked, so nobody ever finds it otherwise while this runs.
        let path = folder.path().join("lock.new");
        let lock = File::create_new(&path).map_err(Error::io("make", &path))?;
        lock.lock().map_err(Error::io("lock", &path))?;
        fs::rename(&path, folder.path().join(LOCK)).map_err(Error::io("rename", &path))?;
        Ok(Self { folder, _lock: lock, interrupt, spinner: progress::spinner() })
    }

    /// Removes the folder, and says so where that fails.
    pub(crate) fn strike(self) -> Result<()> {
        let path = self.folder.path().to_path_buf();
        self.folder.close().map_err(Error::io("remove", &path))
    }

    /// Where the demo's files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of one of them.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Fails where the user wants the demo to end.
    pub(crate) fn check(&self) -> Result<()> {
        self.spinner.tick();
        self.interrupt.check()
    }

    /// Says what is being done, on a terminal only and until the next words come.
    pub(crate) fn prepare(&self, what: &'static str) {
        self.spinner.set_message(what);
        self.spinner.tick();
    }

    /// Prints words.
    pub(crate) fn say(&self, words: fmt::Arguments<'_>) -> Result<()> {
        self.spinner.suspend(|| print(words))
    }

    /// Prints what the next lines are about.
    pub(crate) fn heading(&self, title: &'static str) -> Result<()> {
        self.prepare("measuring");
        self.say(format_args!("\n{}\n", style(title).bold()))
    }

    /// Prints what was measured of the store itself, or alone.
    pub(crate) fn ours(&self, what: &str, figure: &dyn fmt::Display) -> Result<()> {
        // A figure does not pad itself.
        let figure = figure.to_string();
        let line = format!("  {what:<WHAT_WIDTH$}{figure:>FIGURE_WIDTH$}");
        self.say(format_args!("{}\n", style(line).green()))
    }

    /// Prints what was measured of another way to do the same.
    pub(crate) fn theirs(&self, what: &str, figure: &dyn fmt::Display, than: Than) -> Result<()> {
        let figure = figure.to_string();
        self.say(format_args!("  {what:<WHAT_WIDTH$}{figure:>FIGURE_WIDTH$}   {than}\n"))
    }

    /// Prints a remark on the lines above, broken into lines, without the folder's name.
    pub(crate) fn remark(&self, words: &str) -> Result<()> {
        let folder = format!("{}/", self.folder().display());
        let mut lines = String::new();
        let mut width = REMARK_WIDTH;
        for word in words.replace(&folder, "").split(' ') {
            width += word.len() + 1;
            if width > REMARK_WIDTH {
                lines += "\n    ";
                width = word.len();
            } else {
                lines += " ";
            }
            lines += word;
        }
        self.say(format_args!("{}\n", style(lines.trim_start_matches('\n')).dim()))
    }
}

/// How the folder's name begins, and the file in it that tells whether the demo still runs.
const PREFIX: &str = "storage-demo-";
const LOCK: &str = "lock";

/// Removes the folders of demos that were killed, which could not do so themselves: those of this
/// user whose lock nobody holds. What cannot be looked at or removed stays: it is in nobody's way.
fn clear_away(parent: &Path) {
    let Ok(entries) = parent.read_dir() else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        if is_ours && is_left(&entry).is_ok_and(|left| left) {
            let _stays_where_it_fails = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_left(entry: &fs::DirEntry) -> io::Result<bool> {
    // Of the entry itself, not of what a symlink leads to.
    let metadata = entry.metadata()?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Ok(false);
    }
    Ok(File::open(entry.path().join(LOCK))?.try_lock().is_ok())
}

const WHAT_WIDTH: usize = 58;
const FIGURE_WIDTH: usize = 11;
const REMARK_WIDTH: usize = 84;

/// One time compared with another.
#[derive(Clone, Copy)]
pub(crate) struct Than {
    /// The time of the first line of the block.
    pub(crate) ours: Duration,
    /// The time of this line.
    pub(crate) theirs: Duration,
}

impl fmt::Display for Than {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.theirs.as_secs_f64() / self.ours.as_secs_f64() {
            ratio if ratio >= 9.95 => write!(f, "{ratio:.0}x slower"),
            ratio if ratio >= 1.995 => write!(f, "{ratio:.1}x slower"),
            ratio if ratio >= 1.025 => write!(f, "{ratio:.2}x slower"),
            ratio if ratio > 1.0 / 1.025 => f.write_str("the same"),
            ratio => write!(f, "{:.2}x faster", 1.0 / ratio),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_told_from_the_other_side() {
        let than = |ours, theirs| {
            let (ours, theirs) = (Duration::from_micros(ours), Duration::from_micros(theirs));
            Than { ours, theirs }.to_string()
        };
        assert_eq!(than(100, 4_200), "42x slower");
        assert_eq!(than(100, 450), "4.5x slower");
        assert_eq!(than(100, 107), "1.07x slower");
        assert_eq!(than(100, 101), "the same");
        assert_eq!(than(107, 100), "1.07x faster");
    }
}
