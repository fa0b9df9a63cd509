//! What the page cache holds of a file.

use std::{fs::File, io, os::fd::AsRawFd};

/// How much of a file is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Residency {
    /// Bytes in the page cache.
    pub resident_bytes: u64,
    /// Bytes among them that are not on the disk yet.
    pub dirty_bytes: u64,
}

/// The number of cachestat(2), the same on all architectures that have it.
const SYS_CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range` of linux/mman.h.
#[repr(C)]
struct CachestatRange {
    offset: u64,
    /// Zero means to the end of the file.
    len: u64,
}

/// `struct cachestat` of linux/mman.h: counts of operating-system pages.
#[derive(Default)]
#[repr(C)]
struct Cachestat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// What the page cache holds of `file`; `None` where the kernel does not tell: it is older than
/// 6.5, a filter forbids the call, or the filesystem is of a kind it does not serve.
pub(crate) fn of_file(file: &File) -> Option<Residency> {
    let stat = cachestat(file).ok()?;
    let page_size = rustix::param::page_size() as u64;
    Some(Residency {
        resident_bytes: stat.cached * page_size,
        dirty_bytes: (stat.dirty + stat.writeback) * page_size,
    })
}

fn cachestat(file: &File) -> io::Result<Cachestat> {
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
