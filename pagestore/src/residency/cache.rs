//! What the page cache holds of a file.

use std::{fs::File, io, ops::Range};

use crate::{
    error::{Error, Result},
    file::{claim::Claim, filesystem::Filesystem},
    kernel::{
        calls::{self, Cachestat},
        hint::Hint,
    },
    map::mapping::Mapping,
};

/// How much of a file is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Residency {
    /// Bytes in the page cache.
    pub resident_bytes: u64,
    /// Bytes among them that are not on the disk yet.
    pub dirty_bytes: u64,
}

impl From<Cachestat> for Residency {
    fn from(stat: Cachestat) -> Self {
        let page_size = rustix::param::page_size() as u64;
        Self {
            resident_bytes: stat.cached * page_size,
            dirty_bytes: (stat.dirty + stat.writeback) * page_size,
        }
    }
}

/// What the page cache holds of `file`; `None` where the kernel does not tell: it is older than
/// 6.5, a filter forbids the call, or the filesystem is of a kind it does not serve.
pub(crate) fn of_file(file: &File) -> Option<Residency> {
    told(Hint::Cachestat, ask(file, 0, TO_THE_END))
}

/// A range that ends here ends where the file does.
const TO_THE_END: u64 = 0;

/// What the kernel tells, where it does.
fn told<T>(hint: Hint, answer: io::Result<T>) -> Option<T> {
    answer.inspect_err(|error| hint.note(error)).ok()
}

/// The same for a range of its bytes, which must begin and end where pages of the operating system
/// do.
pub(crate) fn of_range(file: &File, span: Range<u64>) -> Option<Residency> {
    if span.is_empty() {
        return Some(Residency::default());
    }
    told(Hint::Cachestat, ask(file, span.start, span.end - span.start))
}

/// Asks cachestat(2) about `len` bytes from `offset` on; to the end of the file where `len` is [`TO_THE_END`].
///
/// # Errors
/// Where the kernel does not tell, or what it tells is not of this file's pages.
pub(super) fn ask(file: &File, offset: u64, len: u64) -> io::Result<Residency> {
    let found = Residency::from(calls::cachestat_range(file, offset, len)?);
    if found == Residency::default() {
        Filesystem::check_has_pages(file)?;
    }
    Ok(found)
}

/// The bytes of a range of a file that are in memory by the word of mincore(2), which tells the truth
/// only to the file's owner and to who may write to it; others are told that everything is in memory.
/// It says nothing of what is dirty. `start` is the place in the file of the mapping's first byte.
pub(crate) fn by_mincore((mapping, start): (&Mapping, u64), span: Range<u64>) -> Option<u64> {
    let end = mapping.claim()?.len_bytes().ok()?.min(span.end);
    mincore_bytes(mapping, span.start.max(start) - start..end.max(start) - start)
}

/// How much is looked at by one mincore(2).
const WINDOW_PAGES: usize = 16_384;

/// The bytes of a range of a mapping that are in memory; see [`by_mincore`].
pub(crate) fn mincore_bytes(mapping: &Mapping, span: Range<u64>) -> Option<u64> {
    let page_size = rustix::param::page_size();
    let place = |at: u64| usize::try_from(at).ok().map(|at| at.min(mapping.len_bytes()));
    let (start, end) = (place(span.start)?, place(span.end)?);
    let mut vector = [0; WINDOW_PAGES];
    let mut pages = 0;
    for window in (start..end).step_by(WINDOW_PAGES * page_size) {
        let len = (end - window).min(WINDOW_PAGES * page_size);
        let vector = &mut vector[..len.div_ceil(page_size)];
        let len = vector.len() * page_size;
        told(Hint::Mincore, calls::mincore(mapping.pointer(window, len), vector))?;
        pages += vector.iter().filter(|&&flags| flags & 1 == 1).count();
    }
    Some((pages * page_size) as u64)
}

/// Whether all bytes of a range of a file are in memory.
pub(crate) fn covers(
    claim: &Claim,
    (mapping, start): (&Mapping, u64),
    span: Range<u64>,
) -> Result<bool> {
    let len = span.end - span.start;
    let resident = match of_range(claim.file(), span.clone()) {
        Some(residency) => Some(residency.resident_bytes),
        None => mincore_bytes(mapping, span.start - start..span.end - start),
    };
    let unknown = || {
        let reason = "cachestat(2) and mincore(2) are both refused; allow one of them";
        let source = io::Error::new(io::ErrorKind::Unsupported, reason);
        Error::io("look up pages of", claim.path())(source)
    };
    Ok(resident.ok_or_else(unknown)? >= len)
}
