//! Bytes changed on purpose: anywhere, by values that numbers in files are likely to mind, with the
//! checksum of a record made right again where that is asked for.

use arbitrary::Arbitrary;
use crc_fast::{CrcAlgorithm, checksum};

/// Some bytes written over others.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Patch {
    at: u32,
    value: Value,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Value {
    Byte(u8),
    Flip(u8),
    Four(u32),
    Eight(u64),
    /// A power of two, and a little more or less.
    Near(u8, i8),
}

impl Patch {
    /// Writes it over `bytes`, wherever it points to in there; what sticks out is left off.
    pub(crate) fn apply(self, bytes: &mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        let at = self.at as usize % bytes.len();
        let near = |log2: u8, by: i8| (1_u64 << (log2 % 64)).wrapping_add_signed(by.into());
        match self.value {
            Value::Byte(byte) => bytes[at] = byte,
            Value::Flip(bit) => bytes[at] ^= 1 << (bit % 8),
            Value::Four(number) => put(bytes, at, &number.to_le_bytes()),
            Value::Eight(number) => put(bytes, at, &number.to_le_bytes()),
            Value::Near(log2, by) => put(bytes, at, &near(log2, by).to_le_bytes()),
        }
    }

    /// The same, within the first `len` bytes.
    pub(crate) fn apply_within(self, bytes: &mut [u8], len: usize) {
        let len = len.min(bytes.len());
        self.apply(&mut bytes[..len]);
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    let len = value.len().min(bytes.len() - at);
    bytes[at..at + len].copy_from_slice(&value[..len]);
}

/// CRC32C.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes)).expect("a CRC32C has 32 bits")
}

/// Makes the checksum right that stands at `crc_at` and covers everything before it, as far as the
/// record is there.
pub(crate) fn make_right(record: &mut [u8], crc_at: usize) {
    if record.len() >= crc_at + 4 {
        let crc = crc32c(&record[..crc_at]);
        record[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Whether the checksums of records are made right again behind changes to them.
#[derive(Arbitrary, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Checksums {
    AsTheyWere,
    MadeRight,
}
