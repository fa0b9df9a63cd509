//! What can go wrong with a spill.

use pagestore::{ByteOffset, Unsealed};
use thiserror::Error;

/// The result of what is done with a spill.
pub type Result<T, E = SpillError> = std::result::Result<T, E>;

/// Any failure of a spill. The message says what was found and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpillError {
    /// The page store refused: a full disk, a budget that is used up, damage.
    #[error(transparent)]
    Store(#[from] pagestore::Error),
    /// A block cannot have this size.
    #[error(
        "a block of {block_size_bytes} bytes is not possible: pass a power of two from 4096 to \
         4194304"
    )]
    BlockSize {
        /// What was asked for.
        block_size_bytes: u64,
    },
    /// The bytes asked for were never written.
    #[error(
        "the bytes {start}..{end} were asked for, and the spill has {len_bytes}: pass offsets that \
         its writer returned"
    )]
    PastEnd {
        /// The first byte asked for.
        start: ByteOffset,
        /// The byte behind the last one asked for.
        end: ByteOffset,
        /// How many bytes the spill has.
        len_bytes: u64,
    },
    /// Something was appended after `finish`, which had failed but can be called again.
    #[error("the spill was ended, so nothing can be appended: call `finish` again")]
    Ended,
    /// The bytes there are not a record, or not the block that was written.
    #[error("there is no intact record at byte {offset} of the spill: {reason}")]
    Corrupt {
        /// Where it begins.
        offset: ByteOffset,
        /// What is wrong with it.
        reason: String,
    },
}

/// From the error of a page writer that could not finish the file. Drops the writer.
impl<W> From<Unsealed<W>> for SpillError {
    fn from(unsealed: Unsealed<W>) -> Self {
        unsealed.into_error().into()
    }
}

/// The same from a writer of a spill.
impl<W> From<Unsealed<W, SpillError>> for SpillError {
    fn from(unsealed: Unsealed<W, SpillError>) -> Self {
        unsealed.into_error()
    }
}
