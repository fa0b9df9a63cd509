//! Reading records in order, or anywhere.

use std::{fmt, ops::Range};

use bytes::Bytes;
use pagestore::{ByteOffset, Geometry, PageId};

use super::{
    Result, SortedRun, SpillError, SpillReader,
    reader::Content,
    record::{LEN_BYTES_MAX, parse_len},
};

/// How much is brought in at a time under a budget: what a budget evicts at once.
const BUDGET_WINDOW_BYTES: u64 = 256 << 10;

/// How much is brought in at a time otherwise.
const WINDOW_BYTES: u64 = 2 << 20;

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
    /// Pages before this one were let go.
    behind: u64,
    /// What is loaded and let go at a time, where it may take some blocks of the budget for itself.
    block_bytes: Option<u64>,
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
    /// The most memory that a cursor of a [`Run`](super::Run) keeps others from using at a time, of a
    /// spill that is not compressed, when no record is longer than 256 KiB: its window, the one
    /// ahead, what lies at the borders, and checksums. A cursor of [`SpillReader::cursor`] takes four
    /// times as much.
    pub const MEMORY_BYTES: u64 = 1 << 20;

    pub(super) fn of_run(reader: SpillReader, range: Range<u64>) -> Self {
        Self::new(reader, range, None)
    }

    pub(super) fn alone(reader: SpillReader, range: Range<u64>) -> Self {
        let block_bytes = reader.file().budget_block_bytes();
        Self::new(reader, range, block_bytes)
    }

    fn new(reader: SpillReader, range: Range<u64>, block_bytes: Option<u64>) -> Self {
        let bytes = match reader.content() {
            Content::Plain => Lent::Mapped(Bytes::new()),
            Content::Blocks(_) => Lent::Own(Vec::new()),
        };
        let (position, window) = (range.start, Window { start: 0, bytes });
        let behind = reader.file().page_size().page_of(ByteOffset::new(position)).get();
        Self { reader, range, position, window, record: 0..0, behind, block_bytes }
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
            Content::Plain => self.bring_in_mapped(range),
            Content::Blocks(blocks) => {
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
                for block in next..end {
                    let Lent::Own(bytes) = &mut self.window.bytes else { continue };
                    blocks.read(reader.file(), block, bytes)?;
                }
                Ok(())
            }
        }
    }

    fn bring_in_mapped(&mut self, range: Range<u64>) -> Result<()> {
        let file = self.reader.file().clone();
        let page_size = file.page_size();
        let has_budget = self.reader.has_budget();
        let window_bytes = if has_budget { BUDGET_WINDOW_BYTES } else { WINDOW_BYTES };
        let first = page_size.page_of(ByteOffset::new(range.start)).get();
        // As far as this cursor will go, or is asked to.
        let far = self.range.end.max(range.end).min(self.reader.len_bytes());
        let end = range.end.max((first * page_size.get() + window_bytes).min(far));
        let end = page_size.pages_for(end).get();
        // What the last window lent came from the file.
        file.still_valid()?;
        if has_budget {
            self.let_go(first)?;
        }
        let follows = (self.window.start..=self.window.end()).contains(&range.start);
        let in_blocks = self.block_bytes.is_some() && follows;
        let window = PageId::new(first)..PageId::new(end);
        if in_blocks {
            file.load(window.clone())?;
        }
        self.window.bytes = Lent::Mapped(file.bytes(window)?);
        self.window.start = first * page_size.get();
        if has_budget && !in_blocks && range.start >= self.position {
            let ahead_end = ((end * page_size.get()) + window_bytes).min(far);
            let ahead_end = page_size.pages_for(ahead_end).get().max(end);
            file.prefetch([PageId::new(end)..PageId::new(ahead_end)])?;
        }
        Ok(())
    }

    /// Lets the pages go that lie behind `page`, where the next window begins, but for those that
    /// could share what is evicted at once with it.
    fn let_go(&mut self, page: u64) -> Result<()> {
        let file = self.reader.file();
        let page_bytes = file.page_size().get();
        let end = if let Some(block_bytes) = self.block_bytes {
            // Whole blocks, which leave together. They lie where they do in the file.
            let data_start = Geometry::data_start(file.page_size());
            let offset = data_start + page * page_bytes;
            (offset - offset % block_bytes).saturating_sub(data_start) / page_bytes
        } else {
            page.saturating_sub((BUDGET_WINDOW_BYTES / page_bytes).max(1))
        };
        if end > self.behind {
            file.evict(PageId::new(self.behind)..PageId::new(end))?;
            self.behind = end;
        }
        Ok(())
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
