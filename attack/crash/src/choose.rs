//! Which of the states that a crash may leave at one moment are tried.
//!
//! A state is one version for each sector that has several. Where there are few, all of them are tried; else
//! those at the edges (nothing or all of it reached the disk, all but one sector, one sector alone, a
//! beginning or an end of them), some calls whole and others not at all, one call of them torn, and others by
//! chance.

use std::collections::BTreeSet;

use crate::{
    disk::{Choice, Window, index},
    random::Random,
};

/// For each choice of a window, the version that is there.
pub(crate) type Pick = Vec<u8>;

/// States of a window: all of them, each once, where there are few; else without end.
pub(crate) struct Picks<'window> {
    window: &'window Window,
    counts: Vec<u8>,
    none: Pick,
    last: Pick,
    calls: Vec<u32>,
    random: Random,
    number: u64,
    /// How many there are, where all of them are tried.
    all: Option<u64>,
}

impl<'window> Picks<'window> {
    /// All states of a window, if there are at most `max`.
    pub(crate) fn new(window: &'window Window, max: u64, random: Random) -> Self {
        let counts: Vec<u8> = window
            .choices
            .iter()
            .map(|choice| u8::try_from(choice.versions.len()).unwrap_or(u8::MAX))
            .collect();
        let all = counts.iter().fold(1_u64, |all, &count| all.saturating_mul(count.into()));
        let none = vec![0; counts.len()];
        let last = counts.iter().map(|count| count - 1).collect();
        let versions = window.choices.iter().flat_map(|choice| choice.versions.iter().flatten());
        let calls: BTreeSet<u32> = versions.map(|version| version.call).collect();
        let (calls, all) = (calls.into_iter().collect(), (all <= max).then_some(all));
        Self { window, counts, none, last, calls, random, number: 0, all }
    }

    /// One of all, by its number.
    fn numbered(&self, mut number: u64) -> Pick {
        let mut pick = |&count: &u8| {
            let digit = number % u64::from(count);
            number /= u64::from(count);
            u8::try_from(digit).unwrap_or(0)
        };
        self.counts.iter().map(&mut pick).collect()
    }

    /// Nearly nothing, or nearly everything.
    fn edge(&mut self) -> Pick {
        let at = index(self.random.below(self.counts.len() as u64));
        let (base, other) = match self.random.below(2) {
            0 => (&self.none, &self.last),
            _ => (&self.last, &self.none),
        };
        let mut one = base.clone();
        match self.random.below(4) {
            0 | 1 => one[at] = other[at],
            2 => one[..at].copy_from_slice(&other[..at]),
            _ => {
                // A run, which is what one page or record is.
                let end = (at + 1 + index(self.random.below(16))).min(one.len());
                one[at..end].copy_from_slice(&other[at..end]);
            }
        }
        one
    }

    /// Each sector for itself, of some density.
    fn by_chance(&mut self) -> Pick {
        let density = 1 + self.random.below(15);
        let mut pick = Vec::with_capacity(self.counts.len());
        for &count in &self.counts {
            let reached = self.random.below(16) < density;
            pick.push(if reached { later(&mut self.random, count) } else { 0 });
        }
        pick
    }

    /// Some calls reached the disk whole, and others not at all; one of them in part, if `is_torn`.
    fn by_calls(&mut self, torn: Torn) -> Pick {
        let density = 1 + self.random.below(7);
        let mut reached = BTreeSet::new();
        for &call in &self.calls {
            if self.random.below(8) < density {
                reached.insert(call);
            }
        }
        let torn = match torn {
            Torn::None => None,
            Torn::One if self.random.below(2) == 0 => self.calls.last().copied(),
            Torn::One => {
                let at = index(self.random.below(self.calls.len() as u64));
                self.calls.get(at).copied()
            }
        };
        let random = &mut self.random;
        let mut is_there = |call| match torn {
            Some(torn) if call == torn => random.below(2) == 0,
            _ => reached.contains(&call),
        };
        let mut pick = |choice: &Choice| {
            let last = choice.versions.iter().enumerate().skip(1).rev().find(|(_, version)| {
                version.as_ref().is_some_and(|version| is_there(version.call))
            });
            last.and_then(|(number, _)| u8::try_from(number).ok()).unwrap_or(0)
        };
        self.window.choices.iter().map(&mut pick).collect()
    }
}

/// A version that is not the first, where there is one.
fn later(random: &mut Random, count: u8) -> u8 {
    let later = 1 + random.below(u64::from(count).saturating_sub(1).max(1));
    u8::try_from(later).unwrap_or(0).min(count - 1)
}

/// Finds a simpler state that is wrong: one in which fewer sectors are otherwise than if nothing had reached the
/// disk, or than if all had. Gives what is wrong with it, the state, and which of the two it was compared with.
pub(crate) fn simplify(
    window: &Window,
    mut pick: Pick,
    mut wrong: impl FnMut(&Pick) -> Option<String>,
) -> Option<(String, Pick, Pick)> {
    let mut what = wrong(&pick)?;
    let last: Pick = window.choices.iter().map(last_version).collect();
    let is_near = pick.iter().zip(&last).filter(|(one, last)| one == last).count() * 2 > pick.len();
    let goal = if is_near { last } else { vec![0; pick.len()] };
    let mut step = pick.len().next_power_of_two();
    while step > 0 {
        for start in (0..pick.len()).step_by(step) {
            let end = (start + step).min(pick.len());
            if pick[start..end] == goal[start..end] {
                continue;
            }
            let mut simpler = pick.clone();
            simpler[start..end].copy_from_slice(&goal[start..end]);
            if let Some(still) = wrong(&simpler) {
                (what, pick) = (still, simpler);
            }
        }
        step /= 2;
    }
    Some((what, pick, goal))
}

fn last_version(choice: &Choice) -> u8 {
    u8::try_from(choice.versions.len() - 1).unwrap_or(u8::MAX)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Torn {
    None,
    One,
}

impl Iterator for Picks<'_> {
    type Item = Pick;

    fn next(&mut self) -> Option<Pick> {
        let number = self.number;
        self.number += 1;
        if let Some(all) = self.all {
            return (number < all).then(|| self.numbered(number));
        }
        Some(match number {
            0 => self.none.clone(),
            1 => self.last.clone(),
            number => match number % 4 {
                0 => self.edge(),
                1 => self.by_chance(),
                2 => self.by_calls(Torn::None),
                _ => self.by_calls(Torn::One),
            },
        })
    }
}
