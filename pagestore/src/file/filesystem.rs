//! Which filesystem a file lies on, where what is promised of it differs from one to another.

use std::{fs::File, io, os::fd::AsFd};

use rustix::io::Errno;

/// The kinds that are told apart, by what statfs(2) says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Filesystem {
    /// ext2, ext3 and ext4 have one number.
    Ext,
    Xfs,
    Btrfs,
    Tmpfs,
    /// Memory as tmpfs is, of other kinds: ramfs, hugetlbfs.
    OtherMemory,
    /// overlayfs, over files of one or more others: what containers have.
    Overlay,
    /// Any other, and layers that do not tell what lies below.
    Unknown,
}

impl Filesystem {
    /// The numbers are those of linux/magic.h.
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = rustix::fs::fstatfs(file)?;
        // The kernel keeps the number in 32 bits; some architectures widen it with its sign.
        Ok(match i128::from(stat.f_type) & 0xffff_ffff {
            0xef53 => Self::Ext,
            0x5846_5342 => Self::Xfs,
            0x9123_683e => Self::Btrfs,
            0x0102_1994 => Self::Tmpfs,
            0x8584_58f6 | 0x9584_58f6 => Self::OtherMemory,
            0x794c_7630 => Self::Overlay,
            _ => Self::Unknown,
        })
    }

    /// Whether its files are in memory and have no disk to leave for.
    pub(crate) fn is_memory(self) -> bool {
        matches!(self, Self::Tmpfs | Self::OtherMemory)
    }

    /// Whether a file that is cut is shorter before any of its bytes is seen as zero.
    ///
    /// XFS clears the rest of the page that is cut first. Of one that is not known it is not assumed.
    pub(crate) fn is_shorter_before_zeros(self) -> bool {
        match self {
            Self::Ext | Self::Btrfs | Self::Tmpfs | Self::OtherMemory => true,
            Self::Xfs | Self::Overlay | Self::Unknown => false,
        }
    }

    /// Whether the pages of its files are in the page cache of other files. Then cachestat(2) and sync_file_range(2)
    /// ask one that is empty: they succeed, find nothing, write nothing, and tell of no failure.
    pub(crate) fn has_pages_elsewhere(self) -> bool {
        self == Self::Overlay
    }

    /// Fails, as a call that is refused, where [that](Self::has_pages_elsewhere) is so.
    pub(crate) fn check_has_pages(file: &File) -> io::Result<()> {
        match Self::of(file) {
            Ok(filesystem) if filesystem.has_pages_elsewhere() => Err(Errno::OPNOTSUPP.into()),
            _ => Ok(()),
        }
    }
}
