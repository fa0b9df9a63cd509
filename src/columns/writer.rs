//! Writing columns.

mod options;
mod pending;

use std::path::{Path, PathBuf};

use layout::{ByteOffset, ColumnDirectory, ColumnsKind, FormatError};
use pagestore::{Error, Named, Nameless, PageWriter, Reservation, Unsealed, ViewError};

use super::{Columns, ColumnsError, Result, spool::Spool};
use crate::{ColumnSpec, FixedLayout};
use pending::{Pending, begin_page};

pub use options::{AppendOrder, ColumnsWriterOptions};

/// How much of all columns together is kept in memory while they are written. A file that is
/// smaller needs no temporary one.
const MEMORY_BYTES: usize = 16 << 20;

/// Under a budget it is this part of that, and counts.
const BUDGET_PART: u64 = 16;

impl ColumnsWriterOptions {
    /// Begins a new file with a column for each of `specs`. As with
    /// [`PageWriterOptions::create`](crate::PageWriterOptions::create), it gets its name when it is sealed.
    ///
    /// # Errors
    /// [`ColumnsError::Store`]: as [`PageWriterOptions::create`](crate::PageWriterOptions::create), and where there are more than
    /// [`ColumnDirectory::COLUMNS_MAX`] columns, or one of items without a size.
    pub fn create(&self, path: impl AsRef<Path>, specs: &[ColumnSpec]) -> Result<ColumnsWriter> {
        let path = path.as_ref();
        check_specs(path, specs)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        ColumnsWriter::begin(self, self.pages.create(path)?, path, folder, specs)
    }

    /// Begins a temporary file in `folder` with a column for each of `specs`; see
    /// [`PageWriterOptions::create_temporary`](crate::PageWriterOptions::create_temporary).
    ///
    /// # Errors
    /// [`ColumnsError::Store`]: as [`PageWriterOptions::create_temporary`](crate::PageWriterOptions::create_temporary), and for columns that
    /// cannot be, as [`create`](Self::create).
    pub fn create_temporary(
        &self,
        folder: impl AsRef<Path>,
        specs: &[ColumnSpec],
    ) -> Result<TempColumnsWriter> {
        let folder = folder.as_ref();
        check_specs(folder, specs)?;
        let writer = self.pages.create_temporary(folder)?;
        ColumnsWriter::begin(self, writer, folder, folder, specs)
    }
}

fn check_specs(path: &Path, specs: &[ColumnSpec]) -> Result<()> {
    let sizeless = (0..).zip(specs).find(|(_, spec)| spec.layout().size_bytes() == 0);
    let source = match sizeless {
        _ if specs.len() > ColumnDirectory::COLUMNS_MAX => {
            FormatError::ColumnCount { found: specs.len() as u64 }
        }
        Some((column, _)) => FormatError::Column {
            column,
            field: "item size",
            found: 0,
            allowed: "a positive multiple of the alignment",
        },
        None => return Ok(()),
    };
    Err(Error::Format { path: path.into(), source }.into())
}

/// Writes a file of columns, each appended to by itself, in any order.
///
/// The columns are kept in memory until they are 16 MiB together (or a sixteenth of the budget, if that is
/// less). Then the longest column goes straight to the file. The others go to nameless temporary files in the
/// same folder and are appended in the end, so they take their disk space twice meanwhile.
/// [`AppendOrder::ColumnByColumn`] needs no such files.
#[derive(Debug)]
pub struct ColumnsWriter<T = Named> {
    writer: PageWriter<T>,
    path: PathBuf,
    /// Where temporary files go.
    folder: PathBuf,
    kind: ColumnsKind,
    order: AppendOrder,
    columns: Vec<Pending>,
    /// The column that goes straight to the file now.
    streamed: Option<usize>,
    /// The bytes in the buffers of all columns.
    buffered_len: usize,
    /// The most that there are.
    memory_bytes: usize,
    /// How far the end of the file is written.
    ending: Ending,
    /// What the buffers take of the budget.
    _room: Option<Reservation>,
}

/// What there is of a file's end. It only goes forward, so that sealing can be tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// Nothing: columns can be appended to.
    Open,
    /// Some of what was kept back.
    Begun,
    /// All columns and the directory.
    Whole,
}

/// A writer of a temporary file of columns: [`ColumnsWriterOptions::create_temporary`].
pub type TempColumnsWriter = ColumnsWriter<Nameless>;

impl ColumnsWriter {
    /// How to make a writer otherwise than by default.
    pub const fn options() -> ColumnsWriterOptions {
        ColumnsWriterOptions::new()
    }

    /// Begins a new file by default options; see [`ColumnsWriterOptions::create`].
    ///
    /// # Errors
    /// As [`ColumnsWriterOptions::create`].
    pub fn create(path: impl AsRef<Path>, specs: &[ColumnSpec]) -> Result<Self> {
        Self::options().create(path, specs)
    }

