//! The mapping: one reserved range of addresses, over a file or over nothing.
//!
//! This module hands out memory and asks the kernel about it. It knows no latch: whoever asks for
//! bytes says, in a `SAFETY` comment, why nobody writes them meanwhile.

use std::{
    io,
    ops::Range,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::Path,
    slice,
    sync::{Arc, Once},
};

mod places;
mod region;

use memmap2::{Advice, UncheckedAdvice};
use rustix::{io::Errno, mm::ProtFlags};

use crate::{
    Access, AddressLimit, Error, Guard, Hint, Result,
    error::address_limit::{self, Counted},
    file::{claim::Claim, disk::Taken},
    map::fault::{FilePlace, Protection, Watch},
};
use region::{Content, Growth, Region};

/// A range of addresses that stays where it is as long as this value lives.
///
/// Not every address in it can be used: a file mapping is reserved far past the file's end, and
/// touching what lies past the end is a `SIGBUS`. The owner keeps the count of usable bytes.
pub(crate) struct Mapping {
    // The order of the fields is the order of their drops: faults are watched for only as long as
    // the memory is ours, and the memory goes before the lock on the file that protects it.
    watch: Option<Watch>,
    memory: Region,
    claim: Option<Arc<Claim>>,
    /// The place in the file of the mapping's first byte.
    file_offset: u64,
    /// Done before huge pages are populated once.
    begun_huge: Once,
}

impl Mapping {
    /// Maps a file from `offset_bytes` on, to read and write, shared with the file. The file may be
    /// shorter now.
    pub(crate) fn writable(
        claim: impl Into<Arc<Claim>>,
        guard: Guard,
        offset_bytes: u64,
        reserve: Reserve,
    ) -> Result<Self> {
        let claim = claim.into();
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        let content = Content::File { file: claim.file(), offset_bytes, rights };
        let memory = reserve.of(content, Counted::Addresses)?;
        let place = FilePlace { descriptor: claim.file().as_raw_fd(), offset_bytes };
        Self::watched(memory, (claim, offset_bytes), guard, Protection::ReadWrite(place))
    }

    /// Maps `len_bytes` bytes of a file from `offset_bytes` on, to read. The file may be shorter
    /// now.
    pub(crate) fn read_only(
        claim: impl Into<Arc<Claim>>,
        guard: Guard,
        offset_bytes: u64,
        len_bytes: u64,
    ) -> Result<Self> {
        let claim = claim.into();
        let memory = map_to_read(&claim, offset_bytes, len_bytes)?;
        Self::watched(memory, (claim, offset_bytes), guard, Protection::Read)
    }

    /// Maps a range of a file to ask the kernel about its pages, which nobody touches, so that there is
    /// nothing to watch.
    pub(crate) fn untouched(claim: Arc<Claim>, offset_bytes: u64, len_bytes: u64) -> Result<Self> {
        let memory = map_to_read(&claim, offset_bytes, len_bytes)?;
        let (claim, file_offset) = (Some(claim), offset_bytes);
        Ok(Self { watch: None, memory, claim, file_offset, begun_huge: Once::new() })
    }

    /// Maps memory without a file, all zero, in huge pages where the kernel has them to give. Memory
    /// is used only for what is touched.
    pub(crate) fn anonymous(reserve: Reserve) -> Result<Self> {
        let memory = reserve.of(Content::Anonymous, Counted::Memory)?;
        // Without huge pages, small ones do as well.
        Hint::Madvise.go_on(memory.advise(Advice::HugePage));
        Ok(Self { watch: None, memory, claim: None, file_offset: 0, begun_huge: Once::new() })
    }

    /// Sees to it that the range has `needed_bytes` bytes: where it was made to grow, it becomes longer
    /// where it lies. The caller sees to it that nobody else does this at the same time.
    ///
    /// # Errors
    /// [`Error::AddressSpaceFull`]; [`Error::AddressSpace`]: a limit of the system is met, or other
    /// memory lies behind the range.
    pub(crate) fn make_room(&self, needed_bytes: u64) -> Result<()> {
        let reserved_bytes = self.len_bytes() as u64;
        if needed_bytes <= reserved_bytes {
            return Ok(());
        }
        match self.memory.growth() {
            Growth::None => Err(Error::AddressSpaceFull { needed_bytes, reserved_bytes }),
            Growth::InPlace => self.grow(needed_bytes),
        }
    }

