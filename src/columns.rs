//! Files of typed columns, borrowed from the mapping.

use std::{ops::Range, path::Path, sync::Arc};

use layout::{ByteOffset, ColumnDirectory, ColumnEntry, ColumnsKind, ItemName};
use pagestore::{SealedFile, SealedFileOptions, ViewError};

mod byte_strings;
mod error;
mod fixed_layout;
mod spec;
mod spool;
mod writer;

pub use byte_strings::ByteStrings;
pub use error::{ColumnsError, Result};
pub use fixed_layout::{FixedLayout, assert_all_fields};
pub use spec::ColumnSpec;
pub use writer::{AppendOrder, ColumnsWriter, ColumnsWriterOptions, TempColumnsWriter};

/// A sealed file of typed columns: each is one array, aligned, and borrowed from the mapping as a
/// slice without a copy.
///
/// Opening reads the directory, whatever the size of the file. Each column has a [`ColumnSpec`], and can be
/// borrowed only as the type it was written with. `docs/format.md` describes the file.
///
/// Cloning is cheap and shares the mapping.
///
/// ```
/// use storage::{ColumnSpec, Columns, ColumnsWriter};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("trades");
/// let specs = [ColumnSpec::of::<u64>(), ColumnSpec::of::<f64>()];
/// let mut writer = ColumnsWriter::create(&path, &specs)?;
/// writer.append(0, &[7_u64, 8])?;
/// writer.append(1, &[0.5, 0.25, 0.125])?;
/// writer.seal()?;
///
/// let columns = Columns::open(&path)?;
/// assert_eq!(columns.column::<u64>(0)?, [7, 8]);
/// assert_eq!(columns.column_range::<f64>(1, 1..3)?, [0.25, 0.125]);
/// assert!(columns.column::<i64>(0).is_err());
/// # Ok::<(), storage::ColumnsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Columns {
    file: SealedFile,
    directory: Arc<ColumnDirectory>,
}

