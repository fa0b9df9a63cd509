//! Addresses that a private mapping has for itself.

use std::{ops::Range, ptr};

use rustix::mm::{MapFlags, ProtFlags};

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

impl Reserved {
    /// Reserves addresses that nothing is mapped at.
    pub(super) fn new(len: usize) -> Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: the kernel chooses addresses that nobody uses.
        let mapped =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags) };
        Ok(Self { start: mapped.map_err(|errno| refused(len, errno))?.cast(), len })
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

pub(super) fn refused(bytes: usize, errno: rustix::io::Errno) -> Error {
    let bytes = bytes as u64;
    let limit = address_limit::met(bytes, Counted::Memory).unwrap_or(AddressLimit::Unknown);
    Error::AddressSpace { bytes, limit, source: errno.into() }
}
