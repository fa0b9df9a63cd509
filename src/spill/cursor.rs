//! Reading records in order, or anywhere.

use std::{fmt, ops::Range};

use bytes::Bytes;
use pagestore::{ByteOffset, Error, PageId, Reservation};

use super::{
    Result, SortedRun, SpillError, SpillReader,
    blocks::BlockIndex,
    mapped::{Brought, EXTENT_BYTES, MappedWindow},
    reader::Content,
    record::{LEN_BYTES_MAX, parse_len},
};

/// Reads a spill: its records one after the other, or whatever stands at an offset.
///
/// What it lends stays as it is until the cursor is asked for the next. Without compression it is
/// the mapped file itself, also where a record is longer than a page; checksums are verified when
/// pages are first brought in.
///
/// Records that were borrowed came from the file, unless a later call of the same cursor fails: where
/// the file was cut short or the disk fails, [`next`](Self::next) says so at the latest where it
/// finds the end.
pub struct SpillCursor {
    reader: SpillReader,
    /// The records to be read.
    range: Range<u64>,
    /// Where the next record begins.
    position: u64,
    window: Window,
    /// Where in the window the record is that was read last.
    record: Range<usize>,
    /// What keeps the bytes of the window in memory, of a file that is borrowed from.
    mapped: MappedWindow,
    /// What the buffer of the window takes of the budget.
    room: Option<Reservation>,
}

/// Bytes that were brought in.
struct Window {
    /// Where the first of them stands in the spill.
    start: u64,
    bytes: Lent,
}

enum Lent {
    /// A view of the file.
    Mapped(Bytes),
    /// Decompressed blocks.
    Own(Vec<u8>),
}

impl Window {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Lent::Mapped(view) => view,
            Lent::Own(bytes) => bytes,
        }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes().len() as u64
    }
}

impl SpillCursor {
    /// What a cursor keeps in memory to read in order at full speed, of a spill that is not compressed, when no
    /// record is longer than 256 KiB: what it reads now and what comes next. It counts against the budget as
    /// long as the cursor lives. Alone under a large budget it takes up to 4 MiB, and where there is less for each
    /// of many, it copies what it reads into a small buffer of its own, which counts too.
    pub const MEMORY_BYTES: u64 = 2 * EXTENT_BYTES;

    pub(super) fn new(reader: SpillReader, range: Range<u64>) -> Self {
        let bytes = match reader.content() {
            Content::Plain => Lent::Mapped(Bytes::new()),
            Content::Blocks(_) => Lent::Own(Vec::new()),
        };
        let (position, window) = (range.start, Window { start: 0, bytes });
        let mapped = MappedWindow::new(reader.file(), range.start);
        Self { reader, range, position, window, record: 0..0, mapped, room: None }
    }

    /// Where the next record stands.
    #[must_use]
    pub fn position(&self) -> ByteOffset {
        ByteOffset::new(self.position)
    }

