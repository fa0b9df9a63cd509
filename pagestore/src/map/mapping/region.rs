//! A range of addresses that is ours, and that can become longer without moving.

use std::{
    fs::File,
    io,
    ptr::{self, NonNull},
    sync::atomic::{AtomicUsize, Ordering},
};

use memmap2::{Advice, UncheckedAdvice};
use rustix::{
    io::Errno,
    mm::{
        MapFlags, MremapFlags, MsyncFlags, ProtFlags, mmap, mmap_anonymous, mremap, msync, munmap,
    },
};

use super::places::{self, Place};

/// How many places are tried for a mapping that is to grow.
const PLACES_TRIED_MAX: usize = 16;

/// What is mapped.
#[derive(Clone, Copy)]
pub(super) enum Content<'file> {
    /// A file from an offset on, shared with whoever else maps it, with these rights.
    File { file: &'file File, offset_bytes: u64, rights: ProtFlags },
    /// Memory of this process alone, all zero.
    Anonymous,
}

/// Whether a range is to become longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Growth {
    /// Never: it lies where the kernel puts it.
    None,
    /// It lies where much is free behind it.
    InPlace,
}

/// A mapping of this process, unmapped on drop.
pub(super) struct Region {
    start: NonNull<u8>,
    /// The bytes asked for. What is mapped ends with their last page.
    len: AtomicUsize,
    growth: Growth,
    /// Keeps others of ours out of what lies behind. Given back after the memory was.
    place: Option<Place>,
}

