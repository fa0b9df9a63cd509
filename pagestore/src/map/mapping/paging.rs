//! What the kernel is told of the pages of a mapping: to bring them in, to keep them, to let them go.

use std::{io, ops::Range, os::unix::fs::FileExt};

use memmap2::{Advice, UncheckedAdvice};

use super::Mapping;
use crate::{
    file::{access::Access, disk::Taken},
    kernel::hint::Hint,
};

impl Mapping {
    /// Tells the kernel how the mapping is going to be used. A [hint](Hint::Madvise).
    pub(crate) fn advise(&self, access: Access) {
        Hint::Madvise.go_on(self.memory.advise(access.madvice()));
    }

    /// The same for the part of a range of the file that this mapping has, where `start` is the place
    /// in the file of the mapping's first byte.
    pub(crate) fn advise_span(&self, access: Access, start: u64, span: Range<u64>) {
        if let Some((offset, len)) = self.place_of(start, span) {
            Hint::Madvise.go_on(self.memory.advise_range(access.madvice(), offset, len));
        }
    }

    /// Makes a range present and writable at once, instead of by one fault a page
    /// (madvise(2), `MADV_POPULATE_WRITE`). What cannot be made present (no space, past the end) is
    /// an error here, where a store would be a signal.
    pub(crate) fn populate_write(&self, offset: usize, len: usize) -> io::Result<()> {
        self.populate(Advice::PopulateWrite, offset, len)
    }

    /// Makes a range present at once (`MADV_POPULATE_READ`).
    pub(crate) fn populate_read(&self, offset: usize, len: usize) -> io::Result<()> {
        self.populate(Advice::PopulateRead, offset, len)
    }

    /// The same. What is not in memory is read by whole huge pages, of which the page cache makes a folio each,
    /// from now on: the fault handler does so in a range under `MADV_HUGEPAGE` (`do_sync_mmap_readahead` of the
    /// kernel's mm/filemap.c), and where the range is advised to be read at random, it reads no more than that.
    pub(crate) fn populate_huge(&self, offset: usize, len: usize) -> io::Result<()> {
        // Without huge pages, small ones are read.
        Hint::Madvise.go_on(self.memory.advise_range(Advice::HugePage, offset, len));
        self.populate_read(offset, len)
    }

    /// The same, once: what is not in memory is read by small pages later, wherever it lies in the mapping.
    pub(crate) fn populate_huge_once(&self, offset: usize, len: usize) -> io::Result<()> {
        // The kernel keeps a book for each stretch under one advice. So all of the mapping is under this one, and
        // has one stretch again when this is done, and not two more for each range that this was ever asked of.
        self.begun_huge.call_once(|| {
            Hint::Madvise.go_on(self.memory.advise(Advice::NoHugePage));
        });
        let populated = self.populate_huge(offset, len);
        // Should this fail, later faults bring in more than is charged, which the budget finds when it next
        // compares itself with the kernel.
        Hint::Madvise.go_on(self.memory.advise_range(Advice::NoHugePage, offset, len));
        populated
    }

    /// Keeps a range in memory until the mapping goes (mlock(2)).
    pub(crate) fn keep_in_memory(&self, offset: usize, len: usize) -> io::Result<()> {
        let start = self.pointer(offset, len).cast();
        // SAFETY: `pointer` checked that the range lies inside this mapping; locking it changes no
        // byte and no access right.
        unsafe { rustix::mm::mlock(start, len) }.map_err(io::Error::from)
    }

    /// Tells the kernel that a range will not be used soon (`MADV_COLD`). Says whether it took that; a
    /// [hint](Hint::Madvise).
    pub(crate) fn advise_cold(&self, offset: usize, len: usize) -> Taken {
        let start = self.pointer(offset, len).cast();
        // SAFETY: `pointer` checked that the range lies inside this mapping. `MADV_COLD`
        // deactivates pages (madvise(2)); it unmaps none and changes no byte.
        match unsafe { rustix::mm::madvise(start, len, rustix::mm::Advice::LinuxCold) } {
            Ok(()) => Taken::Yes,
            Err(errno) => {
                Hint::Madvise.note(&errno.into());
                Taken::No
            }
        }
    }

