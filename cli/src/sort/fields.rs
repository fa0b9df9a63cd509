//! The fields of a line, and what separates them.

use std::{num::NonZeroUsize, str::FromStr};

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
    pub(super) fn of(self, line: &[u8]) -> &[u8] {
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