    /// The next record; `None` behind the last.
    ///
    /// # Errors
    /// [`SpillError::Store`] where the file is damaged or cannot be read;
    /// [`SpillError::Corrupt`] where no record stands there.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        Ok(if self.advance()? { Some(self.record()) } else { None })
    }

    /// The record at an offset that [`append_record`](super::SpillWriter::append_record) gave.
    /// [`next`](Self::next) goes on behind it.
    ///
    /// # Errors
    /// As [`next`](Self::next); [`SpillError::PastEnd`].
    pub fn record_at(&mut self, offset: ByteOffset) -> Result<&[u8]> {
        self.reader.check(offset.get()..self.reader.len_bytes().max(offset.get()))?;
        let end = self.reader.len_bytes();
        self.read_record(offset.get(), end)?;
        Ok(self.record())
    }

    /// So many bytes from an offset on, whatever they are. [`next`](Self::next) goes on where it
    /// was.
    ///
    /// # Errors
    /// [`SpillError::Store`]; [`SpillError::Corrupt`] where a compressed block is damaged;
    /// [`SpillError::PastEnd`].
    pub fn bytes_at(&mut self, offset: ByteOffset, count: usize) -> Result<&[u8]> {
        let start = offset.get();
        let end = start.saturating_add(count as u64);
        self.reader.check(start..end)?;
        self.bring_in(start..end)?;
        let place = self.place(start..end);
        self.record = place.clone();
        Ok(&self.window.bytes()[place])
    }

    /// Reads the record at `start`, which ends at `end` at the latest, and moves behind it.
    #[inline]
    fn read_record(&mut self, start: u64, end: u64) -> Result<()> {
        if start < self.window.start || start >= self.window.end() {
            self.bring_in(start..end.min(start + LEN_BYTES_MAX as u64))?;
        }
        let place = index(start - self.window.start);
        if let Some((len, len_bytes)) = parse_len(&self.window.bytes()[place..])
            && let first = place + len_bytes
            && len <= (self.window.bytes().len() - first) as u64
            && start + len_bytes as u64 + len <= end
        {
            self.record = first..first + index(len);
            self.position = start + len_bytes as u64 + len;
            return Ok(());
        }
        self.read_record_across_windows(start, end)
    }

    #[cold]
    fn read_record_across_windows(&mut self, start: u64, end: u64) -> Result<()> {
        let corrupt =
            |reason: String| SpillError::Corrupt { offset: ByteOffset::new(start), reason };
        let header_end = end.min(start + LEN_BYTES_MAX as u64);
        self.bring_in(start..header_end)?;
        let header = &self.window.bytes()[self.place(start..header_end)];
        let parsed = parse_len(header);
        let (len, len_bytes) = parsed.ok_or_else(|| corrupt("no length stands there".into()))?;
        let first = start + len_bytes as u64;
        let record_end = first.checked_add(len).filter(|record_end| *record_end <= end);
        let record_end = record_end.ok_or_else(|| {
            corrupt(format!("a record of {len} bytes, where there are {} to the end", end - first))
        })?;
        self.bring_in(first..record_end)?;
        self.record = self.place(first..record_end);
        self.position = record_end;
        Ok(())
    }

    /// Where bytes that were brought in lie in the window.
    fn place(&self, range: Range<u64>) -> Range<usize> {
        index(range.start - self.window.start)..index(range.end - self.window.start)
    }

    /// Has the window cover bytes that the spill has.
    fn bring_in(&mut self, range: Range<u64>) -> Result<()> {
        if self.window.start <= range.start && range.end <= self.window.end() {
            return Ok(());
        }
        let reader = self.reader.clone();
        match reader.content() {
            Content::Plain => self.bring_in_mapped(&reader, range),
            Content::Blocks(blocks) => self.bring_in_blocks(&reader, blocks, &range),
        }
    }

    fn bring_in_mapped(&mut self, reader: &SpillReader, range: Range<u64>) -> Result<()> {
        // As far as this cursor will go, or is asked to.
        let far = self.range.end.max(range.end).min(reader.len_bytes());
        let in_order = range.start >= self.position
            && (self.window.start..=self.window.end()).contains(&range.start);
        // What the last window lent came from the file.
        reader.file().still_valid()?;
        self.window.bytes = Lent::Mapped(Bytes::new());
        self.room = None;
        match self.mapped.bring_in(reader.file(), &range, far, in_order)? {
            Brought::Pinned { start, view } => {
                self.window = Window { start, bytes: Lent::Mapped(view) };
            }
            Brought::ToCopy { start, len_max } => {
                let end = far.min(start + len_max).max(range.end);
                let budget = reader.file().budget();
                let (end, room) = match budget.as_ref().map(|budget| budget.reserve(end - start)) {
                    Some(Err(Error::BudgetExceeded { .. })) => {
                        (range.end, budget.map(|budget| budget.reserve(range.end - start)))
                    }
                    reserved => (end, reserved),
                };
                self.room = room.transpose()?;
                let page_size = reader.file().page_size();
                let first = page_size.page_of(ByteOffset::new(start));
                let pages = first..PageId::new(page_size.pages_for(end).get());
                let bytes = reader.file().pages(pages)?[..index(end - start)].to_vec();
                self.window = Window { start, bytes: Lent::Own(bytes) };
            }
        }
        Ok(())
    }

    fn bring_in_blocks(
        &mut self,
        reader: &SpillReader,
        blocks: &BlockIndex,
        range: &Range<u64>,
    ) -> Result<()> {
        let size = blocks.block_size();
        let (first, end) = (range.start / size, range.end.div_ceil(size));
        let Lent::Own(bytes) = &mut self.window.bytes else {
            unreachable!("a cursor over blocks has a buffer")
        };
        // A record that reaches into the next block needs no block decompressed twice.
        let has_first = self.window.start <= first * size
            && first * size < self.window.start + bytes.len() as u64;
        if has_first {
            bytes.drain(..index(first * size - self.window.start));
        } else {
            bytes.clear();
        }
        self.window.start = first * size;
        let next = first + (bytes.len() as u64).div_ceil(size);
        let needed_bytes = (end - first) * size;
        bytes.shrink_to(index(needed_bytes));
        if let Some(budget) = reader.file().budget() {
            match &mut self.room {
                Some(room) => room.resize(needed_bytes)?,
                None => self.room = Some(budget.reserve(needed_bytes)?),
            }
        }
        bytes.reserve_exact(index(needed_bytes) - bytes.len());
        (next..end).try_for_each(|block| blocks.read(reader.file(), block, bytes))
    }
}

impl SortedRun for SpillCursor {
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        if self.position >= self.range.end {
            // What was lent came from the file, or this fails.
            self.reader.file().still_valid()?;
            return Ok(false);
        }
        self.read_record(self.position, self.range.end)?;
        Ok(true)
    }

    #[inline]
    fn record(&self) -> &[u8] {
        &self.window.bytes()[self.record.clone()]
    }
}

impl fmt::Debug for SpillCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillCursor")
            .field("range", &self.range)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// A length or place in a window.
#[inline]
fn index(number: u64) -> usize {
    usize::try_from(number).expect("a window is in memory, so it fits a usize")
}
