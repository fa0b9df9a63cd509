//! Whether one syncfs(2) makes the files of a folder durable, and those alone.

use std::{fs, os::fd::AsFd};

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};

/// What a syncfs(2) would do for a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mounted {
    /// The kernel does not tell: it is older than 5.8, or a filter is in the way.
    Unknown,
    /// Nothing that could be relied on: its filesystem is none of those that are known to make all files durable and
    /// to say what failed.
    Unreliable,
    /// It would also write other files than those in the folder, as far as can be seen.
    Shared,
    /// It would write those alone: the folder is a mount of its own.
    Alone,
}

impl Mounted {
    /// The kernel tells which mount a folder is in since 5.8. That is also the first whose syncfs(2) reports what
    /// it could not write of files; what failed in the filesystem itself, as its journal, is reported since 5.17, and
    /// has to be asked for by an fsync(2) before.
    pub(super) fn of(folder: impl AsFd) -> Self {
        let told = rustix::fs::statx(&folder, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
        let Ok(stat) = told else { return Self::Unknown };
        if !StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID) {
            return Self::Unknown;
        }
        if !is_reliable(folder) {
            return Self::Unreliable;
        }
        let is_mount = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        if is_mount && is_alone(stat.stx_mnt_id) { Self::Alone } else { Self::Shared }
    }
}

/// Whether the folder's filesystem makes all files durable by syncfs(2), and says what failed.
///
/// On FUSE that does nothing unless the server has asked for it; network filesystems need not have it; layers such as
/// overlayfs do not pass on what failed below.
fn is_reliable(folder: impl AsFd) -> bool {
    // ext2 to ext4, XFS, and btrfs, by linux/magic.h.
    const RELIABLE: [i128; 3] = [0xef53, 0x5846_5342, 0x9123_683e];
    // The kernel keeps the number in 32 bits; some architectures widen it with its sign.
    let told = rustix::fs::fstatfs(folder);
    told.is_ok_and(|stat| RELIABLE.contains(&(i128::from(stat.f_type) & 0xffff_ffff)))
}

/// Whether all of a filesystem is mounted there, and nowhere else, and it is not the system's own. What other
/// namespaces have mounted is not seen.
fn is_alone(mount_id: u64) -> bool {
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return false };
    // By proc_pid_mountinfo(5): id, parent, device, root, mount point.
    let mounts: Vec<Vec<&str>> =
        mounts.lines().map(|line| line.split(' ').take(5).collect()).collect();
    let id = mount_id.to_string();
    let is_it = |mount: &&Vec<&str>| mount.first() == Some(&id.as_str());
    let Some(&[_, _, device, root, point]) = mounts.iter().find(is_it).map(Vec::as_slice) else {
        return false;
    };
    let count = mounts.iter().filter(|mount| mount.get(2) == Some(&device)).count();
    root == "/" && point != "/" && count == 1
}
