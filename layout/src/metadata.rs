//! A few bytes of the user's own in a file's header.

use std::fmt;

use crate::FormatError;

/// Bytes that a program keeps in the header of a page file, beside what the format says of it: what the pages
/// are, which schema, where its own root is. They mean nothing to this crate.
///
/// ```
/// use layout::Metadata;
///
/// let metadata = Metadata::new(b"orders, schema 3")?;
/// assert_eq!(metadata.as_bytes(), b"orders, schema 3");
/// assert!(Metadata::new(&[0; 1025]).is_err());
/// # Ok::<(), layout::FormatError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Metadata {
    len: u16,
    bytes: [u8; Self::LEN_MAX],
}

impl Metadata {
    /// The most bytes that there can be.
    pub const LEN_MAX: usize = 1024;

    /// No byte.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; Self::LEN_MAX] };

    /// These bytes.
    ///
    /// # Errors
    /// [`FormatError::MetadataTooLong`] where there are more than [`LEN_MAX`](Self::LEN_MAX).
    pub fn new(bytes: &[u8]) -> Result<Self, FormatError> {
        let too_long = || FormatError::MetadataTooLong {
            found: bytes.len() as u64,
            max: Self::LEN_MAX as u64,
        };
        let mut metadata = Self::EMPTY;
        metadata.bytes.get_mut(..bytes.len()).ok_or_else(too_long)?.copy_from_slice(bytes);
        metadata.len = u16::try_from(bytes.len()).map_err(|_| too_long())?;
        Ok(metadata)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Metadata {}

impl AsRef<[u8]> for Metadata {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metadata(\"{}\")", self.as_bytes().escape_ascii())
    }
}