    fn grow(&self, needed_bytes: u64) -> Result<()> {
        let counted = if self.claim.is_some() { Counted::Addresses } else { Counted::Memory };
        let roomy = Reserve::grown(needed_bytes);
        let grown = match to_usize(roomy, counted).map(|len| self.memory.grow(len)) {
            Ok(Ok(())) => Ok(()),
            // Under a limit there may be room for what is needed, and no more.
            _ => self.memory.grow(to_usize(needed_bytes, counted)?),
        };
        grown.map_err(|source| {
            let more_bytes = needed_bytes - self.len_bytes() as u64;
            let limit = address_limit::met(more_bytes, counted).unwrap_or(AddressLimit::Neighbour);
            Error::AddressSpace { bytes: more_bytes, limit, source }
        })?;
        if let Some(watch) = &self.watch {
            watch.grow(self.memory.as_ptr().addr() + self.memory.len());
        }
        Ok(())
    }

    fn watched(
        memory: Region,
        (claim, file_offset): (Arc<Claim>, u64),
        guard: Guard,
        protection: Protection,
    ) -> Result<Self> {
        let watch = Watch::new(guard, memory.as_ptr().addr(), memory.len(), protection)
            .map_err(Error::io("install the SIGBUS handler to open", claim.path()))?;
        let (watch, claim) = (Some(watch), Some(claim));
        Ok(Self { watch, memory, claim, file_offset, begun_huge: Once::new() })
    }

    /// Where in the mapping the first page fault was that could not be answered, if one was caught.
    /// From then on its bytes are not to be trusted.
    #[inline]
    pub(crate) fn fault_offset(&self) -> Option<usize> {
        let address = self.watch.as_ref()?.fault()?;
        Some(address - self.memory.as_ptr().addr())
    }

    /// Whether bytes were replaced by zeros in a fault, so that what is in memory is wrong.
    pub(crate) fn has_lost(&self) -> bool {
        self.watch.as_ref().is_some_and(Watch::has_lost)
    }

    /// What watches its faults, if anything does.
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// How many pages, from the first on, the owner has [said](Watch::set_free_pages) to be free.
    #[inline]
    pub(crate) fn free_pages(&self) -> u64 {
        self.watch.as_ref().map_or(0, Watch::free_pages)
    }

    /// Notes that the byte at `offset` cannot be reached, as if touching it had been a fault: the
    /// file was found too short.
    pub(crate) fn note_fault(&self, offset: usize) {
        if let Some(watch) = &self.watch {
            watch.note(self.pointer(offset, 0).addr());
        }
    }

    /// The path of the file, for messages.
    pub(crate) fn path(&self) -> &Path {
        self.claim().map_or(Path::new("anonymous memory"), Claim::path)
    }

    /// The claim on the file, where there is one.
    pub(crate) fn claim(&self) -> Option<&Claim> {
        self.claim.as_deref()
    }

    /// The bytes reserved.
    pub(crate) fn len_bytes(&self) -> usize {
        self.memory.len()
    }

    /// Where `len` bytes from `offset` on begin.
    ///
    /// # Panics
    /// Where they are not all inside the range: a bug in the caller.
    #[inline]
    pub(crate) fn pointer(&self, offset: usize, len: usize) -> *mut u8 {
        let end = offset.checked_add(len);
        assert!(end.is_some_and(|end| end <= self.memory.len()), "outside the mapping");
        self.memory.as_mut_ptr().wrapping_add(offset)
    }

    /// Has the processor fetch the cache line at `offset`, which it else would begin to do only
    /// after the latch is taken: nothing after a locked instruction starts before that is done.
    /// Measured for random pages of a GiB in memory: 78 ns a page with it, 200 ns without.
    #[inline]
    pub(crate) fn prefetch_line(&self, offset: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let line = self.memory.as_ptr().wrapping_add(offset).cast();
            // SAFETY: a prefetch touches no memory in the sense of the language: it cannot fault
            // and changes nothing, whatever the address. Every x86-64 processor has it.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _no_hint = offset;
    }

