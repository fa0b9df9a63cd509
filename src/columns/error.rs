//! What can go wrong with columns and runs, and what to do about it.

use std::path::PathBuf;

use layout::ColumnsKind;
use pagestore::Unsealed;
use thiserror::Error;

use crate::ColumnSpec;

/// The result of what works on columns.
pub type Result<T, E = ColumnsError> = std::result::Result<T, E>;

/// Any failure of a file of columns, or of a run. The message says what was found, what was
/// expected, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ColumnsError {
    /// The page file below failed, or does not hold columns.
    #[error(transparent)]
    Store(#[from] pagestore::Error),
    /// The file has no such column.
    #[error(
        "{} has no column {column}: it has {column_count} columns, counted from 0", path.display()
    )]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column asked for.
        column: usize,
        /// How many there are.
        column_count: usize,
    },
    /// The file has no column of this name, or several.
    #[error(
        "{} has not one column `{name}`: its columns are called {names}", path.display()
    )]
    NoColumnNamed {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// What the columns are called.
        names: String,
    },
    /// A column was read, or appended to, as another type than it holds.
    #[error(
        "column {column} of {} holds {found}, not {asked}: use the type it was written with",
        path.display()
    )]
    Layout {
        /// The file.
        path: PathBuf,
        /// The column.
        column: usize,
        /// What it holds.
        found: Box<ColumnSpec>,
        /// What it was asked for as.
        asked: Box<ColumnSpec>,
    },
    /// Columns that had to be written one after another were not.
    #[error(
        "column {column} of {} was appended to after column {before}: append one whole column after \
         the other, or ask the writer for `AppendOrder::Any`", path.display()
    )]
    ColumnOrder {
        /// The file that was to be made.
        path: PathBuf,
        /// The column appended to. Nothing was taken.
        column: usize,
        /// The column that was begun before.
        before: usize,
    },
    /// The file holds columns of another kind than it was opened as.
    #[error(
        "{} holds columns of the kind {found}, not {expected}: open it as the kind it holds",
        path.display()
    )]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: ColumnsKind,
        /// What it was opened as.
        expected: ColumnsKind,
    },
    /// A record does not come after the one before it.
    #[error(
        "record {record} of {} is out of order: push records sorted by key and then by value, each \
         once (add up the weights of equal ones)", path.display()
    )]
    Disorder {
        /// The file that was to be made.
        path: PathBuf,
        /// The record, counted from 0. It was not taken.
        record: u64,
    },
    /// The columns of a run have lengths that contradict.
    #[error(
        "{} is not a run: column {column} has {found} items, but the others need {expected}; \
         write it with `RunWriter`", path.display()
    )]
    RunLength {
        /// The file.
        path: PathBuf,
        /// The column.
        column: usize,
        /// How many items it has.
        found: usize,
        /// How many it must have.
        expected: usize,
    },
    /// A key in a run of texts is not valid text.
    #[error(
        "key {key} of {} is no text (UTF-8): write it with `RunWriter`, or open it as a run of `[u8]`",
        path.display()
    )]
    RunText {
        /// The file.
        path: PathBuf,
        /// The position of the key.
        key: usize,
    },
    /// A run places the values of a key where there are none.
    #[error(
        "{} is not a run: of {value_count} values, key {key} has {start}..{end}, but each key needs \
         at least one; write it with `RunWriter`", path.display()
    )]
    RunOffsets {
        /// The file.
        path: PathBuf,
        /// The position of the key.
        key: usize,
        /// Where its values are said to begin.
        start: u64,
        /// Where its values are said to end.
        end: u64,
        /// How many values there are.
        value_count: usize,
    },
}

/// From the error of a page writer that could not finish the file. Drops the writer.
impl<W> From<Unsealed<W>> for ColumnsError {
    fn from(unsealed: Unsealed<W>) -> Self {
        unsealed.into_error().into()
    }
}

/// The same from a writer of columns or of a run.
impl<W> From<Unsealed<W, ColumnsError>> for ColumnsError {
    fn from(unsealed: Unsealed<W, ColumnsError>) -> Self {
        unsealed.into_error()
    }
}
