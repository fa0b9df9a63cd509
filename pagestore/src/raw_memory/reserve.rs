//! The mapping under a memory, and what of it is paid for.

use std::{io, ops::Range, ptr::NonNull};

use memmap2::{Advice, MmapOptions, MmapRaw, RemapOptions, UncheckedAdvice};

use super::{
    budget::Charge,
    range::name,
    stripes::{Exclusive, Window},
    touched::{EXTENT_PAGES, Touched},
};
use crate::{
    error::{
        Error, Result,
        address_limit::{self, AddressLimit, Counted},
    },
    kernel::hint::Hint,
};

/// Addresses reserved at first. They cost no memory.
const CAPACITY_MIN_BYTES: u64 = 64 << 10;

/// Beyond this, a file without a gap is continued in huge pages. Filling 512 MiB by 64 KiB, six
/// rounds: 2.9 to 4.2 GB/s in four of them, and 1.5 to 1.8 GB/s in pages of 4 KiB; but 0.25 and
/// 0.5 GB/s in the other two, when the blocks had been taken back by the machine's host
/// (docs/facts.md). Counting in them is off by at most 2 MiB, an eighth of this.
const HUGE_FROM_BYTES: u64 = 16 << 20;

/// What the kernel's huge pages of 2 MiB consist of on the machines that have those.
const SMALL_PAGE_BYTES: u64 = 4096;

/// The most that a memory can hold: half of what a process can address.
const LEN_MAX_BYTES: u64 = 64 << 40;

/// Addresses that are reserved for one memory, and memory behind those that were written to.
///
/// Invariants: what was never touched, and what lies past the memory's length, reads as zeros; each
/// page that takes memory is in `touched`, and each page in there is paid for in `charge`.
pub(super) struct Reserve {
    // Dropped in this order: the memory is the kernel's again before the budget has it.
    mapping: MmapRaw,
    charge: Charge,
    touched: Touched,
    page_bytes: u64,
    /// Pages that come into memory, and are paid for, together: one, or those of a huge page.
    unit_pages: u64,
}

impl Reserve {
    pub(super) fn new(charge: Charge) -> Result<Self> {
        let capacity = to_usize(CAPACITY_MIN_BYTES)?;
        let mapped = MmapOptions::new().len(capacity).no_reserve_swap().map_anon();
        let mapping = MmapRaw::from(mapped.map_err(|source| refused(CAPACITY_MIN_BYTES, source))?);
        // A huge page would take more memory than was counted.
        advise(&mapping, Advice::NoHugePage);
        let page_bytes = rustix::param::page_size() as u64;
        Ok(Self { mapping, charge, touched: Touched::default(), page_bytes, unit_pages: 1 })
    }

    /// The first `len_bytes` bytes.
    pub(super) fn window(&self, len_bytes: u64) -> Window {
        assert!(len_bytes <= self.capacity_bytes(), "the bytes lie within the reserve");
        let start = NonNull::new(self.mapping.as_mut_ptr());
        let start = start.expect("nothing is mapped at address zero");
        // SAFETY: the bytes were just checked to lie in the mapping, which is anonymous, readable and writable.
        // What moves, shrinks or writes to it, `grow`, `cut` and `Window::fill`, takes all stripes, held
        // exclusively. `RawMemory` has one reserve and the stripes that its windows are in, and gives the
        // stripes back first, or, once it is sealed, after the last view, which keeps the reserve.
        unsafe { Window::new(start, len_bytes) }
    }

    pub(super) fn capacity_bytes(&self) -> u64 {
        self.mapping.len() as u64
    }

    /// Reserves addresses for `len_bytes` bytes. `_stripes` shows that nobody reads: the bytes may
    /// move.
    pub(super) fn grow(&mut self, _stripes: &Exclusive<'_>, len_bytes: u64) -> Result<()> {
        if len_bytes <= self.capacity_bytes() {
            return Ok(());
        }
        if len_bytes > LEN_MAX_BYTES {
            return Err(too_large(len_bytes));
        }
        let capacity_bytes = len_bytes.next_power_of_two();
        let capacity = to_usize(capacity_bytes)?;
        let options = RemapOptions::new().may_move(true);
        // SAFETY: the mapping is anonymous, so there is no file that it could reach past. It may
        // move, and pointers to its bytes are used only under a stripe's lock, all of which are
        // held exclusively here; who holds them gives the new address to the stripes before it lets
        // them go. There is no slice of it: the reserve is not sealed, since it is borrowed.
        let remapped = unsafe { self.mapping.remap(capacity, options) };
        remapped.map_err(|source| refused(capacity_bytes, source))?;
        // Linux before 6.7 does not align what it moves.
        if self.unit_pages > 1 && !self.is_aligned() {
            self.end_huge_pages();
        }
        Ok(())
    }

    /// Reserves addresses and pays for the pages of a range that is going to be written.
    pub(super) fn touch(
        &mut self,
        stripes: &Exclusive<'_>,
        bytes: Range<u64>,
        len_before: u64,
    ) -> Result<()> {
        if self.suits_huge_pages(&bytes, len_before) {
            self.unit_pages = EXTENT_PAGES;
            // What is there already has to be paid for in huge pages as well.
            match self.pay_and_grow(stripes, 0..bytes.end) {
                Ok(()) => {
                    self.begin_huge_pages();
                    return Ok(());
                }
                Err(error) => {
                    self.unit_pages = 1;
                    if !matches!(error, Error::BudgetExceeded { .. }) {
                        return Err(error);
                    }
                }
            }
        }
        match self.pay_and_grow(stripes, bytes.clone()) {
            // What does not fit in huge pages may fit in small ones.
            Err(Error::BudgetExceeded { .. }) if self.unit_pages > 1 => {
                self.end_huge_pages();
                self.pay_and_grow(stripes, bytes)
            }
            result => result,
        }
    }

