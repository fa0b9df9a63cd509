//! Files whose pages change by transactions, and are read by snapshots.
//!
//! After a crash, all changes of a committed transaction are there, and none of any other. A snapshot shows the pages of
//! one commit as long as it lives, whatever is committed meanwhile. After a failed write or sync there is no commit any
//! more, and snapshots stay right.

mod applier;
#[expect(unsafe_code, reason = "says that the file has what it was given")]
mod apply;
mod backing;
#[expect(unsafe_code, reason = "makes slices of private mappings, under one rule")]
mod borrow;
mod changes;
mod checked;
mod commit;
mod core;
mod file;
#[expect(unsafe_code, reason = "lends a change to the thread that commits")]
mod group;
#[expect(unsafe_code, reason = "runs a closure of another thread")]
mod job;
mod kept;
mod last_batch;
mod log;
#[expect(unsafe_code, reason = "maps memory, and turns addresses into slices")]
mod map;
mod medium;
mod open;
mod opening;
mod options;
mod page_set;
mod pages;
mod recovery;
mod report;
mod runs;
mod savepoint;
#[expect(unsafe_code, reason = "drops copies of which the file has the bytes")]
mod sheet;
mod snapshot;
mod transaction;
mod turn;
mod unapplied;
mod verifying;
mod view;
mod vouching;
mod writer;
mod writing;

pub use commit::{CommitError, CommitReport};
pub use file::{VersionedFile, VersionedStats};
#[cfg(feature = "testing")]
pub use medium::Medium;
pub use options::{Checkpoints, VersionedFileOptions};
pub use recovery::RecoveryReport;
pub use report::{BadVersionedPage, PageDamage, VersionedReport};
pub use snapshot::Snapshot;
pub use transaction::Transaction;
pub use writing::{VersionedContent, VersionedWriter};
