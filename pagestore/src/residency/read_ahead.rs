//! Bringing pages of a file under a budget into memory, and which ones ahead of their use.
//!
//! Under a budget the kernel is told not to read ahead: what it brings in by itself is charged to
//! nobody. This does it in its place, from what is charged: whoever reads in order leaves a run of
//! charged pages behind, so no cursor is kept, and threads that read different parts of a file do
//! not disturb each other.

use std::{
    fs::File,
    ops::{Bound, Range, RangeBounds},
};

use crate::{
    error::Result,
    file::{access::Access, claim::Claim, disk},
    map::mapping::Mapping,
    residency::{
        advised::Advised,
        budget::{BLOCK_EXTENTS, Charged, EXTENT_PAGES, Member},
    },
};

/// A run of so many pages, with the one that is borrowed now, is taken for reading in order. Where an
/// eighth of a file is in memory and pages are read at random, that is one borrow in 512 by chance.
const RUN_PAGES_MIN: u64 = 4;

/// How many pages are read ahead for each page of the run.
const AHEAD_PER_RUN: u64 = 4;

/// A longer run is not counted out.
const RUN_PAGES_MAX: u64 = 256;

/// What is read as one folio of the page cache where a file is read in order, and leaves as one: what one entry
/// of the page table maps, where pages have 4 KiB. Begins at a multiple of itself in the file.
const BLOCK_BYTES: u64 = BLOCK_EXTENTS as u64 * EXTENT_PAGES * BLOCK_PAGE_BYTES;
const BLOCK_PAGE_BYTES: u64 = 4096;

/// How a file is read, and the budget that this is charged to.
pub(crate) struct ReadAhead {
    member: Member,
    advised: Advised,
    window_bytes: u64,
}

impl ReadAhead {
    /// Tells the kernel to leave the reading ahead to this.
    pub(crate) fn new(member: Member, access: Access, window_bytes: u64) -> Self {
        Self { member, advised: Advised::new(access), window_bytes }
    }

    pub(crate) fn member(&self) -> &Member {
        &self.member
    }

    /// The most that is brought in at a time.
    pub(crate) fn window_bytes(&self) -> u64 {
        self.window_bytes
    }

    /// Notes how a part of the file is going to be read.
    pub(crate) fn advise(&self, part: Part, access: Access) {
        match part {
            Part::Whole => self.advised.set(access),
            Part::Span(span) => self.advised.set_part(span, access),
        }
    }

    /// The blocks of 2 MiB that the bytes of `span` lie in, as far as they lie in `within`, where it is better to
    /// bring in whole ones: a block is read as one folio, which takes a fourth of the time of as many single pages,
    /// and is dropped in a fifteenth (`docs/facts.md`, *Large folios*).
    ///
    /// None where the budget has no room for so much at a time, or the kernel's huge pages are larger.
    pub(crate) fn blocks(
        &self,
        span: &Range<u64>,
        within: Range<u64>,
    ) -> impl Iterator<Item = Range<u64>> + use<> {
        let numbers = span.start / BLOCK_BYTES..span.end.div_ceil(BLOCK_BYTES);
        let numbers = if self.block_bytes().is_some() { numbers } else { 0..0 };
        let blocks = numbers.map(|number| number * BLOCK_BYTES..(number + 1) * BLOCK_BYTES);
        blocks.filter(move |block| within.start <= block.start && block.end <= within.end)
    }

    /// The size of a block, where files are read by blocks.
    pub(crate) fn block_bytes(&self) -> Option<u64> {
        let is_known = rustix::param::page_size() as u64 == BLOCK_PAGE_BYTES;
        (is_known && self.window_bytes >= BLOCK_BYTES).then_some(BLOCK_BYTES)
    }

    /// Where the block ends that a place lies in, if all of it is said to be read in order, and so is brought in
    /// at once.
    pub(crate) fn block_end(&self, offset: u64) -> Option<u64> {
        let start = offset / BLOCK_BYTES * BLOCK_BYTES;
        let (access, advised_end) = self.advised.at(start);
        let is_all = access == Access::Sequential && start + BLOCK_BYTES <= advised_end;
        self.block_bytes().filter(|_| is_all).map(|bytes| start + bytes)
    }

