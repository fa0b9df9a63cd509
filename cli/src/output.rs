//! The file that a command makes.

use std::{
    fs::File,
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

    /// Refuses a name that cannot be taken; see [`check`].
    pub(crate) fn check(&self) -> Result<()> {
        check(&self.path, self.existing())
    }
}

/// Refuses a name that cannot be taken, before any work is done for it. A device or a symlink would
/// be replaced by a file as well as any other name, which nobody means who writes `--force`.
pub(crate) fn check(path: &Path, existing: Existing) -> Result<()> {
    let kind = match path.symlink_metadata() {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("look at", path)(error)),
    };
    let found = match kind {
        _ if kind.is_file() => match existing {
            Existing::Replace => return Ok(()),
            Existing::Refuse => return Err(Error::Exists { path: path.into() }),
        },
        _ if kind.is_dir() => "a folder",
        _ if kind.is_symlink() => "a symlink (they are not followed)",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_block_device() || kind.is_char_device() => "a device",
        _ => "a special file",
    };
    Err(Error::OutputKind { path: path.into(), found })
}

/// Makes a file, mode 0600: `write` fills a temporary one beside it, which gets the name when it is
/// whole and durable, and is removed where anything fails before that.
pub(crate) fn make_file(
    path: &Path,
    existing: Existing,
    write: impl FnOnce(&mut File) -> Result<()>,
) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut temporary = tempfile::Builder::new()
        .prefix(".storage-")
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(Error::io("make a file in", folder))?;
    write(temporary.as_file_mut())?;
    temporary.as_file().sync_all().map_err(Error::io("make durable", path))?;
    let persisted = match existing {
        Existing::Refuse => temporary.persist_noclobber(path),
        Existing::Replace => temporary.persist(path),
    };
    match persisted {
        Ok(_) => {}
        Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => {
            return Err(Error::Exists { path: path.into() });
        }
        Err(refused) => return Err(Error::io("rename the finished file to", path)(refused.error)),
    }
    let folder_file = File::open(folder).map_err(Error::io("open", folder))?;
    folder_file.sync_all().map_err(Error::io("make durable the folder", folder))
}
