//! Whether a page that has its place on the disk keeps it when it is stored to anew.
//!
//! Where it does not, the kernel needs new space when the page is first stored to after it was
//! written back, and a store that finds none is a fault. A file can reserve nothing for that:
//! fallocate(2) reserves for pages that have no place yet. But `MADV_POPULATE_WRITE` asks for the
//! space, and tells beforehand where there is none.

use std::fs::File;

use crate::file::filesystem::Filesystem;

/// What a page keeps after it was made ready to be stored to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rewriting {
    /// Its place, whatever happens to it.
    InPlace,
    /// Its place until it is next flushed: it may be shared with a copy of the file by then, and so
    /// be written elsewhere.
    SharedAtTimes,
    /// Nothing: each time that it is written back it gets a new place, also when the kernel does so
    /// by itself.
    Elsewhere,
}

impl Rewriting {
    /// How the filesystem of a file does it. One that is not known here is asked for space each time, as
    /// btrfs is: ZFS, bcachefs, and layers that do not tell what lies below.
    pub(crate) fn of(file: &File) -> Self {
        match Filesystem::of(file) {
            Ok(Filesystem::Ext | Filesystem::Tmpfs) => Self::InPlace,
            Ok(Filesystem::Xfs) => Self::SharedAtTimes,
            Ok(_) | Err(_) => Self::Elsewhere,
        }
    }
}
