//! What a column holds.

use std::fmt;

use layout::{ItemLayout, ItemName};

use crate::FixedLayout;

/// What the items of a column look like, and what they are called.
///
/// Two specs are equal where the layouts are; names are for messages.
#[derive(Clone, Copy, Debug)]
pub struct ColumnSpec {
    layout: ItemLayout,
    name: ItemName,
}

impl ColumnSpec {
    /// A column of `T`.
    #[must_use]
    pub fn of<T: FixedLayout>() -> Self {
        Self::new(T::LAYOUT, &T::name())
    }

    /// A column of items whose bytes the caller vouches for; see
    /// [`ColumnsWriter::append_bytes`](crate::ColumnsWriter::append_bytes).
    #[must_use]
    pub fn new(layout: ItemLayout, name: &str) -> Self {
        Self { layout, name: ItemName::new(name) }
    }

    pub(crate) const fn from_parts(layout: ItemLayout, name: ItemName) -> Self {
        Self { layout, name }
    }

    /// What the items look like.
    #[must_use]
    pub const fn layout(&self) -> ItemLayout {
        self.layout
    }

    /// What the items are called.
    #[must_use]
    pub const fn name(&self) -> ItemName {
        self.name
    }
}

impl PartialEq for ColumnSpec {
    fn eq(&self, other: &Self) -> bool {
        self.layout == other.layout
    }
}

impl Eq for ColumnSpec {}

impl fmt::Display for ColumnSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.name, self.layout)
    }
}
