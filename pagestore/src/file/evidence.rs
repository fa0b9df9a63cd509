//! What shows that nobody else writes to a file that is open here.
//!
//! Safe functions lend `&[u8]` of a mapped file, which must not change while they live. A lease alone
//! is no evidence for that. While it is held, who opens the file for writing waits, but only for
//! `/proc/sys/fs/lease-break-time` seconds; then the kernel takes the lease away and lets them in,
//! whatever was borrowed and whether or not this process ran meanwhile (it may be stopped, or wait for
//! its memory). No `&[u8]` can be called back, so noticing the break in time would not help. What a
//! lease does prove is the moment: when it is given, nobody has the file open or mapped for writing.

use std::{fs::File, os::fd::AsFd};

use rustix::{
    fs::{AtFlags, SealFlags, Stat, StatxAttributes, StatxFlags},
    process::geteuid,
};

use crate::{file::purpose::Purpose, kernel::calls};

/// Why nobody can write to a file who could not write to this process's memory as well. `docs/facts.md` and
/// `ARCHITECTURE.md` have the argument for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Evidence {
    /// Only this process's user and root may open it for writing: one of the two owns it, and its mode
    /// lets nobody else.
    OwnerAndMode,
    /// It lies on a local filesystem that is mounted read-only as a whole, so nobody can write to it
    /// until root mounts it otherwise.
    ReadOnlyFilesystem,
    /// It is immutable (`chattr +i`), and nobody had it open or mapped for writing when that was checked. Only
    /// root can make it mutable again.
    Immutable,
    /// It is memory (memfd_create(2)) that is sealed against writing and shrinking, for good.
    SealedMemory,
    /// The caller of an `unsafe` function vouches for it.
    CallersWord,
}

/// Why a file cannot be known to stay as it is, and what to do about it.
pub(crate) struct Doubt {
    pub(crate) reason: String,
    pub(crate) advice: String,
}

/// Finds what shows that nobody else writes to a file, which is a regular one.
pub(crate) fn find(file: &File, stat: &Stat, purpose: Purpose) -> Result<Evidence, Doubt> {
    let doubt = match look_at_owner_and_mode(stat, purpose) {
        None => return Ok(Evidence::OwnerAndMode),
        Some(doubt) => doubt,
    };
    match purpose {
        Purpose::Read if is_sealed_memory(file) => Ok(Evidence::SealedMemory),
        Purpose::Read if is_read_only(file) => Ok(Evidence::ReadOnlyFilesystem),
        Purpose::Read if is_immutable(file) => Ok(Evidence::Immutable),
        _ => Err(doubt),
    }
}

/// Who else may open the file for writing, if anybody.
///
/// A POSIX ACL needs no look of its own: where a file has one, the group bits of its mode are the
/// ACL's mask, the most that any named user or group in it is granted (acl(5)).
fn look_at_owner_and_mode(stat: &Stat, purpose: Purpose) -> Option<Doubt> {
    const WRITABLE_BY_GROUP_OR_OTHERS: u32 = 0o022;
    let caller_uid = geteuid().as_raw();
    let mode = stat.st_mode & 0o7777;
    let otherwise = match purpose {
        Purpose::Write => "",
        Purpose::Read => ", or have root make it immutable (chattr +i)",
    };
    if stat.st_uid != caller_uid && stat.st_uid != 0 {
        let owner = stat.st_uid;
        return Some(Doubt {
            reason: format!("its owner (uid {owner}) could write to it"),
            // Taking it from its owner would lock out the program that it belongs to.
            advice: format!("run as that user, or open a copy of your own{otherwise}"),
        });
    }
    (mode & WRITABLE_BY_GROUP_OR_OTHERS != 0).then(|| Doubt {
        reason: format!("its mode {mode:04o} lets its group or everybody write to it"),
        advice: format!("take that right away from them (chmod go-w){otherwise}"),
    })
}

/// Whether it is memory that nobody can write to or cut any more (fcntl(2), `F_ADD_SEALS`). That is
/// granted only where no writable mapping exists, and never taken back.
pub(crate) fn is_sealed_memory(file: &File) -> bool {
    let sealed = SealFlags::WRITE | SealFlags::SHRINK;
    rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(sealed))
}

/// The filesystems whose bytes the kernel of this machine alone writes. An overlay shows files of other
/// filesystems, and those of networks and FUSE have servers.
const LOCAL: [&str; 10] =
    ["btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "iso9660", "squashfs", "xfs"];

/// Whether the whole filesystem is mounted read-only, and not only here: a read-only bind mount says
/// nothing of who has it mounted to write. proc(5) tells the two apart, statfs(2) does not.
fn is_read_only(file: &File) -> bool {
    mount_of(file).is_some_and(|mount| mount.is_local && mount.is_read_only)
}

struct Mount {
    is_local: bool,
    is_read_only: bool,
}

/// What `/proc/self/mountinfo` says of the mount that a file was opened by; `None` where it does not.
fn mount_of(file: &File) -> Option<Mount> {
    use std::os::fd::AsRawFd;
    let number = file.as_fd().as_raw_fd();
    let opened = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
    let id = opened.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(id))?;
    // After the optional fields: the filesystem's type, its source, and the options of the whole.
    let (_, whole) = line.split_once(" - ")?;
    let mut words = whole.split(' ');
    let (kind, options) = (words.next()?, words.nth(1)?);
    Some(Mount {
        is_local: LOCAL.contains(&kind),
        is_read_only: options.split(',').next() == Some("ro"),
    })
}

/// Whether it is immutable, and nobody has it open for writing from before. The lease shows the latter,
/// so the flag is looked at while there is one.
fn is_immutable(file: &File) -> bool {
    if !mount_of(file).is_some_and(|mount| mount.is_local) {
        return false;
    }
    let had_lease = calls::take_read_lease(file).is_ok();
    let immutable = had_lease
        && rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::empty())
            .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::IMMUTABLE));
    if had_lease {
        calls::give_lease_back(file);
    }
    immutable
}
