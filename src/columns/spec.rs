//! What a column holds.

use std::fmt;

use layout::{ItemLayout, ItemName};

use crate::FixedLayout;

/// What the items of a column look like, and what it is called.
///
/// Two specs are equal where the layouts are, whatever the names.
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

    /// The same column under a name of its own, to be found by: [`Columns::position`](crate::Columns::position).
    /// Otherwise it is called as its items are.
    ///
    /// # Panics
    /// Where the name is empty, or longer than [`ItemName::LEN_BYTES`].
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        let fits = !name.is_empty() && name.len() <= ItemName::LEN_BYTES;
        assert!(fits, "a column's name has 1 to {} bytes, not {}", ItemName::LEN_BYTES, name.len());
        self.name = ItemName::new(name);
        self
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

    /// What the column is called, or, if it was not [named](Self::named), its items.
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
