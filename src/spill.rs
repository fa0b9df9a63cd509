//! More data than memory: written to a file without a name, and read back in place.
//!
//! A [`SpillWriter`] takes records, or bytes as they come, and finishes to a [`SpillReader`]. Its
//! [`cursor`](SpillReader::cursor) lends records in the order they came, straight from the mapped
//! file, or at any offset. The file has no name at any time, so nothing of it is left when the
//! process ends, in whatever way. Under a [`ResidencyBudget`](crate::ResidencyBudget), what is
//! written leaves memory for the disk as soon as the room is needed, a cursor reads ahead of
//! itself, and lets go what lies behind.
//!
//! [`SpillMerge`] makes one sorted sequence of many sorted runs, and [`merge_down`] makes few runs of more
//! than can be read at once.
//!
//! ```
//! use storage::{ResidencyBudget, spill::SpillOptions};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! let budget = ResidencyBudget::new(16 << 20)?;
//! let mut writer = SpillOptions::new(folder.path()).budget(&budget).create()?;
//! let first = writer.append_record(b"a record")?;
//! writer.append_record(&[7; 100_000])?;
//! let reader = writer.finish()?;
//!
//! let mut cursor = reader.cursor(..)?;
//! let mut lens = Vec::new();
//! while let Some(record) = cursor.next()? {
//!     lens.push(record.len());
//! }
//! assert_eq!(lens, [8, 100_000]);
//! assert_eq!(cursor.record_at(first)?, b"a record");
//! # Ok::<(), storage::spill::SpillError>(())
//! ```

mod blocks;
mod cursor;
mod error;
mod mapped;
mod merge;
mod options;
mod passes;
mod reader;
mod record;
mod writer;

pub use cursor::SpillCursor;
pub use error::{Result, SpillError};
pub use merge::{Order, SortedRun, SpillMerge};
pub use options::{SpillCompression, SpillOptions};
pub use passes::merge_down;
pub use reader::{SpillReader, SpillRun, SpillStats};
pub use writer::SpillWriter;
