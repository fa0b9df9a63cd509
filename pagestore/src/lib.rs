//! Pages of a mapped file, borrowed without a copy.
//!
//! Three kinds of files, each with the cheapest borrow that is right for it:
//!
//! * [`PageFile`]: pages that are read and written in place, in a file or in anonymous memory. A
//!   borrow is a guard under the page's latch; dirty pages are tracked in a bitmap and made durable
//!   by one msync.
//! * [`PageWriter`]: appends bytes page after page and then seals the file.
//! * [`SealedFile`]: never changes again. A borrow is a plain `&[u8]`, with no latch; each page's
//!   checksum is verified when it is first touched.
//!
//! ```
//! # extern crate pagestore as storage;
//! use storage::PageFile;
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("counters");
//! let file = PageFile::create(&path)?;
//! file.grow(16)?;
//! file.page_mut(3)?.as_slice_of_mut::<u64>()?[0] += 1;
//! let report = file.flush()?;
//! assert_eq!((report.pages.get(), report.bytes), (1, 4096));
//! assert_eq!(file.page(3)?.as_slice_of::<u64>()?[0], 1);
//! # Ok::<(), pagestore::Error>(())
//! ```
//!
//! # Soundness
//! Borrowing bytes of a file is sound only while nobody else changes them. The safe functions of
//! this crate open a file only where its owner and mode leave this process's own user (and root) as
//! the only ones who can, and lock it against other users of this crate. `ARCHITECTURE.md` has the
//! whole argument and what it leaves open.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "this page store runs on Linux only: it is built on madvise(2), cachestat(2), sync_file_range(2) \
     and the page cache as Linux has them; build it for a `*-linux-*` target"
);

mod error;
mod file;
mod kernel;
mod map;
mod mutable;
mod raw;
#[expect(unsafe_code, reason = "copies into and out of memory that moves, under locks")]
mod raw_memory;
mod residency;
mod sealed;
#[cfg(feature = "started")]
#[expect(unsafe_code, reason = "has the C runtime call a function before `main`")]
mod started;
#[expect(unsafe_code, reason = "wraps the raw latch")]
mod sync;
mod tables;
mod typed;
mod versioned;

pub use error::{
    AddressLimit, Error, FaultCause, NoSuchPages, PoisonCause, RawPoisonCause, Result, ViewError,
    WithCauses,
};
pub use file::access::Access;
pub use file::disk::{file_len_max, is_memory_folder};
pub use file::durable::{sync_file, sync_folder};
pub use file::evidence::Evidence;
pub use file::lease::{Lease, Writers};
pub use file::new_file::NewFile;
pub use file::pending::Existing;
pub use file::progress::VerifyProgress;
pub use file::seal::{has_seal, put_seal};
pub use kernel::hint::{Hint, RefusedHint, refused_hints};
pub use layout::{
    ByteOffset, CommitId, CommitMark, FORMAT_VERSION, Features, FormatError, Geometry, LogState,
    Metadata, PageChecksum, PageCount, PageId, PageRange, PageSize, PageSizeError, PageStamp,
    RangeError, SealRecord, Slot, Superblock, VersionedGeometry, VersionedState,
};
pub use map::fault::Guard;
pub use mutable::flush::{FlushReport, FlushTarget, RecoverReport};
pub use mutable::guard::{PageMut, PageRef};
pub use mutable::options::PageFileOptions;
pub use mutable::page_file::PageFile;
pub use mutable::populate::Populate;
pub use raw::{RawFile, RawFileOptions};
pub use raw_memory::{MemoryBudget, RawMemory};
pub use residency::budget::{BudgetShare, Reservation, ResidencyBudget, ResidencyStats};
pub use residency::cache::Residency;
pub use residency::inspect::{Inspection, inspect};
pub use residency::parts::{ResidencyMap, residency_map};
pub use residency::read_ahead::start_reading;
pub use sealed::file::{PinnedPages, SealedFile};
pub use sealed::options::SealedFileOptions;
pub use sealed::report::{BadPage, Damage, FilePart, VerifyReport};
pub use sealed::unsealed::Unsealed;
pub use sealed::writer::{Named, Nameless, PageWriter, PageWriterOptions, TempWriter};
#[cfg(feature = "started")]
pub use started::StandardStream;
#[cfg(feature = "testing")]
pub use versioned::Medium;
pub use versioned::{
    BadVersionedPage, Checkpoints, CommitError, CommitReport, PageDamage, RecoveryReport, Snapshot,
    Transaction, VersionedContent, VersionedFile, VersionedFileOptions, VersionedReport,
    VersionedStats, VersionedWriter,
};
