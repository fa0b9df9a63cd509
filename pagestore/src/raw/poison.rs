//! The errors of a raw file that cannot be trusted, or cannot be read.

use std::io;

use crate::{
    error::{Error, RawPoisonCause},
    file::claim::Claim,
};

/// The error for a file that is poisoned.
#[cold]
pub(super) fn poisoned(claim: &Claim, cause: RawPoisonCause) -> Error {
    Error::RawPoisoned { path: claim.path().into(), cause }
}

/// The error for pages that could not be brought into memory, in a file that is as long as it was.
#[cold]
pub(super) fn unreadable(claim: &Claim, source: io::Error) -> Error {
    // Populating answers EFAULT where touching the page would raise a signal (madvise(2)): the disk
    // cannot read it, which is EIO everywhere else.
    let source = match source.raw_os_error() {
        Some(libc::EFAULT) => io::Error::from_raw_os_error(libc::EIO),
        _ => source,
    };
    Error::io("bring into memory a part of", claim.path())(source)
}
