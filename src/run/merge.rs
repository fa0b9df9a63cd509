//! Making one run of several.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, binary_heap::PeekMut},
};

use super::{Cursor, Record, Run, RunKey, RunWriter};
use crate::{FixedLayout, columns::Result};

/// Writes the records of all `runs` to `writer`, in order. Records with the same key and value
/// become one, with the weights that `combine` makes of theirs, from left to right; one that weighs
/// 0 in the end is left out.
///
/// Memory is that of the writer, and a cursor for each run.
///
/// # Errors
/// [`ColumnsError`](crate::ColumnsError): as [`Cursor::seek`] and [`RunWriter::push`].
///
/// ```
/// use storage::run::{RunWriter, merge};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = |name| folder.path().join(name);
/// let mut bought = RunWriter::create(path("bought"))?;
/// bought.push(&7_u64, &1_u64)?;
/// bought.push(&8, &1)?;
/// let mut sold = RunWriter::create(path("sold"))?;
/// sold.push_weighted(&7, &1, -1)?;
///
/// let runs = [bought.seal()?, sold.seal()?];
/// let mut left = RunWriter::create(path("left"))?;
/// merge(&runs, &mut left, i64::saturating_add)?;
/// let left = left.seal()?;
/// assert_eq!((left.record_count(), left.cursor().seek(&0)?), (1, Some(&8)));
/// # Ok::<(), storage::ColumnsError>(())
/// ```
pub fn merge<K: RunKey + ?Sized, V: FixedLayout + Ord, T>(
    runs: &[Run<K, V>],
    writer: &mut RunWriter<K, V, T>,
    mut combine: impl FnMut(i64, i64) -> i64,
) -> Result<()> {
    let mut heads = BinaryHeap::with_capacity(runs.len());
    for (order, run) in runs.iter().enumerate() {
        let mut rest = run.cursor();
        if let Some(record) = rest.next() {
            heads.push(Reverse(Head { record: record?, order, rest }));
        }
    }
    let mut last: Option<Record<'_, K, V>> = None;
    while let Some(mut head) = heads.peek_mut() {
        let record = head.0.record;
        match head.0.rest.next() {
            // The heap puts it in its place when `head` is dropped.
            Some(next) => head.0.record = next?,
            None => drop(PeekMut::pop(head)),
        }
        last = Some(match last {
            Some(last) if (last.key, last.value) == (record.key, record.value) => {
                Record { weight: combine(last.weight, record.weight), ..last }
            }
            Some(last) => {
                writer.push_weighted(last.key, last.value, last.weight)?;
                record
            }
            None => record,
        });
    }
    if let Some(last) = last {
        writer.push_weighted(last.key, last.value, last.weight)?;
    }
    Ok(())
}

/// The record of a run that is next, and those after it.
struct Head<'a, K: RunKey + ?Sized, V> {
    record: Record<'a, K, V>,
    /// The run's place among all: equal records come in this order.
    order: usize,
    rest: Cursor<'a, K, V>,
}

impl<K: RunKey + ?Sized, V: Ord> Ord for Head<'_, K, V> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (&self.record, &other.record);
        (a.key, a.value, self.order).cmp(&(b.key, b.value, other.order))
    }
}

impl<K: RunKey + ?Sized, V: Ord> PartialOrd for Head<'_, K, V> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: RunKey + ?Sized, V: Ord> PartialEq for Head<'_, K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<K: RunKey + ?Sized, V: Ord> Eq for Head<'_, K, V> {}
