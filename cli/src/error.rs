//! What can go wrong, in the words of somebody who typed a command.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use storage::WithCauses;
use thiserror::Error;

use crate::exit::Outcome;

/// The result of what a command does.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Any failure of a command. The message says what was found and what to do.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(storage::Error),
    /// The storage layer refused.
    #[error(transparent)]
    Layer(#[from] storage::StorageError),
    /// The store refused to replace a file.
    #[error("{} exists already: choose another name, or pass --force to replace it", path.display())]
    Exists { path: PathBuf },
    /// A command for sealed files met a mutable one.
    #[error(
        "{} is a mutable page file, which has no checksums to verify its pages by: only a sealed \
         one, as `storage pack` makes them, can be verified and unpacked; `storage inspect` shows \
         what it is", path.display()
    )]
    NotSealed { path: PathBuf },
    /// The file could be changed by somebody else while it is borrowed from.
    #[error(
        "{} cannot be opened safely: {reason}; {advice}, or work on a copy of it", path.display()
    )]
    OthersCanWrite { path: PathBuf, reason: String, advice: String },
    /// The operating system refused the addresses that pages live at.
    #[error(
        "cannot reserve {bytes} bytes of address space (not of memory); raise the limit on it \
         (`ulimit -v unlimited`)"
    )]
    AddressSpace { bytes: u64, source: io::Error },
    /// The output names something that is no file to be replaced.
    #[error("cannot write to {}: it is {found}; name a regular file, or one that is not there yet", path.display())]
    OutputKind { path: PathBuf, found: &'static str },
    /// A page file is to go to standard output.
    #[error(
        "{what} is written in place, so it cannot go to standard output: name a file (`./-` \
         for one that is called `-`)"
    )]
    InPlace { what: &'static str },
    /// A command for sealed files met a versioned one.
    #[error(
        "{} is a versioned file, which changes by transactions: only a sealed one, as `storage pack` makes \
         them, can be unpacked; `storage backup` copies a versioned one, and `storage verify` checks it",
        path.display()
    )]
    Versioned { path: PathBuf },
    /// A command for versioned files met another one.
    #[error(
        "{} is not a versioned file, so it has no commits to back up: copy it with `cp`; `storage inspect` shows what it is",
        path.display()
    )]
    NotVersioned { path: PathBuf },
    /// A file that is to be read was not closed.
    #[error(
        "{} was not closed, and has commits in its log that its pages have not: pass --recover to put them there, \
         or open it with the program that writes it", path.display()
    )]
    RecoveryNeeded { path: PathBuf },
    /// The pages of a versioned file could not be judged.
    #[error("the pages of {} cannot be checked: {damage}; `storage verify` tells more", path.display())]
    NoPages { path: PathBuf, damage: storage::FormatError },
    /// A backup could not be made or restored.
    #[error(transparent)]
    Backup(storage::backup::BackupError),
    /// A file of columns could not be read.
    #[error(transparent)]
    Columns(storage::ColumnsError),
    /// The input is a folder.
    #[error(
        "{name} is a folder: name a file (to pack a folder, `tar c FOLDER | storage pack - OUT`)"
    )]
    InputFolder { name: String },
    /// A standard stream was closed when the command was started.
    #[error("{stream} is closed: {instead}")]
    Closed { stream: &'static str, instead: &'static str },
    /// A standard stream was opened for the other direction.
    #[error("{stream} was not opened for {way}: check how this command is called")]
    WrongWay { stream: &'static str, way: &'static str },
    /// What does not fit into memory was to go to memory.
    #[error(
        "{} is in memory (tmpfs), and what does not fit into --memory goes to a disk: name a folder on one \
         by --tmp", path.display()
    )]
    TmpIsMemory { path: PathBuf },
    /// The operating system gave no memory.
    #[error(
        "cannot have {bytes} bytes of memory: pass less --memory, or raise the limit \
         (`ulimit -v`, the container's)"
    )]
    Memory { bytes: usize },
    /// The operating system gave no thread.
    #[error("cannot start a thread; raise the limit on processes (`ulimit -u`, the container's)")]
    Thread { source: io::Error },
    /// All was done, but nobody could be told so.
    #[error("{} is whole and durable, but that could not be told", path.display())]
    Untold { path: PathBuf, source: Box<Error> },
    /// The operating system refused something that is not about a file by its path.
    #[error("cannot {operation} {subject}")]
    Stream { operation: &'static str, subject: &'static str, source: io::Error },
    /// Whoever read standard output does so no more.
    #[error("nobody reads standard output any more")]
    ReaderGone,
    /// Ctrl-C, or a request to end.
    #[error("interrupted; nothing was left behind")]
    Interrupted,
    /// A spill could not be written or read.
    #[error(transparent)]
    Spill(storage::spill::SpillError),
    /// A line that the memory to sort in has no room for.
    #[error(
        "the line that begins at byte {start} of the input is longer than the {line_bytes_max} \
         bytes that --memory has room for: pass more, at least twice what the longest line needs"
    )]
    LineTooLong { start: u64, line_bytes_max: usize },
    /// The memory to sort in has no room for what has to be in it at once.
    #[error(
        "{needed_bytes} more bytes do not fit the {budget_bytes} bytes of --memory, of which \
         {used_bytes} are used: pass more, at least what the longest lines need together"
    )]
    MemoryExceeded { needed_bytes: u64, used_bytes: u64, budget_bytes: u64 },
    /// Two ways to do the same work in the demo differ in what they computed.
    #[error(
        "`{first}` and `{second}` computed different answers from the same bytes: this is a bug"
    )]
    AnswersDiffer { first: &'static str, second: &'static str },
    /// The demo saw the store do what it must not do.
    #[error("the demo expected {expected}: this is a bug")]
    Unexpected { expected: &'static str },
}