// SAFETY: a mapping belongs to the process and not to a thread. A region hands out an address and a
// length, and asks the kernel about them; who touches the memory answers for that.
unsafe impl Send for Region {}
// SAFETY: as above; the length is atomic, and the kernel orders the calls.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `len` bytes, of a file also past its end.
    pub(super) fn new(content: Content<'_>, len: usize, growth: Growth) -> io::Result<Self> {
        let mapped_len = mapped_len(len).ok_or(Errno::OVERFLOW)?;
        let offset = match content {
            Content::File { offset_bytes, .. } => offset_bytes,
            Content::Anonymous => 0,
        };
        if growth == Growth::InPlace {
            // Places that turn out to be in use are taken until there is one that is not.
            let mut in_use = Vec::new();
            while let Some(place) = places::take(mapped_len, offset)
                && in_use.len() < PLACES_TRIED_MAX
            {
                let at = ptr::without_provenance_mut(place.start());
                // SAFETY: `map` is asked not to replace anything that is mapped already.
                match unsafe { map(content, at, mapped_len, MapFlags::FIXED_NOREPLACE) } {
                    Ok(start) => {
                        // A kernel before 4.17 takes the address for a wish.
                        let place = (start.addr().get() == place.start()).then_some(place);
                        return Ok(Self { start, len: AtomicUsize::new(len), growth, place });
                    }
                    // Somebody else's memory is there.
                    Err(Errno::EXIST) => in_use.push(place),
                    // These addresses do not exist here, or a limit is met: the call below says which.
                    Err(_) => break,
                }
            }
        }
        // SAFETY: without an address the kernel chooses a free range.
        let start = unsafe { map(content, ptr::null_mut(), mapped_len, MapFlags::empty()) }?;
        Ok(Self { start, len: AtomicUsize::new(len), growth, place: None })
    }

    /// Makes the range longer, if what lies behind it is free. Whoever is using it notices nothing.
    ///
    /// The caller sees to it that nobody else does this at the same time.
    pub(super) fn grow(&self, len: usize) -> io::Result<()> {
        let old_len = mapped_len(self.len()).ok_or(Errno::OVERFLOW)?;
        let new_len = mapped_len(len).ok_or(Errno::OVERFLOW)?;
        if new_len > old_len {
            if let Some(place) = &self.place {
                place.extend(self.start.addr().get() + new_len)?;
            }
            // The last page alone is named: where parts of the range were advised differently, it is
            // several ranges to the kernel, of which only the last one can become longer.
            let page_len = rustix::param::page_size();
            let last = self.start.as_ptr().wrapping_add(old_len - page_len);
            let more = page_len + (new_len - old_len);
            // SAFETY: the page is the last one of this mapping. Without `MREMAP_MAYMOVE` the kernel
            // makes the mapping longer where it is, over addresses that nobody uses, or fails.
            unsafe { mremap(last.cast(), page_len, more, MremapFlags::empty()) }?;
        }
        self.len.fetch_max(len, Ordering::Release);
        Ok(())
    }

    /// Whether it is meant to become longer.
    pub(super) fn growth(&self) -> Growth {
        self.growth
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    #[inline]
    pub(super) fn as_mut_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The bytes that may be touched, as far as a file has them.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Advises the kernel about the whole range.
    pub(super) fn advise(&self, advice: Advice) -> io::Result<()> {
        self.advise_range(advice, 0, self.len())
    }

    /// Advises the kernel about a part of it. No such advice changes a byte.
    pub(super) fn advise_range(&self, advice: Advice, offset: usize, len: usize) -> io::Result<()> {
        // SAFETY: memmap2 keeps apart from these what changes bytes (`UncheckedAdvice`).
        unsafe { self.madvise(advice as libc::c_int, offset, len) }
    }

    /// Advises the kernel about a part of it in a way that can change bytes.
    ///
    /// # Safety
    /// Nobody relies on the bytes that this advice changes (madvise(2)).
    pub(super) unsafe fn unchecked_advise_range(
        &self,
        advice: UncheckedAdvice,
        offset: usize,
        len: usize,
    ) -> io::Result<()> {
        // SAFETY: the caller's promise is the one that `madvise` asks for.
        unsafe { self.madvise(advice as libc::c_int, offset, len) }
    }

    /// Writes the dirty pages of a part to the file and waits for it (msync(2), `MS_SYNC`).
    pub(super) fn flush_range(&self, offset: usize, len: usize) -> io::Result<()> {
        let (start, len) = self.pages(offset, len)?;
        // SAFETY: `pages` found the range inside this mapping; writing it back changes no byte.
        unsafe { msync(start.cast(), len, MsyncFlags::SYNC) }.map_err(io::Error::from)
    }

    /// # Safety
    /// Nobody relies on the bytes that this advice changes, if it changes any (madvise(2)).
    unsafe fn madvise(&self, advice: libc::c_int, offset: usize, len: usize) -> io::Result<()> {
        let (start, len) = self.pages(offset, len)?;
        // SAFETY: `pages` found the range inside this mapping; the caller answers for its bytes.
        let result = unsafe { libc::madvise(start.cast(), len, advice) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The whole pages in which a part of the range lies.
    fn pages(&self, offset: usize, len: usize) -> io::Result<(*mut u8, usize)> {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len());
        if !inside {
            return Err(Errno::INVAL.into());
        }
        let before = offset % rustix::param::page_size();
        Ok((self.as_mut_ptr().wrapping_add(offset - before), len + before))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let Some(len) = mapped_len(self.len()) else { return };
        // SAFETY: the range is a mapping of ours, whole, and whoever borrowed from it is gone: they
        // borrow from its owner.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), len) };
        debug_assert!(unmapped.is_ok(), "unmapping what is mapped: {unmapped:?}");
    }
}

/// What is mapped for `len` bytes: whole pages, one at least.
fn mapped_len(len: usize) -> Option<usize> {
    let mapped = len.max(1).checked_next_multiple_of(rustix::param::page_size())?;
    isize::try_from(mapped).is_ok().then_some(mapped)
}

/// # Safety
/// Where `flags` let something that is mapped be replaced, nobody relies on it.
unsafe fn map(
    content: Content<'_>,
    at: *mut u8,
    len: usize,
    flags: MapFlags,
) -> Result<NonNull<u8>, Errno> {
    let mapped = match content {
        Content::File { file, offset_bytes, rights } => {
            // SAFETY: by the caller's promise nothing is replaced that anybody relies on.
            unsafe { mmap(at.cast(), len, rights, flags | MapFlags::SHARED, file, offset_bytes) }
        }
        Content::Anonymous => {
            let rights = ProtFlags::READ | ProtFlags::WRITE;
            let flags = flags | MapFlags::PRIVATE | MapFlags::NORESERVE;
            // SAFETY: as above.
            unsafe { mmap_anonymous(at.cast(), len, rights, flags) }
        }
    }?;
    Ok(NonNull::new(mapped.cast()).expect("nothing is mapped at address zero"))
}
