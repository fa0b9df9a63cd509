//! The two superblock slots at the beginning of a file.

use crate::{FormatError, HEADER_LEN_BYTES, SLOT_LEN_BYTES, Superblock, superblock};

const HEADER_LEN: usize = 8192;
const SLOT_LEN: usize = 4096;
const _: () = assert!(HEADER_LEN as u64 == HEADER_LEN_BYTES && SLOT_LEN as u64 == SLOT_LEN_BYTES);

/// One of the two superblock slots. They are written in turn, so that a write that fails half-way
/// leaves the other as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// At byte 0.
    First,
    /// At byte 4096.
    Second,
}

impl Slot {
    /// Where the slot begins in the file.
    #[must_use]
    pub const fn offset_bytes(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Second => SLOT_LEN_BYTES,
        }
    }

    /// The one that is written next after this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    const fn part(self) -> &'static str {
        match self {
            Self::First => "superblock slot 0",
            Self::Second => "superblock slot 1",
        }
    }
}

/// What the two slots of a file say together.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    superblock: Superblock,
    slot: Slot,
    other_slot_error: Option<FormatError>,
}

impl Header {
    /// Reads both slots from the first [`HEADER_LEN_BYTES`] bytes of a file and takes the intact
    /// one with the higher generation (slot 0 where both have the same).
    ///
    /// # Errors
    /// [`FormatError`]: fewer bytes than a header, no intact slot, slots of different files, or a
    /// newest slot that this version cannot read or that says impossible things. An older slot is
    /// not taken in the place of such a one.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() < HEADER_LEN {
            // A file of another kind that is short is "not a page file" rather than a cut one.
            if let Some(&found) = bytes.first_chunk()
                && found != superblock::MAGIC
            {
                return Err(FormatError::Magic { found, expected: superblock::MAGIC });
            }
            let found = bytes.len() as u64;
            if bytes.is_empty() || !bytes.starts_with(&superblock::MAGIC[..bytes.len().min(8)]) {
                return Err(FormatError::NoHeader { found });
            }
            return Err(FormatError::Short {
                part: "the header",
                found,
                expected: HEADER_LEN_BYTES,
            });
        }
        let read = |slot: Slot| {
            let start = if slot == Slot::First { 0 } else { SLOT_LEN };
            superblock::IntactSuperblock::read(&bytes[start..start + SLOT_LEN], slot.part())
        };
        let (slot, newest, other_slot_error) = match (read(Slot::First), read(Slot::Second)) {
            (Ok(first), Ok(second)) => {
                if first.file_uuid() != second.file_uuid() {
                    return Err(FormatError::SlotsDisagree {
                        first: first.file_uuid(),
                        second: second.file_uuid(),
                    });
                }
                if first.generation() >= second.generation() {
                    (Slot::First, first, None)
                } else {
                    (Slot::Second, second, None)
                }
            }
            (Ok(first), Err(error)) => (Slot::First, first, Some(error)),
            (Err(error), Ok(second)) => (Slot::Second, second, Some(error)),
            // A damaged slot says more than one that was never written.
            (Err(FormatError::Magic { .. }), Err(error @ FormatError::RecordChecksum { .. }))
            | (Err(error), Err(_)) => return Err(error),
        };
        Ok(Self { superblock: newest.check()?, slot, other_slot_error })
    }

    /// The bytes of both slots; `None` leaves a slot as one never written, all zero.
    #[must_use]
    pub fn encode(slots: [Option<&Superblock>; 2]) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        for (slot, superblock) in bytes.chunks_exact_mut(SLOT_LEN).zip(slots) {
            if let Some(superblock) = superblock {
                slot.copy_from_slice(&Self::encode_slot(superblock));
            }
        }
        bytes
    }

    /// The bytes of one slot.
    #[must_use]
    pub fn encode_slot(superblock: &Superblock) -> [u8; SLOT_LEN] {
        let mut bytes = [0; SLOT_LEN];
        bytes[..Superblock::LEN_BYTES].copy_from_slice(&superblock.encode());
        let metadata = superblock.metadata().as_bytes();
        bytes[Superblock::LEN_BYTES..][..metadata.len()].copy_from_slice(metadata);
        bytes
    }

    /// The file's superblock.
    #[must_use]
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The slot that the superblock was read from.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Why the other slot is not intact, or `None` where it is. A mutable file that was never
    /// flushed has its second slot all zero, which shows as [`FormatError::Magic`].
    #[must_use]
    pub const fn other_slot_error(&self) -> Option<FormatError> {
        self.other_slot_error
    }

    /// Checks what only a sealed file promises of its header: in `bytes`, which is everything
    /// before the data, both slots are intact and every byte outside the two records and their metadata
    /// is zero.
    ///
    /// # Errors
    /// [`FormatError`] naming the damaged slot or the byte that is not zero.
    pub fn check_sealed(bytes: &[u8]) -> Result<(), FormatError> {
        if bytes.len() < HEADER_LEN {
            let found = bytes.len() as u64;
            return Err(FormatError::Short {
                part: "the header",
                found,
                expected: HEADER_LEN_BYTES,
            });
        }
        let (slots, rest) = bytes.split_at(HEADER_LEN);
        for (slot, bytes) in [Slot::First, Slot::Second].into_iter().zip(slots.chunks(SLOT_LEN)) {
            let used_len = superblock::IntactSuperblock::read(bytes, slot.part())?.used_len();
            check_zero(&bytes[used_len..], slot.offset_bytes() + used_len as u64)?;
        }
        check_zero(rest, HEADER_LEN_BYTES)
    }
}

/// Checks that `bytes`, which lie at `offset` in the file, are all zero.
///
/// # Errors
/// [`FormatError::Padding`] names the first one that is not.
pub(crate) fn check_zero(bytes: &[u8], offset: u64) -> Result<(), FormatError> {
    match bytes.iter().position(|&byte| byte != 0) {
        None => Ok(()),
        Some(at) => Err(FormatError::Padding { offset: offset + at as u64, found: bytes[at] }),
    }
}
