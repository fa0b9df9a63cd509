//! Ranges of bytes in memory, and what errors call the memory.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// The start of a range that lies within `len_bytes` bytes in memory.
#[inline]
pub(super) fn check_range(offset: u64, len: usize, len_bytes: u64) -> Result<usize> {
    match offset.checked_add(len as u64) {
        Some(end) if end <= len_bytes => {
            Ok(usize::try_from(offset).expect("what lies in memory has an address"))
        }
        _ => Err(Error::PastEnd { path: name(), offset, len: len as u64, file_len: len_bytes }),
    }
}

/// What stands in messages for a path.
pub(super) fn name() -> PathBuf {
    PathBuf::from("anonymous memory")
}
