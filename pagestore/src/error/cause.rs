//! Why a file is unusable for good, or pages could not be reached.

use std::fmt;

/// Why pages could not be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FaultCause {
    /// Another program cut the file short.
    CutShort {
        /// The bytes that it has now.
        file_len: u64,
    },
    /// The disk could not read the pages.
    Disk,
    /// The disk has no room for the pages: they have no place on it yet (a hole), or a copy-on-write filesystem
    /// needs a new place to write them again. What is in memory is right.
    NoRoom,
}

impl FaultCause {
    /// What to do where nothing happened yet but that pages were not borrowed.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::NoRoom => "; nothing has changed, free some space and try again",
            Self::CutShort { .. } | Self::Disk => "",
        }
    }
}

impl fmt::Display for FaultCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutShort { file_len } => {
                write!(f, "the file was cut short from outside, to {file_len} bytes")
            }
            Self::Disk => f.write_str("the disk could not read them"),
            Self::NoRoom => f.write_str(
                "the disk has no room to write them to another place, which a copy-on-write \
                 filesystem, and a hole in the file, need",
            ),
        }
    }
}

/// Why a file is poisoned.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PoisonCause {
    /// A flush failed, with this message of the operating system. What is on the disk is unknown; what is in
    /// memory is right.
    Flush(String),
    /// A new file could not be written, with this message. What is on disk is unknown, and the file
    /// cannot be sealed.
    Write(String),
    /// The kernel could not write a part of a temporary file to the disk, with this message. It takes such pages for
    /// clean and may have dropped them, so what was read of them may be what the disk had before.
    WriteBack(String),
    /// A commit or a checkpoint of a versioned file failed, with this message. Whether the last commit is on
    /// the disk is unknown; what snapshots show is right.
    Commit(String),
    /// A page fault could not be served. What was stored to the page reaches no disk. Unless the cause is
    /// [`FaultCause::NoRoom`], what was read from it is wrong.
    Fault(FaultCause),
}

impl fmt::Display for PoisonCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flush(message) => write!(
                f,
                "a flush of them failed ({message}), so what is on disk is unknown; save what is \
                 in memory with `recover_into` and close the file"
            ),
            Self::Write(message) => write!(
                f,
                "writing it failed ({message}), so it cannot be sealed; drop the writer, which \
                 removes the file, and write it once more"
            ),
            Self::WriteBack(message) => write!(
                f,
                "the disk could not take them all ({message}), and what it did not take may have left memory, so \
                 what was read may be wrong; drop the file and write it once more"
            ),
            Self::Commit(message) => write!(
                f,
                "writing a commit failed ({message}), so the file takes no more; snapshots are good: \
                 save the last commit with `recover_into`, or close the file and open it anew"
            ),
            Self::Fault(cause @ FaultCause::NoRoom) => write!(
                f,
                "{cause}; what was stored to them is in memory alone, save it with `recover_into` on \
                 a disk that has room and close the file"
            ),
            Self::Fault(cause) => write!(
                f,
                "{cause}; what was read from them is wrong, close the file and restore it"
            ),
        }
    }
}

/// Why a [`RawFile`](crate::RawFile) is poisoned.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RawPoisonCause {
    /// A sync failed, with this message of the operating system. What is on disk is unknown.
    Sync(String),
    /// A write failed, and what it had done could not be undone, with this message.
    Write(String),
    /// Bytes could not be reached. What was read from them is wrong.
    Fault {
        /// The first such byte.
        offset: u64,
        /// Why.
        cause: FaultCause,
    },
}

impl fmt::Display for RawPoisonCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync(message) => write!(
                f,
                "it could not be made durable ({message}), so what is on disk is unknown; write \
                 its content to a new file"
            ),
            Self::Write(message) => write!(
                f,
                "a write failed and could not be undone ({message}); restore it from a good copy"
            ),
            Self::Fault { offset, cause } => write!(
                f,
                "from byte {offset} on: {cause}; what was read from there is wrong, close the file \
                 and restore it"
            ),
        }
    }
}
