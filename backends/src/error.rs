//! What can go wrong, on whatever medium, and what to do about it.

use std::{error::Error as StdError, fmt, io, time::Duration};

use layout::StoredContent;
use thiserror::Error;

/// The result of this crate's functions.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// What was being done when an error came up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// Opening the backend or a file.
    Open,
    /// Reading bytes.
    Read,
    /// Writing bytes.
    Write,
    /// Removing a file.
    Delete,
    /// Asking whether a file exists, or how long it is.
    Examine,
    /// Listing files.
    List,
    /// Making a file durable.
    Sync,
    /// Giving a file another path.
    Rename,
    /// Setting a file's length.
    Truncate,
    /// Making a file unchangeable.
    Seal,
    /// Beginning to read bytes, without waiting for them.
    Prefetch,
}

impl fmt::Display for Operation {
    /// The verb that goes between "cannot" and the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write to",
            Self::Delete => "delete",
            Self::Examine => "examine",
            Self::List => "list",
            Self::Sync => "make durable",
            Self::Rename => "rename",
            Self::Truncate => "set the length of",
            Self::Seal => "seal",
            Self::Prefetch => "begin to read",
        })
    }
}

/// Any failure of a backend, or of what stands above it. The message says what was found and what
/// to do; its cause is its [`source`](StdError::source), which
/// [`WithCauses`](pagestore::WithCauses) shows in the same line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The operating system refused an operation.
    #[error("cannot {operation} {path:?}{}", advice(source))]
    Io {
        /// What was tried.
        operation: Operation,
        /// The path it was tried on.
        path: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// There is no such file.
    #[error("cannot {operation} {path:?}: there is no such file; write to it to make one")]
    NotFound {
        /// What was tried.
        operation: Operation,
        /// The path it was tried on.
        path: String,
    },
    /// A read that the file is too short for. Nothing was read.
    #[error(
        "cannot read {length} bytes at {offset} of {path:?}: the file has {file_len} bytes; ask \
         `len` first"
    )]
    PastEnd {
        /// The file.
        path: String,
        /// The first byte asked for.
        offset: u64,
        /// How many bytes were asked for.
        length: usize,
        /// How many bytes the file has.
        file_len: u64,
    },
    /// The path is none that a backend takes.
    #[error("{path:?} is not a path of a file here: {reason}")]
    Path {
        /// The path as it was passed.
        path: String,
        /// What is wrong with it and what to pass instead.
        reason: &'static str,
    },
    /// The file is sealed and never changes.
    #[error(
        "cannot {operation} {path:?}: it is sealed; write a new file and rename it over this one"
    )]
    Sealed {
        /// What was tried.
        operation: Operation,
        /// The file.
        path: String,
    },
    /// Somebody else has the file open in a way that does not go with this.
    #[error("cannot {operation} {path:?}: it is locked, {holder}; close it there first")]
    Locked {
        /// What was tried.
        operation: Operation,
        /// The file.
        path: String,
        /// Who has it.
        holder: String,
    },
    /// A budget of bytes is used up. Nothing was changed.
    #[error(
        "cannot {operation} {path:?}: {needed_bytes} more bytes do not fit the budget of \
         {budget_bytes} bytes, of which {used_bytes} are used; delete something, or raise the budget"
    )]
    BudgetExceeded {
        /// What was tried.
        operation: Operation,
        /// The path it was tried on.
        path: String,
        /// The bytes that the operation needs on top.
        needed_bytes: u64,
        /// The bytes in use.
        used_bytes: u64,
        /// The budget.
        budget_bytes: u64,
    },
    /// An earlier sync failed, or a page could not be reached: what the file holds is not to be
    /// trusted any more. This state stays.
    #[error("cannot {operation} {path:?}: it is poisoned")]
    Poisoned {
        /// What was tried.
        operation: Operation,
        /// The file.
        path: String,
        /// What happened.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The bytes that were read are not what was written.
    #[error("cannot {operation} {path:?}: at byte {offset}, {reason}; restore it from a good copy")]
    Corrupt {
        /// What was tried.
        operation: Operation,
        /// The file.
        path: String,
        /// Where in the file.
        offset: u64,
        /// What was expected and what was found.
        reason: String,
    },
    /// This backend cannot do that at all.
    #[error("cannot {operation} {path:?}: {reason}")]
    Unsupported {
        /// What was tried.
        operation: Operation,
        /// The path it was tried on.
        path: String,
        /// Why not, and what to do instead.
        reason: String,
    },
    /// An error of a backend that has an error type of its own.
    #[error("cannot {operation} {path:?}")]
    Backend {
        /// What was tried.
        operation: Operation,
        /// The path it was tried on.
        path: String,
        /// The backend's error.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The folder holds files that are stored in another way than it was opened for, and that would
    /// read as something that nobody wrote. Nothing was changed.
    #[error(
        "cannot open {path:?}: by {evidence}, its files are {stored}, and it was opened as if they \
         were {asked}; open it with the setting that it was made with, or copy its files, read with \
         that setting, into another root"
    )]
    StoredOtherwise {
        /// The root.
        path: String,
        /// How the files are stored.
        stored: StoredContent,
        /// What it was opened for.
        asked: StoredContent,
        /// What says so.
        evidence: String,
    },
    /// A value of the configuration is not possible.
    #[error("`{field}` cannot be {value}: {allowed}")]
    Config {
        /// The field's name, with dots between the levels.
        field: &'static str,
        /// The value found.
        value: String,
        /// What would be possible.
        allowed: String,
    },
    /// The circuit breaker is open: too many operations failed, so this one was not tried.
    #[error(
        "cannot {operation} {path:?}: not tried, since too many operations failed before; the next \
         one is let through in {retry_after:?}"
    )]
    CircuitOpen {
        /// What was to be tried.
        operation: Operation,
        /// The path it was to be tried on.
        path: String,
        /// When the next probe is due, from now.
        retry_after: Duration,
    },
    /// All buffers were in use, and none was given back in time.
    #[error(
        "cannot {operation} {path:?}: all {budget_bytes} bytes of buffers stayed in use for \
         {waited:?}; drop blocks earlier, or raise the limit"
    )]
    BuffersInUse {
        /// What was tried.
        operation: Operation,
        /// The file.
        path: String,
        /// The limit of all buffers together.
        budget_bytes: u64,
        /// How long this waited.
        waited: Duration,
    },
}