    fn populate(&self, advice: Advice, offset: usize, len: usize) -> io::Result<()> {
        let populated = self.memory.advise_range(advice, offset, len);
        Hint::Populate.unless_refused(populated).unwrap_or_else(|| self.read_in(offset, len))
    }

    /// Has a range of a file in the page cache by reading of each page: for a kernel before 5.14 and
    /// behind filters. The page faults that are left wait for nothing.
    ///
    /// # Errors
    /// `EFAULT` where the file does not have a page any more or the disk cannot read it, as populating.
    fn read_in(&self, offset: usize, len: usize) -> io::Result<()> {
        let Some(claim) = &self.claim else { return Ok(()) };
        for page in (offset..offset + len).step_by(rustix::param::page_size()) {
            let at = self.file_offset + page as u64;
            while let Err(error) = claim.file().read_exact_at(&mut [0], at) {
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(io::Error::from_raw_os_error(libc::EFAULT));
                }
            }
        }
        Ok(())
    }

    /// Does what [`drop_resident`](Self::drop_resident) does to the part of a range of the file that
    /// this mapping has, where `start` is the place in the file of the mapping's first byte.
    pub(crate) fn drop_span(&self, start: u64, span: Range<u64>) {
        if let Some((offset, len)) = self.place_of(start, span) {
            self.drop_resident(offset, len);
        }
    }

    /// Has the clean pages of a range of a file mapping leave memory (`MADV_PAGEOUT`), where the page
    /// cache was asked in vain. A [hint](Hint::Unmap).
    pub(crate) fn page_out(&self, offset: usize, len: usize) {
        assert!(self.claim.is_some(), "an anonymous mapping has no file to bring the bytes back");
        let start = self.pointer(offset, len).cast();
        // SAFETY: `pointer` checked that the range lies inside this mapping. `MADV_PAGEOUT` writes back
        // and reclaims pages (madvise(2)), which the next access brings back from the file; it changes
        // no byte.
        let paged_out =
            unsafe { rustix::mm::madvise(start, len, rustix::mm::Advice::LinuxPageOut) };
        Hint::Unmap.go_on(paged_out.map_err(io::Error::from));
    }

    /// Makes a range of an *anonymous* mapping zero and gives its memory back (`MADV_DONTNEED`). The
    /// caller sees to it that nobody has borrowed a byte of it.
    ///
    /// # Panics
    /// For a file's mapping, where it would only forget what the file has.
    pub(crate) fn discard(&self, offset: usize, len: usize) -> io::Result<()> {
        assert!(self.claim.is_none(), "a file gives its pages back itself");
        let checked = self.pointer(offset, len);
        debug_assert!(!checked.is_null());
        // SAFETY: private anonymous memory reads as zeros after `MADV_DONTNEED` (madvise(2)). By the
        // caller's promise nobody has borrowed these bytes, and `pointer` checked that they lie inside
        // this mapping.
        unsafe { self.memory.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, len) }
    }

    /// Gives the pages of a range of a *file* mapping back to the kernel (`MADV_DONTNEED`). Their
    /// content stays in the file; the next touch brings it back. A [hint](Hint::Unmap).
    ///
    /// # Panics
    /// For an anonymous mapping, where it would throw the content away.
    pub(crate) fn drop_resident(&self, offset: usize, len: usize) {
        assert!(self.claim.is_some(), "an anonymous mapping has no file to bring the bytes back");
        let checked = self.pointer(offset, len);
        debug_assert!(!checked.is_null());
        // SAFETY: in a mapping shared with a file, `MADV_DONTNEED` only drops the page-table entries,
        // and the next access brings the file's present content back (madvise(2)). So no byte that
        // anybody borrowed changes. The assertion above leaves only such mappings, and `pointer`
        // checked that the range lies inside this one.
        let dropped =
            unsafe { self.memory.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, len) };
        Hint::Unmap.go_on(dropped);
    }
}
