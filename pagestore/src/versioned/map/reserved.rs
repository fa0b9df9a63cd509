//! Addresses that a private mapping has for itself.

use std::{ops::Range, ptr};

use rustix::{
    io::Errno,
    mm::{MapFlags, ProtFlags},
};

use crate::error::{
    AddressLimit, Error, Result,
    address_limit::{self, Counted},
};

/// Addresses that are ours alone until this is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) start: *mut u8,
    pub(super) len: usize,
}

// SAFETY: the memory belongs to no thread. Its bytes are reached only by methods of `PrivateMap` that
// need `&mut self`, or whose callers prove that nobody writes them.
unsafe impl Send for Reserved {}
// SAFETY: as above.
unsafe impl Sync for Reserved {}

/// What a huge page is aligned to. One page fault maps a whole folio of the page cache only where its pages lie in memory
/// as they do in the file, up to a multiple of this (docs/facts.md).
const ALIGN_BYTES: usize = 2 << 20;

impl Reserved {
    /// Reserves addresses that nothing is mapped at, the first of which is aligned as byte `file_offset` is in a file.
    pub(super) fn new(len: usize, file_offset: u64) -> Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let roomy = len.checked_add(ALIGN_BYTES).ok_or_else(|| refused(len, Errno::OVERFLOW))?;
        // SAFETY: the kernel chooses addresses that nobody uses.
        let mapped = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), roomy, ProtFlags::empty(), flags)
        };
        let start: *mut u8 = mapped.map_err(|errno| refused(len, errno))?.cast();
        let mut reserved = Self { start, len: roomy };
        #[expect(clippy::cast_possible_truncation, reason = "all but the lowest bits are masked")]
        let skipped = (file_offset as usize).wrapping_sub(start.addr()) & (ALIGN_BYTES - 1);
        reserved.unmap(skipped + len..roomy);
        reserved.unmap(0..skipped);
        (reserved.start, reserved.len) = (start.wrapping_add(skipped), len);
        Ok(reserved)
    }

    pub(super) fn unmap(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let start = self.start.wrapping_add(range.start).cast();
        // SAFETY: the range is ours alone, and who calls this uses it no more: the whole of it is being
        // dropped, or `relocate` has moved away what was in use.
        let unmapped = unsafe { rustix::mm::munmap(start, range.len()) };
        debug_assert!(unmapped.is_ok(), "addresses that are ours can be given back");
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.unmap(0..self.len);
    }
}

pub(super) fn refused(bytes: usize, errno: Errno) -> Error {
    let bytes = bytes as u64;
    let limit = address_limit::met(bytes, Counted::Memory).unwrap_or(AddressLimit::Unknown);
    Error::AddressSpace { bytes, limit, source: errno.into() }
}
