//! The file that a command makes.

use std::{
    io::ErrorKind,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use clap::Args;
use storage::Existing;

use crate::error::{Error, Result};

/// Where the result goes.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// The file to make, with mode 0600. It appears under this name only when it is whole
    #[arg(value_name = "OUT")]
    pub(crate) path: PathBuf,
    /// Replace OUT where there is such a file already
    #[arg(long)]
    force: bool,
}

impl Output {
    /// What to do with a file that is there already.
    pub(crate) fn existing(&self) -> Existing {
        if self.force { Existing::Replace } else { Existing::Refuse }
    }

    /// Whether the result goes to standard output.
    pub(crate) fn is_stdout(&self) -> bool {
        self.path == Path::new("-")
    }

    /// Refuses a name that cannot be taken, before any work is done for it. A device or a symlink
    /// would be replaced by a file as well as any other name, which nobody means who writes
    /// `--force`.
    pub(crate) fn check(&self) -> Result<()> {
        let kind = match self.path.symlink_metadata() {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("look at", &self.path)(error)),
        };
        let path = self.path.clone();
        let found = match kind {
            _ if kind.is_file() => match self.existing() {
                Existing::Replace => return Ok(()),
                Existing::Refuse => return Err(Error::Exists { path }),
            },
            _ if kind.is_dir() => "a folder",
            _ if kind.is_symlink() => "a symlink (they are not followed)",
            _ if kind.is_fifo() => "a FIFO",
            _ if kind.is_block_device() || kind.is_char_device() => "a device",
            _ => "a special file",
        };
        Err(Error::OutputKind { path, found })
    }
}