impl StorageError {
    /// Makes the function that turns an operating-system error into [`Io`](Self::Io) (or
    /// [`NotFound`](Self::NotFound)), for `map_err`.
    pub fn io<E: Into<io::Error>>(
        operation: Operation,
        path: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        move |source| {
            let (path, source) = (path.into(), source.into());
            match source.kind() {
                io::ErrorKind::NotFound => Self::NotFound { operation, path },
                _ => Self::Io { operation, path, source },
            }
        }
    }

    /// Makes the function that wraps another backend's error, for `map_err`.
    pub fn backend<E: StdError + Send + Sync + 'static>(
        operation: Operation,
        path: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Backend { operation, path: path.into(), source: Box::new(source) }
    }

    /// Makes the function that turns an error of the page store into the variant that says the
    /// same, for `map_err`.
    pub(crate) fn pages(
        operation: Operation,
        path: impl Into<String>,
    ) -> impl FnOnce(pagestore::Error) -> Self {
        use pagestore::Error;
        move |error| {
            let path = path.into();
            match error {
                Error::Io { source, .. } | Error::DiskFull { source, .. } => {
                    Self::io(operation, path)(source)
                }
                Error::Locked { holder, .. } => {
                    Self::Locked { operation, path, holder: holder.to_owned() }
                }
                error @ (Error::Poisoned { .. }
                | Error::FlushFailed { .. }
                | Error::SealFailed { .. }
                | Error::Fault { .. }
                | Error::RawPoisoned { .. }
                | Error::SyncFailed { .. }) => {
                    Self::Poisoned { operation, path, source: Box::new(error) }
                }
                Error::Sealed { .. } => Self::Sealed { operation, path },
                Error::PastEnd { offset, len, file_len, .. } => {
                    // What was asked for came as a `usize`.
                    let length = usize::try_from(len).unwrap_or(usize::MAX);
                    Self::PastEnd { path, offset, length, file_len }
                }
                Error::BudgetExceeded { needed_bytes, used_bytes, budget_bytes } => {
                    Self::BudgetExceeded { operation, path, needed_bytes, used_bytes, budget_bytes }
                }
                error => Self::Backend { operation, path, source: Box::new(error) },
            }
        }
    }

    /// Whether the same operation may well succeed if it is tried again a little later: the
    /// operating system was interrupted, out of some resource for the moment, or timed out.
    ///
    /// A failed sync is never transient: the kernel reports it once, and the next sync would
    /// succeed without having written. Neither is a full disk, which waits for a person.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let operation = match self {
            Self::Io { operation, .. } | Self::Backend { operation, .. } => *operation,
            _ => return false,
        };
        !matches!(operation, Operation::Sync | Operation::Seal)
            && self.io_source().is_some_and(is_transient)
    }

    /// The kind of the operating system's error, or the one that comes nearest.
    #[must_use]
    pub fn io_kind(&self) -> io::ErrorKind {
        if let Some(source) = self.io_source() {
            return source.kind();
        }
        match self {
            Self::NotFound { .. } => io::ErrorKind::NotFound,
            Self::PastEnd { .. } => io::ErrorKind::UnexpectedEof,
            Self::Path { .. } | Self::Config { .. } | Self::StoredOtherwise { .. } => {
                io::ErrorKind::InvalidInput
            }
            Self::Sealed { .. } => io::ErrorKind::PermissionDenied,
            Self::Locked { .. } => io::ErrorKind::ResourceBusy,
            Self::BudgetExceeded { .. } => io::ErrorKind::QuotaExceeded,
            Self::Corrupt { .. } => io::ErrorKind::InvalidData,
            Self::Unsupported { .. } => io::ErrorKind::Unsupported,
            Self::BuffersInUse { .. } => io::ErrorKind::OutOfMemory,
            _ => io::ErrorKind::Other,
        }
    }

    /// The path that the operation was tried on; none for an error of the configuration.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Config { .. } => None,
            Self::Io { path, .. }
            | Self::NotFound { path, .. }
            | Self::PastEnd { path, .. }
            | Self::Path { path, .. }
            | Self::Sealed { path, .. }
            | Self::Locked { path, .. }
            | Self::BudgetExceeded { path, .. }
            | Self::Poisoned { path, .. }
            | Self::Corrupt { path, .. }
            | Self::Unsupported { path, .. }
            | Self::Backend { path, .. }
            | Self::StoredOtherwise { path, .. }
            | Self::CircuitOpen { path, .. }
            | Self::BuffersInUse { path, .. } => Some(path),
        }
    }

    /// The operating system's error at the bottom, if there is one.
    fn io_source(&self) -> Option<&io::Error> {
        let mut source = self.source();
        while let Some(error) = source {
            if let Some(io) = error.downcast_ref::<io::Error>() {
                return Some(io);
            }
            source = error.source();
        }
        None
    }
}

/// Keeps the kind, and the whole error as the source.
impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        Self::new(error.io_kind(), error)
    }
}

fn is_transient(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let by_kind = matches!(
        error.kind(),
        io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
            | io::ErrorKind::ResourceBusy
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    );
    by_kind
        || [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS]
            .into_iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Whether this process has a limit on the length of its files.
fn are_files_limited() -> bool {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current.is_some()
}

/// What the user can do about the usual operating-system errors.
fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            " (check the owner and the mode of the file and of its folder)"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (free some space and try again)"
        }
        io::ErrorKind::FileTooLarge if are_files_limited() => {
            " (raise the limit on this process's files: ulimit -f)"
        }
        io::ErrorKind::FileTooLarge => {
            " (its filesystem takes no longer files: choose another, like xfs, or write several)"
        }
        io::ErrorKind::ReadOnlyFilesystem => " (choose a root on a writable filesystem)",
        io::ErrorKind::IsADirectory => " (it is a folder of other files: choose another name)",
        io::ErrorKind::NotADirectory => " (a part of the path is a file: choose another name)",
        _ => "",
    }
}
