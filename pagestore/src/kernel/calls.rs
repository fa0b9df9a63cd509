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

/// Asks what the page cache holds of `len` bytes of a file; to its end where that is zero.
pub(crate) fn cachestat_range(file: &File, offset: u64, len: u64) -> io::Result<Cachestat> {
    let range = CachestatRange { offset, len };
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
    sync_file_range(file, offset, len, libc::SYNC_FILE_RANGE_WRITE)
}

/// Writes the dirty pages of a range and waits for them: sync_file_range(2) with all of its flags.
pub(crate) fn write_back(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let wait = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_file_range(file, offset, len, wait | libc::SYNC_FILE_RANGE_WRITE)
}

/// Asks whether write-back failed: sync_file_range(2) with `SYNC_FILE_RANGE_WAIT_BEFORE` alone, far behind any file's
/// end.
pub(crate) fn look_for_failed_writes(file: &File) -> io::Result<()> {
    const NOWHERE: u64 = i64::MAX as u64 - (1 << 20);
    sync_file_range(file, NOWHERE, 1, libc::SYNC_FILE_RANGE_WAIT_BEFORE)
}

fn sync_file_range(file: &File, offset: u64, len: u64, flags: libc::c_uint) -> io::Result<()> {
    let too_large = |_| io::Error::from_raw_os_error(libc::EOVERFLOW);
    let offset = i64::try_from(offset).map_err(too_large)?;
    let len = i64::try_from(len).map_err(too_large)?;
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

/// The process that calls, as a descriptor (linux/pidfd.h, since Linux 6.14).
const PIDFD_SELF_PROCESS: libc::c_int = -10_001;

/// Gives private pages of ranges back: process_madvise(2) on this process, with `MADV_DONTNEED`, which takes
/// 1,024 ranges at a time and flushes the processor's tables once for them. Gives how many ranges, from the
/// first on, were done; a kernel before 6.14 does none.
///
/// # Safety
/// As that of madvise(2) with `MADV_DONTNEED`: nobody relies on what is dropped.
pub(crate) unsafe fn drop_private(ranges: &[libc::iovec]) -> usize {
    const RANGES_MAX: usize = 1024;
    const NO_FLAGS: libc::c_uint = 0;
    let mut done = 0;
    for part in ranges.chunks(RANGES_MAX) {
        let (advice, count) = (libc::MADV_DONTNEED, part.len());
        // SAFETY: process_madvise(2) reads `count` vectors, which is as many as there are; what it does to
        // the ranges is the caller's promise.
        let advised = unsafe {
            let number = libc::SYS_process_madvise;
            libc::syscall(number, PIDFD_SELF_PROCESS, part.as_ptr(), count, advice, NO_FLAGS)
        };
        let whole: usize = part.iter().map(|range| range.iov_len).sum();
        if usize::try_from(advised) != Ok(whole) {
            // Doing one again does no harm.
            return done;
        }
        done += count;
    }
    done
}

/// The read lease and the absence of one, as fcntl(2) passes them.
const F_RDLCK: libc::c_int = libc::F_RDLCK as libc::c_int;
const F_UNLCK: libc::c_int = libc::F_UNLCK as libc::c_int;

/// The command that chooses the signal (asm-generic/fcntl.h), which `libc` lacks for glibc.
const F_SETSIG: libc::c_int = 10;

/// An fcntl(2) of those that take a number.
fn fcntl(file: &File, command: libc::c_int, argument: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: none of the commands that are passed here reads or writes memory of this process
    // through its argument; the descriptor is open as long as `file` is borrowed.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes a read lease on a file that is open to read only: fcntl(2), `F_SETLEASE`.
///
/// The kernel tells the holder of a lease by a signal that somebody asks to write. Nobody here
/// waits for one, and the default one ends the process; so it is made one that is ignored before
/// there is a lease, and none at all as soon as there is one (taking a lease makes this process
/// the one to signal, so that cannot be undone earlier).
///
/// # Errors
/// `EAGAIN` where the file is open for writing, or somebody waits to open it so; others where there
/// are no leases to be had.
pub(crate) fn take_read_lease(file: &File) -> io::Result<()> {
    fcntl(file, F_SETSIG, libc::SIGURG)?;
    fcntl(file, libc::F_SETLEASE, F_RDLCK)?;
    // A signal that is ignored does no harm either.
    let _nobody = fcntl(file, libc::F_SETOWN, 0);
    Ok(())
}

/// Whether a file still has its read lease and nobody waits for it to be given back.
pub(crate) fn has_read_lease(file: &File) -> bool {
    // While somebody waits, the kernel answers with the lease that is to be left: none.
    fcntl(file, libc::F_GETLEASE, 0).is_ok_and(|lease| lease == F_RDLCK)
}

/// Gives a lease back at once, also where another process has a copy of the descriptor.
pub(crate) fn give_lease_back(file: &File) {
    // One that cannot be given back ends with the file description.
    let _given = fcntl(file, libc::F_SETLEASE, F_UNLCK);
}
