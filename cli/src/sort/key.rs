//! What decides which of two lines comes first, as in `LC_ALL=C sort`.

use std::{cmp::Ordering, num::NonZeroUsize, str::FromStr};

use storage::spill::Order;

use super::number::Number;

/// The part of a line that is compared: fields N to M, counted from 1. A field is the blanks before
/// it and what follows them up to the next blank.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fields {
    first: NonZeroUsize,
    /// `None` for all to the end of the line.
    last: Option<NonZeroUsize>,
}

impl FromStr for Fields {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<NonZeroUsize>().map_err(|_| {
                "write the number of a field, counted from 1, or those of the first and the last, \
                 like 2 or 2,3"
                    .to_owned()
            })
        };
        Ok(match text.split_once(',') {
            None => Self { first: number(text)?, last: None },
            Some((first, last)) => Self { first: number(first)?, last: Some(number(last)?) },
        })
    }
}

impl Fields {
    fn of(self, line: &[u8]) -> &[u8] {
        let start = end_of_fields(line, self.first.get() - 1);
        let end = self.last.map_or(line.len(), |last| end_of_fields(line, last.get()));
        line.get(start..end).unwrap_or_default()
    }
}

/// Where so many fields from the beginning of a line end.
fn end_of_fields(line: &[u8], count: usize) -> usize {
    let mut end = 0;
    for _ in 0..count {
        end += line[end..].iter().take_while(|&&byte| is_blank(byte)).count();
        end += line[end..].iter().take_while(|&&byte| !is_blank(byte)).count();
        if end == line.len() {
            break;
        }
    }
    end
}

/// What separates fields.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

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