    /// Borrows `len` bytes from `offset` on.
    ///
    /// # Safety
    /// The bytes lie inside the mapping and are usable (not past the file's end), and nobody writes
    /// to them as long as the slice lives.
    #[inline]
    pub(crate) unsafe fn bytes(&self, offset: usize, len: usize) -> &[u8] {
        debug_assert!(offset <= self.memory.len() && len <= self.memory.len() - offset);
        let start = self.memory.as_ptr().wrapping_add(offset);
        // SAFETY: by the caller's promise the bytes lie inside the mapping, which lives as long as
        // `self`, are usable, and are not written to meanwhile. The mapping is readable, any byte
        // is a valid `u8`, and `u8` needs no alignment. The length is at most the mapping's, which
        // `Region` keeps below `isize::MAX`.
        unsafe { slice::from_raw_parts(start, len) }
    }

    /// Writes the dirty pages of a range to the file and waits until they and what is needed to
    /// find them are durable: msync(2) with `MS_SYNC`, which is an fsync(2) of that range.
    pub(crate) fn sync(&self, offset: usize, len: usize) -> io::Result<()> {
        self.memory.flush_range(offset, len)
    }

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

    /// Where the part of a range of the file that this mapping has lies in it, if there is one.
    pub(crate) fn place_of(&self, start: u64, span: Range<u64>) -> Option<(usize, usize)> {
        let end = start + self.len_bytes() as u64;
        let (from, to) = (span.start.max(start), span.end.min(end));
        let place = |at: u64| usize::try_from(at).expect("what is mapped fits a usize");
        (from < to).then(|| (place(from - start), place(to - from)))
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

/// How many addresses a mapping that is written to takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reserve {
    /// So many bytes, for good.
    Exactly(u64),
    /// As many as these bytes need, and more when they become more ([`Mapping::grow`]).
    Growing(u64),
}

/// The least that a mapping that grows has.
const GROWING_MIN_BYTES: u64 = 1 << 20;

/// The most that it has beyond what is needed.
const GROWING_ROOM_MAX_BYTES: u64 = 1 << 30;

impl Reserve {
    fn of(self, content: Content<'_>, counted: Counted) -> Result<Region> {
        let map = |bytes: u64, growth| {
            let len = to_usize(bytes, counted)?;
            Region::new(content, len, growth).map_err(|source| refused(bytes, counted, source))
        };
        match self {
            Self::Exactly(bytes) => map(bytes, Growth::None),
            Self::Growing(needed) => map(Self::grown(needed), Growth::InPlace)
                .or_else(|_| map(needed.max(GROWING_MIN_BYTES), Growth::InPlace)),
        }
    }

    /// How much to reserve where so much is needed: twice as much, within limits, so that few calls
    /// are made while a file grows.
    fn grown(needed_bytes: u64) -> u64 {
        let room = needed_bytes.clamp(GROWING_MIN_BYTES, GROWING_ROOM_MAX_BYTES);
        let sum = needed_bytes.saturating_add(room);
        sum.checked_next_multiple_of(GROWING_MIN_BYTES).unwrap_or(needed_bytes)
    }
}

fn refused(bytes: u64, counted: Counted, source: io::Error) -> Error {
    let limit = address_limit::met(bytes, counted).unwrap_or(AddressLimit::Unknown);
    Error::AddressSpace { bytes, limit, source }
}

fn map_to_read(claim: &Claim, offset_bytes: u64, len_bytes: u64) -> Result<Region> {
    let len = to_usize(len_bytes, Counted::Addresses)?;
    let content = Content::File { file: claim.file(), offset_bytes, rights: ProtFlags::READ };
    Region::new(content, len, Growth::None)
        .map_err(|source| refused(len_bytes, Counted::Addresses, source))
}

fn to_usize(bytes: u64, counted: Counted) -> Result<usize> {
    usize::try_from(bytes).map_err(|_| refused(bytes, counted, Errno::OVERFLOW.into()))
}
