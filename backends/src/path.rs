//! Paths: which strings name a file.

use std::fmt;

use crate::{Result, StorageError};

/// The longest path in bytes; what Linux takes, less the byte that ends it.
pub const PATH_LEN_MAX: usize = 4095;

/// The longest part between two slashes, in bytes, that common filesystems take.
const PART_LEN_MAX: usize = 255;

/// A path that names a file on any backend: relative, parts between single slashes, none of them
/// empty, `.` or `..`, and no zero byte. It does not begin with `.storage-`.
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

    /// What no path begins with, in letters of either case: names at the root that are the store's
    /// own. No list has them.
    pub const RESERVED_PREFIX: &'static str = ".storage-";

    /// One of the store's own names, which [`new`](Self::new) refuses. For what uses a
    /// [`Medium`](crate::Medium) itself, as a probe of it does; no backend lets such a path through.
    ///
    /// # Panics
    /// Where `name` does not begin with [`RESERVED_PREFIX`](Self::RESERVED_PREFIX), or is no name of
    /// a file.
    #[must_use]
    pub fn reserved(name: &'a str) -> Self {
        assert!(is_reserved(name) && !name.contains('/'), "{name:?} is no reserved name");
        assert!(fault_of(name) == Some(RESERVED), "{name:?} is no name of a file");
        Self(name)
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
    let fault = path.split('/').find_map(|part| match part {
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
    });
    fault.or_else(|| is_reserved(path).then_some(RESERVED))
}

const RESERVED: &str = "names that begin with `.storage-` are the store's own, choose another one";

/// Whether a path, or what a prefix may become, is one of the store's own. In letters of either case,
/// since there are filesystems that do not tell them apart.
pub(crate) fn is_reserved(path: &str) -> bool {
    let prefix = StoragePath::RESERVED_PREFIX;
    path.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
