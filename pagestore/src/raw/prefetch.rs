//! What is said of reads to come: which of them to begin, and how they follow each other.

use std::ops::{Bound, RangeBounds};

use crate::{
    error::Result,
    file::access::Access,
    raw::{file::RawFile, span::Span},
    residency::read_ahead::{self, Part},
};

impl RawFile {
    /// Makes the kernel start reading these ranges, each an offset and a length, without waiting, so that the
    /// disk gets as many requests at once as it takes. Neighbours are read as one. What lies past the end is
    /// left out.
    ///
    /// This is a hint: a later read waits for what is not there yet. Under a budget the pages are charged now,
    /// and those beyond half of the budget are left out; see
    /// [`SealedFile::prefetch`](crate::SealedFile::prefetch).
    ///
    /// # Errors
    /// Under a budget, what hinders the eviction of others;
    /// [`Error::RawPoisoned`](crate::Error::RawPoisoned).
    ///
    /// ```
    /// # use std::{fs::OpenOptions, io::IoSlice, os::unix::fs::OpenOptionsExt};
    /// # extern crate pagestore as storage;
    /// # use storage::RawFile;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("bytes");
    /// # let mut options = OpenOptions::new();
    /// # let opened = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    /// # let file = RawFile::open(opened, &path)?;
    /// # file.write_at(0, &[IoSlice::new(&[7; 65536])])?;
    /// # file.seal()?;
    /// let ranges = [(0, 100), (40_000, 100)];
    /// file.prefetch(&ranges)?;
    /// for (offset, len) in ranges {
    ///     assert_eq!(file.view(offset, len)?[0], 7);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefetch(&self, ranges: &[(u64, usize)]) -> Result<()> {
        self.check()?;
        let spans = merged(ranges, self.current_len());
        let spans = spans.into_iter().map(|span| Ok(span.start..span.end));
        read_ahead::prefetch(self.backing.budgeted(), self.claim(), spans)
    }
}

impl RawFile {
    /// Says how bytes of the file are going to be read; `..` is the whole file, including what it grows by. The
    /// advice is for the whole pages of the range. What lies past the end is left out. See
    /// [`SealedFile::advise`](crate::SealedFile::advise).
    ///
    /// # Errors
    /// [`Error::RawPoisoned`](crate::Error::RawPoisoned).
    pub fn advise(&self, range: impl RangeBounds<u64>, access: Access) -> Result<()> {
        self.check()?;
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        let page_size = rustix::param::page_size() as u64;
        let end = end.min(self.current_len()).next_multiple_of(page_size);
        let start = (start - start % page_size).min(end);
        self.backing.advise(Part::of(&range, start..end), access);
        Ok(())
    }
}

/// The pages that the ranges lie in, as far as a file of `file_len` bytes has them: in ascending
/// order, none twice, and none beside another one.
fn merged(ranges: &[(u64, usize)], file_len: u64) -> Vec<Span> {
    let page_size = rustix::param::page_size() as u64;
    let in_pages = |&(offset, len): &(u64, usize)| {
        let end = offset.saturating_add(len as u64).min(file_len).next_multiple_of(page_size);
        let start = offset - offset % page_size;
        (len > 0 && offset < file_len).then_some(Span { start, end })
    };
    let mut spans: Vec<Span> = ranges.iter().filter_map(in_pages).collect();
    spans.sort_unstable_by_key(|span| span.start);
    spans.dedup_by(|next, span| {
        let touches = next.start <= span.end;
        if touches {
            span.end = span.end.max(next.end);
        }
        touches
    });
    spans
}

#[cfg(test)]
mod tests {
    use super::{Span, merged};

    #[test]
    fn neighbours_are_read_as_one() {
        let page = rustix::param::page_size() as u64;
        let one = rustix::param::page_size();
        let spans = merged(
            &[(4 * page, one), (page + 1, 1), (2 * page, one), (9 * page, 0), (20 * page, one)],
            5 * page - 7,
        );
        let expected =
            [(1, 3), (4, 5)].map(|(start, end)| Span { start: start * page, end: end * page });
        assert_eq!(spans, expected);
    }
}
