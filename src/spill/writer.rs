//! Appending to a spill.

use std::{fmt, sync::Arc};

use pagestore::{ByteOffset, TempWriter, Unsealed};

use super::{
    Result, SpillError, SpillReader, SpillStats,
    blocks::BlockWriter,
    reader::{Content, Shared},
    record::{Len, LongRecords},
};

/// Where the bytes go.
#[derive(Debug)]
pub(super) enum Store {
    Plain(TempWriter),
    Blocks(BlockWriter),
}

impl Store {
    fn len_bytes(&self) -> u64 {
        match self {
            Self::Plain(file) => file.payload_len(),
            Self::Blocks(blocks) => blocks.len_bytes(),
        }
    }

    fn stored_bytes(&self) -> u64 {
        match self {
            Self::Plain(file) => file.payload_len(),
            Self::Blocks(blocks) => blocks.stored_bytes(),
        }
    }

    fn reserve(&mut self, more_bytes: u64) -> Result<()> {
        match self {
            Self::Plain(file) => Ok(file.reserve(more_bytes)?),
            Self::Blocks(blocks) => blocks.reserve(more_bytes),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Plain(file) => file.append(bytes).map(drop).map_err(Into::into),
            Self::Blocks(blocks) => blocks.append(bytes),
        }
    }
}

/// Takes what is to be read again later; made by [`SpillOptions`](super::SpillOptions).
///
/// Records and bytes can be mixed: whoever reads must know which stand where.
pub struct SpillWriter {
    store: Store,
    records: u64,
    long: LongRecords,
}

impl SpillWriter {
    pub(super) fn new(store: Store) -> Self {
        Self { store, records: 0, long: LongRecords::default() }
    }

    /// Where the next byte will stand, or the next record: the end of one run of records and the
    /// beginning of the next.
    #[must_use]
    pub fn position(&self) -> ByteOffset {
        ByteOffset::new(self.store.len_bytes())
    }

    /// Appends bytes as they are, to be read by [`SpillCursor::bytes_at`]; returns where they stand.
    ///
    /// [`SpillCursor::bytes_at`]: super::SpillCursor::bytes_at
    ///
    /// # Errors
    /// [`Error::DiskFull`](crate::Error::DiskFull): nothing is appended, and the writer can go on
    /// after space was freed. After other failures it may be in vain to go on;
    /// [`Error::Poisoned`](crate::Error::Poisoned) says where it is.
    pub fn append(&mut self, bytes: &[u8]) -> Result<ByteOffset> {
        let position = self.position();
        self.store.reserve(bytes.len() as u64)?;
        self.store.append(bytes)?;
        Ok(position)
    }

    /// Appends a record, of any length, also none; returns where it stands. Its length is kept with
    /// it, in one byte up to 127.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_record(&mut self, record: &[u8]) -> Result<ByteOffset> {
        let position = self.position();
        let len = Len::new(record.len() as u64);
        let len = len.as_bytes();
        // For both parts, so that none of them is appended without the other.
        self.store.reserve((len.len() as u64).saturating_add(record.len() as u64))?;
        self.store.append(len)?;
        self.store.append(record)?;
        self.records += 1;
        self.long.note(position.get(), record.len() as u64);
        Ok(position)
    }

    /// What was written so far.
    #[must_use]
    pub fn stats(&self) -> SpillStats {
        SpillStats {
            records: self.records,
            bytes: self.store.len_bytes(),
            stored_bytes: self.store.stored_bytes(),
        }
    }

    /// Ends the writing. Nothing is made durable.
    ///
    /// # Errors
    /// As [`TempWriter::finish`]: with the writer where that can be tried again, else everything that was
    /// written is gone.
    pub fn finish(self) -> Result<SpillReader, Unsealed<Self, SpillError>> {
        let (mut stats, records, long) = (self.stats(), self.records, self.long);
        let finished = match self.store {
            Store::Plain(file) => file.finish().map(|file| (file, Content::Plain)).map_err(|u| {
                let (error, file) = u.into_parts();
                (SpillError::from(error), file.map(Store::Plain))
            }),
            Store::Blocks(blocks) => blocks
                .finish()
                .map(|(file, index)| (file, Content::Blocks(index)))
                .map_err(|unfinished| {
                    let (error, blocks) = *unfinished;
                    (error, blocks.map(Store::Blocks))
                }),
        };
        match finished {
            Ok((file, content)) => {
                stats.stored_bytes = file.payload_len();
                Ok(SpillReader::new(Arc::new(Shared { file, content, stats, long })))
            }
            Err((error, store)) => {
                Err(Unsealed::new(error, store.map(|store| Self { store, records, long })))
            }
        }
    }
}

impl fmt::Debug for SpillWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillWriter").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
