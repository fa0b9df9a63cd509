//! As much of the input as is sorted at once.
//!
//! One piece of memory holds the text, from the front, and for each line a prefix of its key and
//! where it stands, from the back, so that long lines and short ones fill it equally well.

use std::ops::Range;

use storage::spill::{Order, Result as SpillResult, SortedRun};

use super::key::LineOrder;
use crate::error::{Error, Result};

/// A prefix of the key; the line's place in the upper half of the second number and its length in
/// the lower.
type Entry = [u64; 2];

const ENTRY_BYTES: usize = size_of::<Entry>();

/// The most that is read by one system call.
const READ_BYTES_MAX: usize = 1 << 20;

/// The most that is read at a time behind a line that the chunk had to grow for.
const READ_BYTES_GROWN: usize = 64 << 10;

/// Text, and its lines.
pub(super) struct Chunk {
    memory: Vec<Entry>,
    text_len: usize,
    line_count: usize,
    is_grown: bool,
}

impl Chunk {
    /// Places and lengths are noted in 32 bits each.
    pub(super) const BYTES_MAX: usize = 2 << 30;

    /// Takes memory, which the kernel gives when it is touched.
    pub(super) fn new(bytes: usize) -> Result<Self> {
        Ok(Self { memory: entries(bytes)?, text_len: 0, line_count: 0, is_grown: false })
    }

    /// The bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.memory.len() * ENTRY_BYTES
    }

    /// Makes it larger for a line that it has only the beginning of. It is full when that line ends.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<()> {
        let mut larger = entries(bytes)?;
        let text_units = self.text_len.div_ceil(ENTRY_BYTES);
        larger[..text_units].copy_from_slice(&self.memory[..text_units]);
        self.memory = larger;
        self.is_grown = true;
        Ok(())
    }

    pub(super) fn is_grown(&self) -> bool {
        self.is_grown
    }

    /// Forgets what is in it.
    pub(super) fn clear(&mut self) {
        (self.text_len, self.line_count) = (0, 0);
    }

    /// The bytes of text in it.
    pub(super) fn len_bytes(&self) -> u64 {
        self.text_len as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text_len == 0
    }

    /// Where the next bytes of the input go: what has room even if each byte is a line. Empty when
    /// the chunk is full.
    pub(super) fn room(&mut self) -> &mut [u8] {
        // One line more than are counted, for a last one without a newline.
        let lines_len = (self.line_count + 1) * ENTRY_BYTES;
        let free = self.bytes().saturating_sub(self.text_len + lines_len);
        let len = match self.is_grown {
            false => (free / (1 + ENTRY_BYTES)).min(READ_BYTES_MAX),
            true if self.line_count > 0 => 0,
            true => (free / (1 + ENTRY_BYTES)).min(READ_BYTES_GROWN),
        };
        let len = if len < 64 { 0 } else { len };
        let start = self.text_len;
        &mut bytemuck::cast_slice_mut(&mut self.memory)[start..start + len]
    }

    /// Takes over so many bytes of the [`room`](Self::room).
    pub(super) fn filled(&mut self, len: usize) {
        let start = self.text_len;
        self.text_len += len;
        self.line_count += memchr::memchr_iter(b'\n', &self.text()[start..]).count();
    }

    /// Puts bytes into an empty chunk, which has room for them.
    pub(super) fn begin_with(&mut self, bytes: &[u8]) {
        debug_assert!(self.is_empty());
        bytemuck::cast_slice_mut(&mut self.memory)[..bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// What follows the last newline; `None` where there is no newline.
    pub(super) fn rest(&self) -> Option<&[u8]> {
        let end = memchr::memrchr(b'\n', self.text())? + 1;
        Some(&self.text()[end..])
    }

    /// Cuts off so many bytes at the end, which have no newline.
    pub(super) fn cut_off(&mut self, len: usize) {
        self.text_len -= len;
    }

    fn text(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.memory)[..self.text_len]
    }

    /// Sorts the lines; equal ones stay in their order.
    pub(super) fn sort(&mut self, order: &LineOrder) {
        let ends_in_a_line = self.text().last().is_some_and(|&byte| byte != b'\n');
        self.line_count += usize::from(ends_in_a_line);
        let text_units = self.text_len.div_ceil(ENTRY_BYTES);
        let first_entry = self.memory.len() - self.line_count;
        debug_assert!(text_units <= first_entry, "there is room for all entries");
        let (text, entries) = self.memory.split_at_mut(first_entry);
        let text: &[u8] = &bytemuck::cast_slice(text)[..self.text_len];
        let mut start = 0;
        let ends = memchr::memchr_iter(b'\n', text).chain(ends_in_a_line.then_some(text.len()));
        for (entry, end) in entries.iter_mut().zip(ends) {
            let prefix = order.prefix(&text[start..end]);
            *entry = [prefix, ((start as u64) << 32) | (end - start) as u64];
            start = end + 1;
        }
        entries.sort_unstable_by(|a, b| {
            a[0].cmp(&b[0])
                .then_with(|| order.compare(&text[place(a)], &text[place(b)]))
                .then_with(|| a[1].cmp(&b[1]))
        });
    }

    /// The sorted lines.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let entries = &self.memory[self.memory.len() - self.line_count..];
        let text = self.text();
        entries.iter().map(|entry| &text[place(entry)])
    }
}

/// So many bytes of entries, all zero; an error where there is no memory for them.
fn entries(bytes: usize) -> Result<Vec<Entry>> {
    let bytes = bytes.min(Chunk::BYTES_MAX);
    let zeroed = bytemuck::allocation::try_zeroed_vec(bytes / ENTRY_BYTES);
    zeroed.map_err(|()| Error::Memory { bytes })
}

fn place(entry: &Entry) -> Range<usize> {
    let start = (entry[1] >> 32) as usize;
    start..start + (entry[1] & 0xffff_ffff) as usize
}

/// A sorted chunk, to be merged with others.
pub(super) struct ChunkRun {
    chunk: Chunk,
    next: usize,
}

impl From<Chunk> for ChunkRun {
    fn from(chunk: Chunk) -> Self {
        Self { next: chunk.memory.len() - chunk.line_count, chunk }
    }
}

impl SortedRun for ChunkRun {
    fn advance(&mut self) -> SpillResult<bool> {
        let has_next = self.next < self.chunk.memory.len();
        self.next += usize::from(has_next);
        Ok(has_next)
    }

    fn record(&self) -> &[u8] {
        &self.chunk.text()[place(&self.chunk.memory[self.next - 1])]
    }
}
