//! What makes a file unusable for good, and how that is told.

use std::io;

use layout::{Geometry, PageCount, PageId, PageRange, PageSize};

use crate::{
    error::{Error, FaultCause, PoisonCause, Result},
    file::claim::Claim,
    map::{mapping::Mapping, place},
};

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
    if let Some(message) = mapping.claim().and_then(Claim::known_lost) {
        let cause = PoisonCause::WriteBack(message.into());
        return Error::Poisoned { path: mapping.path().into(), pages: PageRange::EMPTY, cause };
    }
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
    let (offset, len) = place::place(pages, page_size);
    mapping.populate_read(offset, len).is_ok()
}

/// Tells the two causes apart by the file's length now.
fn fault_cause(mapping: &Mapping, page_size: PageSize, pages: PageRange) -> FaultCause {
    let needed = Geometry::new(page_size, PageCount::new(pages.end().get()));
    let file_len = mapping.claim().map(Claim::len_bytes);
    match (needed, file_len) {
        (Ok(needed), Some(Ok(file_len))) if file_len < needed.data_end() => {
            FaultCause::CutShort { file_len }
        }
        _ => FaultCause::Disk,
    }
}
