//! Some adjacent bytes of a file.

/// Some adjacent bytes of a file, none of them behind the last one that a file can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Span {
    /// The span of `len` bytes from `offset` on; `None` where no file can have it.
    #[inline]
    pub(super) fn new(offset: u64, len: u64) -> Option<Self> {
        let end = offset.checked_add(len)?;
        (end <= i64::MAX as u64).then_some(Self { start: offset, end })
    }

    pub(super) fn len(self) -> u64 {
        self.end - self.start
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The same in pieces that end where a multiple of `step` is.
    pub(super) fn pieces(self, step: u64) -> impl Iterator<Item = Self> {
        let mut start = self.start;
        std::iter::from_fn(move || {
            let end = (start / step + 1).saturating_mul(step).min(self.end);
            let piece = (start < self.end).then_some(Self { start, end });
            start = end;
            piece
        })
    }
}
