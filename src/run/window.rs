//! The part of a column that a cursor stands in.

use std::ops::Range;

use crate::{Columns, FixedLayout, columns::Result};

use super::Part;

/// How much a cursor that goes on in order verifies at a time, at most.
const WINDOW_BYTES_MAX: usize = 2 << 20;

/// How much a cursor that jumps verifies: what the index leads to.
const WINDOW_BYTES_MIN: usize = 4096;

/// Some items of a column, verified; moved to where an item is asked for. In order, windows double
/// up to their largest; a jump begins with the smallest.
#[derive(Clone)]
pub(super) struct Window<'a, T> {
    columns: &'a Columns,
    part: Part,
    item_count: usize,
    start: usize,
    items: &'a [T],
}

impl<'a, T: FixedLayout> Window<'a, T> {
    pub(super) fn new(columns: &'a Columns, part: Part, item_count: usize) -> Self {
        Self { columns, part, item_count, start: 0, items: &[] }
    }

    /// An item; the window moves if it has to.
    #[inline]
    pub(super) fn get(&mut self, position: usize) -> Result<&'a T> {
        match self.items.get(position.wrapping_sub(self.start)) {
            Some(item) => Ok(item),
            None => self.move_to(position),
        }
    }

    /// The items in the window from `position` on, without moving it; none where it is elsewhere.
    #[inline]
    pub(super) fn rest_from(&self, position: usize) -> &'a [T] {
        self.items.get(position.wrapping_sub(self.start)..).unwrap_or(&[])
    }

    #[cold]
    fn move_to(&mut self, position: usize) -> Result<&'a T> {
        let items: Range<usize> = if position == self.start + self.items.len() && position > 0 {
            let most = (WINDOW_BYTES_MAX / size_of::<T>()).max(1);
            position..self.item_count.min(position + most.min(2 * self.items.len()))
        } else {
            let block = (WINDOW_BYTES_MIN / size_of::<T>()).max(1);
            let start = position / block * block;
            start..self.item_count.min(start + block)
        };
        let start = items.start;
        // Where the column has no such item, the range is refused.
        let items = items.start..items.end.max(position.saturating_add(1));
        self.items = self.columns.column_range(self.part.column(), items)?;
        self.start = start;
        Ok(&self.items[position - start])
    }
}
