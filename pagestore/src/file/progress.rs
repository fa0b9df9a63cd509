//! How far the check of a whole file has come.

use layout::PageCount;

/// How far a check has come: [`SealedFile::verify`](crate::SealedFile::verify),
/// [`VersionedFile::verify`](crate::VersionedFile::verify).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// Pages checked so far.
    pub pages_done: PageCount,
    /// Pages of the file.
    pub page_count: PageCount,
}
