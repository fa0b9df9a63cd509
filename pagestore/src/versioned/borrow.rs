//! Borrowing from a private mapping: the one module that makes slices of it.
//!
//! The rule that makes it sound: **the bytes that a mapping shows of pages below its page count never
//! change while somebody can borrow them, but by the transaction that has the mapping for itself.**
//! A page that is a copy is nobody else's. One that is not shows the file's bytes, and those are changed
//! by a commit alone, after it has made a copy of the page in each mapping that somebody can borrow
//! from (`commit.rs`), with the same bytes.

use std::io;

use layout::{PageId, PageRange};

use super::pages::Pages;

impl Pages {
    /// The bytes of pages, which the mapping has room for and the file has.
    #[inline]
    pub(super) fn bytes(&self, range: PageRange) -> &[u8] {
        let (offset, len) = self.map.place(range);
        // SAFETY: callers pass pages below the page count of the mapping's version, whose groups are
        // mapped and which the file is never shorter than while the mapping can be borrowed from. By the
        // rule above nobody writes to them while this shared borrow of the mapping lives: a transaction
        // that changes them borrows it exclusively.
        unsafe { self.map.bytes(offset, len) }
    }

    /// The bytes of one such page, in fewer instructions.
    #[inline]
    pub(super) fn bytes_of(&self, page: PageId) -> &[u8] {
        self.bytes(PageRange::from(page))
    }

    /// The bytes of the stamps of such pages.
    pub(super) fn stamp_bytes(&self, range: PageRange) -> &[u8] {
        let (offset, len) = self.map.table_place(range);
        // SAFETY: as in `bytes`; a commit copies the system's pages of the stamps that it changes, too.
        // The newest view reads no stamp that is being written while its commit is applied: it asks for
        // none of the pages of its own commit (`View::stamp`).
        unsafe { self.map.bytes(offset, len) }
    }

    /// The bytes of pages to write to, in several ranges; `None` where two of them overlap. They must be
    /// copies already, so that no store meets a fault.
    pub(super) fn disjoint_mut<const N: usize>(
        &mut self,
        ranges: [PageRange; N],
    ) -> Option<[&mut [u8]; N]> {
        let overlap = |one: PageRange, other: PageRange| {
            one.start().max(other.start()) < one.end().min(other.end())
        };
        let mut pairs = (1..N).flat_map(|one| (0..one).map(move |other| (one, other)));
        if pairs.any(|(one, other)| overlap(ranges[one], ranges[other])) {
            return None;
        }
        Some(ranges.map(|range| {
            let (offset, len) = self.map.place(range);
            // SAFETY: `&mut self` shows that nobody else borrows from this mapping, and no two of the
            // ranges overlap. Copies are written by nobody who writes the file.
            unsafe { self.map.bytes_mut(offset, len) }
        }))
    }

    /// Gives copies back to the kernel: the pages show the file again.
    pub(super) fn drop_copies(
        &mut self,
        data: &[PageRange],
        table: &[PageRange],
    ) -> io::Result<()> {
        let data = data.iter().map(|&run| self.map.place(run));
        let table = table.iter().map(|&run| self.map.table_pages_place(run));
        // SAFETY: `&mut self` shows that nothing is borrowed from this mapping.
        unsafe { self.map.drop_all_copies(data.chain(table)) }
    }

    /// Gives copies back to the kernel, of which the file has the same bytes.
    ///
    /// # Safety
    /// That is so.
    pub(super) unsafe fn drop_same(&self, data: &[PageRange]) -> io::Result<()> {
        let places = data.iter().map(|&run| self.map.place(run));
        // SAFETY: by the caller's promise, whoever has borrowed the bytes sees the same ones.
        unsafe { self.map.drop_all_copies(places) }
    }

    /// Makes copies of a range that is not copied anywhere; where that fails, there are none of it.
    ///
    /// Bytes stay as they are, so this may be done while they are borrowed. It must not be done while the
    /// file is being written to.
    pub(super) fn copy(&self, place: (usize, usize)) -> io::Result<()> {
        let copied = self.map.copy(place);
        if copied.is_err() {
            // A copy that nobody knows of would go on showing these bytes when others are right.
            // SAFETY: nobody has written to the copies, nor to the file since they were made.
            unsafe { self.map.drop_copies(place) }?;
        }
        copied
    }
}
