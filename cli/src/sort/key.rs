//! What decides which of two lines comes first, as in `LC_ALL=C sort`.

use std::cmp::Ordering;

use storage::spill::Order;

use super::{fields::Fields, number::Number};

/// How the key's text is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    Bytes,
    Numbers,
}

/// Which way round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

/// What is done with lines whose keys are equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ties {
    /// The whole lines decide, byte by byte.
    ByLine,
    /// They stay in the order they came.
    InOrder,
}

/// The order of lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LineOrder {
    pub(super) fields: Option<Fields>,
    pub(super) reading: Reading,
    pub(super) direction: Direction,
    pub(super) ties: Ties,
}

impl LineOrder {
    #[inline]
    fn key<'line>(&self, line: &'line [u8]) -> &'line [u8] {
        match self.fields {
            None => line,
            Some(fields) => fields.of(line),
        }
    }
}

impl Order for LineOrder {
    #[inline]
    fn prefix(&self, line: &[u8]) -> u64 {
        let key = self.key(line);
        let prefix = match self.reading {
            Reading::Numbers => Number::parse(key).prefix(),
            Reading::Bytes => match key.first_chunk() {
                Some(first) => u64::from_be_bytes(*first),
                None => {
                    let mut first = [0; 8];
                    first[..key.len()].copy_from_slice(key);
                    u64::from_be_bytes(first)
                }
            },
        };
        match self.direction {
            Direction::Ascending => prefix,
            Direction::Descending => !prefix,
        }
    }

    #[inline]
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        let (key_a, key_b) = (self.key(a), self.key(b));
        let by_key = match self.reading {
            Reading::Bytes => key_a.cmp(key_b),
            Reading::Numbers => Number::parse(key_a).cmp(&Number::parse(key_b)),
        };
        let ascending = match self.ties {
            Ties::InOrder => by_key,
            Ties::ByLine => by_key.then_with(|| a.cmp(b)),
        };
        match self.direction {
            Direction::Ascending => ascending,
            Direction::Descending => ascending.reverse(),
        }
    }
}

/// What is done with lines that compare equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Uniqueness {
    KeepAll,
    KeepFirst,
}

impl Uniqueness {
    /// Whether a line that follows `last` is left out.
    #[inline]
    pub(super) fn leaves_out(self, order: &LineOrder, last: &[u8], line: &[u8]) -> bool {
        self == Self::KeepFirst && order.compare(last, line).is_eq()
    }
}
