//! Sorted runs as one sorted sequence.

use std::{cmp::Ordering, fmt};

use super::Result;

/// Which of two records comes first.
///
/// Closures that compare are such an order. Whoever has a number at hand that often decides makes
/// an order of their own, with a [`prefix`](Self::prefix).
pub trait Order {
    /// A number that is smaller for a record that comes before another, or equal: the first bytes
    /// of a key. It is computed once a record, and only where it is equal the records themselves
    /// are compared.
    #[inline]
    fn prefix(&self, record: &[u8]) -> u64 {
        let _same_for_all = record;
        0
    }

    /// How two records with the same prefix compare.
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering;
}

impl<F: Fn(&[u8], &[u8]) -> Ordering> Order for F {
    #[inline]
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        self(a, b)
    }
}

/// Records in order, one at a time.
pub trait SortedRun {
    /// Moves to the next record; says whether there is one.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn advance(&mut self) -> Result<bool>;

    /// The record that it was moved to.
    fn record(&self) -> &[u8];
}

/// One sorted sequence of many sorted runs. It is stable: of equal records, those of an earlier run
/// come first.
///
/// A tree of losers: for each record, about log2 of the number of runs comparisons, nearly all of
/// them of two numbers.
///
/// ```
/// use storage::spill::{SpillMerge, SpillOptions};
///
/// # let folder = tempfile::tempdir().unwrap();
/// let mut writer = SpillOptions::new(folder.path()).create()?;
/// ["a", "c", "e"].iter().try_for_each(|word| writer.append_record(word.as_bytes()).map(drop))?;
/// let middle = writer.position();
/// ["b", "d"].iter().try_for_each(|word| writer.append_record(word.as_bytes()).map(drop))?;
/// let reader = writer.finish()?;
///
/// let runs = vec![reader.run(..middle)?.cursor(), reader.run(middle..)?.cursor()];
/// let mut merge = SpillMerge::new(runs, |a: &[u8], b: &[u8]| a.cmp(b))?;
/// let mut sorted = Vec::new();
/// while let Some(record) = merge.next()? {
///     sorted.extend_from_slice(record);
/// }
/// assert_eq!(sorted, b"abcde");
/// # Ok::<(), storage::spill::SpillError>(())
/// ```
pub struct SpillMerge<R, O> {
    runs: Vec<R>,
    order: O,
    /// The losers of the matches at the inner nodes; node 0 has the winner of all.
    tree: Vec<Player>,
    begun: bool,
}

/// A run that takes part, and the prefix of its record.
#[derive(Clone, Copy)]
struct Player {
    prefix: u64,
    run: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Running,
    Ended,
}

impl<R: SortedRun, O: Order> SpillMerge<R, O> {
    /// Begins with the first record of each run.
    ///
    /// # Errors
    /// Where one cannot be read.
    ///
    /// # Panics
    /// With 2^32 runs.
    pub fn new(runs: Vec<R>, order: O) -> Result<Self> {
        let nobody = Player { prefix: 0, run: 0, state: State::Ended };
        let tree = vec![nobody; runs.len().max(1)];
        let mut merge = Self { runs, order, tree, begun: false };
        if !merge.runs.is_empty() {
            merge.tree[0] = merge.play(1)?;
        }
        Ok(merge)
    }

    /// Plays the matches at a node and below it, and gives the winner. Leaves are the nodes from
    /// the number of runs on.
    fn play(&mut self, node: usize) -> Result<Player> {
        let count = self.runs.len();
        if node >= count {
            return self.enter(node - count);
        }
        let (left, right) = (self.play(2 * node)?, self.play(2 * node + 1)?);
        let (winner, loser) =
            if self.is_before(left, right) { (left, right) } else { (right, left) };
        self.tree[node] = loser;
        Ok(winner)
    }

    /// Moves a run to its next record.
    #[inline]
    fn enter(&mut self, index: usize) -> Result<Player> {
        let run = u32::try_from(index).expect("there are fewer than 2^32 runs");
        Ok(if self.runs[index].advance()? {
            let prefix = self.order.prefix(self.runs[index].record());
            Player { prefix, run, state: State::Running }
        } else {
            Player { prefix: 0, run, state: State::Ended }
        })
    }

    #[inline]
    fn is_before(&self, a: Player, b: Player) -> bool {
        let by_numbers = (a.state, a.prefix).cmp(&(b.state, b.prefix));
        let by_records = by_numbers.then_with(|| match a.state {
            State::Running => self.order.compare(self.record(a), self.record(b)),
            State::Ended => Ordering::Equal,
        });
        by_records.then(a.run.cmp(&b.run)).is_lt()
    }

    fn record(&self, player: Player) -> &[u8] {
        self.runs[player.run as usize].record()
    }

    /// The next record of all; `None` behind the last.
    ///
    /// # Errors
    /// Where a run cannot be read.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.begun && self.tree[0].state == State::Running {
            let last = self.tree[0].run as usize;
            let mut winner = self.enter(last)?;
            let mut node = (last + self.runs.len()) / 2;
            while node > 0 {
                let other = self.tree[node];
                if self.is_before(other, winner) {
                    self.tree[node] = winner;
                    winner = other;
                }
                node /= 2;
            }
            self.tree[0] = winner;
        }
        self.begun = true;
        let winner = self.tree[0];
        Ok(if winner.state == State::Running { Some(self.record(winner)) } else { None })
    }
}

impl<R, O> fmt::Debug for SpillMerge<R, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillMerge").field("runs", &self.runs.len()).finish_non_exhaustive()
    }
}
