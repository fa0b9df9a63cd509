//! What the check of a whole sealed file says.

use std::{fmt, time::Duration};

use layout::{FormatError, PageChecksum, PageCount, PageId, Slot};

/// A page whose bytes do not match its checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BadPage {
    /// The page.
    pub page: PageId,
    /// What its bytes give.
    pub found: PageChecksum,
    /// What the checksum table says.
    pub expected: PageChecksum,
}

/// A part of a sealed file that is not one of its pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FilePart {
    /// One of the two superblock slots.
    Slot(Slot),
    /// What else there is before the pages: the zeros behind the slots, or the header as a whole.
    Header,
    /// The checksum table.
    Table,
    /// The zeros between the checksum table and the seal record.
    TablePadding,
    /// The seal record and the zeros behind it.
    Seal,
}

/// Damage outside the pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Damage {
    /// Where it is.
    pub part: FilePart,
    /// What is wrong there.
    pub error: FormatError,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.part, &self.error) {
            // In a file that opened, this is one slot of two, so it is a page file.
            (FilePart::Slot(slot), FormatError::Magic { found, expected }) => {
                let number = match slot {
                    Slot::First => 0,
                    Slot::Second => 1,
                };
                write!(
                    f,
                    "superblock slot {number} is damaged: it begins with {found:02x?}, expected \
                     {expected:02x?}"
                )
            }
            (_, error) => error.fmt(f),
        }
    }
}

/// What [`SealedFile::verify`](crate::SealedFile::verify) found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Pages checked: all of the file, unless it was stopped.
    pub pages: PageCount,
    /// Pages of the file.
    pub page_count: PageCount,
    /// Pages that do not match their checksums. Where the table itself is damaged too, it may be
    /// the page's entry that is wrong and not the page.
    pub bad_pages: Vec<BadPage>,
    /// Damage outside the pages: in the header, the checksum table or the seal record.
    pub damage: Vec<Damage>,
    /// How long it took.
    pub elapsed: Duration,
}

impl VerifyReport {
    /// Whether every byte of the file is as it was written. `false` where the verification was
    /// stopped before all pages were checked.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.is_complete() && self.bad_pages.is_empty() && self.damage.is_empty()
    }

    /// Whether all pages were checked.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pages == self.page_count
    }
}
