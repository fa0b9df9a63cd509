//! How a file is said to be read, as a whole and part by part.

use std::ops::Range;

use crate::{file::access::Access, sync::RwLock};

/// What was advised last for each byte of a file. Looked at only where pages are brought in, so a lock
/// does.
pub(crate) struct Advised(RwLock<Parts>);

struct Parts {
    /// Where no part says otherwise.
    elsewhere: Access,
    /// In ascending order; none overlaps another.
    parts: Vec<(Range<u64>, Access)>,
}

impl Advised {
    pub(crate) fn new(access: Access) -> Self {
        Self(RwLock::new(Parts { elsewhere: access, parts: Vec::new() }))
    }

    /// For the whole file, whatever was said of parts.
    pub(crate) fn set(&self, access: Access) {
        *self.0.write() = Parts { elsewhere: access, parts: Vec::new() };
    }

    /// For a part of it.
    pub(crate) fn set_part(&self, part: Range<u64>, access: Access) {
        if part.is_empty() {
            return;
        }
        let mut advised = self.0.write();
        let mut parts = Vec::with_capacity(advised.parts.len() + 2);
        for (old, access) in advised.parts.drain(..) {
            // What is left of it on both sides.
            let sides = [old.start..old.end.min(part.start), old.start.max(part.end)..old.end];
            parts.extend(sides.into_iter().filter(|side| !side.is_empty()).map(|s| (s, access)));
        }
        parts.push((part, access));
        parts.sort_unstable_by_key(|(part, _)| part.start);
        parts.dedup_by(|(next, next_access), (part, access)| {
            let joins = part.end == next.start && access == next_access;
            if joins {
                part.end = next.end;
            }
            joins
        });
        advised.parts = parts;
    }

    /// What was advised for the byte at `offset`, and where that ends.
    pub(crate) fn at(&self, offset: u64) -> (Access, u64) {
        let advised = self.0.read();
        let next = advised.parts.partition_point(|(part, _)| part.end <= offset);
        match advised.parts.get(next) {
            Some((part, access)) if part.start <= offset => (*access, part.end),
            Some((part, _)) => (advised.elsewhere, part.start),
            None => (advised.elsewhere, u64::MAX),
        }
    }

    /// What was advised for the whole file, and then the parts of which something else was said.
    pub(crate) fn parts(&self) -> (Access, Vec<(Range<u64>, Access)>) {
        let advised = self.0.read();
        (advised.elsewhere, advised.parts.clone())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ALL: [Access; 3] = [Access::Random, Access::Sequential, Access::Normal];

    /// A sequence of numbers that is the same each time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) % end
        }
    }

    #[test]
    fn what_was_said_last_counts() {
        let mut numbers = Numbers(7);
        let advised = Advised::new(Access::Normal);
        let mut model = [Access::Normal; 40];
        let index = |at: u64| usize::try_from(at).expect("small");
        for _ in 0..2000 {
            let access = ALL[index(numbers.below(3))];
            if numbers.below(20) == 0 {
                advised.set(access);
                model.fill(access);
            } else {
                let (start, end) = (numbers.below(40), numbers.below(41));
                advised.set_part(start..end, access);
                (start..end).for_each(|at| model[index(at)] = access);
            }
            for at in 0..40 {
                let (access, end) = advised.at(at);
                assert!(end > at && (at..end.min(40)).all(|at| model[index(at)] == access));
            }
            let (_, parts) = advised.parts();
            let apart = |pair: &[(Range<u64>, Access)]| {
                pair[0].0.end < pair[1].0.start || pair[0].1 != pair[1].1
            };
            assert!(parts.windows(2).all(apart), "{parts:?}");
        }
    }
}
