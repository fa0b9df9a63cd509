//! The folder that the demo happens in, and how it is told.

use std::{
    fmt,
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
    interrupt: Interrupt,
    spinner: ProgressBar,
}

impl Stage {
    /// Makes the folder.
    pub(crate) fn set(interrupt: Interrupt) -> Result<Self> {
        let parent = std::env::temp_dir();
        let folder = tempfile::Builder::new()
            .prefix("storage-demo-")
            .tempdir_in(&parent)
            .map_err(Error::io("make a folder in", &parent))?;
        Ok(Self { folder, interrupt, spinner: progress::spinner() })
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
