//! What the page cache holds of a file.

use std::fs::File;

use crate::kernel::{self, Cachestat};

/// How much of a file is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Residency {
    /// Bytes in the page cache.
    pub resident_bytes: u64,
    /// Bytes among them that are not on the disk yet.
    pub dirty_bytes: u64,
}

impl From<Cachestat> for Residency {
    fn from(stat: Cachestat) -> Self {
        let page_size = rustix::param::page_size() as u64;
        Self {
            resident_bytes: stat.cached * page_size,
            dirty_bytes: (stat.dirty + stat.writeback) * page_size,
        }
    }
}

/// What the page cache holds of `file`; `None` where the kernel does not tell: it is older than
/// 6.5, a filter forbids the call, or the filesystem is of a kind it does not serve.
pub(crate) fn of_file(file: &File) -> Option<Residency> {
    kernel::cachestat(file).ok().map(Residency::from)
}
