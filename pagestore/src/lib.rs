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

mod access;
mod address_limit;
mod advised;
mod bits;
mod budget;
mod claim;
mod dirty;
mod disk;
mod error;
mod evidence;
#[expect(unsafe_code, reason = "a signal handler, and what installs it")]
mod fault;
mod flush;
mod folios;
#[expect(unsafe_code, reason = "guards turn latched memory into slices")]
mod guard;
mod header;
mod hint;
mod inspect;
#[expect(unsafe_code, reason = "system calls that no library wraps")]
mod kernel;
#[expect(unsafe_code, reason = "pairs latches with the memory they protect")]
mod latched;
mod lease;
#[expect(unsafe_code, reason = "the one module that turns addresses into slices")]
mod mapping;
#[cfg(all(test, loom))]
mod model;
mod new_file;
#[expect(unsafe_code, reason = "vouches for the mappings it makes")]
mod page_file;
mod page_file_options;
mod pending;
mod place;
mod poison;
mod populate;
mod presence;
mod purpose;
mod raw;
#[expect(unsafe_code, reason = "copies into and out of memory that moves, under locks")]
mod raw_memory;
mod read_ahead;
mod residency;
mod residency_map;
mod rewriting;
mod seal;
#[expect(unsafe_code, reason = "vouches that nobody writes to a sealed file")]
mod sealed;
mod sealed_options;
mod segments;
mod self_wait;
#[cfg(feature = "started")]
#[expect(unsafe_code, reason = "has the C runtime call a function before `main`")]
mod started;
#[expect(unsafe_code, reason = "gives latches back by their tokens")]
mod states;
mod stream;
#[expect(unsafe_code, reason = "wraps the raw latch")]
mod sync;
mod typed;
mod unsealed;
mod verified;
mod verify;
mod versioned;
mod with_causes;
mod write_back;
mod write_behind;
mod writer;
#[expect(unsafe_code, reason = "turns a mapping into a table")]
mod zeroed;

pub use access::Access;
pub use address_limit::AddressLimit;
pub use budget::{BudgetShare, Reservation, ResidencyBudget, ResidencyStats};
pub use disk::{file_len_max, is_memory_folder};
pub use error::{Error, FaultCause, NoSuchPages, PoisonCause, RawPoisonCause, Result, ViewError};
pub use evidence::Evidence;
pub use fault::Guard;
pub use flush::{FlushReport, FlushTarget, RecoverReport};
pub use guard::{PageMut, PageRef};
pub use hint::{Hint, RefusedHint, refused_hints};
pub use inspect::{Inspection, inspect};
pub use layout::{
    ByteOffset, CommitId, CommitMark, FORMAT_VERSION, Features, FormatError, Geometry, LogState,
    Metadata, PageChecksum, PageCount, PageId, PageRange, PageSize, PageSizeError, PageStamp,
    RangeError, SealRecord, Slot, Superblock, VersionedGeometry, VersionedState,
};
pub use lease::{Lease, Writers};
pub use new_file::NewFile;
pub use page_file::PageFile;
pub use page_file_options::PageFileOptions;
pub use pending::Existing;
pub use populate::Populate;
pub use raw::{RawFile, RawFileOptions};
pub use raw_memory::{MemoryBudget, RawMemory};
pub use read_ahead::start_reading;
pub use residency::Residency;
pub use residency_map::{ResidencyMap, residency_map};
pub use seal::{has_seal, put_seal};
pub use sealed::{PinnedPages, SealedFile};
pub use sealed_options::SealedFileOptions;
#[cfg(feature = "started")]
pub use started::StandardStream;
pub use unsealed::Unsealed;
pub use verify::{BadPage, Damage, FilePart, VerifyProgress, VerifyReport};
#[cfg(feature = "testing")]
pub use versioned::Medium;
pub use versioned::{
    BadVersionedPage, Checkpoints, CommitError, CommitReport, PageDamage, RecoveryReport, Snapshot,
    Transaction, VersionedContent, VersionedFile, VersionedFileOptions, VersionedReport,
    VersionedStats, VersionedWriter,
};
pub use with_causes::WithCauses;
pub use writer::{Named, Nameless, PageWriter, PageWriterOptions, TempWriter};
