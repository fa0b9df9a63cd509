//! System calls that no library we use wraps.

use std::{fs::File, io, os::fd::AsRawFd};

/// What cachestat(2) says of a file: counts of operating-system pages (`struct cachestat` of
/// linux/mman.h).
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub(crate) struct Cachestat {
    pub(crate) cached: u64,
    pub(crate) dirty: u64,
    pub(crate) writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// `struct cachestat_range` of linux/mman.h.
#[repr(C)]
struct CachestatRange {
    offset: u64,
    /// Zero means to the end of the file.
    len: u64,
}

/// The number of cachestat(2), the same on all architectures that have it.
const SYS_CACHESTAT: libc::c_long = 451;

/// Asks what the page cache holds of a file.
pub(crate) fn cachestat(file: &File) -> io::Result<Cachestat> {
    let range = CachestatRange { offset: 0, len: 0 };
    let mut stat = Cachestat::default();
    const NO_FLAGS: libc::c_uint = 0;
    // SAFETY: cachestat(2) reads a `cachestat_range` through the second argument and writes a
    // `cachestat` through the third. Both are `repr(C)` with the kernel's fields and live on this
    // stack for the duration of the call; the descriptor is open as long as `file` is borrowed.
    let result = unsafe {
        libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut stat, NO_FLAGS)
    };
    if result == 0 { Ok(stat) } else { Err(io::Error::last_os_error()) }
}

/// Has the kernel begin to write the dirty pages of a range: sync_file_range(2) with
/// `SYNC_FILE_RANGE_WRITE`.
pub(crate) fn start_write_back(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let too_large = |_| io::Error::from_raw_os_error(libc::EOVERFLOW);
    let offset = i64::try_from(offset).map_err(too_large)?;
    let len = i64::try_from(len).map_err(too_large)?;
    let flags = libc::SYNC_FILE_RANGE_WRITE;
    // SAFETY: sync_file_range(2) takes no pointer; the descriptor is open as long as `file` is
    // borrowed.
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks which operating-system pages of a mapping are in memory: mincore(2). Bit 0 of `vector[i]`
/// is set where the i-th page from `start` on is.
pub(crate) fn mincore(start: *const u8, vector: &mut [u8]) -> io::Result<()> {
    let len = vector.len() * rustix::param::page_size();
    // SAFETY: mincore(2) writes one byte to the vector for each page of the range, which is as
    // many as the vector has; it only looks at the range, and answers ENOMEM where it is not
    // mapped, EINVAL where it does not begin at a page.
    let result = unsafe { libc::mincore(start.cast_mut().cast(), len, vector.as_mut_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
