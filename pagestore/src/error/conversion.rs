//! Into the standard library's errors.

use std::io;

use super::Error;

/// Keeps the kind of the operating system's error, where there is one, and the whole error as the
/// source.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io { source, .. }
            | Error::DiskFull { source, .. }
            | Error::AddressSpace { source, .. }
            | Error::FlushFailed { source, .. }
            | Error::SealFailed { source, .. }
            | Error::NotNamed { source, .. }
            | Error::SyncFailed { source, .. } => source.kind(),
            Error::PastEnd { .. } => io::ErrorKind::UnexpectedEof,
            Error::Format { .. } | Error::Checksum { .. } => io::ErrorKind::InvalidData,
            Error::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
            Error::Locked { .. } | Error::Latched { .. } => io::ErrorKind::WouldBlock,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
