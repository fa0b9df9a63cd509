//! The kernel's own answer to "which pages were stored to?": the oracle for the dirty bitmap.
//!
//! [`WrittenPages`] write-protects a mapped range through userfaultfd in asynchronous mode. The
//! kernel then resolves the first store to each page by itself (no signal, no handler thread; the
//! storing thread pays one fault) and remembers it in the page table. [`WrittenPages::take`] reads
//! that memory out with the `PAGEMAP_SCAN` ioctl and protects the pages again.
//!
//! It needs Linux 6.7, no privilege, and a mapping that may be written: anonymous memory or a file
//! of any file system. The answer is exact to one OS page also where the memory holds huge pages:
//! the first store after a take splits them. It is the *mapping* that is watched: `pwrite`, another
//! mapping of the file, a forked child, `fallocate`, `ftruncate` and punched holes list nothing.
//! Neither do loads, `MADV_POPULATE_READ`, `msync`, writeback and eviction, and they lose nothing.
//!
//! Listed, because to the kernel they are stores: a failed `compare_exchange`; a store of the value
//! that is there already; `MADV_POPULATE_WRITE`; a system call that copies into the page; anonymous
//! pages dropped by `MADV_DONTNEED` (they read as zeroes now); a guard installed or removed.
//!
//! While memory is compacted (`pgmigrate_success` of `/proc/vmstat` moves), a page may be listed
//! that was not stored to: rare, and every case looked at was such an extra page, none was lost.
//! **Never `MADV_GUARD_INSTALL` a watched page of a file**: on Linux 6.18 the call spins for ever
//! on a page that was not stored to since the last take. Drop the watch first.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::mm::{UserfaultfdFlags, userfaultfd};

// The kernel's interface, which neither libc nor rustix has whole.
const UFFD_USER_MODE_ONLY: u32 = 1; // linux/userfaultfd.h: open to every user
const UFFD_API: u64 = 0xAA; // linux/userfaultfd.h
const UFFD_FEATURE_WP_HUGETLBFS_SHMEM: u64 = 1 << 12; // linux/userfaultfd.h: tmpfs, memfd
const UFFD_FEATURE_WP_UNPOPULATED: u64 = 1 << 13; // linux/userfaultfd.h: absent pages too
const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15; // linux/userfaultfd.h: the kernel resolves the faults
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1; // linux/userfaultfd.h
const UFFDIO_WRITEPROTECT_MODE_WP: u64 = 1 << 0; // linux/userfaultfd.h
const UFFDIO_API: Opcode = opcode::read_write::<Api>(0xAA, 0x3F); // linux/userfaultfd.h
const UFFDIO_REGISTER: Opcode = opcode::read_write::<Register>(0xAA, 0x00); // linux/userfaultfd.h
const UFFDIO_WRITEPROTECT: Opcode = opcode::read_write::<WriteProtect>(0xAA, 0x06); // the same
const PAGEMAP_SCAN: Opcode = opcode::read_write::<Scan>(b'f', 16); // linux/fs.h
const PM_SCAN_WP_MATCHING: u64 = 1 << 0; // linux/fs.h: protects what it lists in the same step
const PM_SCAN_CHECK_WPASYNC: u64 = 1 << 1; // linux/fs.h: fails where the watch has been lost
const PAGE_IS_WRITTEN: u64 = 1 << 1; // linux/fs.h: not write-protected
const PAGE_IS_PRESENT: u64 = 1 << 3; // linux/fs.h
const PAGE_IS_SWAPPED: u64 = 1 << 4; // linux/fs.h: swapped out, being moved, or noted as protected

/// Regions handed out per call, 24 KiB; so a GiB of 131,072 regions is taken in 5 ms.
const REGION_COUNT_MAX: usize = 1024;

// Structures of linux/userfaultfd.h that hold nothing but `u64`, with their fields in order.
type Api = [u64; 3]; // struct uffdio_api: api, features, ioctls
type Register = [u64; 4]; // struct uffdio_register: start, len, mode, ioctls
type WriteProtect = [u64; 3]; // struct uffdio_writeprotect: start, len, mode

/// `struct page_region` of `linux/fs.h`: a run of pages of the same categories.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of `linux/fs.h`.
#[derive(Default)]
#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const _: () = assert!(size_of::<Region>() == 24 && size_of::<Scan>() == 96);