    /// Charges the pages of `span`, at most a window of them, and has the kernel begin to read them
    /// and what is likely to be read next, none of it behind `end`.
    ///
    /// The pages cannot be evicted as long as what is returned lives. The caller waits for them by
    /// populating or touching them.
    pub(crate) fn bring_in(
        &self,
        claim: &Claim,
        span: Range<u64>,
        end: u64,
    ) -> Result<Charged<'_>> {
        let ahead = self.ahead(&span, end);
        let charged = self.member.charge(span.clone())?;
        let page_bytes = rustix::param::page_size() as u64;
        // A single page is read by touching it.
        if charged.is_new() && span.end - span.start > page_bytes {
            start_reading(claim.file(), span.clone());
        }
        if ahead.is_empty() {
            return Ok(charged);
        }
        // Nothing is held while room is waited for. What was charged a moment ago is not what the
        // clock looks at first.
        drop(charged);
        self.prefetch(claim, ahead)?;
        self.member.charge(span)
    }

    /// Charges the pages of `span` and has the kernel begin to read them.
    pub(crate) fn prefetch(&self, claim: &Claim, span: Range<u64>) -> Result<()> {
        let mut start = span.start;
        while start < span.end {
            let piece = start..span.end.min(start + self.window_bytes);
            start = piece.end;
            if self.member.charge(piece.clone())?.is_new() {
                start_reading(claim.file(), piece);
            }
        }
        Ok(())
    }

    /// What is to be read ahead of `span` being borrowed now: nothing, as long as half of what would
    /// be is charged already, so that there are few calls, and large ones.
    fn ahead(&self, span: &Range<u64>, end: u64) -> Range<u64> {
        let nothing = span.end..span.end;
        let page_bytes = rustix::param::page_size() as u64;
        let (access, advised_end) = self.advised.at(span.start);
        let len = match access {
            Access::Random => return nothing,
            Access::Sequential => self.window_bytes,
            Access::Normal => {
                let run = self.member.charged_run_before(span.start, RUN_PAGES_MAX);
                let run = run + (span.end - span.start) / page_bytes;
                if run < RUN_PAGES_MIN {
                    return nothing;
                }
                (run * AHEAD_PER_RUN * page_bytes).min(self.window_bytes)
            }
        };
        let ahead = span.end..end.min(advised_end).min(span.end + len);
        let middle = ahead.start.midpoint(ahead.end);
        if ahead.is_empty() || self.member.is_charged(middle..middle + 1) { nothing } else { ahead }
    }
}

/// How much is asked for by one call. The kernel cuts a longer one off at what it reads ahead by
/// default (`read_ahead_kb`), and says nothing.
const CHUNK_BYTES: u64 = 128 << 10;

/// Makes the kernel start reading a range of a file, without waiting: `POSIX_FADV_WILLNEED` of posix_fadvise(2)
/// without its length limit, at which the kernel stops silently. This is a hint: where it is refused, the read
/// itself waits ([`refused_hints`](crate::refused_hints) tells).
pub fn start_reading(file: &File, span: Range<u64>) {
    let mut start = span.start;
    while start < span.end {
        let len = CHUNK_BYTES.min(span.end - start);
        disk::will_need(file, start, len);
        start += len;
    }
}

/// Which part of a file is spoken of.
pub(crate) enum Part {
    Whole,
    Span(Range<u64>),
}

impl Part {
    /// The whole of it where a range has no end on either side, and otherwise `span`.
    pub(crate) fn of<T>(range: &impl RangeBounds<T>, span: Range<u64>) -> Self {
        match (range.start_bound(), range.end_bound()) {
            (Bound::Unbounded, Bound::Unbounded) => Self::Whole,
            _ => Self::Span(span),
        }
    }
}

/// Tells how a part of a file is going to be read: under a budget to who reads ahead, otherwise to the
/// kernel. `start` is the place in the file of the mapping's first byte.
pub(crate) fn advise(
    budgeted: Option<&ReadAhead>,
    (mapping, start): (&Mapping, u64),
    part: Part,
    access: Access,
) {
    let Some(claim) = mapping.claim() else { return };
    match (budgeted, part) {
        (Some(budgeted), part) => budgeted.advise(part, access),
        (None, Part::Whole) => {
            mapping.advise(access);
            disk::advise(claim, access);
        }
        (None, Part::Span(span)) => mapping.advise_span(access, start, span),
    }
}

/// Has the kernel begin to read ranges of a file, under a budget as much of them as half of it holds.
pub(crate) fn prefetch(
    budgeted: Option<&ReadAhead>,
    claim: &Claim,
    spans: impl Iterator<Item = Result<Range<u64>>>,
) -> Result<()> {
    let mut left_bytes = budgeted.map_or(u64::MAX, |budgeted| budgeted.member.limit_bytes() / 2);
    for span in spans {
        let span = span?;
        let span = span.start..span.end.min(span.start.saturating_add(left_bytes));
        left_bytes -= span.end - span.start;
        match budgeted {
            Some(budgeted) => budgeted.prefetch(claim, span)?,
            None => start_reading(claim.file(), span),
        }
    }
    Ok(())
}
