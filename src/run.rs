//! Sorted runs of records, read in place.

use std::{fmt, marker::PhantomData, path::Path};

use crate::{ColumnSpec, Columns, ColumnsError, FixedLayout, SealedFileOptions, columns::Result};

mod cursor;
mod key;
mod merge;
mod window;
mod writer;

pub use cursor::Cursor;
pub use key::RunKey;
#[doc(hidden)]
pub use key::{FixedBuffer, KeyBuffer, KeySpecs, KeyWindow, TextBuffer, TextWindow};
pub use merge::merge;
#[doc(hidden)]
pub use window::Window;
pub use writer::{RunWriter, TempRunWriter};

/// What a run's columns are, in the order they have in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// Each key once, in order; of keys of any length their bytes, end to end.
    Keys,
    /// Where each key's values begin, and, last, how many values there are.
    Offsets,
    /// The values of the first key, those of the second, and so on; in order for each key.
    Values,
    /// The first key of each block of keys; of keys of any length its first eight bytes, as a number.
    Index,
    /// The weight of each value; none where all weigh 1.
    Weights,
    /// Where each key of any length begins, and, last, where the last one ends; keys of one size have no such
    /// column.
    Starts,
}

impl Part {
    const fn column(self) -> usize {
        self as usize
    }
}

/// A record of a run, borrowed from the mapping.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Record<'a, K: ?Sized, V> {
    /// The key.
    pub key: &'a K,
    /// One of its values.
    pub value: &'a V,
    /// What the record weighs: 1 where the run was written without weights.
    pub weight: i64,
}

impl<K: ?Sized, V> Clone for Record<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: ?Sized, V> Copy for Record<'_, K, V> {}

/// A sealed file of distinct records, each with a weight, sorted by key and then by value.
///
/// Keys, offsets, values and weights are [`Columns`] of their own, and records are borrowed from them without a
/// copy. Opening reads the directory, whatever the size of the file; a page is verified when a cursor first
/// comes to it. A seek searches a small column with the first key of each page of keys, and then that one page.
///
/// Cloning is cheap and shares the mapping.
///
/// ```
/// use storage::run::{Run, RunWriter};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("orders");
/// let mut writer = RunWriter::create(&path)?;
/// writer.push(&3_u64, &10_u32)?;
/// writer.push(&3, &20)?;
/// writer.push_weighted(&8, &10, -1)?;
/// writer.seal()?;
///
/// let run = Run::<u64, u32>::open(&path)?;
/// let mut cursor = run.cursor();
/// assert_eq!(cursor.seek(&4)?, Some(&8));
/// let record = cursor.next().expect("a seek that finds a key stands before its values")?;
/// assert_eq!((*record.key, *record.value, record.weight), (8, 10, -1));
/// assert_eq!(run.cursor().count(), 3);
/// # Ok::<(), storage::ColumnsError>(())
/// ```
///
/// Keys can be text, or bytes, of any length:
///
/// ```
/// use storage::run::{Run, RunWriter};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("people");
/// let mut writer = RunWriter::create(&path)?;
/// for (name, born) in [("Ada", 1815_u32), ("Edsger", 1930), ("Grace", 1906)] {
///     writer.push(name, &born)?;
/// }
/// writer.seal()?;
///
/// let run = Run::<str, u32>::open(&path)?;
/// let mut cursor = run.cursor();
/// assert_eq!(cursor.seek("B")?, Some("Edsger")); // points into the mapping
/// assert_eq!(cursor.next().map(|record| record.map(|record| *record.value)).transpose()?, Some(1930));
/// # Ok::<(), storage::ColumnsError>(())
/// ```
pub struct Run<K: ?Sized, V> {
    columns: Columns,
    key_count: usize,
    value_count: usize,
    is_weighted: bool,
    records: PhantomData<fn(Box<K>) -> V>,
}