/// Watches a mapped range through the kernel and tells which OS pages were stored to.
///
/// One watch a range: a second one that overlaps fails with `ResourceBusy`. Dropping it ends the
/// watch; the mapping and its content are never changed.
#[derive(Debug)]
pub struct WrittenPages {
    /// Keeps the range registered until it is closed.
    uffd: OwnedFd,
    pagemap: File,
    start: u64,
    end: u64,
    page_bytes: u64,
}

impl WrittenPages {
    /// Starts watching `len_bytes` bytes at `start`, both multiples of the OS page.
    ///
    /// The range must stay mapped while the watch lives. It may lie behind the end of its file:
    /// pages that become usable when the file grows are watched from their first store on. Page
    /// tables are filled for the whole range (2 MiB of them for each GiB), so of a large
    /// reservation watch the part under test.
    ///
    /// # Errors
    /// `Unsupported` or `PermissionDenied` when the kernel or its settings deny it, so that a test
    /// can skip loudly. Other kinds are mistakes in the range: `InvalidInput` when it is not mapped
    /// or mapped from a file opened for reading, `ResourceBusy` when it is watched already.
    ///
    /// # Panics
    /// When `start` or `len_bytes` is no multiple of the OS page, or `len_bytes` is 0.
    pub fn watch(start: *const u8, len_bytes: usize) -> io::Result<Self> {
        let page_bytes = rustix::param::page_size();
        assert!(start.addr().is_multiple_of(page_bytes), "{start:p} is not at a page boundary");
        assert!(len_bytes.is_multiple_of(page_bytes), "{len_bytes} bytes are not whole pages");
        assert!(len_bytes > 0, "an empty range has no pages to watch");

        let flags =
            UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::from_bits_retain(UFFD_USER_MODE_ONLY);
        // SAFETY: the descriptor stays private to this type, which only write-protects pages in
        // asynchronous mode: no byte of memory and no outcome of an access changes through it.
        let uffd = unsafe { userfaultfd(flags) }.map_err(|errno| {
            failed("userfaultfd", errno, "allow the system call in the container's seccomp profile")
        })?;
        let pagemap = File::open("/proc/self/pagemap")
            .map_err(|e| io::Error::new(e.kind(), format!("open /proc/self/pagemap: {e}")))?;
        let (start, len) = (start.addr() as u64, len_bytes as u64);
        let watch = Self { uffd, pagemap, start, end: start + len, page_bytes: page_bytes as u64 };
        watch.register(len)?;
        watch.protect(start, len)?;
        watch.take()?; // Proves that PAGEMAP_SCAN is there while a test can still skip.
        Ok(watch)
    }

    /// Returns the OS pages (index from `start`) stored to since the last call (or since
    /// [`watch`](Self::watch)), ascending, and protects them again.
    ///
    /// Listing and protecting a page is one step, so no store is ever lost: one that returned
    /// before the call is listed by it, one that runs during the call is listed by this call or
    /// the next, and may be listed by both. The list is no snapshot of all pages at one moment.
    /// It costs 1 to 3 ms a watched GiB, and 7 ms when each of its pages was stored to.
    ///
    /// # Errors
    /// `NotFound` when a part of the range was mapped anew and so is no longer watched. A part that
    /// was only unmapped is not noticed.
    pub fn take(&self) -> io::Result<Vec<usize>> {
        let mut pages = Vec::new();
        let mut regions = vec![Region::default(); REGION_COUNT_MAX];
        let mut start = self.start;
        while start < self.end {
            regions.fill(Region::default());
            let walk_end = self.scan(start, &mut regions)?;
            assert!(walk_end > start, "PAGEMAP_SCAN got no further than {start:#x}");
            for region in regions.iter().take_while(|region| region.end != 0) {
                match region.categories {
                    PAGE_IS_WRITTEN => {}
                    PAGE_IS_SWAPPED => continue, // Absent, and still protected.
                    // Being moved by compaction, where the protection just made can be lost, or (in
                    // older kernels) evicted after a store, where none is made. A store that comes
                    // before this call is listed below.
                    _ => self.protect(region.start, region.end - region.start)?,
                }
                let page = |address| ((address - self.start) / self.page_bytes) as usize;
                pages.extend(page(region.start)..page(region.end));
            }
            start = walk_end;
        }
        Ok(pages)
    }

