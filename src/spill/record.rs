//! A record in a spill: its length, as a number of 1 to 10 bytes (LEB128), and then its bytes.

use std::ops::Range;

use super::mapped::EXTENT_BYTES;

/// The most bytes that a length takes.
pub(super) const LEN_BYTES_MAX: usize = 10;

/// A length as it stands before a record.
pub(super) struct Len {
    bytes: [u8; LEN_BYTES_MAX],
    count: usize,
}

impl Len {
    pub(super) fn new(mut len: u64) -> Self {
        let mut encoded = Self { bytes: [0; LEN_BYTES_MAX], count: 0 };
        loop {
            let low = u8::try_from(len & 0x7f).expect("seven bits");
            len >>= 7;
            encoded.bytes[encoded.count] = if len == 0 { low } else { low | 0x80 };
            encoded.count += 1;
            if len == 0 {
                return encoded;
            }
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.count]
    }
}

/// The records that are longer than what a cursor keeps in memory anyway.
#[derive(Default)]
pub(super) struct LongRecords {
    /// Where each begins, in ascending order, and its length.
    all: Vec<(u64, u64)>,
}

impl LongRecords {
    /// Notes a record that begins behind those before.
    pub(super) fn note(&mut self, position: u64, len: u64) {
        if len > EXTENT_BYTES {
            self.all.push((position, len));
        }
    }

    /// The length of the longest one that begins in a range.
    pub(super) fn longest_in(&self, range: &Range<u64>) -> Option<u64> {
        let first = self.all.partition_point(|(position, _)| *position < range.start);
        let within = self.all[first..].iter().take_while(|(position, _)| *position < range.end);
        within.map(|(_, len)| *len).max()
    }
}

/// Reads a length from the beginning of `bytes`; gives how many bytes it takes too. `None` where
/// there is none.
#[inline]
pub(super) fn parse_len(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    let mut len = 0;
    for (index, byte) in bytes.iter().take(LEN_BYTES_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * index);
        if shifted >> (7 * index) != bits {
            return None;
        }
        len |= shifted;
        if byte & 0x80 == 0 {
            return Some((len, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_come_back() {
        let powers = (0..64).map(|log| 1_u64 << log);
        for len in powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX]) {
            let encoded = Len::new(len);
            let bytes = encoded.as_bytes();
            assert_eq!(parse_len(bytes), Some((len, bytes.len())));
            assert_eq!(parse_len(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn what_is_no_length_is_none() {
        assert_eq!(parse_len(&[]), None);
        assert_eq!(parse_len(&[0xff; 20]), None);
        assert_eq!(parse_len(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), None);
    }
}
