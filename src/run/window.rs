//! The part of a column that a cursor stands in.

use std::{ops::Range, sync::Arc};

use pagestore::{BudgetShare, ByteOffset, Error, Geometry, PageId, PinnedPages};

use super::Part;
use crate::{ColumnSpec, Columns, FixedLayout, columns::Result};

/// What a budget pins at once.
const EXTENT_BYTES: u64 = 256 << 10;

/// How much a cursor that goes on in order verifies at a time, at most.
const WINDOW_BYTES_MAX: usize = 2 << 20;

/// How much a cursor that jumps verifies: what the index leads to.
const WINDOW_BYTES_MIN: usize = 4096;

/// Some items of a column, verified; moved to where an item is asked for. In order, windows double
/// up to their largest; a jump begins with the smallest.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Window<'a, T> {
    columns: &'a Columns,
    part: Part,
    item_count: usize,
    start: usize,
    items: &'a [T],
    /// The cursor's part of the budget, where there is one.
    share: Option<BudgetShare>,
    /// What keeps them in memory, under a budget; shared by a cursor that is cloned.
    pinned: Option<Arc<PinnedPages>>,
}

impl<'a, T: FixedLayout> Window<'a, T> {
    pub(super) fn of(columns: &'a Columns, part: Part, item_count: usize) -> Self {
        let share = columns.file().budget().map(|budget| budget.share());
        Self { columns, part, item_count, start: 0, items: &[], share, pinned: None }
    }

    /// An item; the window moves if it has to.
    #[inline]
    pub(super) fn item(&mut self, position: usize) -> Result<&'a T> {
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
        // Where the column has no such item, the range is refused.
        let items = items.start..items.end.max(position.saturating_add(1));
        // What the last window kept can be evicted from here on.
        (self.items, self.pinned) = (&[], None);
        let (items, pinned) = self.pin(items, position)?;
        self.start = items.start;
        self.items = self.columns.column_range(self.part.column(), items)?;
        self.pinned = pinned.map(Arc::new);
        Ok(&self.items[position - self.start])
    }

    /// Pins items, under a budget: to the end of the extent that the one at `position` lies in. Where there is
    /// no room for that, so few are left that it makes no difference whether they are evicted.
    fn pin(
        &self,
        items: Range<usize>,
        position: usize,
    ) -> Result<(Range<usize>, Option<PinnedPages>)> {
        let Some(share) = &self.share else { return Ok((items, None)) };
        let file = self.columns.file();
        let (start, _) = self.columns.column_place(self.part.column(), &ColumnSpec::of::<T>())?;
        let place = |item: usize| start.get() + (item as u64).saturating_mul(size_of::<T>() as u64);
        let data_start = Geometry::data_start(file.page_size());
        let extent_end =
            (data_start + place(position)) / EXTENT_BYTES * EXTENT_BYTES + EXTENT_BYTES;
        let in_extent = (extent_end - data_start - start.get()) / size_of::<T>() as u64;
        let end = usize::try_from(in_extent).unwrap_or(usize::MAX).max(position + 1);
        let items = items.start..items.end.min(end);
        // What is refused below is past the end.
        let pages = file.page_size().page_of(ByteOffset::new(place(items.start)))
            ..PageId::new(file.page_size().pages_for(place(items.end)).get());
        if share.bytes() >= EXTENT_BYTES && pages.end.get() <= file.page_count().get() {
            match file.pin(pages) {
                Ok(pinned) => return Ok((items, Some(pinned))),
                Err(Error::BudgetExceeded { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let few = (WINDOW_BYTES_MIN / size_of::<T>()).max(1);
        Ok((items.start..items.end.min(position.saturating_add(few)), None))
    }
}
