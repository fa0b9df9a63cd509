//! Which of the states that a crash may leave at one moment are tried.
//!
//! A state is one version for each sector that has several. Where there are few, all of them are tried; else
//! those at the edges (nothing or all of it reached the disk, all but one sector, one sector alone, a
//! beginning or an end of them) and others by chance.

use super::{disk::Window, random::Random};

/// For each choice of a window, the version that is there.
pub(super) type Picks = Vec<u8>;

/// At most `max` states.
pub(super) fn picks(window: &Window, max: u64, random: &mut Random) -> Vec<Picks> {
    let counts: Vec<u8> = window
        .choices
        .iter()
        .map(|choice| u8::try_from(choice.versions.len()).unwrap_or(u8::MAX))
        .collect();
    let all = counts.iter().fold(1_u64, |all, &count| all.saturating_mul(count.into()));
    if all <= max {
        return every(&counts, all);
    }
    let none = vec![0; counts.len()];
    let last: Picks = counts.iter().map(|count| count - 1).collect();
    let mut picked = vec![none.clone(), last.clone()];
    // Half of the room is for the edges.
    let edges = max / 2;
    let places = counts.len() as u64;
    for _ in 0..edges {
        let at = super::disk::index(random.below(places));
        let (base, other) = if random.below(2) == 0 { (&none, &last) } else { (&last, &none) };
        let mut one = base.clone();
        match random.below(4) {
            0 | 1 => one[at] = other[at],
            2 => one[..at].copy_from_slice(&other[..at]),
            _ => {
                // A run, which is what one page or record is.
                let end = (at + 1 + super::disk::index(random.below(16))).min(one.len());
                one[at..end].copy_from_slice(&other[at..end]);
            }
        }
        picked.push(one);
    }
    while (picked.len() as u64) < max {
        // Of each density.
        let density = 1 + random.below(15);
        let by_chance = counts.iter().map(|&count| {
            if random.below(16) >= density {
                return 0;
            }
            let later = 1 + random.below(u64::from(count).saturating_sub(1).max(1));
            u8::try_from(later).unwrap_or(0).min(count - 1)
        });
        picked.push(by_chance.collect());
    }
    picked
}

fn every(counts: &[u8], all: u64) -> Vec<Picks> {
    (0..all)
        .map(|mut number| {
            let mut pick = |&count: &u8| {
                let digit = number % u64::from(count);
                number /= u64::from(count);
                u8::try_from(digit).unwrap_or(0)
            };
            counts.iter().map(&mut pick).collect()
        })
        .collect()
}