    /// Appends the columns that were kept back and the directory, makes the file durable, and gives it its
    /// name.
    ///
    /// # Errors
    /// [`ColumnsError::Store`], as [`PageWriter::seal`]; with the writer if another try is possible. If there
    /// was no room for the columns that were kept back, columns can still be appended to.
    pub fn seal(mut self) -> Result<Columns, Unsealed<Self, ColumnsError>> {
        if let Err(error) = self.write_rest() {
            return Err(self.unsealed(error));
        }
        match self.writer.seal() {
            Ok(sealed) => Columns::of(sealed).map_err(|error| Unsealed::new(error, None)),
            Err(unsealed) => {
                let (error, writer) = unsealed.into_parts();
                Err(Unsealed::new(error.into(), writer.map(|writer| Self { writer, ..self })))
            }
        }
    }
}

impl TempColumnsWriter {
    /// Begins a temporary file by default options; see
    /// [`ColumnsWriterOptions::create_temporary`].
    ///
    /// # Errors
    /// As [`ColumnsWriterOptions::create_temporary`].
    pub fn create_in(folder: impl AsRef<Path>, specs: &[ColumnSpec]) -> Result<Self> {
        ColumnsWriter::options().create_temporary(folder, specs)
    }

    /// Appends the columns that were kept back and the directory. Nothing is made durable, and the file is gone
    /// with the last handle.
    ///
    /// # Errors
    /// [`ColumnsError::Store`], as [`TempWriter::finish`](crate::TempWriter::finish): with the writer where
    /// that can be tried again.
    pub fn finish(mut self) -> Result<Columns, Unsealed<Self, ColumnsError>> {
        if let Err(error) = self.write_rest() {
            return Err(self.unsealed(error));
        }
        match self.writer.finish() {
            Ok(sealed) => Columns::of(sealed).map_err(|error| Unsealed::new(error, None)),
            Err(unsealed) => {
                let (error, writer) = unsealed.into_parts();
                Err(Unsealed::new(error.into(), writer.map(|writer| Self { writer, ..self })))
            }
        }
    }
}

impl<T> ColumnsWriter<T> {
    fn begin(
        options: &ColumnsWriterOptions,
        writer: PageWriter<T>,
        path: &Path,
        folder: &Path,
        specs: &[ColumnSpec],
    ) -> Result<Self> {
        let (mut memory_bytes, mut room) = (MEMORY_BYTES, None);
        if let Some(budget) = writer.budget() {
            let part = usize::try_from(budget.limit_bytes() / BUDGET_PART).unwrap_or(usize::MAX);
            memory_bytes = memory_bytes.min(part);
            // What goes straight to the file is not kept.
            if options.order == AppendOrder::Any {
                room = Some(budget.reserve(memory_bytes as u64)?);
            }
        }
        Ok(Self {
            writer,
            path: path.into(),
            folder: folder.into(),
            kind: options.kind,
            order: options.order,
            columns: specs.iter().map(|&spec| Pending::new(spec)).collect(),
            streamed: None,
            buffered_len: 0,
            memory_bytes,
            ending: Ending::Open,
            _room: room,
        })
    }

    /// Appends items to a column. Where it fails, nothing was appended.
    ///
    /// # Errors
    /// [`ColumnsError::NoColumn`]; [`ColumnsError::Layout`] where the column holds something else;
    /// [`ColumnsError::ColumnOrder`]; [`ColumnsError::Store`], as [`PageWriter::append`].
    pub fn append<I: FixedLayout>(&mut self, column: usize, items: &[I]) -> Result<()> {
        let spec = self.pending(column)?.spec;
        if spec.layout() != I::LAYOUT {
            let (found, asked) = (Box::new(spec), Box::new(ColumnSpec::of::<I>()));
            return Err(ColumnsError::Layout { path: self.path.clone(), column, found, asked });
        }
        self.append_checked(column, bytemuck::cast_slice(items))
    }

    /// Appends items to a column by their bytes, for a caller whose items are not [`FixedLayout`].
    ///
    /// # Errors
    /// As [`append`](Self::append), and where `bytes` is no whole number of items.
    pub fn append_bytes(&mut self, column: usize, bytes: &[u8]) -> Result<()> {
        let item_bytes = self.pending(column)?.spec.layout().size_bytes() as usize;
        if !bytes.len().is_multiple_of(item_bytes) {
            let len_bytes = bytes.len() as u64;
            return Err(Error::from(ViewError::NotWhole { len_bytes, item_bytes }).into());
        }
        self.append_checked(column, bytes)
    }

    /// How many items a column has so far.
    ///
    /// # Errors
    /// [`ColumnsError::NoColumn`].
    pub fn len(&self, column: usize) -> Result<u64> {
        let pending = self.pending(column)?;
        Ok(pending.len / u64::from(pending.spec.layout().size_bytes()))
    }