impl Columns {
    /// Opens a file that [`ColumnsWriter`] wrote.
    ///
    /// # Errors
    /// [`ColumnsError::Store`]: as [`SealedFile::open`], and where the payload does not end with a
    /// directory of columns that is in order.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::of(SealedFile::open(path)?)
    }

    /// Opens a file otherwise than by default: under a budget, or to be read in a certain order.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// ```
    /// use storage::{ColumnSpec, Columns, ColumnsWriter, ResidencyBudget, SealedFile};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("trades");
    /// let mut writer = ColumnsWriter::create(&path, &[ColumnSpec::of::<u64>()])?;
    /// writer.append(0, &[7_u64, 8])?;
    /// writer.seal()?;
    ///
    /// let budget = ResidencyBudget::new(4 << 20)?;
    /// let columns = Columns::open_with(&SealedFile::options().budget(&budget), &path)?;
    /// assert_eq!(columns.column::<u64>(0)?, [7, 8]);
    /// assert!(budget.stats().used_bytes > 0);
    /// # Ok::<(), storage::ColumnsError>(())
    /// ```
    pub fn open_with(options: &SealedFileOptions, path: impl AsRef<Path>) -> Result<Self> {
        Self::of(options.open(path)?)
    }

    /// The columns of a sealed file that is open.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of(file: SealedFile) -> Result<Self> {
        let format = |source| pagestore::Error::Format { path: file.path().into(), source };
        // Where the payload is shorter than a directory, `parse` says so.
        let start = file.payload_len().saturating_sub(ColumnDirectory::LEN_BYTES as u64);
        let len = file.payload_len() - start;
        let block = file.as_slice_of_at::<u8>(ByteOffset::new(start), index(len))?;
        let directory = ColumnDirectory::parse(block, ByteOffset::new(start)).map_err(format)?;
        Ok(Self { file, directory: Arc::new(directory) })
    }

    /// What the columns are together, as whoever wrote them calls it.
    #[must_use]
    pub fn kind(&self) -> ColumnsKind {
        self.directory.kind()
    }

    /// Fails where the columns are of another kind.
    ///
    /// # Errors
    /// [`ColumnsError::Kind`].
    pub fn expect_kind(&self, expected: ColumnsKind) -> Result<()> {
        if self.kind() == expected {
            return Ok(());
        }
        let path = self.file.path().into();
        Err(ColumnsError::Kind { path, found: self.kind(), expected })
    }

    /// How many columns there are.
    #[must_use]
    pub fn column_count(&self) -> usize {
        self.directory.column_count()
    }

    /// What the items of a column look like.
    ///
    /// # Errors
    /// [`ColumnsError::NoColumn`].
    pub fn spec(&self, column: usize) -> Result<ColumnSpec> {
        let entry = self.entry(column)?;
        Ok(ColumnSpec::from_parts(entry.layout, entry.name))
    }

    /// The column of a name, that it was [given](ColumnSpec::named).
    ///
    /// # Errors
    /// [`ColumnsError::NoColumnNamed`] where there is none, or more than one.
    ///
    /// ```
    /// use storage::{ColumnSpec, ColumnsWriter};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("trades");
    /// let specs = [ColumnSpec::of::<u64>().named("id"), ColumnSpec::of::<f64>().named("price")];
    /// let mut writer = ColumnsWriter::create(&path, &specs)?;
    /// writer.append(0, &[7_u64, 8])?;
    /// writer.append(1, &[0.5, 0.25])?;
    /// let columns = writer.seal()?;
    /// assert_eq!(columns.column::<f64>(columns.position("price")?)?, [0.5, 0.25]);
    /// let error = columns.position("prize").unwrap_err();
    /// assert!(error.to_string().contains("`id`, `price`"));
    /// # Ok::<(), storage::ColumnsError>(())
    /// ```
    pub fn position(&self, name: &str) -> Result<usize> {
        let asked = ItemName::new(name);
        let fits = name.len() <= ItemName::LEN_BYTES;
        let mut found =
            (0..).zip(self.directory.columns()).filter(|(_, entry)| entry.name == asked);
        match (found.next(), found.next()) {
            (Some((column, _)), None) if fits => Ok(column),
            _ => {
                let names = self.directory.columns().map(|entry| format!("`{}`", entry.name));
                let names = names.collect::<Vec<_>>().join(", ");
                let path = self.file.path().into();
                Err(ColumnsError::NoColumnNamed { path, name: name.into(), names })
            }
        }
    }

    /// How many items a column has.
    ///
    /// # Errors
    /// [`ColumnsError::NoColumn`].
    pub fn len(&self, column: usize) -> Result<usize> {
        Ok(index(self.entry(column)?.count))
    }

    /// Borrows a whole column; verifies those of its pages that were not yet, which reads them all.
    ///
    /// # Errors
    /// [`ColumnsError::NoColumn`]; [`ColumnsError::Layout`] where the column holds something else;
    /// [`ColumnsError::Store`] where a page is damaged or cannot be reached.
    pub fn column<T: FixedLayout>(&self, column: usize) -> Result<&[T]> {
        let count = self.len(column)?;
        self.column_range(column, 0..count)
    }

    /// Borrows some items of a column; verifies the pages they lie in.
    ///
    /// # Errors
    /// As [`column`](Self::column), and where the column ends before the range does.
    #[inline]
    pub fn column_range<T: FixedLayout>(&self, column: usize, items: Range<usize>) -> Result<&[T]> {
        let entry = self.typed_entry::<T>(column)?;
        let (offset, count) = place(entry, &items)?;
        Ok(self.file.as_slice_of_at(offset, count)?)
    }

    /// Borrows a whole column without verifying anything, for a caller that has verified the file,
    /// or has just written it.
    ///
    /// # Errors
    /// As [`column`](Self::column), but for damage.
    pub fn column_unverified<T: FixedLayout>(&self, column: usize) -> Result<&[T]> {
        let entry = self.typed_entry::<T>(column)?;
        let bytes = self.bytes_unverified(entry)?;
        let misaligned =
            |_| ViewError::Misaligned { offset: entry.offset.get(), align_bytes: align_of::<T>() };
        let items = bytemuck::try_cast_slice(bytes).map_err(misaligned);
        Ok(items.map_err(pagestore::Error::from)?)
    }

    /// Borrows the bytes of a whole column, for a caller whose items are not [`FixedLayout`];
    /// verifies them. The first byte is aligned as `spec` says.
    ///
    /// # Errors
    /// As [`column`](Self::column).
    pub fn column_bytes(&self, column: usize, spec: &ColumnSpec) -> Result<&[u8]> {
        let entry = self.entry_of(column, spec)?;
        let len = entry.count * u64::from(entry.layout.size_bytes());
        Ok(self.file.as_slice_of_at(entry.offset, index(len))?)
    }

    /// [`column_bytes`](Self::column_bytes) without verifying anything, as
    /// [`column_unverified`](Self::column_unverified).
    ///
    /// # Errors
    /// As [`column`](Self::column), but for damage.
    pub fn column_bytes_unverified(&self, column: usize, spec: &ColumnSpec) -> Result<&[u8]> {
        self.bytes_unverified(self.entry_of(column, spec)?)
    }

    /// Where a column lies in the payload of [`file`](Self::file): the first byte, and how many items
    /// there are, for a caller that borrows them from there.
    ///
    /// # Errors
    /// [`ColumnsError::NoColumn`]; [`ColumnsError::Layout`].
    pub fn column_place(&self, column: usize, spec: &ColumnSpec) -> Result<(ByteOffset, usize)> {
        let entry = self.entry_of(column, spec)?;
        Ok((entry.offset, index(entry.count)))
    }

    /// Values of different lengths, in a column of offsets and one of bytes.
    ///
    /// # Errors
    /// [`ColumnsError::NoColumn`]; [`ColumnsError::Layout`] where the columns are not `u64` and `u8`.
    pub fn byte_strings(
        &self,
        offsets_column: usize,
        bytes_column: usize,
    ) -> Result<ByteStrings<'_>> {
        ByteStrings::new(self, offsets_column, bytes_column)
    }

    /// The file that the columns lie in.
    #[must_use]
    pub fn file(&self) -> &SealedFile {
        &self.file
    }

    fn bytes_unverified(&self, entry: &ColumnEntry) -> Result<&[u8]> {
        if entry.count == 0 {
            return Ok(&[]);
        }
        let page_size = self.file.page_size();
        let len = entry.count * u64::from(entry.layout.size_bytes());
        let end = entry.offset.get() + len;
        let first = page_size.page_of(entry.offset);
        let last = page_size.page_of(ByteOffset::new(end - 1));
        let pages = self.file.pages_unverified(first..=last)?;
        let skipped = index(entry.offset.get() - first.get() * page_size.get());
        Ok(&pages[skipped..][..index(len)])
    }

    fn entry(&self, column: usize) -> Result<&ColumnEntry> {
        self.directory.column(column).ok_or_else(|| ColumnsError::NoColumn {
            path: self.file.path().into(),
            column,
            column_count: self.column_count(),
        })
    }

    #[inline]
    fn typed_entry<T: FixedLayout>(&self, column: usize) -> Result<&ColumnEntry> {
        let entry = self.entry(column)?;
        if entry.layout == T::LAYOUT {
            return Ok(entry);
        }
        Err(self.other_layout(column, entry, &ColumnSpec::of::<T>()))
    }

    fn entry_of(&self, column: usize, spec: &ColumnSpec) -> Result<&ColumnEntry> {
        let entry = self.entry(column)?;
        if entry.layout == spec.layout() {
            return Ok(entry);
        }
        Err(self.other_layout(column, entry, spec))
    }

    #[cold]
    fn other_layout(&self, column: usize, entry: &ColumnEntry, asked: &ColumnSpec) -> ColumnsError {
        let found = ColumnSpec::from_parts(entry.layout, entry.name);
        let (found, asked) = (Box::new(found), Box::new(*asked));
        ColumnsError::Layout { path: self.file.path().into(), column, found, asked }
    }
}

/// Where some items of a column lie in the payload, and how many they are.
#[inline]
fn place(entry: &ColumnEntry, items: &Range<usize>) -> Result<(ByteOffset, usize)> {
    let item_bytes = u64::from(entry.layout.size_bytes());
    if items.end as u64 > entry.count || items.start > items.end {
        return Err(pagestore::Error::from(ViewError::PastEnd {
            offset: (items.start as u64).saturating_mul(item_bytes),
            count: items.len(),
            item_bytes: index(item_bytes),
            len_bytes: entry.count * item_bytes,
        })
        .into());
    }
    // No overflow: the directory was checked, the column ends before the payload does.
    let offset = entry.offset.get() + items.start as u64 * item_bytes;
    Ok((ByteOffset::new(offset), items.len()))
}

/// A length or index inside what is mapped.
#[inline]
fn index(number: u64) -> usize {
    usize::try_from(number).expect("what is mapped fits a usize")
}
