//! In which order the pages of a file are going to be used.

use memmap2::Advice;

/// How a file is going to be read and written. The kernel chooses by it what it reads ahead and in
/// how large units it keeps the file in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Access {
    /// Pages in no order (`MADV_RANDOM`, `POSIX_FADV_RANDOM`): nothing is read ahead, and pages
    /// come into memory one by one. See [`PageFileOptions::access`](crate::PageFileOptions::access)
    /// for what that means to a file that is written in place.
    Random,
    /// Pages in order (`POSIX_FADV_SEQUENTIAL`): much is read ahead.
    Sequential,
    /// The kernel's own guess (`MADV_NORMAL`, `POSIX_FADV_NORMAL`). A [`RawFile`](crate::RawFile) makes one
    /// itself: nothing else is read but what is asked for, until that follows as much that was read
    /// (at least 32 of the system's pages, 128 KiB, and at most 256).
    #[default]
    Normal,
}

impl Access {
    pub(crate) fn madvice(self) -> Advice {
        match self {
            Self::Random => Advice::Random,
            // Not `MADV_SEQUENTIAL`: where the first fault is not in the file's first page, it reads
            // one window after the other, each when somebody waits for it (docs/facts.md).
            Self::Sequential | Self::Normal => Advice::Normal,
        }
    }

    /// The same for the file descriptor.
    pub(crate) fn fadvice(self) -> rustix::fs::Advice {
        match self {
            Self::Random => rustix::fs::Advice::Random,
            Self::Sequential => rustix::fs::Advice::Sequential,
            Self::Normal => rustix::fs::Advice::Normal,
        }
    }
}
