//! What the items of a column look like, in numbers that a file can keep.

use std::fmt;

use crate::FormatError;

/// The size and alignment of an item, and a fingerprint of what it is made of.
///
/// An item without a size can be a field of another, but has no column.
///
/// Two types with the same layout are the same primitives at the same places, whatever they and
/// their fields are called. `docs/format.md` defines the fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ItemLayout {
    size_bytes: u32,
    align_bytes: u32,
    fingerprint: u64,
}

impl ItemLayout {
    /// The greatest alignment that an item can have: columns begin at multiples of it.
    pub const ALIGN_BYTES_MAX: u32 = 4096;

    /// A primitive; `name` is what tells it from others of the same size, as `u32` from `f32`.
    ///
    /// # Panics
    /// Where `size_bytes` is no multiple of `align_bytes`, or `align_bytes` is no power of two up
    /// to [`ALIGN_BYTES_MAX`](Self::ALIGN_BYTES_MAX). In a constant, that is a compile error.
    #[must_use]
    pub const fn primitive(name: &str, size_bytes: usize, align_bytes: usize) -> Self {
        Self::checked(size_bytes, align_bytes, Hash::new(b'p').bytes(name.as_bytes()))
    }

    /// An array of `count` items.
    ///
    /// # Panics
    /// As [`primitive`](Self::primitive).
    #[must_use]
    pub const fn array(item: Self, count: usize) -> Self {
        let size_bytes = item.size_bytes as usize * count;
        let hash = Hash::new(b'a').number(item.fingerprint).number(count as u64);
        Self::checked(size_bytes, item.align_bytes as usize, hash)
    }

    /// A struct of fields, each with its offset.
    ///
    /// # Panics
    /// As [`primitive`](Self::primitive).
    #[must_use]
    pub const fn structure(
        size_bytes: usize,
        align_bytes: usize,
        fields: &[(usize, Self)],
    ) -> Self {
        let mut hash = Hash::new(b's').number(size_bytes as u64).number(align_bytes as u64);
        let mut index = 0;
        while index < fields.len() {
            let (offset, field) = fields[index];
            hash = hash.number(offset as u64).number(field.fingerprint);
            index += 1;
        }
        Self::checked(size_bytes, align_bytes, hash)
    }

    const fn checked(size_bytes: usize, align_bytes: usize, hash: Hash) -> Self {
        assert!(size_bytes <= u32::MAX as usize, "an item is at most 4 GiB");
        assert!(align_bytes.is_power_of_two(), "an alignment is a power of two");
        assert!(align_bytes <= Self::ALIGN_BYTES_MAX as usize, "columns are aligned to 4 KiB");
        assert!(size_bytes.is_multiple_of(align_bytes), "items lie end to end");
        #[expect(clippy::cast_possible_truncation, reason = "both were found to fit")]
        let (size_bytes, align_bytes) = (size_bytes as u32, align_bytes as u32);
        Self { size_bytes, align_bytes, fingerprint: hash.0 }
    }

    /// The layout that a file tells of its column `column`.
    pub(crate) fn parse(
        column: u32,
        size_bytes: u32,
        align_bytes: u32,
        fingerprint: u64,
    ) -> Result<Self, FormatError> {
        let wrong = |field, found: u32, allowed| FormatError::Column {
            column,
            field,
            found: found.into(),
            allowed,
        };
        if !align_bytes.is_power_of_two() || align_bytes > Self::ALIGN_BYTES_MAX {
            return Err(wrong("item alignment", align_bytes, "a power of two up to 4096"));
        }
        if size_bytes == 0 || !size_bytes.is_multiple_of(align_bytes) {
            return Err(wrong("item size", size_bytes, "a positive multiple of the alignment"));
        }
        Ok(Self { size_bytes, align_bytes, fingerprint })
    }

    /// The bytes of an item.
    #[must_use]
    pub const fn size_bytes(&self) -> u32 {
        self.size_bytes
    }

    /// What the address of an item is a multiple of.
    #[must_use]
    pub const fn align_bytes(&self) -> u32 {
        self.align_bytes
    }

    /// What the item is made of.
    #[must_use]
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl fmt::Display for ItemLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size_bytes, align_bytes, fingerprint } = self;
        write!(f, "{size_bytes} bytes aligned to {align_bytes}, fingerprint {fingerprint:#018x}")
    }
}

/// FNV-1a of 64 bits.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    const fn new(kind: u8) -> Self {
        Self(0xcbf2_9ce4_8422_2325).bytes(&[kind])
    }

    const fn bytes(mut self, bytes: &[u8]) -> Self {
        let mut index = 0;
        while index < bytes.len() {
            self.0 = (self.0 ^ bytes[index] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            index += 1;
        }
        self
    }

    const fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }
}

/// What a column is called, or its items were where they were written. It says nothing of what they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ItemName([u8; Self::LEN_BYTES]);

impl ItemName {
    /// The bytes of a name in the file; a longer one is cut off.
    pub const LEN_BYTES: usize = 32;

    /// A name, cut off where it is too long.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut bytes = [0; Self::LEN_BYTES];
        let len = name.floor_char_boundary(Self::LEN_BYTES);
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        Self(bytes)
    }

    pub(crate) const fn from_bytes(bytes: [u8; Self::LEN_BYTES]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; Self::LEN_BYTES] {
        &self.0
    }
}

/// What is not printable ASCII is escaped: the bytes may be anybody's.
impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.0.iter().position(|&byte| byte == 0).unwrap_or(Self::LEN_BYTES);
        write!(f, "{}", self.0[..len].escape_ascii())
    }
}

impl fmt::Debug for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
