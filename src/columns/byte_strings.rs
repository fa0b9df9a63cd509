//! Values of different lengths, in two columns.

use super::{Columns, Result};

/// Byte strings of any lengths, borrowed from two columns: one of all bytes, end to end (`u8`), and
/// one of offsets (`u64`), where string *i* lies from offset *i* to offset *i* + 1.
///
/// ```
/// use storage::{ColumnSpec, ColumnsWriter};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("names");
/// let specs = [ColumnSpec::of::<u64>(), ColumnSpec::of::<u8>()];
/// let mut writer = ColumnsWriter::create(&path, &specs)?;
/// writer.append(0, &[0_u64])?;
/// for name in ["Ada", "", "Grace"] {
///     writer.append(1, name.as_bytes())?;
///     writer.append(0, &[writer.len(1)?])?;
/// }
/// let columns = writer.seal()?;
/// let names = columns.byte_strings(0, 1)?;
/// assert_eq!(names.len(), 3);
/// assert_eq!(names.get(2)?, b"Grace");
/// assert!(names.get(3).is_err());
/// # Ok::<(), storage::ColumnsError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ByteStrings<'a> {
    columns: &'a Columns,
    offsets_column: usize,
    bytes_column: usize,
    len: usize,
}

impl<'a> ByteStrings<'a> {
    pub(super) fn new(
        columns: &'a Columns,
        offsets_column: usize,
        bytes_column: usize,
    ) -> Result<Self> {
        // These fail where the columns hold something else.
        columns.column_range::<u64>(offsets_column, 0..0)?;
        columns.column_range::<u8>(bytes_column, 0..0)?;
        let len = columns.len(offsets_column)?.saturating_sub(1);
        Ok(Self { columns, offsets_column, bytes_column, len })
    }

    /// How many strings there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Borrows a string; verifies the pages that it and its offsets lie in.
    ///
    /// # Errors
    /// As [`Columns::column_range`], also where there is no such string, or its offsets are not
    /// those of bytes in the column.
    pub fn get(&self, index: usize) -> Result<&'a [u8]> {
        let ends = index..index.saturating_add(2);
        let offsets = self.columns.column_range::<u64>(self.offsets_column, ends)?;
        // What no `usize` can tell lies past the end, which the column says.
        let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = place(offsets[0])..place(offsets[1]);
        self.columns.column_range(self.bytes_column, bytes)
    }
}
