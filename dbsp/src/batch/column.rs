//! One column: an array of items, in memory or in a file.
//!
//! Items that have texts lie behind the bytes of these, in the same file. So an item finds its own from where it lies,
//! and both can be copied together to where they begin a page.
#![expect(unsafe_code, reason = "the bytes of a file become items: each place says why they are")]

mod lent;
#[cfg(test)]
mod tests;
mod texts;

use std::{mem::size_of, ops::Range, path::Path};

use size_of::Context;
use storage::{Access, ByteOffset, ColumnsError, SealedFile, TempWriter};

use self::texts::TextItems;
use crate::mappable::{Mappable, PartsOf, bytes_of};

pub(super) use self::{lent::Lent, texts::write_texts};

/// How much of a column comes together in memory before it is appended to its file.
const CHUNK_BYTES: usize = 64 << 10;

/// Why a column of a file cannot be read.
pub(super) enum Unreadable {
    /// What the file says.
    File(ColumnsError),
    /// What the items of the column are.
    Items(&'static str),
}

impl<E: Into<ColumnsError>> From<E> for Unreadable {
    fn from(error: E) -> Self {
        Self::File(error.into())
    }
}

/// Items in memory, or borrowed from a file.
pub(super) enum Column<T: Mappable> {
    Memory {
        items: Vec<T>,
        /// What their texts own elsewhere.
        owned_bytes: usize,
    },
    File(Lent<T>),
}

impl<T: Mappable> Column<T> {
    pub(super) const fn empty() -> Self {
        Self::Memory { items: Vec::new(), owned_bytes: 0 }
    }

    /// So many items that have no size, and lie nowhere.
    pub(super) fn of_sizeless(count: usize) -> Self {
        assert_eq!(size_of::<T>(), 0, "other items lie in a file");
        Self::Memory { items: vec![T::default(); count], owned_bytes: 0 }
    }

    /// `count` items of a file's payload, the first at `offset`; where they have texts, the bytes of these begin at
    /// `texts`. Verifies their pages, and looks at all that is not valid whatever its bytes are.
    pub(super) fn read(
        file: &SealedFile,
        texts: ByteOffset,
        offset: ByteOffset,
        count: usize,
    ) -> Result<Self, Unreadable> {
        match count {
            0 => Ok(Self::empty()),
            _ => Lent::read(file, texts, offset, count).map(Self::File),
        }
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            Self::Memory { items, .. } => items,
            Self::File(lent) => lent.as_slice(),
        }
    }

    /// Has the kernel begin to read those of these items that there are, and are not in memory.
    pub(super) fn read_ahead(&self, items: Range<usize>) {
        if let Self::File(lent) = self {
            lent.read_ahead(items);
        }
    }

    /// Whether all that was read so far came from the file; see [`SealedFile::still_valid`].
    pub(super) fn still_valid(&self) -> storage::Result<()> {
        match self {
            Self::Memory { .. } => Ok(()),
            Self::File(lent) => lent.still_valid(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// The bytes of items and texts.
    pub(super) fn len_bytes(&self) -> usize {
        match self {
            Self::Memory { items, owned_bytes } => size_of_val(&items[..]) + owned_bytes,
            Self::File(lent) => lent.len_bytes(),
        }
    }
}

/// What the texts of an item own elsewhere.
fn owned_bytes_of<T: Mappable>(parts: &PartsOf<T>, item: &T) -> usize {
    parts.texts_of(item).map(|text| text.owned_bytes()).sum()
}

/// Appends items to a column.
pub(super) struct ColumnWriter<T: Mappable> {
    parts: PartsOf<T>,
    /// All items, or those that are not in the file yet.
    pending: Vec<T>,
    /// What their texts own elsewhere.
    pending_owned_bytes: usize,
    /// How many are in the file, or on their way there.
    written: usize,
    file: Option<TempWriter>,
    /// Where there is a file, and items have texts.
    texts: Option<TextItems<T>>,
}

impl<T: Mappable> ColumnWriter<T> {
    const CHUNK: usize =
        if size_of::<T>() == 0 { usize::MAX } else { CHUNK_BYTES / size_of::<T>() };

    pub(super) fn in_memory(capacity: usize) -> Self {
        Self {
            parts: PartsOf::new(),
            pending: Vec::with_capacity(capacity),
            pending_owned_bytes: 0,
            written: 0,
            file: None,
            texts: None,
        }
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
            if !self.parts.texts().is_empty() {
                self.texts = Some(TextItems::new(folder));
            }
            self.write_out()?;
            self.pending = Vec::with_capacity(if self.texts.is_some() { 0 } else { Self::CHUNK });
        }
        Ok(())
    }

    pub(super) fn reserve(&mut self, additional: usize) {
        if self.file.is_none() {
            self.pending.reserve(additional);
        }
    }

    #[inline]
    pub(super) fn push(&mut self, item: &T) -> storage::Result<()> {
        if let (Some(file), Some(texts)) = (&mut self.file, &mut self.texts) {
            // Not cloned first: a text would be.
            self.written += 1;
            return texts.push(item, file);
        }
        if !self.parts.texts().is_empty() {
            self.pending_owned_bytes += owned_bytes_of(&self.parts, item);
        }
        self.pending.push(item.clone());
        if self.pending.len() >= Self::CHUNK && self.file.is_some() {
            return self.write_out();
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.written + self.pending.len()
    }

    /// What the items take in memory, with their texts, if all of them are there.
    pub(super) fn pending_bytes(&self) -> usize {
        size_of_val(&self.pending[..]) + self.pending_owned_bytes
    }

    /// Adds what it has in memory.
    pub(super) fn size_in(&self, context: &mut Context) {
        context.add(self.pending.capacity() * size_of::<T>() + self.pending_owned_bytes);
        context.add(self.texts.as_ref().map_or(0, TextItems::len_in_memory));
    }

    pub(super) fn finish(mut self) -> storage::Result<Column<T>> {
        self.write_out()?;
        let Some(mut file) = self.file else {
            let (items, owned_bytes) = (self.pending, self.pending_owned_bytes);
            return Ok(Column::Memory { items, owned_bytes });
        };
        let start = match self.texts {
            Some(texts) => texts.finish(&mut file)?,
            None => ByteOffset::ZERO,
        };
        let file = file.finish()?;
        let column = match self.written {
            0 => Column::empty(),
            // SAFETY: these are the bytes of so many items: those before the first are those of their texts, and
            // each text has its place there (`TextItems`).
            count => Column::File(unsafe { Lent::written(&file, start, count) }?),
        };
        // It was just read as a whole; see `ReadAhead` for what comes now.
        file.advise(.., Access::Random)?;
        Ok(column)
    }

    #[inline(never)]
    fn write_out(&mut self) -> storage::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        match &mut self.texts {
            Some(texts) => {
                self.pending.iter().try_for_each(|item| texts.push(item, file))?;
            }
            None if size_of::<T>() > 0 => drop(file.append(bytes_of(&self.pending))?),
            None => {}
        }
        self.written += self.pending.len();
        self.pending.clear();
        self.pending_owned_bytes = 0;
        Ok(())
    }
}