impl Error {
    /// Makes the function that adds to an operating-system error what was tried on which file. The
    /// store's own error for that knows what to advise.
    pub(crate) fn io<E: Into<io::Error>>(
        operation: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        move |source| {
            Self::Store(storage::Error::Io { operation, path: path.into(), source: source.into() })
        }
    }

    /// The same for what has no path.
    pub(crate) fn io_of<E: Into<io::Error>>(
        operation: &'static str,
        subject: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Stream { operation, subject, source: source.into() }
    }

    /// Makes the function that adds to a failed report that the work itself was done.
    pub(crate) fn untold(path: &Path) -> impl FnOnce(Self) -> Self {
        move |source| Self::Untold { path: path.into(), source: Box::new(source) }
    }

    /// Tells the user, and says how the command ended.
    pub(crate) fn print(&self) -> Outcome {
        if !matches!(self, Self::ReaderGone) {
            // There is nobody left to tell that standard error cannot be written to.
            let _written = writeln!(io::stderr().lock(), "error: {}", WithCauses(self));
        }
        match self {
            Self::Interrupted => Outcome::Interrupted,
            _ => Outcome::Failed,
        }
    }
}

/// Translates those messages of the store that advise on Rust code into advice for a user.
impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::AlreadyExists { path } => Self::Exists { path },
            storage::Error::NotSealed { path } => Self::NotSealed { path },
            storage::Error::Versioned { path } => Self::Versioned { path },
            storage::Error::NotVersioned { path } => Self::NotVersioned { path },
            storage::Error::RecoveryNeeded { path } => Self::RecoveryNeeded { path },
            storage::Error::OthersCanWrite { path, reason, advice } => {
                Self::OthersCanWrite { path, reason, advice }
            }
            storage::Error::AddressSpace { bytes, source, .. } => {
                Self::AddressSpace { bytes, source }
            }
            storage::Error::BudgetExceeded { needed_bytes, used_bytes, budget_bytes, .. } => {
                Self::MemoryExceeded { needed_bytes, used_bytes, budget_bytes }
            }
            other => Self::Store(other),
        }
    }
}

/// What a writer says where it could not finish a file; it goes, and with it what is not durable.
impl<W> From<storage::Unsealed<W>> for Error {
    fn from(unsealed: storage::Unsealed<W>) -> Self {
        unsealed.into_error().into()
    }
}

impl From<storage::ColumnsError> for Error {
    fn from(error: storage::ColumnsError) -> Self {
        match error {
            storage::ColumnsError::Store(error) => error.into(),
            other => Self::Columns(other),
        }
    }
}

impl From<storage::backup::BackupError> for Error {
    fn from(error: storage::backup::BackupError) -> Self {
        use storage::backup::BackupError;
        match error {
            BackupError::Store(error) => error.into(),
            BackupError::Columns(error) => error.into(),
            BackupError::Stopped => Self::Interrupted,
            other => Self::Backup(other),
        }
    }
}

impl<W> From<storage::Unsealed<W, storage::spill::SpillError>> for Error {
    fn from(unsealed: storage::Unsealed<W, storage::spill::SpillError>) -> Self {
        unsealed.into_error().into()
    }
}

impl From<storage::spill::SpillError> for Error {
    fn from(error: storage::spill::SpillError) -> Self {
        match error {
            storage::spill::SpillError::Store(error) => error.into(),
            other => Self::Spill(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_told_once() {
        let broken = || io::Error::other("broken");
        let of_a_file = || Error::io("read", Path::new("a"))(broken());
        let page_size = storage::PageSize::new(3).unwrap_err();
        let format = storage::Error::Format { path: "a".into(), source: page_size.into() };
        for (error, told) in [
            (of_a_file(), "cannot read a: broken"),
            (
                Error::io_of("read", "standard input")(broken()),
                "cannot read standard input: broken",
            ),
            (Error::untold(Path::new("b"))(of_a_file()), "not be told: cannot read a: broken"),
            (Error::Thread { source: broken() }, "container's): broken"),
            (Error::AddressSpace { bytes: 7, source: broken() }, "unlimited`): broken"),
            (format.into(), "cannot read a: the superblock is wrong: page size 3 is not possible"),
        ] {
            let text = WithCauses(&error).to_string();
            assert!(text.contains(told), "{text}");
            assert_eq!(text.matches(told.rsplit(": ").next().unwrap()).count(), 1, "{text}");
        }
    }
}
