//! Forms of the search for a key anywhere in a column: which one an index should have.
//!
//! Method: all forms look for the same keys, by turns, in a column of keys that are even and in one
//! of keys that crowd (squares), which is what interpolation is sensitive to.

use std::{hint::black_box, time::Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};

#[path = "../../src/search.rs"]
#[allow(dead_code, reason = "the rest of it is measured by cursors")]
mod search;

use search::{Index, partition};

use crate::{ROUNDS, SEEKS};

/// How many probes of an interpolation there are before it becomes a binary search.
const INTERPOLATIONS: usize = 4;

/// The first keys of the strides in the order in which a binary search meets them, from 1 on: the
/// children of `i` are `2 i` and `2 i + 1`.
struct Eytzinger {
    firsts: Vec<u64>,
    /// The number of the stride that an entry is the first key of.
    strides: Vec<usize>,
}

impl Eytzinger {
    fn new(sorted: &[u64]) -> Self {
        let len = sorted.len() + 1;
        let mut this = Self { firsts: vec![0; len], strides: vec![0; len] };
        this.fill(sorted, &mut 0, 1);
        this
    }

    fn fill(&mut self, sorted: &[u64], next: &mut usize, at: usize) {
        if at < self.firsts.len() {
            self.fill(sorted, next, 2 * at);
            (self.firsts[at], self.strides[at]) = (sorted[*next], *next);
            *next += 1;
            self.fill(sorted, next, 2 * at + 1);
        }
    }

    /// How many first keys are less than `key`.
    fn count_less(&self, key: u64) -> usize {
        let mut at = 1;
        while at < self.firsts.len() {
            at = 2 * at + usize::from(self.firsts[at] < key);
        }
        // Back up to where it went left for the last time: the first that is not less.
        at >>= at.trailing_ones() + 1;
        if at == 0 { self.firsts.len() - 1 } else { self.strides[at] }
    }
}

fn in_stride(keys: &[u64], strides_less: usize, key: u64) -> usize {
    let end = keys.len().min(strides_less * Index::<u64>::STRIDE);
    let start = strides_less.saturating_sub(1) * Index::<u64>::STRIDE;
    start + partition(&keys[start..end], |candidate| *candidate < key)
}

/// Guesses by the keys at the ends of what is left.
fn interpolated(keys: &[u64], key: u64) -> usize {
    let (mut low, mut high) = (0, keys.len());
    for _ in 0..INTERPOLATIONS {
        if high - low < Index::<u64>::STRIDE {
            break;
        }
        let (first, last) = (keys[low], keys[high - 1]);
        if key <= first {
            return low;
        }
        if key > last {
            return high;
        }
        let share = u128::from(key - first) * (high - 1 - low) as u128 / u128::from(last - first);
        let guess = low + usize::try_from(share).expect("within the column");
        // A little to either side, so that what is left becomes small.
        let slack = 8 + (high - low) / 1024;
        let (below, above) = (guess.saturating_sub(slack).max(low), (guess + slack).min(high - 1));
        if keys[below] >= key {
            high = below + 1;
        } else if keys[above] < key {
            low = above;
        } else {
            (low, high) = (below, above + 1);
        }
    }
    low + partition(&keys[low..high], |candidate| *candidate < key)
}

fn row(name: &str, keys: &[u64]) {
    let mut random = StdRng::seed_from_u64(13);
    let probes: Vec<u64> = (0..SEEKS).map(|_| keys[random.gen_range(0..keys.len())]).collect();
    let firsts: Vec<u64> = keys.iter().step_by(Index::<u64>::STRIDE).copied().collect();
    let index = Index::from_firsts(&firsts);
    let eytzinger = Eytzinger::new(&firsts);
    let forms: [&dyn Fn(u64) -> usize; 4] = [
        &|key| index.lower_bound_from(keys, 0, &key),
        &|key| in_stride(keys, eytzinger.count_less(key), key),
        &|key| interpolated(keys, key),
        &|key| partition(keys, |candidate| *candidate < key),
    ];
    let mut times = [(); 4].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        let mut sums = Vec::new();
        for (form, times) in forms.iter().zip(&mut times) {
            let start = Instant::now();
            sums.push(black_box(probes.iter().map(|&probe| form(probe)).sum::<usize>()));
            #[expect(clippy::cast_precision_loss, reason = "a small count")]
            times.push(start.elapsed().as_secs_f64() * 1e9 / SEEKS as f64);
        }
        assert!(sums.iter().all(|sum| *sum == sums[0]), "all forms find the same");
    }
    let [sorted, eytzinger, interpolation, none] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    });
    println!("{name:24} {sorted:9.1} {eytzinger:9.1} {interpolation:9.1} {none:9.1}");
}

/// The rows, for this many keys.
pub(crate) fn rows(count: u64) {
    println!("\na key anywhere among {count}, ns, medians of {ROUNDS}\n");
    println!(
        "{:24} {:>9} {:>9} {:>9} {:>9}",
        "index of first keys:", "sorted", "Eytzinger", "interpol.", "no index"
    );
    let even = <u64 as crate::Key>::keys(count);
    row("even keys", &even);
    let crowded: Vec<u64> = (0..count).map(|place| place * place).collect();
    row("crowded keys", &crowded);
}
