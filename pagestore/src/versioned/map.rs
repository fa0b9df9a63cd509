//! Memory over a versioned file in which pages can be kept, or changed, without the file's knowing.
//!
//! It is a private mapping (mmap(2), `MAP_PRIVATE`): a page of it shows what the page cache has of the
//! file, until it is copied; from then on it is this mapping's own. The pages of all groups lie side by
//! side, and behind them the stamps of all groups, so both are contiguous whatever lies between them
//! in the file.
//!
//! This module knows no commit and no transaction: whoever asks for bytes says, in a `SAFETY` comment,
//! why nobody changes them meanwhile.

mod reserved;

use std::{ffi::c_void, fs::File, io, ops::RangeBounds, os::unix::fs::FileExt, slice, sync::Arc};

use layout::{PageCount, PageId, PageRange, PageStamp, VersionedGeometry};
use rustix::mm::{Advice, MapFlags, MremapFlags, ProtFlags};

use super::backing::Backing;
use crate::{
    error::{Error, FaultCause, PoisonCause, Result},
    kernel::calls,
    map::fault::{Guard, Protection, Watch},
};
use reserved::{Reserved, refused};

/// A reserved range of addresses, the first groups of a file mapped in it.
///
/// Invariant: the pages of the first `groups` groups are mapped from the beginning on, their stamps from
/// `table_start` on, privately, readable and writable; `groups <= capacity`.
#[derive(Debug)]
pub(super) struct PrivateMap {
    // Dropped first: faults are watched for only as long as the memory is ours.
    watch: Watch,
    reserved: Reserved,
    table_start: usize,
    groups: u32,
    capacity: u32,
    geometry: VersionedGeometry,
    guard: Guard,
    backing: Arc<Backing>,
}

impl PrivateMap {
    /// Maps the groups that `page_count` pages lie in, with addresses left for one group more.
    pub(super) fn new(
        backing: &Arc<Backing>,
        geometry: VersionedGeometry,
        guard: Guard,
        page_count: PageCount,
    ) -> Result<Self> {
        let groups = VersionedGeometry::group_count(page_count);
        let mut map = Self::reserve(backing, geometry, guard, groups + 1)?;
        map.map_groups(groups)?;
        Ok(map)
    }

    fn reserve(
        backing: &Arc<Backing>,
        geometry: VersionedGeometry,
        guard: Guard,
        capacity: u32,
    ) -> Result<Self> {
        let (data_len, table_len) = lens(&geometry, VersionedGeometry::pages_of_groups(capacity))?;
        // From the third group on, pages of all groups are aligned alike in the file.
        let aligned_as = geometry.group(capacity.saturating_sub(2)).data_start;
        let reserved = Reserved::new(data_len + table_len, aligned_as)?;
        let (start, len) = (reserved.start.addr(), reserved.len);
        let watch = Watch::new(guard, start, len, Protection::Private)
            .map_err(Error::io("install the SIGBUS handler to open", backing.path()))?;
        let backing = Arc::clone(backing);
        let (table_start, groups) = (data_len, 0);
        Ok(Self { watch, reserved, table_start, groups, capacity, geometry, guard, backing })
    }

    pub(super) fn geometry(&self) -> &VersionedGeometry {
        &self.geometry
    }

    /// The pages that a range of numbers means, in a version that has `page_count` of them.
    pub(super) fn resolve(
        &self,
        range: impl RangeBounds<PageId>,
        page_count: PageCount,
    ) -> Result<PageRange> {
        PageRange::resolve(range, page_count).map_err(Error::no_pages(self.backing.path()))
    }

