//! What was spilled, to be read.

use std::{
    fmt,
    ops::{Bound, Range, RangeBounds},
    sync::Arc,
};

use pagestore::{ByteOffset, SealedFile};

use super::{
    Result, SpillCursor, SpillError, blocks::BlockIndex, mapped::EXTENT_BYTES, record::LongRecords,
};

/// What a finished spill holds; cheap to clone. The file is gone with the last clone, cursor and
/// [`SpillRun`].
#[derive(Clone)]
pub struct SpillReader {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) file: SealedFile,
    pub(super) content: Content,
    pub(super) stats: SpillStats,
    pub(super) long: LongRecords,
}

/// How the bytes stand in the file.
pub(super) enum Content {
    Plain,
    Blocks(BlockIndex),
}

/// What was written to a spill.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct SpillStats {
    /// The records.
    pub records: u64,
    /// All bytes, with the lengths of the records.
    pub bytes: u64,
    /// The bytes that they take up in the file: fewer, where they are compressed.
    pub stored_bytes: u64,
}

/// A part of a spill, whose records are in order.
#[derive(Clone, Debug)]
pub struct SpillRun {
    reader: SpillReader,
    range: Range<u64>,
}

impl SpillReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What was written.
    #[must_use]
    pub fn stats(&self) -> SpillStats {
        self.shared.stats
    }

    /// A cursor over the records in a range of bytes, at whose ends records begin or end: `..` for
    /// all, or places that the writer gave.
    ///
    /// How much memory it takes depends on how many cursors share the budget:
    /// [`SpillCursor::MEMORY_BYTES`].
    ///
    /// # Errors
    /// [`SpillError::PastEnd`].
    pub fn cursor(&self, range: impl RangeBounds<ByteOffset>) -> Result<SpillCursor> {
        Ok(SpillCursor::new(self.clone(), self.resolve(range)?))
    }

    /// The records in a range of bytes, to be merged with others.
    ///
    /// # Errors
    /// [`SpillError::PastEnd`].
    pub fn run(&self, range: impl RangeBounds<ByteOffset>) -> Result<SpillRun> {
        Ok(SpillRun { reader: self.clone(), range: self.resolve(range)? })
    }

    fn resolve(&self, range: impl RangeBounds<ByteOffset>) -> Result<Range<u64>> {
        let start = match range.start_bound() {
            Bound::Included(start) => start.get(),
            Bound::Excluded(start) => start.get().saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.get().saturating_add(1),
            Bound::Excluded(end) => end.get(),
            Bound::Unbounded => self.len_bytes(),
        };
        self.check(start..end)?;
        Ok(start..end)
    }

    /// Fails where the spill does not have these bytes.
    pub(super) fn check(&self, range: Range<u64>) -> Result<()> {
        let len_bytes = self.len_bytes();
        if range.start <= range.end && range.end <= len_bytes {
            return Ok(());
        }
        let (start, end) = (ByteOffset::new(range.start), ByteOffset::new(range.end));
        Err(SpillError::PastEnd { start, end, len_bytes })
    }

    pub(super) fn len_bytes(&self) -> u64 {
        self.shared.stats.bytes
    }

    pub(super) fn file(&self) -> &SealedFile {
        &self.shared.file
    }

    pub(super) fn content(&self) -> &Content {
        &self.shared.content
    }

    /// What a cursor takes of a budget, to read in order at full speed.
    pub(super) fn cursor_bytes(&self) -> u64 {
        match self.content() {
            Content::Plain => SpillCursor::MEMORY_BYTES,
            // A record lies in two blocks at times, and each is read from memory.
            Content::Blocks(blocks) => 4 * blocks.block_size(),
        }
    }
}

impl SpillRun {
    /// A cursor over the run's records.
    #[must_use]
    pub fn cursor(&self) -> SpillCursor {
        SpillCursor::new(self.reader.clone(), self.range.clone())
    }

    pub(super) fn reader(&self) -> &SpillReader {
        &self.reader
    }

    /// What a cursor over it takes of a budget: to read in order at full speed, and for the longest of its
    /// records, which is in memory as a whole, with what lies around it.
    pub(super) fn cursor_bytes(&self) -> u64 {
        let at_full_speed = self.reader.cursor_bytes();
        match self.reader.shared.long.longest_in(&self.range) {
            Some(len) => at_full_speed.max(len.saturating_add(2 * EXTENT_BYTES)),
            None => at_full_speed,
        }
    }

    /// The bytes of its records, with their lengths.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl fmt::Debug for SpillReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillReader").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
