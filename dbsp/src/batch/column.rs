//! One column: an array of plain data, in memory or in a file.

use std::{mem::size_of, ops::Range, path::Path};

use bytes::Bytes;
use size_of::Context;
use storage::{Access, ByteOffset, SealedFile, TempWriter};

use crate::pod::{Plain, Stored};

/// How much of a column comes together in memory before it is appended to its file.
const CHUNK_BYTES: usize = 64 << 10;

/// Items in memory, or borrowed from a file.
pub(super) enum Column<T: Plain> {
    Memory(Vec<T>),
    File(Lent),
}

/// Items of a file.
pub(super) struct Lent {
    /// Invariant: whole items, aligned.
    bytes: Bytes,
    file: SealedFile,
    /// Where the first one begins in the payload.
    start: u64,
}

impl<T: Plain> Column<T> {
    pub(super) const fn empty() -> Self {
        Self::Memory(Vec::new())
    }

    /// So many items that have no size, and lie nowhere.
    pub(super) fn of_sizeless(count: usize) -> Self {
        assert_eq!(size_of::<T>(), 0, "other items lie in a file");
        Self::Memory(vec![T::default(); count])
    }

    /// `count` items that begin at `offset` of a file's payload; verifies their pages.
    pub(super) fn read(
        file: &SealedFile,
        offset: ByteOffset,
        count: usize,
    ) -> storage::Result<Self> {
        if count == 0 {
            return Ok(Self::empty());
        }
        // Refuses what would be misaligned, or past the end.
        let len = size_of_val(file.as_slice_of_at::<Stored<T>>(offset, count)?);
        let page_size = file.page_size();
        let first = page_size.page_of(offset);
        let pages = file.bytes(first..)?;
        let skipped = usize::try_from(offset.get() % page_size.get()).expect("less than a page");
        let bytes = pages.slice(skipped..skipped + len);
        Ok(Self::File(Lent { bytes, file: file.clone(), start: offset.get() }))
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            Self::Memory(items) => items,
            Self::File(lent) => Stored::items(bytemuck::cast_slice(&lent.bytes)),
        }
    }

    /// Has the kernel begin to read those of these items that there are, and are not in memory.
    pub(super) fn read_ahead(&self, items: Range<usize>) {
        let Self::File(lent) = self else { return };
        let len = lent.bytes.len();
        let byte = |item: usize| item.saturating_mul(size_of::<T>()).min(len) as u64;
        let (start, end) = (byte(items.start), byte(items.end));
        if start < end {
            let page_of = |byte| lent.file.page_size().page_of(ByteOffset::new(lent.start + byte));
            if let Err(error) = lent.file.prefetch([page_of(start)..=page_of(end - 1)]) {
                // Whoever goes on waits for each page instead.
                tracing::debug!(error = %storage::WithCauses(&error), "not read ahead");
            }
        }
    }

    /// Whether all that was read so far came from the file; see [`SealedFile::still_valid`].
    pub(super) fn still_valid(&self) -> storage::Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::File(lent) => lent.file.still_valid(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(super) fn len_bytes(&self) -> usize {
        size_of_val(self.as_slice())
    }
}

/// The bytes of items, as they go to a file.
pub(super) fn bytes_of<T: Plain>(items: &[T]) -> &[u8] {
    match size_of::<T>() {
        0 => &[],
        _ => bytemuck::cast_slice(Stored::of(items)),
    }
}

/// Appends items to a column.
pub(super) struct ColumnWriter<T: Plain> {
    /// All items, or those that are not in the file yet.
    pending: Vec<T>,
    written: usize,
    file: Option<TempWriter>,
}

impl<T: Plain> ColumnWriter<T> {
    const CHUNK: usize =
        if size_of::<T>() == 0 { usize::MAX } else { CHUNK_BYTES / size_of::<T>() };

    pub(super) fn in_memory(capacity: usize) -> Self {
        Self { pending: Vec::with_capacity(capacity), written: 0, file: None }
    }

    pub(super) fn in_folder(folder: &Path) -> storage::Result<Self> {
        let mut writer = Self::in_memory(0);
        writer.move_to(folder)?;
        Ok(writer)
    }

    /// Goes on in a file.
    pub(super) fn move_to(&mut self, folder: &Path) -> storage::Result<()> {
        // Items of no size need no file.
        if self.file.is_none() && size_of::<T>() > 0 {
            self.file = Some(TempWriter::create_in(folder)?);
            self.write_out()?;
            self.pending = Vec::with_capacity(Self::CHUNK);
        }
        Ok(())
    }

    pub(super) fn reserve(&mut self, additional: usize) {
        if self.file.is_none() {
            self.pending.reserve(additional);
        }
    }

    #[inline]
    pub(super) fn push(&mut self, item: T) -> storage::Result<()> {
        self.pending.push(item);
        if self.pending.len() >= Self::CHUNK && self.file.is_some() {
            return self.write_out();
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.written + self.pending.len()
    }

    /// Adds what it has in memory.
    pub(super) fn size_in(&self, context: &mut Context) {
        context.add(self.pending.capacity() * size_of::<T>());
    }

    pub(super) fn finish(mut self) -> storage::Result<Column<T>> {
        self.write_out()?;
        match self.file {
            None => Ok(Column::Memory(self.pending)),
            Some(file) => {
                let file = file.finish()?;
                let column = Column::read(&file, ByteOffset::ZERO, self.written)?;
                // It was just read as a whole; see `ReadAhead` for what comes now.
                file.advise(.., Access::Random)?;
                Ok(column)
            }
        }
    }

    #[inline(never)]
    fn write_out(&mut self) -> storage::Result<()> {
        if let Some(file) = &mut self.file {
            file.append(bytes_of(&self.pending))?;
            self.written += self.pending.len();
            self.pending.clear();
        }
        Ok(())
    }
}
