//! Writing a run.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    path::{Path, PathBuf},
};

use pagestore::{Error, Named, Nameless, Unsealed};

use super::{
    Part, Run, RunKey,
    key::{KeyBuffer, append_all},
    specs,
};
use crate::{ColumnsError, ColumnsWriter, FixedLayout, PageWriterOptions, columns::Result};

/// How many items of a column are handed on at a time.
const BATCH_LEN: usize = 1024;

/// Writes a [`Run`]: takes records in order, and seals them.
///
/// `T` tells what becomes of the file, as for [`PageWriter`](crate::PageWriter).
pub struct RunWriter<K: RunKey + ?Sized, V, T = Named> {
    columns: ColumnsWriter<T>,
    path: PathBuf,
    keys: K::Buffer,
    offsets: Vec<u64>,
    values: Vec<V>,
    weights: Vec<i64>,
    /// The last record that was taken.
    last: Option<(K::Owned, V)>,
    key_count: u64,
    record_count: u64,
    /// Whether a record has weighed something else than 1; before that, no weight is written.
    is_weighted: bool,
    /// Set when what comes behind the last record was handed on: of the keys, and of all.
    ended: Option<Ended>,
}

/// What of a run's end was handed on. It only goes forward, so that sealing can be tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    Keys,
    All,
}

/// A writer of a temporary run: [`TempRunWriter::create_in`].
pub type TempRunWriter<K, V> = RunWriter<K, V, Nameless>;

impl<K: RunKey + ?Sized, V: FixedLayout + Ord> RunWriter<K, V> {
    /// Begins a new file with pages as by default; see [`create_with`](Self::create_with).
    ///
    /// # Errors
    /// As [`create_with`](Self::create_with).
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::create_with(PageWriterOptions::new(), path)
    }

    /// Begins a new file, which gets its name when it is sealed.
    ///
    /// # Errors
    /// [`ColumnsError::Store`], as [`PageWriterOptions::create`].
    pub fn create_with(pages: PageWriterOptions, path: impl AsRef<Path>) -> Result<Self> {
        let options = ColumnsWriter::options().kind(K::KIND).pages(pages);
        let columns = options.create(path.as_ref(), &specs::<K, V>())?;
        Ok(Self::begin(columns, path.as_ref()))
    }

    /// Makes the run durable and gives the file its name.
    ///
    /// # Errors
    /// [`ColumnsError::Store`], as [`PageWriter::seal`](crate::PageWriter::seal): with the writer where that
    /// can be tried again.
    pub fn seal(mut self) -> Result<Run<K, V>, Unsealed<Self, ColumnsError>> {
        if let Err(error) = self.write_rest() {
            return Err(self.unsealed(error));
        }
        match self.columns.seal() {
            Ok(sealed) => Run::of(sealed).map_err(|error| Unsealed::new(error, None)),
            Err(unsealed) => {
                let (error, columns) = unsealed.into_parts();
                Err(Unsealed::new(error, columns.map(|columns| Self { columns, ..self })))
            }
        }
    }
}

impl<K: RunKey + ?Sized, V: FixedLayout + Ord> TempRunWriter<K, V> {
    /// Begins a temporary file in `folder`, with pages as by default; see
    /// [`PageWriterOptions::create_temporary`].
    ///
    /// # Errors
    /// [`ColumnsError::Store`], as [`PageWriterOptions::create_temporary`].
    pub fn create_in(folder: impl AsRef<Path>) -> Result<Self> {
        Self::create_in_with(PageWriterOptions::new(), folder)
    }

    /// Begins a temporary file in `folder`.
    ///
    /// # Errors
    /// [`ColumnsError::Store`], as [`PageWriterOptions::create_temporary`].
    pub fn create_in_with(pages: PageWriterOptions, folder: impl AsRef<Path>) -> Result<Self> {
        let options = ColumnsWriter::options().kind(K::KIND).pages(pages);
        let columns = options.create_temporary(folder.as_ref(), &specs::<K, V>())?;
        Ok(Self::begin(columns, folder.as_ref()))
    }

    /// Finishes the run. Nothing is made durable, and the file is gone with the last handle.
    ///
    /// # Errors
    /// [`ColumnsError::Store`], as [`TempWriter::finish`](crate::TempWriter::finish): with the writer where
    /// that can be tried again.
    pub fn finish(mut self) -> Result<Run<K, V>, Unsealed<Self, ColumnsError>> {
        if let Err(error) = self.write_rest() {
            return Err(self.unsealed(error));
        }
        match self.columns.finish() {
            Ok(sealed) => Run::of(sealed).map_err(|error| Unsealed::new(error, None)),
            Err(unsealed) => {
                let (error, columns) = unsealed.into_parts();
                Err(Unsealed::new(error, columns.map(|columns| Self { columns, ..self })))
            }
        }
    }
}