    pub(super) fn backing(&self) -> &Arc<Backing> {
        &self.backing
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// How many pages, from the first on, the owner has said to be free.
    #[inline]
    pub(super) fn free_pages(&self) -> u64 {
        self.watch.free_pages()
    }

    /// Maps the groups that `page_count` pages lie in. What is mapped may move, so nothing may be
    /// borrowed from it; copies of pages move along.
    pub(super) fn make_room_for(&mut self, page_count: PageCount) -> Result<()> {
        let groups = VersionedGeometry::group_count(page_count);
        if groups <= self.groups {
            return Ok(());
        }
        if groups > self.capacity {
            self.relocate(groups + 1)?;
        }
        self.map_groups(groups)
    }

    fn map_groups(&mut self, groups: u32) -> Result<()> {
        let first = self.groups;
        for index in first..groups {
            for (offset, len, file_offset) in self.parts(index)? {
                self.map_part(offset, len, file_offset)?;
            }
            self.groups = index + 1;
        }
        if first < groups {
            let (start, end) = (self.parts(first)?, self.parts(groups - 1)?);
            for ((start, ..), (last, last_len, _)) in start.into_iter().zip(end) {
                self.advise(start, last + last_len - start);
            }
        }
        Ok(())
    }

    /// RANDOM: copying one page must not read a window of 8 MiB around it.
    /// DONTFORK: a child has no use for the copies, and would have to have their page tables copied.
    /// Either is done without where it is refused.
    fn advise(&self, offset: usize, len: usize) {
        let start = self.pointer(offset, len).cast::<c_void>();
        for advice in [Advice::Random, Advice::LinuxDontFork] {
            // SAFETY: the range lies inside the reserved one (`pointer` checked it); neither advice changes a
            // byte.
            let _refused = unsafe { rustix::mm::madvise(start, len, advice) };
        }
    }

    /// The two parts of a group, pages and stamps: where they lie here, how long they are, and where
    /// they lie in the file.
    fn parts(&self, index: u32) -> Result<[(usize, usize, u64); 2]> {
        let group = self.geometry.group(index);
        let (data_offset, table_offset) = lens(&self.geometry, PageCount::new(group.first.get()))?;
        let (data_len, table_len) = lens(&self.geometry, group.page_count)?;
        Ok([
            (data_offset, data_len, group.data_start),
            (self.table_start + table_offset, table_len, group.table_start),
        ])
    }

    fn map_part(&self, offset: usize, len: usize, file_offset: u64) -> Result<()> {
        let start = self.pointer(offset, len).cast::<c_void>();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        let file = self.backing.file();
        // SAFETY: the range lies inside the reserved one (`pointer` checked it), which is ours alone,
        // and nothing is mapped there yet, so nobody has borrowed from it.
        let mapped = unsafe { rustix::mm::mmap(start, len, protection, flags, file, file_offset) };
        mapped.map(drop).map_err(|errno| refused(len, errno))
    }

    /// Moves everything into a larger range of addresses.
    fn relocate(&mut self, capacity: u32) -> Result<()> {
        let mut new = Self::reserve(&self.backing, self.geometry, self.guard, capacity)?;
        if let Some(address) = self.watch.fault() {
            new.watch.note(new.reserved.start.addr() + (address - self.reserved.start.addr()));
        }
        for index in 0..self.groups {
            for (from, to) in self.parts(index)?.into_iter().zip(new.parts(index)?) {
                let (offset, len, _) = from;
                let (old, target) = (self.pointer(offset, len), new.pointer(to.0, len));
                let flags = MremapFlags::MAYMOVE;
                // SAFETY: both ranges lie inside ranges that are ours alone; `&mut self` shows that
                // nothing is borrowed from the old one, and nothing was from the new one. The old
                // addresses are not used from here on: `groups` is set to zero below.
                let moved =
                    unsafe { rustix::mm::mremap_fixed(old.cast(), len, len, flags, target.cast()) };
                // A range of which the fault handler has replaced a part does not move as one. This
                // leaves addresses unused until the process ends; and the mapping is poisoned anyway.
                if let Err(errno) = moved {
                    std::mem::forget(new);
                    return Err(refused(len, errno));
                }
            }
        }
        new.groups = self.groups;
        // What moved away is nobody's any more, or already somebody else's: only the rest of the old
        // range is to be given back. It is two ranges, behind the pages and behind the stamps.
        let (data_end, table_end) =
            lens(&self.geometry, VersionedGeometry::pages_of_groups(self.groups))?;
        let rest = [data_end..self.table_start, self.table_start + table_end..self.reserved.len];
        let mut old = std::mem::replace(self, new);
        for range in rest {
            old.reserved.unmap(range);
        }
        old.reserved.len = 0;
        Ok(())
    }

    /// Where pages lie in this memory.
    #[inline]
    pub(super) fn place(&self, range: PageRange) -> (usize, usize) {
        let log2 = self.geometry.page_size().log2();
        // What is mapped fits a `usize`; others are met by the check of who asks.
        #[expect(clippy::cast_possible_truncation, reason = "what is mapped fits a usize")]
        let place =
            ((range.start().get() << log2) as usize, (range.count().get() << log2) as usize);
        place
    }

    /// Where the stamps of pages lie in this memory.
    pub(super) fn table_place(&self, range: PageRange) -> (usize, usize) {
        #[expect(clippy::cast_possible_truncation, reason = "what is mapped fits a usize")]
        let index = |count: u64| count as usize * PageStamp::LEN_BYTES;
        (self.table_start + index(range.start().get()), index(range.count().get()))
    }

    /// The system's pages in which the stamps of pages lie, counted from the first stamp on.
    pub(super) fn table_pages(&self, range: PageRange) -> PageRange {
        let os_page = rustix::param::page_size() as u64;
        let stamps_a_page = os_page / PageStamp::LEN_BYTES as u64;
        let first = range.start().get() / stamps_a_page;
        let end = PageCount::new(range.end().get().div_ceil(stamps_a_page));
        PageRange::resolve(PageId::new(first).., end).unwrap_or(PageRange::EMPTY)
    }

    /// Where system's pages of stamps lie in this memory.
    pub(super) fn table_pages_place(&self, range: PageRange) -> (usize, usize) {
        let os_page = rustix::param::page_size();
        #[expect(clippy::cast_possible_truncation, reason = "what is mapped fits a usize")]
        let index = |count: u64| count as usize * os_page;
        (self.table_start + index(range.start().get()), index(range.count().get()))
    }

    #[inline]
    fn pointer(&self, offset: usize, len: usize) -> *mut u8 {
        let end = offset.checked_add(len);
        assert!(end.is_some_and(|end| end <= self.reserved.len), "outside the mapping");
        self.reserved.start.wrapping_add(offset)
    }

    /// Borrows bytes.
    ///
    /// # Safety
    /// They lie in mapped groups, the file has them, and nobody writes to them as long as the slice
    /// lives: not here, and not to the file unless this mapping has a copy of their pages.
    #[inline]
    pub(super) unsafe fn bytes(&self, offset: usize, len: usize) -> &[u8] {
        debug_assert!(offset <= self.reserved.len && len <= self.reserved.len - offset);
        let start = self.reserved.start.wrapping_add(offset);
        // SAFETY: by the caller's promise the bytes are mapped, readable, usable and not written to
        // meanwhile; the mapping lives as long as `self`; any byte is a valid `u8`, which needs no
        // alignment; and the range, being inside ours, is no longer than `isize::MAX`.
        unsafe { slice::from_raw_parts(start, len) }
    }

    /// Borrows bytes to write to.
    ///
    /// # Safety
    /// They lie in mapped groups, the file has them, and nobody else borrows any of them, or writes to
    /// them in the file unless this mapping has a copy of their pages, as long as the slice lives.
    #[expect(clippy::mut_from_ref, reason = "several disjoint ranges are borrowed at once")]
    pub(super) unsafe fn bytes_mut(&self, offset: usize, len: usize) -> &mut [u8] {
        let start = self.pointer(offset, len);
        // SAFETY: as in `bytes`; the mapping is writable, and by the caller's promise the bytes are
        // borrowed by nobody else.
        unsafe { slice::from_raw_parts_mut(start, len) }
    }

    /// Brings a range into memory (`MADV_POPULATE_READ`).
    pub(super) fn populate_read(&self, (offset, len): (usize, usize)) -> io::Result<()> {
        match self.populate(Advice::LinuxPopulateRead, offset, len) {
            // Where the advice is refused, the faults come one by one.
            Err(error) if !is_of_memory(&error) => Ok(()),
            populated => populated,
        }
    }

    /// Gives this mapping copies of the pages of a range, so that later writes to the file do not show
    /// in them (`MADV_POPULATE_WRITE`). Bytes stay as they are.
    pub(super) fn copy(&self, (offset, len): (usize, usize)) -> io::Result<()> {
        match self.populate(Advice::LinuxPopulateWrite, offset, len) {
            Err(error) if !is_of_memory(&error) => self.copy_by_writing(offset, len),
            populated => populated,
        }
    }

    /// The same on a kernel before 5.14, or under a filter that refuses the advice: a byte of each page is
    /// written over itself, by the kernel, to which no page is a fault of ours.
    fn copy_by_writing(&self, offset: usize, len: usize) -> io::Result<()> {
        let memory = File::options().read(true).write(true).open("/proc/self/mem")?;
        let start = self.pointer(offset, len).addr();
        let mut byte = [0];
        for page in (start..start + len).step_by(rustix::param::page_size()) {
            memory.read_exact_at(&mut byte, page as u64)?;
            memory.write_all_at(&byte, page as u64)?;
        }
        Ok(())
    }

    fn populate(&self, advice: Advice, offset: usize, len: usize) -> io::Result<()> {
        let start = self.pointer(offset, len).cast();
        loop {
            // SAFETY: the range lies inside ours; both advices change no byte that can be read.
            match unsafe { rustix::mm::madvise(start, len, advice) } {
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                populated => return Ok(populated?),
            }
        }
    }

    /// Gives copies of a range back to the kernel: the pages show the file again (`MADV_DONTNEED`).
    ///
    /// # Safety
    /// Nobody has borrowed bytes of the range, or the file has the same bytes there.
    pub(super) unsafe fn drop_copies(&self, (offset, len): (usize, usize)) -> io::Result<()> {
        let start = self.pointer(offset, len).cast();
        // SAFETY: the range lies inside ours. The pages show the file's bytes afterwards, which by the
        // caller's promise are the same, or are borrowed by nobody.
        unsafe { rustix::mm::madvise(start, len, Advice::LinuxDontNeed) }.map_err(io::Error::from)
    }

    /// Does what [`drop_copies`](Self::drop_copies) does to many ranges, by few system calls where the
    /// kernel has one for that.
    ///
    /// # Safety
    /// As there.
    pub(super) unsafe fn drop_all_copies(
        &self,
        places: impl Iterator<Item = (usize, usize)>,
    ) -> io::Result<()> {
        let mut ranges: Vec<_> = places
            .map(|(offset, len)| libc::iovec {
                iov_base: self.pointer(offset, len).cast(),
                iov_len: len,
            })
            .collect();
        let mut left = &mut ranges[..];
        if left.len() > 1 {
            // SAFETY: the ranges lie inside ours; the rest is the caller's promise, as in `drop_copies`.
            let done = unsafe { calls::drop_private(left) };
            left = &mut left[done..];
        }
        for range in left {
            // SAFETY: as above.
            let dropped = unsafe {
                rustix::mm::madvise(range.iov_base, range.iov_len, Advice::LinuxDontNeed)
            };
            dropped?;
        }
        Ok(())
    }

    /// Notes that the file was found too short, as if touching a page had been a fault.
    pub(super) fn note_short(&self) {
        self.watch.note(self.reserved.start.addr());
    }

    /// Fails where a page fault of this mapping could not be answered.
    #[inline]
    pub(super) fn check(&self) -> Result<()> {
        match self.watch.fault() {
            None => Ok(()),
            Some(address) => Err(self.poisoned(address)),
        }
    }

    #[cold]
    fn poisoned(&self, address: usize) -> Error {
        let offset = address - self.reserved.start.addr();
        let page = if offset < self.table_start {
            offset as u64 / self.geometry.page_size().get()
        } else {
            (offset - self.table_start) as u64 / PageStamp::LEN_BYTES as u64
        };
        let pages = PageRange::from(PageId::new(page));
        let cause = PoisonCause::Fault(self.fault_cause(pages));
        Error::Poisoned { path: self.backing.path().into(), pages, cause }
    }

    /// The error for pages that could not be brought into memory, or be copied there.
    #[cold]
    pub(super) fn unreachable(&self, pages: PageRange, source: io::Error) -> Error {
        // Populating answers EFAULT where touching the page would raise a signal (madvise(2)).
        if source.raw_os_error() != Some(libc::EFAULT) {
            return Error::io("bring into memory pages of", self.backing.path())(source);
        }
        let cause = self.fault_cause(pages);
        Error::Fault { path: self.backing.path().into(), pages, cause }
    }

    /// Tells the two causes apart by the file's length now.
    fn fault_cause(&self, pages: PageRange) -> FaultCause {
        let needed = self.geometry.file_len(PageCount::new(pages.end().get()));
        match (needed, self.backing.len_bytes()) {
            (Ok(needed), Ok(file_len)) if file_len < needed => FaultCause::CutShort { file_len },
            _ => FaultCause::Disk,
        }
    }
}

/// The bytes of so many pages, and of their stamps.
fn lens(geometry: &VersionedGeometry, page_count: PageCount) -> Result<(usize, usize)> {
    let data = page_count.bytes(geometry.page_size());
    let table = page_count.get().checked_mul(PageStamp::LEN_BYTES as u64);
    let to_usize = |bytes: Option<u64>| bytes.and_then(|bytes| usize::try_from(bytes).ok());
    match (to_usize(data), to_usize(table)) {
        (Some(data), Some(table)) if data < isize::MAX as usize / 2 => Ok((data, table)),
        _ => Err(refused(usize::MAX, rustix::io::Errno::OVERFLOW)),
    }
}

/// Whether an error says something of pages, and not of the advice.
fn is_of_memory(error: &io::Error) -> bool {
    const EHWPOISON: i32 = libc::EHWPOISON;
    matches!(error.raw_os_error(), Some(libc::EFAULT | libc::ENOMEM | EHWPOISON))
}