impl<K: RunKey + ?Sized, V: FixedLayout + Ord> Run<K, V> {
    /// Opens a run that [`RunWriter`] wrote.
    ///
    /// # Errors
    /// [`ColumnsError::Store`], as [`Columns::open`]; [`ColumnsError::Kind`] where the columns are
    /// no run; [`ColumnsError::Layout`] where they hold other keys or values;
    /// [`ColumnsError::RunLength`] where their lengths contradict.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::of(Columns::open(path)?)
    }

    /// Opens a run otherwise than by default: under a budget, or to be read in a certain order.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// ```
    /// use storage::{ResidencyBudget, SealedFile, run::{Run, RunWriter}};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("orders");
    /// let mut writer = RunWriter::create(&path)?;
    /// writer.push(&3_u64, &10_u32)?;
    /// writer.seal()?;
    ///
    /// let budget = ResidencyBudget::new(4 << 20)?;
    /// let run = Run::<u64, u32>::open_with(&SealedFile::options().budget(&budget), &path)?;
    /// assert_eq!(run.cursor().count(), 1);
    /// # Ok::<(), storage::ColumnsError>(())
    /// ```
    pub fn open_with(options: &SealedFileOptions, path: impl AsRef<Path>) -> Result<Self> {
        Self::of(Columns::open_with(options, path)?)
    }

    /// The run in columns that are open.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of(columns: Columns) -> Result<Self> {
        columns.expect_kind(K::KIND)?;
        for (column, asked) in specs::<K, V>().into_iter().enumerate() {
            let found = columns.spec(column)?;
            if found != asked {
                let path = columns.file().path().into();
                let (found, asked) = (Box::new(found), Box::new(asked));
                return Err(ColumnsError::Layout { path, column, found, asked });
            }
        }
        let len = |part: Part| columns.len(part.column());
        let (key_count, value_count) = (K::count(&columns)?, len(Part::Values)?);
        let weight_count = len(Part::Weights)?;
        let weights = if weight_count == 0 { 0 } else { value_count };
        let offsets = (Part::Offsets.column(), key_count + 1);
        let lens = K::lens(&columns, key_count)?.into_iter();
        for (column, expected) in lens.chain([offsets, (Part::Weights.column(), weights)]) {
            let found = columns.len(column)?;
            if found != expected {
                let path = columns.file().path().into();
                return Err(ColumnsError::RunLength { path, column, found, expected });
            }
        }
        let is_weighted = weight_count > 0;
        Ok(Self { columns, key_count, value_count, is_weighted, records: PhantomData })
    }

    /// How many different keys there are.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.key_count
    }

    /// How many records there are.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.value_count
    }

    /// The columns: keys, offsets, values, first keys of pages, and weights.
    #[must_use]
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// A cursor before the first record. It is an iterator over records, and can be moved to a key.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'_, K, V> {
        Cursor::new(self)
    }

    /// The position of the first key that is not below `key`: the count of keys where all are.
    fn lower_bound(&self, key: &K) -> Result<usize> {
        K::lower_bound(&self.columns, self.key_count, key)
    }
}

/// What the columns of a run hold.
fn specs<K: RunKey + ?Sized, V: FixedLayout>() -> Vec<ColumnSpec> {
    let keys = K::specs();
    let mut specs = vec![
        keys.keys,
        ColumnSpec::of::<u64>(),
        ColumnSpec::of::<V>(),
        keys.index,
        ColumnSpec::of::<i64>(),
    ];
    specs.extend(keys.starts);
    specs
}

impl<K: ?Sized, V> Clone for Run<K, V> {
    fn clone(&self) -> Self {
        Self { columns: self.columns.clone(), ..*self }
    }
}

impl<K: ?Sized, V> fmt::Debug for Run<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("path", &self.columns.file().path())
            .field("key_count", &self.key_count)
            .field("record_count", &self.value_count)
            .finish_non_exhaustive()
    }
}
