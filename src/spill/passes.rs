//! Merging more runs than can be read at once.

use std::num::NonZeroUsize;

use super::{Merge, Order, Result, Run, SpillError, SpillOptions};

/// Merges adjacent runs until there are at most `runs_max` (at least two), which [`Merge`] can then
/// take all at once. What is merged goes to new spills; an old one is gone when its last run is.
///
/// Does no more than it must: where few runs are too many, only those are merged.
/// `merged` is told the bytes of each record that was moved, with its length, and can end the work
/// by an error.
///
/// A cursor takes up to [`MEMORY_BYTES`](super::SpillCursor::MEMORY_BYTES) of the budget, so that is
/// how many runs a budget has room for.
///
/// # Errors
/// Where runs cannot be read or written, and what `merged` fails with.
pub fn merge_down<E: From<SpillError>>(
    mut runs: Vec<Run>,
    runs_max: NonZeroUsize,
    options: &SpillOptions,
    order: &impl Order,
    mut merged: impl FnMut(u64) -> Result<(), E>,
) -> Result<Vec<Run>, E> {
    let runs_max = runs_max.get().max(2);
    while runs.len() > runs_max {
        let mut left = runs.into_iter();
        let mut passed = Vec::new();
        let mut spill = options.create()?;
        let mut places = Vec::new();
        while left.len() > 0 {
            let excess = (passed.len() + places.len() + left.len()).saturating_sub(runs_max);
            if excess == 0 {
                break;
            }
            let group: Vec<Run> = left.by_ref().take((excess + 1).min(runs_max)).collect();
            let start = spill.position();
            let cursors = group.iter().map(Run::cursor).collect();
            let mut merge = Merge::new(cursors, RefOrder(order))?;
            while let Some(record) = merge.next()? {
                spill.append_record(record)?;
                merged(record.len() as u64)?;
            }
            places.push(start..spill.position());
        }
        let reader = spill.finish()?;
        for place in places {
            passed.push(reader.run(place)?);
        }
        passed.extend(left);
        runs = passed;
    }
    Ok(runs)
}

/// An order that is borrowed.
struct RefOrder<'order, O>(&'order O);

impl<O: Order> Order for RefOrder<'_, O> {
    #[inline]
    fn prefix(&self, record: &[u8]) -> u64 {
        self.0.prefix(record)
    }

    #[inline]
    fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        self.0.compare(a, b)
    }
}
