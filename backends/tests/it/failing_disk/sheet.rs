//! What a file may hold, where not everything about it is certain.

use std::ops::RangeInclusive;

/// Bytes that are certain, writes that may have been done or not or in part, and a length that may
/// be one of several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sheet {
    certain: Vec<u8>,
    doubts: Vec<(usize, Vec<u8>)>,
    len_min: usize,
    len_max: usize,
    /// From here on a byte may be zero, since the file may have been cut here and extended again.
    zeros_from: usize,
}

impl Sheet {
    /// A write that was done.
    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if self.certain.len() < end {
            self.certain.resize(end, 0);
        }
        self.certain[offset..end].copy_from_slice(data);
        self.doubts.retain(|(start, doubt)| *start < offset || start + doubt.len() > end);
        if (offset..=end).contains(&self.zeros_from) {
            self.zeros_from = end;
        }
        self.len_min = self.len_min.max(end);
        self.len_max = self.len_max.max(end);
    }

    /// A write that may have been done.
    pub(crate) fn doubt_write(&mut self, offset: usize, data: &[u8], grows: Grows) {
        self.doubts.push((offset, data.to_vec()));
        if grows == Grows::Perhaps {
            self.len_max = self.len_max.max(offset + data.len());
        }
    }

    /// A length that was set.
    pub(crate) fn set_len(&mut self, len: usize) {
        self.certain.resize(len, 0);
        self.doubts.retain(|(start, _)| *start < len);
        for (start, doubt) in &mut self.doubts {
            doubt.truncate(len - *start);
        }
        self.zeros_from = self.zeros_from.min(len);
        (self.len_min, self.len_max) = (len, len);
    }

    /// A length that may have been set.
    pub(crate) fn doubt_len(&mut self, len: usize) {
        self.zeros_from = self.zeros_from.min(len);
        self.len_min = self.len_min.min(len);
        self.len_max = self.len_max.max(len);
    }

    /// The lengths that the file may have.
    pub(crate) fn lens(&self) -> RangeInclusive<usize> {
        self.len_min..=self.len_max
    }

    /// The length was asked for, so it is certain now.
    pub(crate) fn learn_len(&mut self, len: usize) {
        self.certain.truncate(len);
        self.zeros_from = self.zeros_from.min(self.certain.len());
        (self.len_min, self.len_max) = (len, len);
    }

    /// The place of the first byte that cannot be right.
    pub(crate) fn wrong_byte(&self, offset: usize, found: &[u8]) -> Option<usize> {
        if self.certain.get(offset..offset + found.len()) == Some(found) {
            return None;
        }
        let right = |place: usize, byte: u8| {
            self.certain.get(place) == Some(&byte)
                || (byte == 0 && place >= self.zeros_from.min(self.certain.len()))
                || self.doubts.iter().any(|(start, doubt)| {
                    place.checked_sub(*start).and_then(|index| doubt.get(index)) == Some(&byte)
                })
        };
        (offset..).zip(found).find(|&(place, &byte)| !right(place, byte)).map(|(place, _)| place)
    }
}

/// Whether a write that failed can have made the file longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grows {
    No,
    Perhaps,
}