    /// The bytes of all columns so far.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.columns.iter().map(|pending| pending.len).sum()
    }

    fn pending(&self, column: usize) -> Result<&Pending> {
        self.columns.get(column).ok_or_else(|| ColumnsError::NoColumn {
            path: self.path.clone(),
            column,
            column_count: self.columns.len(),
        })
    }

    /// Appends to a column that there is, whole items.
    fn append_checked(&mut self, column: usize, bytes: &[u8]) -> Result<()> {
        if self.ending != Ending::Open {
            return Err(Error::Sealed { path: self.path.clone() }.into());
        }
        if self.order == AppendOrder::ColumnByColumn {
            self.begin_column(column)?;
        }
        if self.streamed != Some(column) && bytes.len() > self.memory_bytes - self.buffered_len {
            self.make_room()?;
        }
        if self.streamed == Some(column) {
            self.writer.append(bytes)?;
        } else if bytes.len() > self.memory_bytes - self.buffered_len {
            self.write_past_buffers(column, bytes)?;
        } else {
            self.columns[column].buffer.extend_from_slice(bytes);
            self.buffered_len += bytes.len();
        }
        self.columns[column].len += bytes.len() as u64;
        Ok(())
    }

    /// Has a column go straight to the file, behind those before it.
    fn begin_column(&mut self, column: usize) -> Result<()> {
        match self.streamed {
            Some(before) if before > column => {
                Err(ColumnsError::ColumnOrder { path: self.path.clone(), column, before })
            }
            before if before == Some(column) => Ok(()),
            _ => {
                self.columns[column].start = Some(begin_page(&mut self.writer)?);
                self.streamed = Some(column);
                Ok(())
            }
        }
    }

    /// Appends more bytes than the memory is for, when the buffers are empty.
    fn write_past_buffers(&mut self, column: usize, bytes: &[u8]) -> Result<()> {
        if self.streamed.is_none() {
            self.writer.append(bytes)?;
            self.columns[column].start = Some(ByteOffset::ZERO);
            self.streamed = Some(column);
            return Ok(());
        }
        let budget = self.writer.budget();
        self.columns[column].spool(&self.folder, budget.as_ref())?.append(bytes)?;
        Ok(())
    }

    /// Empties the buffers. What fails can be tried again: no byte is lost or taken twice.
    fn make_room(&mut self) -> Result<()> {
        if self.streamed.is_none() {
            let longest = (0..self.columns.len()).max_by_key(|&column| self.columns[column].len);
            let longest = longest.filter(|&column| self.columns[column].len > 0);
            if let Some(pending) = longest.map(|column| &mut self.columns[column]) {
                self.writer.append(&pending.buffer)?;
                self.buffered_len -= pending.buffer.len();
                pending.buffer = Vec::new();
                pending.start = Some(ByteOffset::ZERO);
            }
            self.streamed = longest;
        }
        let budget = self.writer.budget();
        for pending in &mut self.columns {
            if !pending.buffer.is_empty() {
                let buffer = std::mem::take(&mut pending.buffer);
                let spool = pending.spool(&self.folder, budget.as_ref());
                let spooled = spool.and_then(|spool| spool.append(&buffer));
                pending.buffer = buffer;
                spooled?;
                self.buffered_len -= pending.buffer.len();
                pending.buffer.clear();
            }
        }
        Ok(())
    }

    /// Writes all that is missing of the payload. What fails can be tried again, unless
    /// [it is lost](Self::is_lost).
    fn write_rest(&mut self) -> Result<()> {
        if self.ending == Ending::Whole {
            return Ok(());
        }
        if self.ending == Ending::Open {
            let kept_back = self.columns.iter().filter(|pending| pending.start.is_none());
            let page_bytes = self.writer.page_size().get();
            let pages = kept_back.map(|pending| pending.len.saturating_add(page_bytes));
            self.writer.reserve(pages.fold(0, u64::saturating_add))?;
            self.ending = Ending::Begun;
        }
        let mut entries = Vec::with_capacity(self.columns.len());
        for pending in &mut self.columns {
            entries.push(pending.write_rest(&mut self.writer)?);
        }
        let start = begin_page(&mut self.writer)?;
        let directory = ColumnDirectory::new(self.kind, &entries, start)
            .map_err(|source| Error::Format { path: self.path.clone(), source })?;
        self.writer.append(&directory.encode())?;
        self.ending = Ending::Whole;
        Ok(())
    }

    /// Gives the writer back, unless bytes of a column are lost.
    fn unsealed(mut self, error: ColumnsError) -> Unsealed<Self, ColumnsError> {
        let is_lost = self.is_lost();
        Unsealed::new(error, (!is_lost).then_some(self))
    }

    /// Whether bytes of a column cannot come into the file any more.
    pub(crate) fn is_lost(&mut self) -> bool {
        let mut spools = self.columns.iter_mut().filter_map(|pending| pending.spool.as_mut());
        spools.any(Spool::is_lost) || matches!(self.writer.reserve(0), Err(Error::Poisoned { .. }))
    }
}
