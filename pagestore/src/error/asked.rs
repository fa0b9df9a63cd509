//! Failures of what was asked for, and not of a file: pages that there are not, views that bytes cannot give.

use std::{fmt, path::PathBuf};

use layout::RangeError;
use thiserror::Error;

/// Pages that a file does not have.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub struct NoSuchPages {
    /// The file.
    pub path: PathBuf,
    /// What was asked for, and what there is.
    pub asked: RangeError,
}

impl fmt::Display for NoSuchPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RangeError { start, end, page_count, .. } = self.asked;
        let path = self.path.display();
        match page_count.get() {
            _ if start > end => write!(
                f,
                "pages {start}..{end} of {path} were asked for: pass a range that does not end \
                 before it starts"
            ),
            0 => write!(
                f,
                "pages {start}..{end} were asked for, but {path} has no pages yet: `grow` a \
                 mutable file first, append to a new one before it is sealed"
            ),
            count => write!(
                f,
                "pages {start}..{end} were asked for, but {path} has {count} pages (0..{count}): \
                 ask for its `page_count` first"
            ),
        }
    }
}

/// Why bytes cannot be viewed as items of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The bytes are no whole number of items.
    #[error(
        "{len_bytes} bytes are no whole number of items of {item_bytes} bytes: ask for a certain \
         number of items with the `_at` form"
    )]
    NotWhole {
        /// The bytes there are.
        len_bytes: u64,
        /// The size of an item.
        item_bytes: usize,
    },
    /// The first item would not be aligned.
    #[error(
        "an item that must be aligned to {align_bytes} bytes cannot begin at byte {offset}: begin \
         at a multiple of {align_bytes}"
    )]
    Misaligned {
        /// Where the first item was to begin.
        offset: u64,
        /// The alignment it needs.
        align_bytes: usize,
    },
    /// The items would reach past the end.
    #[error(
        "{count} items of {item_bytes} bytes from byte {offset} reach past the end: there are \
         {len_bytes} bytes"
    )]
    PastEnd {
        /// Where the first item was to begin.
        offset: u64,
        /// How many items were asked for.
        count: usize,
        /// The size of an item.
        item_bytes: usize,
        /// The bytes there are.
        len_bytes: u64,
    },
    /// The items have no size, so they cannot be counted.
    #[error("items without a size cannot be counted: pass a type of at least one byte")]
    ZeroSized,
}
