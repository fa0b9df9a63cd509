//! What a command writes its result to.

use std::{
    io::{self, ErrorKind, Write},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use clap::Args;
use storage::{Existing, NewFile};

use crate::{
    error::{Error, Result},
    streams,
};

/// Where the result goes.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// The file to make, with mode 0600: it gets its name when it is whole and durable. `-` is standard
    /// output, but for page files
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

    /// Gets it ready to be written to, before any work is done for it.
    pub(crate) fn open(&self, existing: Existing) -> Result<Target> {
        if self.is_stdout() {
            streams::check_reader()?;
            return Ok(Target::Stdout);
        }
        Target::file(&self.path, existing)
    }
}

/// Refuses a name that cannot be taken. A device or a symlink would be replaced by a file as well as
/// any other name, which nobody means who writes `--force`.
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

/// An output that can be written to.
pub(crate) enum Target {
    Stdout,
    File { file: NewFile, path: PathBuf },
}

/// Which side failed of work whose result is written.
pub(crate) enum Failure {
    Work(Error),
    Output(io::Error),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Work(error.into())
    }
}

impl Target {
    /// A new file. Whatever stands in the way of it (its folder is missing, read-only, not to be
    /// read) is found here.
    pub(crate) fn file(path: &Path, existing: Existing) -> Result<Self> {
        check(path, existing)?;
        Ok(Self::File { file: NewFile::create(path, existing)?, path: path.into() })
    }

    /// Has `work` write the result, and finishes: a file is durable then and has its name. Where
    /// anything fails, there is no file.
    pub(crate) fn fill<T>(
        self,
        work: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
    ) -> Result<T> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                let done = work(&mut stdout)
                    .and_then(|done| stdout.flush().map_err(Failure::Output).map(|()| done));
                done.map_err(|failure| failure.into_error(streams::output_failed))
            }
            Self::File { mut file, path } => {
                let done = work(&mut file)
                    .map_err(|failure| failure.into_error(Error::io("write", &path)))?;
                file.publish()?;
                Ok(done)
            }
        }
    }
}

impl Failure {
    fn into_error(self, output: impl FnOnce(io::Error) -> Error) -> Error {
        match self {
            Self::Work(error) => error,
            Self::Output(source) => output(source),
        }
    }
}