    /// Binds the range to the userfaultfd in asynchronous write-protect mode.
    fn register(&self, len: u64) -> io::Result<()> {
        let features =
            UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
        let mut api: Api = [UFFD_API, features, 0];
        // SAFETY: UFFDIO_API takes a `uffdio_api` and touches no other memory.
        unsafe { exchange::<UFFDIO_API, Api>(&self.uffd, &mut api) }.map_err(|errno| {
            let errno = if errno == Errno::INVAL { Errno::NOSYS } else { errno };
            failed("UFFDIO_API", errno, "Linux 6.7 or later is needed")
        })?;
        let mut register: Register = [self.start, len, UFFDIO_REGISTER_MODE_WP, 0];
        // SAFETY: UFFDIO_REGISTER takes a `uffdio_register`, refuses a range that is not mapped,
        // and changes no content.
        unsafe { exchange::<UFFDIO_REGISTER, Register>(&self.uffd, &mut register) }.map_err(
            |errno| {
                // A mapping that can never be written is a mistake of the caller, not a denial.
                let errno = if errno == Errno::PERM { Errno::INVAL } else { errno };
                failed("UFFDIO_REGISTER", errno, "watch memory mapped for writing, and only once")
            },
        )
    }

    /// Protects `len` bytes of pages at `start`, absent ones included.
    fn protect(&self, start: u64, len: u64) -> io::Result<()> {
        let mut protect: WriteProtect = [start, len, UFFDIO_WRITEPROTECT_MODE_WP];
        // SAFETY: UFFDIO_WRITEPROTECT takes a `uffdio_writeprotect`. Of watched pages it takes the
        // write permission, which the next store to each gets back unseen by the program.
        unsafe { exchange::<UFFDIO_WRITEPROTECT, WriteProtect>(&self.uffd, &mut protect) }.map_err(
            |errno| failed("UFFDIO_WRITEPROTECT", errno, "keep the range mapped as it was"),
        )
    }

    /// Fills `regions` with written and absent pages from `start` on, protects the written ones,
    /// and returns the address at which the kernel stopped.
    fn scan(&self, start: u64, regions: &mut [Region]) -> io::Result<u64> {
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            flags: PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
            start,
            end: self.end,
            vec: regions.as_mut_ptr().expose_provenance() as u64,
            vec_len: regions.len() as u64,
            category_inverted: PAGE_IS_PRESENT,
            category_anyof_mask: PAGE_IS_WRITTEN | PAGE_IS_PRESENT,
            return_mask: PAGE_IS_WRITTEN | PAGE_IS_SWAPPED,
            ..Scan::default()
        };
        // SAFETY: PAGEMAP_SCAN takes a `pm_scan_arg` and writes at most `vec_len` regions to `vec`,
        // which is exclusively borrowed; every bit pattern is a valid `Region`.
        unsafe { exchange::<PAGEMAP_SCAN, Scan>(&self.pagemap, &mut scan) }.map_err(|errno| {
            // PM_SCAN_CHECK_WPASYNC reports a lost watch as EPERM; nothing was denied.
            let errno = if errno == Errno::PERM { Errno::NOENT } else { errno };
            failed("PAGEMAP_SCAN", errno, "keep the range mapped as it was; Linux 6.7 is needed")
        })?;
        Ok(scan.walk_end)
    }
}

/// Passes `argument` to the kernel and back.
///
/// # Safety
/// `OPCODE` takes a `T`, and the addresses in it are good for what `OPCODE` does with them.
unsafe fn exchange<const OPCODE: Opcode, T>(fd: &impl AsFd, argument: &mut T) -> Result<(), Errno> {
    // SAFETY: the caller vouches that `T` is the argument of `OPCODE`.
    let call = unsafe { Updater::<OPCODE, T>::new(argument) };
    // SAFETY: `argument` outlives the call, and the caller vouches for the addresses in it.
    unsafe { ioctl(fd, call) }
}

/// Builds the error of a failed call, with what to do about it; the kind tells a test to skip.
fn failed(call: &str, errno: Errno, advice: &str) -> io::Error {
    let kind = match errno {
        Errno::NOTTY => io::ErrorKind::Unsupported,
        _ => io::Error::from(errno).kind(),
    };
    io::Error::new(kind, format!("{call} failed ({errno}): {advice}"))
}