    /// Whether a file that is about to grow is large and has no gap, so that it is likely to go on
    /// like that.
    fn suits_huge_pages(&self, bytes: &Range<u64>, len_before: u64) -> bool {
        self.unit_pages == 1
            && self.page_bytes == SMALL_PAGE_BYTES
            && bytes.end > self.capacity_bytes().max(HUGE_FROM_BYTES)
            && bytes.start <= len_before
            && self.charge.bytes() == len_before.next_multiple_of(self.page_bytes)
    }

    /// Asks for huge pages, once they are paid for. That is advice, so it may fail; the count is
    /// too high by at most the rest of a huge page then.
    fn begin_huge_pages(&mut self) {
        if !self.is_aligned() || self.mapping.advise(Advice::HugePage).is_err() {
            self.unit_pages = 1;
        }
    }

    /// Asks for small pages from now on. Huge pages that are there stay.
    fn end_huge_pages(&mut self) {
        if self.mapping.advise(Advice::NoHugePage).is_ok() {
            self.unit_pages = 1;
        }
    }

    /// Whether the extents that are paid for are those that huge pages can take.
    fn is_aligned(&self) -> bool {
        (self.mapping.as_ptr().addr() as u64).is_multiple_of(EXTENT_PAGES * self.page_bytes)
    }

    fn pay_and_grow(&mut self, stripes: &Exclusive<'_>, bytes: Range<u64>) -> Result<()> {
        let pages = self.units(&bytes);
        let added_bytes = self.touched.missing(pages.clone()) * self.page_bytes;
        self.charge.add(added_bytes)?;
        if let Err(error) = self.grow(stripes, bytes.end) {
            self.charge.give_back(added_bytes);
            return Err(error);
        }
        if added_bytes > 0 {
            self.touched.add(pages);
        }
        Ok(())
    }

    /// Throws away what lies past `len_bytes`.
    pub(super) fn cut(
        &mut self,
        _stripes: &Exclusive<'_>,
        len_bytes: u64,
        len_before: u64,
    ) -> Result<()> {
        let unit_bytes = self.unit_pages * self.page_bytes;
        let kept_bytes = len_bytes.next_multiple_of(unit_bytes);
        self.drop_from(kept_bytes)?;
        let first_dropped = kept_bytes / self.page_bytes;
        let dropped = self.touched.remove_from(first_dropped);
        self.charge.give_back(dropped * self.page_bytes);
        let rest = len_bytes..len_before.min(kept_bytes);
        if !rest.is_empty() && self.touched.contains(len_bytes / self.page_bytes) {
            self.zero(rest);
        }
        Ok(())
    }

    /// Gives the pages from a byte offset on back to the kernel.
    fn drop_from(&self, offset_bytes: u64) -> Result<()> {
        let Some(len_bytes) = self.capacity_bytes().checked_sub(offset_bytes) else {
            return Ok(());
        };
        if len_bytes == 0 || self.charge.bytes() == 0 {
            return Ok(());
        }
        let (offset, len) = (to_usize(offset_bytes)?, to_usize(len_bytes)?);
        // SAFETY: in an anonymous mapping `MADV_DONTNEED` turns the range into zeros, so it is a
        // write to it. Nobody reads it meanwhile: the caller holds all stripes exclusively, and no
        // slice of it exists before it is sealed. memmap2 checks that the range lies inside.
        let dropped =
            unsafe { self.mapping.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, len) };
        dropped.map_err(Error::io("give back pages of", name()))
    }

    /// Writes zeros over a range of touched pages.
    fn zero(&mut self, bytes: Range<u64>) {
        assert!(bytes.end <= self.capacity_bytes(), "the range lies within the reserve");
        let offset = to_usize(bytes.start).expect("the range lies within the reserve");
        let len = to_usize(bytes.end - bytes.start).expect("the range lies within the reserve");
        let start = self.mapping.as_mut_ptr().wrapping_add(offset);
        // SAFETY: the range was just checked to lie inside the mapping, which is writable; nobody
        // else reads or writes it, as in `drop_from`, whose caller is this one's.
        unsafe { start.write_bytes(0, len) };
    }

    /// The pages that come into memory when a range is written.
    fn units(&self, bytes: &Range<u64>) -> Range<u64> {
        let unit_bytes = self.unit_pages * self.page_bytes;
        let units = bytes.start / unit_bytes..bytes.end.div_ceil(unit_bytes);
        units.start * self.unit_pages..units.end * self.unit_pages
    }
}

/// Asks for small or huge pages; without that, the kernel chooses.
fn advise(mapping: &MmapRaw, advice: Advice) {
    Hint::Madvise.go_on(mapping.advise(advice));
}

/// The error for what no address space holds.
pub(super) fn too_large(bytes: u64) -> Error {
    refused(bytes, io::Error::from_raw_os_error(libc::EFBIG))
}

fn refused(bytes: u64, source: io::Error) -> Error {
    let limit = address_limit::met(bytes, Counted::Memory).unwrap_or(AddressLimit::Unknown);
    Error::AddressSpace { bytes, limit, source }
}

fn to_usize(bytes: u64) -> Result<usize> {
    usize::try_from(bytes).map_err(|_| too_large(bytes))
}
