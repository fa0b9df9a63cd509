//! What can go wrong, and what to do about it.
//!
//! A message says what was found, what was expected and what to do. It does not quote its cause, which is its source.

pub(crate) mod address_limit;
mod advice;
mod asked;
mod cause;
mod conversion;
mod with_causes;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use layout::{CommitId, FormatError, PageChecksum, PageId, PageRange, PageSize, RangeError};
use thiserror::Error;

pub use address_limit::AddressLimit;
use advice::{advice, holders};
pub use asked::{NoSuchPages, ViewError};
pub use cause::{FaultCause, PoisonCause, RawPoisonCause};
pub use with_causes::WithCauses;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any failure of this crate. The message says what was found, what was expected, and what to do; its
/// cause is its [`source`](std::error::Error::source), which
/// [`WithCauses`](crate::WithCauses) shows in the same line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation.
    #[error("cannot {operation} {}{}", path.display(), advice(source))]
    Io {
        /// What was tried, as the words after "cannot".
        operation: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file is not a page file, is damaged, or comes from another version.
    #[error("cannot read {}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with its bytes.
        #[source]
        source: FormatError,
    },
    /// The path does not name a regular file.
    #[error("{} is {found}, not a regular file: pass the path of a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it names, with its article.
        found: &'static str,
    },
    /// There is already a file of that name.
    #[error(
        "{} exists already: choose another name, or ask for it to be replaced \
         (`Existing::Replace`)", path.display()
    )]
    AlreadyExists {
        /// The path.
        path: PathBuf,
    },
    /// Somebody else holds the file's lock.
    #[error(
        "{} is in use: {holder}; close it there first (a crashed holder's lock is gone by itself)",
        path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// Who can hold it, in words.
        holder: &'static str,
    },
    /// Another user could write to the file, so a safe `open` cannot promise that borrowed bytes stay as they
    /// are.
    #[error(
        "{} cannot be opened safely: {reason}; {advice}, or use `unsafe` `open_shared` after \
         reading what it asks of you", path.display()
    )]
    OthersCanWrite {
        /// The file.
        path: PathBuf,
        /// Who could write, in words.
        reason: String,
        /// What to do about it, in words.
        advice: String,
    },
    /// The file is sealed, so it cannot be opened for writing, or be written to.
    #[error(
        "{} is sealed and never changes: read it with `SealedFile::open` if it is a page file, \
         or write a new file", path.display()
    )]
    Sealed {
        /// The file.
        path: PathBuf,
    },
    /// The file is not sealed, so it cannot be opened as one that is.
    #[error(
        "{} is not sealed: open it with `PageFile::open` if it is a page file, or copy its bytes with \
         `read_at` if it is a raw one", path.display()
    )]
    NotSealed {
        /// The file.
        path: PathBuf,
    },
    /// The file is a page file, but not a versioned one.
    #[error(
        "{} is not versioned: open it with `PageFile::open`, or `SealedFile::open` where it is sealed",
        path.display()
    )]
    NotVersioned {
        /// The file.
        path: PathBuf,
    },
    /// The file is versioned, so it cannot be opened as another kind of page file.
    #[error("{} is versioned: open it with `VersionedFile::open`", path.display())]
    Versioned {
        /// The file.
        path: PathBuf,
    },
    /// A versioned file was opened read-only, but it was not closed before: its log has commits that are not in
    /// its pages yet.
    #[error(
        "{} was not closed, so some commits are only in its log: open it once with \
         `VersionedFile::open`, and close it", path.display()
    )]
    RecoveryNeeded {
        /// The file.
        path: PathBuf,
    },
    /// An update shares its commit with others, and that commit failed. Its changes are not in the file; after
    /// a failed sync that is unknown.
    #[error("the commit that this update shares with others failed")]
    GroupFailed {
        /// What went wrong.
        source: Arc<Error>,
    },
    /// Two ranges of pages that were to be borrowed for writing at the same time have a page in common.
    #[error("two of the ranges have a page in common: borrow each page in one of them only")]
    Overlap,
    /// A transaction changes more than the log has room for.
    #[error(
        "a commit of {needed_bytes} bytes does not fit half of the log of {}, which has {log_bytes} \
         bytes: change less at a time, or make the file with a longer log (`log_bytes`)", path.display()
    )]
    TransactionTooLarge {
        /// The file.
        path: PathBuf,
        /// The bytes of the commit's record.
        needed_bytes: u64,
        /// The bytes of the whole log.
        log_bytes: u64,
    },
    /// Transactions and snapshots cannot keep more pages in memory. Nothing has changed.
    #[error(
        "cannot keep {needed_bytes} more bytes of pages of {} in memory: {used_bytes} of at most \
         {limit_bytes} (`kept_bytes_max`) are kept, and {}; drop old snapshots, change less at a time, or \
         raise the limit", path.display(), holders(*snapshots, *oldest)
    )]
    KeptExceeded {
        /// The file.
        path: PathBuf,
        /// The bytes that were needed on top.
        needed_bytes: u64,
        /// The bytes that are kept.
        used_bytes: u64,
        /// The limit.
        limit_bytes: u64,
        /// How many commits somebody has a snapshot of.
        snapshots: usize,
        /// The oldest of them, and how long somebody has had it.
        oldest: Option<(CommitId, Duration)>,
    },
    /// The page size is no multiple of the operating system's.
    #[error(
        "page size {page_size} does not fit this machine, whose pages have {os_page_size} bytes: \
         pass a multiple of that"
    )]
    PageSizeUnsupported {
        /// The page size asked for.
        page_size: PageSize,
        /// The operating system's, in bytes.
        os_page_size: usize,
    },
    /// The operating system refused the address range that the mapping lives in.
    #[error("cannot reserve {bytes} bytes of address space; {limit}")]
    AddressSpace {
        /// The size asked for.
        bytes: u64,
        /// Which limit was met.
        limit: AddressLimit,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file would not fit its reserved address range.
    #[error(
        "{needed_bytes} bytes of pages do not fit the {reserved_bytes} bytes of address space \
         reserved for them: open with a larger `address_space_bytes`"
    )]
    AddressSpaceFull {
        /// The bytes of all pages together.
        needed_bytes: u64,
        /// The bytes reserved.
        reserved_bytes: u64,
    },
    /// There is no room on the disk. The file is as it was before.
    #[error(
        "no room for {needed_bytes} more bytes in {}; the file is as it was before, \
         free some space and try again", path.display()
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// The bytes that were asked for.
        needed_bytes: u64,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file does not have such pages.
    #[error(transparent)]
    Range(#[from] NoSuchPages),
    /// The bytes cannot be viewed as such items.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A `try_` function found a page whose latch is held.
    #[error("page {page} is latched by another guard: drop that one first, or wait for it")]
    Latched {
        /// The first such page.
        page: PageId,
    },
    /// A page's bytes do not match its checksum.
    #[error(
        "page {page} of {} is damaged: its checksum is {expected}, but its bytes give {found}; \
         restore the file from a good copy", path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The page.
        page: PageId,
        /// What its bytes give.
        found: PageChecksum,
        /// What the checksum table says.
        expected: PageChecksum,
    },
    /// Pages could not be brought into memory, so they were not borrowed.
    #[error("cannot bring pages {pages} of {} into memory: {cause}{}", path.display(), cause.advice())]
    Fault {
        /// The file.
        path: PathBuf,
        /// The pages that were asked for.
        pages: PageRange,
        /// Why not.
        cause: FaultCause,
    },
    /// A range that reaches past the end of a file or of a memory.
    #[error(
        "cannot reach {len} bytes at {offset} of {}: there are {file_len} bytes; ask for its \
         length first", path.display()
    )]
    PastEnd {
        /// The file.
        path: PathBuf,
        /// The first byte asked for.
        offset: u64,
        /// How many bytes were asked for.
        len: u64,
        /// How many bytes there are.
        file_len: u64,
    },
    /// A budget of bytes is used up. Nothing has changed.
    #[error(
        "{needed_bytes} more bytes do not fit the budget of {budget_bytes} bytes, of which \
         {used_bytes} are used: drop something, or raise the budget"
    )]
    BudgetExceeded {
        /// The bytes that were needed on top.
        needed_bytes: u64,
        /// The bytes in use.
        used_bytes: u64,
        /// The budget.
        budget_bytes: u64,
    },
    /// A file on a filesystem in memory needs more than its budget has. Its pages cannot be evicted.
    #[error(
        "{needed_bytes} more bytes of {} do not fit the budget of {budget_bytes} bytes, of which \
         {used_bytes} are used, and its filesystem is memory (tmpfs), so none of it can be evicted: \
         put it on a disk, or raise the budget", path.display()
    )]
    BudgetOnMemory {
        /// The file.
        path: PathBuf,
        /// The bytes that were needed on top.
        needed_bytes: u64,
        /// The bytes in use.
        used_bytes: u64,
        /// The budget.
        budget_bytes: u64,
    },
    /// The budget is smaller than what is brought into memory at a time.
    #[error("a budget of {limit_bytes} bytes is too small: pass {least_bytes} or more")]
    BudgetTooSmall {
        /// The limit asked for.
        limit_bytes: u64,
        /// The least that a limit can be.
        least_bytes: u64,
    },
    /// A flush failed. From now on the file is poisoned.
    #[error(
        "cannot make pages {pages} of {} durable; what is on disk is unknown, and the \
         file takes no more writes: save what is in memory with `recover_into`", path.display()
    )]
    FlushFailed {
        /// The file.
        path: PathBuf,
        /// The hull of the pages that were to be written.
        pages: PageRange,
        /// The operating system's error.
        source: io::Error,
    },
    /// A finished file is durable, but could not get its name. It is kept under a temporary one.
    #[error(
        "{} is finished, but cannot get its name: it is whole and durable as {}; rename that file", path.display(), kept_as.display()
    )]
    NotNamed {
        /// The file that was to be made.
        path: PathBuf,
        /// Where it is.
        kept_as: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file is sealed, and durable under its name, but could not be opened.
    #[error(
        "{} is sealed, whole and durable, but cannot be opened now: open it with `SealedFile::open` \
         once the cause is gone", path.display()
    )]
    SealedNotOpened {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<Error>,
    },
    /// The filesystem keeps neither modes nor attributes of files, so it cannot keep a seal. The file is as it
    /// was.
    #[error(
        "{} cannot be sealed: its filesystem keeps neither file modes nor attributes (xattr(7)), so the \
         seal would not last; choose another filesystem", path.display()
    )]
    SealNotKept {
        /// The file.
        path: PathBuf,
    },
    /// The bytes of a new file could not be made durable, so it was not sealed.
    #[error(
        "cannot seal {}: making it durable failed; the unfinished file was removed, so \
         write it once more, in another place if this disk is broken or full", path.display()
    )]
    SealFailed {
        /// The file that was to be made.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// An earlier flush failed, or a page fault could not be served. After a failed write the kernel counts the
    /// unsaved pages as clean, so no later flush could be trusted. A page that could not be reached shows zeros
    /// instead of its bytes.
    #[error("{} is poisoned for good, by pages {pages}: {cause}", path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
        /// The pages that the failed flush was to write, or the page of the first fault.
        pages: PageRange,
        /// What happened to them.
        cause: PoisonCause,
    },
    /// A raw file could not be made durable. From now on it is poisoned.
    #[error(
        "cannot make {} durable; what is on disk is unknown, and the file takes no more \
         writes: write its content to a new one", path.display()
    )]
    SyncFailed {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A raw file cannot be trusted any more: an earlier sync failed, or some of its bytes could not be
    /// reached.
    #[error("{} is poisoned for good: {cause}", path.display())]
    RawPoisoned {
        /// The file.
        path: PathBuf,
        /// What happened.
        cause: RawPoisonCause,
    },
}

impl Error {
    /// Makes the function that turns an operating-system error into [`Error::Io`], for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        // The path is copied where there is an error, and only there.
        move |source| Self::Io { operation, path: path.into(), source: source.into() }
    }

    /// Makes the function that tells of pages that a mapped file does not have, for `map_err`.
    pub(crate) fn no_pages(path: &Path) -> impl FnOnce(RangeError) -> Self {
        move |asked| Self::Range(NoSuchPages { path: path.into(), asked })
    }

    /// Makes the function that adds the path to a [`FormatError`], for `map_err`.
    pub(crate) fn format(path: impl Into<PathBuf>) -> impl FnOnce(FormatError) -> Self {
        move |source| Self::Format { path: path.into(), source }
    }
}