impl<K: RunKey + ?Sized, V: FixedLayout + Ord, T> RunWriter<K, V, T> {
    fn begin(columns: ColumnsWriter<T>, path: &Path) -> Self {
        Self {
            columns,
            path: path.into(),
            keys: K::Buffer::default(),
            offsets: Vec::with_capacity(BATCH_LEN),
            values: Vec::with_capacity(BATCH_LEN),
            weights: Vec::with_capacity(BATCH_LEN),
            last: None,
            key_count: 0,
            record_count: 0,
            is_weighted: false,
            ended: None,
        }
    }

    /// Takes the next record, with a weight of 1. Where it fails, the record was not taken.
    ///
    /// # Errors
    /// [`ColumnsError::Disorder`] where it does not come after the last one by key and then by
    /// value; [`ColumnsError::Store`], as [`PageWriter::append`](crate::PageWriter::append).
    #[inline]
    pub fn push(&mut self, key: &K, value: &V) -> Result<()> {
        self.push_weighted(key, value, 1)
    }

    /// Takes the next record. One that weighs 0 is none, and is left out.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_weighted(&mut self, key: &K, value: &V, weight: i64) -> Result<()> {
        let is_new_key = match &self.last {
            None => true,
            Some((last_key, last_value)) => match last_key.borrow().cmp(key) {
                Ordering::Less => true,
                Ordering::Equal if last_value < value => false,
                _ => {
                    let (path, record) = (self.path.clone(), self.record_count);
                    return Err(ColumnsError::Disorder { path, record });
                }
            },
        };
        if self.ended.is_some() {
            return Err(Error::Sealed { path: self.path.clone() }.into());
        }
        if weight == 0 {
            return Ok(());
        }
        // Whatever can fail comes first, so that a record is taken as a whole.
        if weight != 1 && !self.is_weighted {
            self.begin_weights()?;
        }
        if self.values.len() == BATCH_LEN {
            self.hand_on()?;
        }
        if is_new_key {
            self.keys.push(key, self.key_count);
            self.offsets.push(self.record_count);
            self.key_count += 1;
        }
        self.values.push(*value);
        if self.is_weighted {
            self.weights.push(weight);
        }
        self.record_count += 1;
        match &mut self.last {
            // What is owned of a text is used again.
            Some((last_key, last_value)) => {
                if is_new_key {
                    key.clone_into(last_key);
                }
                *last_value = *value;
            }
            None => self.last = Some((key.to_owned(), *value)),
        }
        Ok(())
    }

    /// Writes the weights of all records so far, which were 1.
    fn begin_weights(&mut self) -> Result<()> {
        let ones = [1_i64; BATCH_LEN];
        let mut written = self.columns.len(Part::Weights.column())?;
        while written < self.record_count {
            let missing = usize::try_from(self.record_count - written).unwrap_or(usize::MAX);
            let ones = &ones[..missing.min(BATCH_LEN)];
            self.columns.append(Part::Weights.column(), ones)?;
            written += ones.len() as u64;
        }
        self.is_weighted = true;
        Ok(())
    }

    /// Hands on what was taken to the columns. What fails can be tried again.
    fn hand_on(&mut self) -> Result<()> {
        let columns = &mut self.columns;
        self.keys.hand_on(columns)?;
        append_all(columns, Part::Offsets, &mut self.offsets)?;
        append_all(columns, Part::Values, &mut self.values)?;
        append_all(columns, Part::Weights, &mut self.weights)
    }

    /// How many records were taken.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        self.record_count
    }

    fn write_rest(&mut self) -> Result<()> {
        if self.ended.is_none() {
            self.hand_on()?;
            self.keys.finish(&mut self.columns)?;
            self.ended = Some(Ended::Keys);
        }
        if self.ended == Some(Ended::Keys) {
            self.columns.append(Part::Offsets.column(), &[self.record_count])?;
            self.ended = Some(Ended::All);
        }
        Ok(())
    }

    /// Gives the writer back, unless what it took is lost.
    fn unsealed(mut self, error: ColumnsError) -> Unsealed<Self, ColumnsError> {
        let is_lost = self.columns.is_lost();
        Unsealed::new(error, (!is_lost).then_some(self))
    }
}

impl<K: RunKey + ?Sized, V, T> fmt::Debug for RunWriter<K, V, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunWriter")
            .field("path", &self.path)
            .field("key_count", &self.key_count)
            .field("record_count", &self.record_count)
            .finish_non_exhaustive()
    }
}
