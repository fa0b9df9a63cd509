//! Merging more runs than can be read at once.

use pagestore::Unsealed;

use super::{Order, Result, SpillError, SpillMerge, SpillOptions, SpillRun};

/// How many runs are merged at once where no budget says how many can be.
const RUNS_MAX: u64 = 256;

/// Merges adjacent runs until all that are left can be read at once: until the budget has room for a cursor of each
/// ([`MEMORY_BYTES`](super::SpillCursor::MEMORY_BYTES)), or, without one, there are at most 256. What is merged goes
/// to new spills; an old one is gone when its last run is.
///
/// Does no more than it must: where few runs are too many, only those are merged.
/// `merged` is told the bytes of each record that was moved, with its length, and can end the work
/// by an error.
///
/// # Errors
/// Where runs cannot be read or written, and what `merged` fails with.
///
/// ```
/// use storage::{ResidencyBudget, spill::{SpillError, SpillMerge, SpillOptions, SpillRun, merge_down}};
///
/// # let folder = tempfile::tempdir().unwrap();
/// let budget = ResidencyBudget::new(1 << 20)?;
/// let options = SpillOptions::new(folder.path()).budget(&budget);
/// let mut writer = options.create()?;
/// let mut places = Vec::new();
/// for run in 0..100_u8 {
///     let start = writer.position();
///     writer.append_record(&[run; 1000])?;
///     places.push(start..writer.position());
/// }
/// let reader = writer.finish()?;
/// let runs = places.into_iter().map(|place| reader.run(place)).collect::<Result<Vec<_>, _>>()?;
///
/// let order = |a: &[u8], b: &[u8]| a.cmp(b);
/// let few = merge_down(runs, &options, &order, |_| Ok::<_, SpillError>(()))?;
/// assert!(few.len() < 100);
/// let mut merge = SpillMerge::new(few.iter().map(SpillRun::cursor).collect(), order)?;
/// assert_eq!(merge.next()?, Some(&[0; 1000][..]));
/// # Ok::<(), SpillError>(())
/// ```
pub fn merge_down<E: From<SpillError>>(
    mut runs: Vec<SpillRun>,
    options: &SpillOptions,
    order: &impl Order,
    mut merged: impl FnMut(u64) -> Result<(), E>,
) -> Result<Vec<SpillRun>, E> {
    let runs_max = runs_max(&runs);
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
            let group: Vec<SpillRun> = left.by_ref().take((excess + 1).min(runs_max)).collect();
            let start = spill.position();
            let cursors = group.iter().map(SpillRun::cursor).collect();
            let mut merge = SpillMerge::new(cursors, RefOrder(order))?;
            while let Some(record) = merge.next()? {
                spill.append_record(record)?;
                merged(record.len() as u64)?;
            }
            places.push(start..spill.position());
        }
        let reader = spill.finish().map_err(Unsealed::into_error)?;
        for place in places {
            passed.push(reader.run(place)?);
        }
        passed.extend(left);
        runs = passed;
    }
    Ok(runs)
}

/// How many of some runs can be read at once: two at least, which take less than they might if they must.
fn runs_max(runs: &[SpillRun]) -> usize {
    let cursor_bytes = runs.iter().map(|run| run.reader().cursor_bytes()).max();
    let budgets = runs.iter().filter_map(|run| run.reader().file().budget());
    let pinnable_bytes = budgets.map(|budget| budget.pinnable_bytes()).min();
    let count = match (pinnable_bytes, cursor_bytes) {
        (Some(pinnable_bytes), Some(cursor_bytes)) => pinnable_bytes / cursor_bytes,
        _ => RUNS_MAX,
    };
    usize::try_from(count).unwrap_or(usize::MAX).max(2)
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
