//! Paths: which strings name a file.

use std::fmt;

use crate::{Result, StorageError};

/// The longest path in bytes; what Linux takes, less the byte that ends it.
pub const PATH_LEN_MAX: usize = 4095;

/// The longest part between two slashes, in bytes, that common filesystems take.
const PART_LEN_MAX: usize = 255;

/// A path that names a file on any backend: relative, parts between single slashes, none of them
/// empty, `.` or `..`, and no zero byte.
///
/// Everything else that UTF-8 can express is a name: spaces, line breaks, quotes, backslashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StoragePath<'a>(&'a str);

impl<'a> StoragePath<'a> {
    /// Checks a path.
    ///
    /// # Errors
    /// [`StorageError::Path`] with the rule that it breaks.
    pub fn new(path: &'a str) -> Result<Self> {
        match fault_of(path) {
            None => Ok(Self(path)),
            Some(reason) => Err(StorageError::Path { path: path.to_owned(), reason }),
        }
    }

    /// The path as it was passed.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The path of the folder that it lies in, if that is not the root, and the name in there.
    #[must_use]
    pub fn split(self) -> (Option<&'a str>, &'a str) {
        match self.0.rsplit_once('/') {
            Some((folder, name)) => (Some(folder), name),
            None => (None, self.0),
        }
    }

    /// The folders on the way, from the outermost to the innermost: `a`, then `a/b` for `a/b/c`.
    pub fn folders(self) -> impl Iterator<Item = &'a str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }
}

impl fmt::Display for StoragePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The rule that a path breaks, if it breaks one.
fn fault_of(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty, pass at least a name");
    }
    if path.len() > PATH_LEN_MAX {
        return Some("it is longer than 4095 bytes, shorten it");
    }
    if path.starts_with('/') {
        return Some("it is absolute, pass a path relative to the backend's root");
    }
    if path.as_bytes().contains(&0) {
        return Some("it contains a zero byte, leave that out");
    }
    path.split('/').find_map(|part| match part {
        "" => {
            Some("it has an empty part, put single slashes between the parts and none at the end")
        }
        "." => Some("it has a part `.`, leave that out"),
        ".." => {
            Some("it has a part `..`, which would lead out of a folder; name the file directly")
        }
        part if part.len() > PART_LEN_MAX => {
            Some("it has a part longer than 255 bytes, shorten it")
        }
        _ => None,
    })
}
