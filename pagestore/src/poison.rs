//! What makes a file unusable for good, and how that is told.

use std::{fmt, io};

use layout::{Geometry, PageCount, PageId, PageRange, PageSize};

use crate::{Error, Result, latched, mapping::Mapping};

/// Why pages could not be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FaultCause {
    /// Somebody cut the file short under us.
    CutShort {
        /// The bytes that it has now.
        file_len: u64,
    },
    /// The disk could not read the pages.
    Disk,
    /// The disk has no room for what is stored to the pages. They have no place on it (a hole), or a
    /// copy-on-write filesystem needs a new one to write them anew. What is in memory is good.
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
    /// A flush failed, with this message of the operating system. What is on disk is unknown; what
    /// is in memory is good.
    Flush(String),
    /// A new file could not be written, with this message. What is on disk is unknown, and the file
    /// cannot be sealed.
    Write(String),
    /// A commit, or a checkpoint, of a versioned file failed, with this message. Whether the last commit is
    /// on the disk is unknown; what snapshots show is good.
    Commit(String),
    /// A page fault could not be answered. What was stored to the page reaches no disk. Unless the cause
    /// is [`FaultCause::NoRoom`], what was read from it is wrong.
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

/// Fails where a fault was caught in the mapping.
#[inline]
pub(crate) fn check(mapping: &Mapping, page_size: PageSize) -> Result<()> {
    match mapping.fault_offset() {
        None => Ok(()),
        Some(offset) => Err(poisoned(mapping, page_size, offset)),
    }
}

/// Fails where a fault was caught in the mapping by which bytes were lost.
pub(crate) fn check_memory(mapping: &Mapping, page_size: PageSize) -> Result<()> {
    match mapping.fault_offset() {
        Some(offset) if mapping.has_lost() => Err(poisoned(mapping, page_size, offset)),
        _ => Ok(()),
    }
}

#[cold]
fn poisoned(mapping: &Mapping, page_size: PageSize, offset: usize) -> Error {
    let page = PageRange::from(PageId::new(offset as u64 / page_size.get()));
    let cause = match mapping.has_lost() {
        true => fault_cause(mapping, page_size, page),
        false => FaultCause::NoRoom,
    };
    let cause = PoisonCause::Fault(cause);
    Error::Poisoned { path: mapping.path().into(), pages: page, cause }
}

/// The pages that a file of `file_len` bytes has lost, in whole or in part.
#[cold]
pub(crate) fn lost(page_size: PageSize, page_count: PageCount, file_len: u64) -> PageRange {
    let kept_len = file_len.saturating_sub(Geometry::data_start(page_size));
    let first_lost = PageId::new(kept_len / page_size.get());
    PageRange::resolve(first_lost.., page_count).unwrap_or(PageRange::EMPTY)
}

/// The error for pages that could not be brought into memory.
#[cold]
pub(crate) fn unreachable(
    mapping: &Mapping,
    page_size: PageSize,
    pages: PageRange,
    source: io::Error,
) -> Error {
    // Populating answers EFAULT where touching the page would raise a signal (madvise(2)).
    if source.raw_os_error() != Some(libc::EFAULT) {
        return Error::io("bring into memory pages of", mapping.path())(source);
    }
    let cause = fault_cause(mapping, page_size, pages);
    Error::Fault { path: mapping.path().into(), pages, cause }
}

/// The error for pages that could not be made ready to be stored to.
#[cold]
pub(crate) fn unwritable(
    mapping: &Mapping,
    page_size: PageSize,
    pages: PageRange,
    source: io::Error,
) -> Error {
    match unreachable(mapping, page_size, pages, source) {
        // What can be read can only lack the room to be stored to.
        Error::Fault { path, pages, cause: FaultCause::Disk }
            if can_be_read(mapping, page_size, pages) =>
        {
            Error::Fault { path, pages, cause: FaultCause::NoRoom }
        }
        error => error,
    }
}

fn can_be_read(mapping: &Mapping, page_size: PageSize, pages: PageRange) -> bool {
    let (offset, len) = latched::place(pages, page_size);
    mapping.populate_read(offset, len).is_ok()
}

/// Tells the two causes apart by the file's length now.
fn fault_cause(mapping: &Mapping, page_size: PageSize, pages: PageRange) -> FaultCause {
    let needed = Geometry::new(page_size, PageCount::new(pages.end().get()));
    let file_len = mapping.claim().map(crate::claim::Claim::len_bytes);
    match (needed, file_len) {
        (Ok(needed), Some(Ok(file_len))) if file_len < needed.data_end() => {
            FaultCause::CutShort { file_len }
        }
        _ => FaultCause::Disk,
    }
}
