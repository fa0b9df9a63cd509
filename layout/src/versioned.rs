//! The format of a versioned file: where its parts lie, and the records in them.
//!
//! ```text
//! 0          slot 0, slot 1            (superblocks, as in every page file)
//! 8192       the mark                  (4 KiB: which commit was the last to be applied)
//! 65536      log, first half           (commit records, one behind the other)
//! ..         log, second half
//! ..         group 0: table, data      (a stamp of 16 bytes for each page; then the pages)
//! ..         group 1: table, data      (twice as large as group 0), and so on
//! ```

mod geometry;
mod mark;
mod record;
mod stamp;

pub use geometry::{Group, LogHalf, VersionedGeometry};
pub use mark::CommitMark;
pub use record::{CommitHead, PageChange, PageSource};
pub use stamp::{CommitId, PageStamp};
