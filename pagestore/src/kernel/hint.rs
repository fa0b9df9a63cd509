//! System calls that the store can do without: what each is for, and whether one was refused.
//!
//! Filters (seccomp), older kernels and some filesystems refuse calls that only make things faster or
//! tell more. Whoever makes such a call passes what came of it through here: a refusal is noted once
//! and done without. `docs/system-calls.md` has all calls, those that are needed too.

use std::{
    fmt, io,
    sync::atomic::{AtomicI32, Ordering},
};

use rustix::io::Errno;

/// A system call, or one use of it, that the store can do without.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Hint {
    /// Advice on how a file is going to be read, and what to read now (posix_fadvise(2)). Without it the kernel
    /// guesses what to read ahead.
    Fadvise,
    /// Dropping a part of a file from the page cache (posix_fadvise(2), `POSIX_FADV_DONTNEED`). Without it
    /// mapped pages are dropped by `MADV_PAGEOUT`, and pages that were only written stay until the kernel
    /// evicts them.
    Drop,
    /// Advice on how a mapping is going to be read, and in pages of which size (madvise(2)). Without it the
    /// kernel guesses both.
    Madvise,
    /// Bringing many pages of a mapping in at once (madvise(2), `MADV_POPULATE_READ` and `_WRITE`). Without it
    /// files are read by system calls first, and pages are mapped one by one.
    Populate,
    /// Dropping pages of a mapping (madvise(2), `MADV_DONTNEED` and `MADV_PAGEOUT`). Without it a budget cannot
    /// evict mapped pages.
    Unmap,
    /// Writing a part of a file to the disk (sync_file_range(2)). Without it the whole file is written where a
    /// part would do (fdatasync(2)), and no write-back begins early.
    SyncFileRange,
    /// Finding out which pages of a mapping are in memory (mincore(2)). Without it fewer reads are answered at
    /// once, and large folios are not split.
    Mincore,
    /// Finding out how much of a file is in memory (cachestat(2)). Without it mincore(2) is asked.
    Cachestat,
    /// A read lease (fcntl(2), `F_SETLEASE`). Without it only the lock keeps writers out.
    Lease,
    /// Renaming only where the new name is free (renameat2(2), `RENAME_NOREPLACE`). Without it the name
    /// is given by link(2).
    RenameNoReplace,
    /// A name for a file that was made without one (open(2) with `O_TMPFILE`, linkat(2) by way of
    /// `/proc`). Without it unfinished files have temporary names.
    Nameless,
    /// Writing a commit so that it is durable at once (pwritev2(2), `RWF_DSYNC`). Without it the file is synced
    /// afterwards (fdatasync(2)).
    WriteDurably,
}

impl Hint {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Fadvise,
        Self::Drop,
        Self::Madvise,
        Self::Populate,
        Self::Unmap,
        Self::SyncFileRange,
        Self::Mincore,
        Self::Cachestat,
        Self::Lease,
        Self::RenameNoReplace,
        Self::Nameless,
        Self::WriteDurably,
    ];

    /// The system call, as its manual page calls it.
    #[must_use]
    pub const fn system_call(self) -> &'static str {
        match self {
            Self::Fadvise => "posix_fadvise(2)",
            Self::Drop => "posix_fadvise(2) with POSIX_FADV_DONTNEED",
            Self::Madvise => "madvise(2)",
            Self::Populate => "madvise(2) with MADV_POPULATE_READ or MADV_POPULATE_WRITE",
            Self::Unmap => "madvise(2) with MADV_DONTNEED or MADV_PAGEOUT",
            Self::SyncFileRange => "sync_file_range(2)",
            Self::Mincore => "mincore(2)",
            Self::Cachestat => "cachestat(2)",
            Self::Lease => "fcntl(2) with F_SETLEASE",
            Self::RenameNoReplace => "renameat2(2) with RENAME_NOREPLACE",
            Self::Nameless => "open(2) with O_TMPFILE, or linkat(2) by way of /proc",
            Self::WriteDurably => "pwritev2(2) with RWF_DSYNC",
        }
    }

    /// Notes that it was refused, the first time.
    pub(crate) fn note(self, error: &io::Error) {
        let code = error.raw_os_error().unwrap_or(libc::EIO);
        // The first reason stays.
        let _earlier =
            REFUSED[self as usize].compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// For a call that changes and promises nothing: notes a failure, whatever it is, and goes on.
    pub(crate) fn go_on(self, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            self.note(&error);
        }
    }

    /// For a call that has to be made up for where it is [refused](is_refusal), and may fail for other
    /// reasons that count: notes a refusal, and gives `None` for it.
    pub(crate) fn unless_refused<T>(self, outcome: io::Result<T>) -> Option<io::Result<T>> {
        match outcome {
            Err(error) if is_refusal(&error) => {
                self.note(&error);
                None
            }
            outcome => Some(outcome),
        }
    }
}

/// Whether an error says that the call itself is not to be had, and nothing about what it was made for:
/// a filter forbids it, or kernel or filesystem do not know it or what was asked of it.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    [Errno::PERM, Errno::ACCESS, Errno::NOSYS, Errno::INVAL, Errno::OPNOTSUPP]
        .into_iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// The error number of the first refusal of each hint; zero where there was none.
static REFUSED: [AtomicI32; Hint::ALL.len()] = [const { AtomicI32::new(0) }; Hint::ALL.len()];

/// A hint that was refused in this process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct RefusedHint {
    /// Which one.
    pub hint: Hint,
    /// The operating system's error number, of the first refusal.
    pub os_error: i32,
}

impl fmt::Display for RefusedHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = io::Error::from_raw_os_error(self.os_error);
        write!(f, "{} is refused ({source}) and done without", self.hint.system_call())
    }
}

/// The hints that the kernel, a filesystem or a filter refused to this process so far. The store still works
/// correctly, but is slower, or keeps a budget less exactly. `docs/system-calls.md` says how.
///
/// ```
/// for refused in pagestore::refused_hints() {
///     eprintln!("{refused}");
/// }
/// ```
#[must_use]
pub fn refused_hints() -> Vec<RefusedHint> {
    let refused = Hint::ALL.into_iter().filter_map(|hint| {
        let os_error = REFUSED[hint as usize].load(Ordering::Relaxed);
        (os_error != 0).then_some(RefusedHint { hint, os_error })
    });
    refused.collect()
}
