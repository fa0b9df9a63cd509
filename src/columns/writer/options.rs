//! How columns are written.

use layout::ColumnsKind;
use pagestore::PageWriterOptions;

/// How to make a [`ColumnsWriter`](crate::ColumnsWriter).
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct ColumnsWriterOptions {
    pub(super) kind: ColumnsKind,
    pub(super) order: AppendOrder,
    pub(super) pages: PageWriterOptions,
}

/// In which order a [`ColumnsWriter`](crate::ColumnsWriter) is given its columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AppendOrder {
    /// A bit of each by turns: what cannot go to the file yet is kept in memory, and then in
    /// temporary files.
    #[default]
    Any,
    /// All of one column before anything of the next. Everything goes straight to the file.
    ColumnByColumn,
}

impl ColumnsWriterOptions {
    /// The default options: [`ColumnsKind::PLAIN`], and those of [`PageWriterOptions::new`].
    pub const fn new() -> Self {
        Self { kind: ColumnsKind::PLAIN, order: AppendOrder::Any, pages: PageWriterOptions::new() }
    }

    /// What the columns are together, for [`Columns::expect_kind`](crate::Columns::expect_kind). Default:
    /// [`ColumnsKind::PLAIN`].
    pub const fn kind(mut self, kind: ColumnsKind) -> Self {
        self.kind = kind;
        self
    }

    /// In which order the columns come. Default: [`AppendOrder::Any`].
    pub const fn order(mut self, order: AppendOrder) -> Self {
        self.order = order;
        self
    }

    /// How the page file is made.
    pub fn pages(mut self, pages: PageWriterOptions) -> Self {
        self.pages = pages;
        self
    }
}

impl Default for ColumnsWriterOptions {
    fn default() -> Self {
        Self::new()
    }
}
