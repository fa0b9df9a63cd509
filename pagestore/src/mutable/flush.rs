//! What a flush did.

use std::time::Duration;

use layout::PageCount;

/// Where flushed pages went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FlushTarget {
    /// To the file: they are durable.
    File,
    /// Nowhere: the pages are anonymous memory, gone when the process ends. The flush only cleared
    /// their dirty marks.
    Memory,
}

/// What [`PageFile::flush`](crate::PageFile::flush) found and did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FlushReport {
    /// The pages that were dirty.
    pub pages: PageCount,
    /// The runs of adjacent pages that they form.
    pub runs: u64,
    /// The bytes of those pages.
    pub bytes: u64,
    /// How many of those pages were under an open [`PageMut`](crate::PageMut). They were written as they were
    /// and stay dirty for the next flush.
    pub pages_still_open: PageCount,
    /// How long the kernel took to write; zero if nothing was dirty.
    pub elapsed: Duration,
    /// Where the pages went.
    pub target: FlushTarget,
}

/// What [`PageFile::recover_into`](crate::PageFile::recover_into) wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RecoverReport {
    /// The pages written: all of the file.
    pub pages: PageCount,
    /// Pages of the failed flush whose changes may be lost. They could not be kept in memory, because this process may
    /// not lock as much (`ulimit -l`). Or they had left it before: the kernel had tried to write them by itself, failed,
    /// and dropped them. One of those that somebody read again before the flush is not counted.
    pub pages_unprotected: PageCount,
}
