//! Cutting the power of a filesystem.

use std::{fs::File, io, os::fd::AsRawFd, ptr};

use crate::loop_disk::LoopDisk;

/// What becomes of a journal that is in memory when a filesystem is shut down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Journal {
    /// It is gone, as all else.
    Lost,
    /// It is written out before, without the pages of files.
    Written,
}

/// Cuts a filesystem, ext4 or XFS, off from its device, as a crash does: nothing that is in memory reaches it
/// any more.
pub(crate) fn cut(disk: &LoopDisk, journal: Journal) {
    /// `EXT4_IOC_SHUTDOWN`, which is `XFS_IOC_GOINGDOWN` too.
    const SHUTDOWN: libc::c_ulong = 0x8004_587d;
    let flag: u32 = match journal {
        Journal::Written => 1,
        Journal::Lost => 2,
    };
    let folder = File::open(disk.path()).unwrap();
    #[expect(unsafe_code, reason = "an ioctl that no library wraps")]
    // SAFETY: the ioctl reads one u32 through its argument, which lives on this stack.
    let result = unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN, ptr::from_ref(&flag)) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
