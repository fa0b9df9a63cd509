//! Merging more runs than can be read at once.

use std::collections::VecDeque;

use pagestore::Unsealed;

use super::{Order, Result, SpillError, SpillMerge, SpillOptions, SpillRun};

/// How many runs are merged at once where no budget says how many can be.
const RUNS_MAX: u64 = 256;

/// Merges adjacent runs until all that are left can be read at once: until the budget has room for a cursor of each
/// ([`MEMORY_BYTES`](super::SpillCursor::MEMORY_BYTES), and more for a run with a longer record), or, without a
/// budget, there are at most 256. What is merged goes to new spills; an old one is gone when its last run is.
///
/// Does no more than it must: where few runs are too many, only those are merged. Two runs are always
/// merged and always left, also where their longest records have to be copied to fit.
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
    loop {
        let room = Room::for_cursors(&runs);
        if runs.len() <= 2 || room.holds(&runs) {
            return Ok(runs);
        }
        let mut passed = Vec::new();
        let mut spill = options.create()?;
        let mut places = Vec::new();
        let mut excess = room.cost_of(&runs).saturating_sub(room.cost_max);
        let mut left = VecDeque::from(runs);
        while !left.is_empty() {
            let count = room.group_len(left.make_contiguous(), excess);
            let group: Vec<SpillRun> = left.drain(..count).collect();
            excess = excess.saturating_sub(room.saved_by(&group));
            if let [_] = group[..] {
                passed.extend(group.into_iter().map(Passed::AsItIs));
                continue;
            }
            let start = spill.position();
            let cursors = group.iter().map(SpillRun::cursor).collect();
            let mut merge = SpillMerge::new(cursors, RefOrder(order))?;
            while let Some(record) = merge.next()? {
                spill.append_record(record)?;
                merged(record.len() as u64)?;
            }
            passed.push(Passed::Merged(places.len()));
            places.push(start..spill.position());
        }
        let reader = spill.finish().map_err(Unsealed::into_error)?;
        runs = passed
            .into_iter()
            .map(|run| match run {
                Passed::AsItIs(run) => Ok(run),
                Passed::Merged(index) => reader.run(places[index].clone()),
            })
            .collect::<super::Result<_>>()?;
    }
}

/// A run of the next pass.
enum Passed {
    AsItIs(SpillRun),
    /// The so manieth that was written.
    Merged(usize),
}

/// How many cursors there is room for.
struct Room {
    /// What all cursors may cost together.
    cost_max: u64,
    unit: Unit,
}

/// What a cursor costs.
#[derive(Clone, Copy)]
enum Unit {
    /// The bytes that it takes of the budget.
    Bytes,
    /// One.
    Cursors,
}

impl Room {
    fn for_cursors(runs: &[SpillRun]) -> Self {
        let budgets = runs.iter().filter_map(|run| run.reader().file().budget());
        match budgets.map(|budget| budget.pinnable_bytes()).min() {
            Some(cost_max) => Self { cost_max, unit: Unit::Bytes },
            None => Self { cost_max: RUNS_MAX, unit: Unit::Cursors },
        }
    }

    fn cost(&self, run: &SpillRun) -> u64 {
        match self.unit {
            Unit::Bytes => run.cursor_bytes(),
            Unit::Cursors => 1,
        }
    }

    fn cost_of<'run>(&self, runs: impl IntoIterator<Item = &'run SpillRun>) -> u64 {
        runs.into_iter().map(|run| self.cost(run)).fold(0, u64::saturating_add)
    }

    fn holds(&self, runs: &[SpillRun]) -> bool {
        self.cost_of(runs) <= self.cost_max
    }

    /// How much less these cost as one: the run that they become asks for as much as the longest record of all.
    fn saved_by(&self, group: &[SpillRun]) -> u64 {
        let most = group.iter().map(|run| self.cost(run)).max().unwrap_or(0);
        self.cost_of(group) - most
    }

    /// How many runs, from the first on, to merge now, where all cost `excess` too much: as few as that takes, and
    /// no more than there is room for. One is passed on as it is.
    fn group_len(&self, left: &[SpillRun], excess: u64) -> usize {
        if excess == 0 || left.len() < 2 {
            return 1;
        }
        let (mut sum, mut most, mut count) = (0_u64, 0, 0);
        for cost in left.iter().map(|run| self.cost(run)) {
            sum = sum.saturating_add(cost);
            most = cost.max(most);
            if sum > self.cost_max {
                break;
            }
            count += 1;
            if sum - most >= excess {
                break;
            }
        }
        if count >= 2 {
            return count;
        }
        // There is not even room for two: those that take least.
        let costs = left.windows(2).map(|pair| self.cost_of(pair));
        if costs.clone().min() == costs.clone().next() { 2 } else { 1 }
    }
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
