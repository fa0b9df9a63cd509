//! What a cursor borrows from the mapped file, and how much of the budget it keeps for that.
//!
//! What is lent is pinned: evicted for somebody else, it would come back when it is touched, read twice and
//! charged to nobody. How much each pins depends on how many share the budget at the time.

use std::ops::Range;

use bytes::Bytes;
use pagestore::{BudgetShare, ByteOffset, Error, Geometry, PageId, PinnedPages, SealedFile};

use super::Result;

/// What a budget evicts at once, and pins at once.
pub(super) const EXTENT_BYTES: u64 = 256 << 10;

/// How much is brought in at a time without a budget.
const WINDOW_BYTES: u64 = 2 << 20;

/// The most that is copied at a time where there is too little for pins.
const COPY_BYTES_MAX: u64 = 64 << 10;

/// What is in memory for a cursor.
pub(super) struct MappedWindow {
    /// `None` without a budget.
    share: Option<BudgetShare>,
    now: Option<PinnedPages>,
    ahead: Option<PinnedPages>,
    /// Pages before this one were let go.
    behind: u64,
}

/// How bytes can be lent.
pub(super) enum Brought {
    /// As they lie in the file, from a place in the spill on.
    Pinned { start: u64, view: Bytes },
    /// As a copy of at most so many, or of as many as are asked for, from a place where a page begins.
    ToCopy { start: u64, len_max: u64 },
}

/// How much is pinned at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Whole blocks, which are read as one folio of the page cache.
    Blocks {
        bytes: u64,
    },
    Extents,
}

impl MappedWindow {
    /// For a cursor that begins at `position`.
    pub(super) fn new(file: &SealedFile, position: u64) -> Self {
        let share = file.budget().map(|budget| budget.share());
        let behind = file.page_size().page_of(ByteOffset::new(position)).get();
        Self { share, now: None, ahead: None, behind }
    }

    /// Brings in the bytes of `range`, and what follows them up to `far`; what was lent before is lent no more.
    pub(super) fn bring_in(
        &mut self,
        file: &SealedFile,
        range: &Range<u64>,
        far: u64,
        in_order: bool,
    ) -> Result<Brought> {
        let page_size = file.page_size();
        let first = page_size.page_of(ByteOffset::new(range.start)).get();
        let start = first * page_size.get();
        self.now = None;
        let Some(share) = &self.share else {
            let end = range.end.max(far.min(start + WINDOW_BYTES));
            let view =
                file.bytes(PageId::new(first)..PageId::new(page_size.pages_for(end).get()))?;
            return Ok(Brought::Pinned { start, view });
        };
        let share_bytes = share.bytes();
        let step = match file.budget_block_bytes() {
            Some(bytes) if in_order && share_bytes >= 2 * bytes => Step::Blocks { bytes },
            _ => Step::Extents,
        };
        self.let_go(file, first, step)?;
        if share_bytes >= EXTENT_BYTES {
            let far = page_size.pages_for(far).get();
            let end = page_size.pages_for(range.end).get();
            let window_end = end.max(far.min(step_end(file, first, step)));
            // As much as there is room for: all that belongs together, or what is asked for.
            for end in [window_end, end] {
                let pages = PageId::new(first)..PageId::new(end);
                if let Step::Blocks { .. } = step {
                    file.load(pages.clone())?;
                }
                let Some(pinned) = if_there_is_room(file.pin(pages.clone()))? else { continue };
                self.now = Some(pinned);
                self.ahead = None;
                let ahead_end = far.min(step_end(file, end, Step::Extents));
                if step == Step::Extents
                    && in_order
                    && ahead_end > end
                    && share_bytes >= (end - first) * page_size.get() + EXTENT_BYTES
                {
                    let ahead = file.pin_ahead(PageId::new(end)..PageId::new(ahead_end));
                    self.ahead = if_there_is_room(ahead)?;
                }
                return Ok(Brought::Pinned { start, view: file.bytes(pages)? });
            }
        }
        self.ahead = None;
        let len_max = (share_bytes / 2).clamp(page_size.get(), COPY_BYTES_MAX);
        Ok(Brought::ToCopy { start, len_max })
    }

    /// Lets the pages go that lie behind `page`, where the next window begins, but for those that leave
    /// together with it.
    fn let_go(&mut self, file: &SealedFile, page: u64, step: Step) -> Result<()> {
        let unit = match step {
            Step::Blocks { bytes } => bytes,
            Step::Extents => EXTENT_BYTES,
        };
        let (data_start, page_bytes) = place_of(file);
        let offset = data_start + page * page_bytes;
        let end = (offset - offset % unit).saturating_sub(data_start) / page_bytes;
        if end > self.behind {
            file.evict(PageId::new(self.behind)..PageId::new(end))?;
            self.behind = end;
        }
        Ok(())
    }
}

/// Where the pages of the data begin in the file, and how long each is.
fn place_of(file: &SealedFile) -> (u64, u64) {
    (Geometry::data_start(file.page_size()), file.page_size().get())
}

/// Where the extent, or the block, ends that a page lies in.
fn step_end(file: &SealedFile, page: u64, step: Step) -> u64 {
    let unit = match step {
        Step::Blocks { bytes } => bytes,
        Step::Extents => EXTENT_BYTES,
    };
    let (data_start, page_bytes) = place_of(file);
    let end = (data_start + page * page_bytes) / unit * unit + unit;
    // A page that is larger than that ends behind it.
    ((end - data_start) / page_bytes).max(page + 1)
}

/// What was pinned; `None` where the budget has no room for it.
fn if_there_is_room(pinned: Result<PinnedPages, Error>) -> Result<Option<PinnedPages>> {
    match pinned {
        Ok(pinned) => Ok(Some(pinned)),
        Err(Error::BudgetExceeded { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
