//! Going through a run.

use std::{cmp::Ordering, fmt, iter::FusedIterator};

use super::{Part, Record, Run, RunKey, key::KeyWindow, window::Window};
use crate::{ColumnsError, FixedLayout, columns::Result};

/// Goes through the records of a run in order, or jumps to a key. Nothing is allocated or copied.
///
/// As an iterator it ends after the first error. Whoever computes something from the records asks
/// [`still_valid`](crate::SealedFile::still_valid) of the run's file before it is handed on, as for
/// everything borrowed from a mapping.
pub struct Cursor<'a, K: RunKey + ?Sized, V> {
    run: &'a Run<K, V>,
    keys: K::Window<'a>,
    offsets: Window<'a, u64>,
    values: Window<'a, V>,
    weights: Window<'a, i64>,
    /// The key whose values are given; `None` before the first and after the last.
    key: Option<&'a K>,
    /// The position of the key after it.
    key_next: usize,
    /// The position of the value to be given next.
    value_next: usize,
    /// Where the values of the key end.
    value_end: usize,
}

impl<'a, K: RunKey + ?Sized, V: FixedLayout + Ord> Cursor<'a, K, V> {
    pub(super) fn new(run: &'a Run<K, V>) -> Self {
        let Run { columns, key_count, value_count, .. } = run;
        Self {
            run,
            keys: K::Window::new(columns, *key_count),
            offsets: Window::of(columns, Part::Offsets, key_count + 1),
            values: Window::of(columns, Part::Values, *value_count),
            weights: Window::of(columns, Part::Weights, *value_count),
            key: None,
            key_next: 0,
            value_next: 0,
            value_end: 0,
        }
    }

    /// Moves to the first key that is not below `key`, before its first value, and returns it;
    /// `None`, and the end of the run, where there is none. The cursor may come from anywhere.
    ///
    /// From a key shortly before, this looks at a few keys in between; so going through many keys in
    /// order costs little each, found or not. From elsewhere it is a search in the index and in one
    /// page of keys.
    ///
    /// # Errors
    /// [`ColumnsError::Store`] where a page is damaged or cannot be reached;
    /// [`ColumnsError::RunOffsets`].
    pub fn seek(&mut self, key: &K) -> Result<Option<&'a K>> {
        let position = match self.near(key)? {
            Some(position) => position,
            None => self.run.lower_bound(key)?,
        };
        self.go_to_key(position)
    }

    /// Moves to exactly this key, before its first value, and says whether it is there. Where it is
    /// not, the cursor stands before the next key.
    ///
    /// # Errors
    /// As [`seek`](Self::seek).
    pub fn seek_exact(&mut self, key: &K) -> Result<bool> {
        Ok(self.seek(key)? == Some(key))
    }

    /// Moves to the next key, before its first value, past what is left of the values of this one.
    ///
    /// # Errors
    /// As [`seek`](Self::seek).
    pub fn next_key(&mut self) -> Result<Option<&'a K>> {
        self.go_to_key(self.key_next)
    }

    /// The key whose values are given next, or were given last; `None` before the first record and
    /// after the last.
    #[must_use]
    pub fn key(&self) -> Option<&'a K> {
        self.key
    }

    /// Where the search ends, if that is near: at this key, or among those behind it in the window.
    fn near(&mut self, key: &K) -> Result<Option<usize>> {
        let Some(current) = self.key else { return Ok(None) };
        let position = self.key_next - 1;
        match current.cmp(key) {
            Ordering::Equal => Ok(Some(position)),
            Ordering::Greater if position == 0 => Ok(Some(0)),
            Ordering::Greater => {
                let before = self.keys.get(position - 1)?;
                Ok((before < key).then_some(position))
            }
            Ordering::Less => Ok(self.keys.near(self.key_next, key)),
        }
    }

    fn go_to_key(&mut self, position: usize) -> Result<Option<&'a K>> {
        self.key = None;
        (self.value_next, self.value_end) = (0, 0);
        self.key_next = self.run.key_count;
        if position >= self.run.key_count {
            return Ok(None);
        }
        let key = self.keys.get(position)?;
        let start = *self.offsets.item(position)?;
        let end = *self.offsets.item(position + 1)?;
        let values = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let in_order = |&(start, end): &(usize, usize)| start < end && end <= self.run.value_count;
        let Some((start, end)) = values.filter(in_order) else {
            return Err(ColumnsError::RunOffsets {
                path: self.run.columns.file().path().into(),
                key: position,
                start,
                end,
                value_count: self.run.value_count,
            });
        };
        (self.value_next, self.value_end) = (start, end);
        self.key_next = position + 1;
        self.key = Some(key);
        Ok(self.key)
    }

    #[inline]
    fn next_record(&mut self) -> Result<Option<Record<'a, K, V>>> {
        if self.value_next == self.value_end {
            self.go_to_key(self.key_next)?;
        }
        let Some(key) = self.key else { return Ok(None) };
        let value = self.values.item(self.value_next)?;
        let weight = if self.run.is_weighted { *self.weights.item(self.value_next)? } else { 1 };
        self.value_next += 1;
        Ok(Some(Record { key, value, weight }))
    }

    #[cold]
    fn end(&mut self) {
        (self.key, self.key_next) = (None, self.run.key_count);
        (self.value_next, self.value_end) = (0, 0);
    }
}

impl<'a, K: RunKey + ?Sized, V: FixedLayout + Ord> Iterator for Cursor<'a, K, V> {
    type Item = Result<Record<'a, K, V>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let record = self.next_record();
        if record.is_err() {
            self.end();
        }
        record.transpose()
    }
}

impl<K: RunKey + ?Sized, V: Clone> Clone for Cursor<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            offsets: self.offsets.clone(),
            values: self.values.clone(),
            weights: self.weights.clone(),
            ..*self
        }
    }
}

impl<K: RunKey + ?Sized, V: FixedLayout + Ord> FusedIterator for Cursor<'_, K, V> {}

impl<K: RunKey + fmt::Debug + ?Sized, V> fmt::Debug for Cursor<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("key", &self.key)
            .field("key_next", &self.key_next)
            .field("value_next", &self.value_next)
            .finish_non_exhaustive()
    }
}
