//! In which order the pages of a file are going to be used.

use memmap2::Advice;

/// How a file is going to be used. The kernel decides by it how much to read ahead, and in how large units to
/// cache the file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Access {
    /// In no order (`MADV_RANDOM`, `POSIX_FADV_RANDOM`): nothing is read ahead, and pages come into memory one
    /// by one. [`PageFileOptions::access`](crate::PageFileOptions::access) says what that means for a file that
    /// is written in place.
    Random,
    /// In order (`POSIX_FADV_SEQUENTIAL`): much is read ahead.
    Sequential,
    /// The kernel's own guess (`MADV_NORMAL`, `POSIX_FADV_NORMAL`). A [`RawFile`](crate::RawFile) makes its
    /// own: it reads only what is asked for, until as many pages just before it were read too (at least 32 of
    /// the system's pages, 128 KiB, and at most 256).
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
