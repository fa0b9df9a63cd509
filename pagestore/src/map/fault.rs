//! Page faults that cannot be answered: caught, so that they end in an error and not the process.
//!
//! Touching a mapped page that the file does not have any more, or that the disk cannot read or
//! find room for, raises `SIGBUS`. The handler here looks the address up in a table of our
//! mappings. If it is one of ours, it notes the fault in the table, puts another page in the bad
//! page's place, and returns, so that the access goes through. What is stored to that page goes to
//! no file; therefore the note is never taken back, and the mapping's owner looks for it before and
//! after everything it does. A fault that is not ours goes on to the handler that was there before.
//!
//! The other page has the bytes of the file where the file can still be read: a store found no room
//! on the disk, and what is in memory is as good as before (`Kept`). Otherwise it has zeros, and
//! everything that is read from it is wrong (`Lost`).
//!
//! A signal handler may interrupt any code at any place. This one touches atomics, the table, which
//! is never freed, and makes a few system calls; it allocates nothing, takes no lock and cannot panic.

use std::{
    ffi::c_int,
    io,
    mem::MaybeUninit,
    os::fd::RawFd,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicPtr, Ordering},
    },
};

#[cfg(all(test, loom))]
pub(crate) mod model;
mod table;

use table::{Entry, Extent, Outcome, Table};
pub(crate) use table::{FilePlace, Protection};

/// Whether page faults in a mapping that cannot be served are caught.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Guard {
    /// They are caught. The file is poisoned: every later call fails with
    /// [`Error::Poisoned`](crate::Error::Poisoned). The first such mapping installs a `SIGBUS` handler for the
    /// whole process, which passes faults elsewhere on to the handler before it.
    #[default]
    Installed,
    /// They are not caught. Such a fault ends the process, unless it has a handler of its own.
    Off,
}

/// Mappings a chunk of the table holds; the first chunk is static.
const CHUNK_LEN: usize = 128;

#[cfg(not(loom))]
static TABLE: Table<CHUNK_LEN> = Table::new();
#[cfg(loom)]
static TABLE: std::sync::LazyLock<Table<CHUNK_LEN>> = std::sync::LazyLock::new(Table::new);

/// What was done about `SIGBUS` before our handler; set before that is installed.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// A mapping that nobody uses, to be given up by a handler that finds the process with none left.
static SPARE: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());

/// A mapping's place in the table, and the note of its first fault.
#[derive(Debug)]
pub(crate) struct Watch {
    entry: &'static Entry,
}

impl Watch {
    /// Has faults in a range of addresses caught from now on, and installs the handler the first
    /// time. Without a guard no address is looked up, and only [`note`](Self::note) notes.
    pub(crate) fn new(
        guard: Guard,
        start: usize,
        len: usize,
        protection: Protection,
    ) -> io::Result<Self> {
        let extent = match guard {
            Guard::Off => Extent::NOWHERE,
            Guard::Installed => {
                install()?;
                Extent { start, end: start + len, protection }
            }
        };
        Ok(Self { entry: TABLE.take(extent) })
    }

    /// Has faults up to `end` caught as well: the mapping became longer.
    pub(crate) fn grow(&self, end: usize) {
        self.entry.grow(end);
    }

    /// Notes that the page at `address` cannot be reached, as the handler does.
    pub(crate) fn note(&self, address: usize) {
        self.entry.note(address, Outcome::Lost);
    }

    /// Whether bytes were replaced by zeros, so that what is in memory is wrong.
    pub(crate) fn has_lost(&self) -> bool {
        self.entry.has_lost()
    }

    /// The address of the first fault that was caught in the range, if there was one.
    #[inline]
    pub(crate) fn fault(&self) -> Option<usize> {
        self.entry.fault()
    }

    /// Sets how many of the mapping's pages, from the first on, are handed out without a look at anything else.
    /// They are none from the first fault on.
    pub(crate) fn set_free_pages(&self, count: u64) {
        self.entry.set_free_pages(count);
    }

    /// How many pages are handed out so.
    #[inline]
    pub(crate) fn free_pages(&self) -> u64 {
        self.entry.free_pages()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.entry.give_back();
    }
}

/// Installs the handler, once for the process.
fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let mut before = MaybeUninit::<libc::sigaction>::zeroed();
        keep_spare();
        // SAFETY: sigaction(2) with a null second argument only writes the present action to the
        // third, which is a `sigaction` on this stack.
        let read = unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), before.as_mut_ptr()) };
        if read != 0 {
            return Err(errno());
        }
        // SAFETY: the call above succeeded and so filled it in; it was all zero before.
        BEFORE.get_or_init(|| unsafe { before.assume_init() });
        let mut ours = MaybeUninit::<libc::sigaction>::zeroed();
        let ours_ptr = ours.as_mut_ptr();
        // SAFETY: the pointer is to a `sigaction` on this stack, of which only the address of a
        // field is taken.
        let mask = unsafe { &raw mut (*ours_ptr).sa_mask };
        // SAFETY: sigemptyset(3) fills in the signal set that the pointer is to, on this stack.
        unsafe { libc::sigemptyset(mask) };
        // SAFETY: all zero bytes are a `sigaction`: a null handler, no flags, an empty mask.
        let mut ours = unsafe { ours.assume_init() };
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_sigbus;
        ours.sa_sigaction = handler as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `ours` is a whole `sigaction` whose handler has the signature that `SA_SIGINFO`
        // asks for and does only what a signal handler may; the old action is not asked for.
        let set = unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) };
        if set == 0 { Ok(()) } else { Err(errno()) }
    });
    installed.map_err(io::Error::from_raw_os_error)
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}

/// The handler. The kernel calls it on the thread that touched the page.
extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with `SA_SIGINFO`, the kernel passes a valid `siginfo_t`.
    let code = unsafe { (*info).si_code };
    // Signals sent by a process (kill(2), sigqueue(3)) have codes of zero and below, and no address.
    if code > 0 {
        // SAFETY: as above.
        let info = unsafe { &*info };
        // SAFETY: for a `SIGBUS` of a fault the kernel fills in the address.
        let address = unsafe { info.si_addr() }.addr();
        if catch(address) {
            return;
        }
    }
    forward(signal, info, context, code);
}

/// Answers a fault in one of our mappings; says whether it was in one, and could be.
fn catch(address: usize) -> bool {
    TABLE.find(address).is_some_and(|(entry, extent)| patch(entry, address, &extent))
}

/// Notes the fault, then puts another page in the place of the bad one.
///
/// In this order: whoever reads what stands there and then looks for a note must find it.
///
/// Each page that is replaced splits a mapping in the kernel's books, of which a process may have
/// 65,530 (vm.max_map_count). Where it has no more, all of our mapping is replaced, which makes many
/// into one; it is poisoned as a whole in any case, and its good pages are still in the file. Where it
/// has one more than it may, as a split can leave it with, the kernel maps nothing at all before one is
/// given up: the [spare](SPARE).
fn patch(entry: &Entry, address: usize, extent: &Extent) -> bool {
    // The page size is a constant of the running system, which rustix read when the first mapping
    // was made; no system call happens here.
    let page_len = rustix::param::page_size();
    let page = address & !(page_len - 1);
    if let Protection::ReadWrite(place) = extent.protection {
        entry.note(address, Outcome::Kept);
        let offset = place.offset_bytes + (page - extent.start) as u64;
        if put_copy(page, page_len, place.descriptor, offset) {
            return true;
        }
    }
    entry.note(address, Outcome::Lost);
    put_zeros(page, page_len, extent.protection)
        || put_zeros(extent.start, extent.end - extent.start, extent.protection)
        || without_spare(|| put_zeros(extent.start, extent.end - extent.start, extent.protection))
}

/// Gives the spare mapping up while `run` runs.
fn without_spare(run: impl FnOnce() -> bool) -> bool {
    let spare = SPARE.swap(ptr::null_mut(), Ordering::AcqRel);
    if spare.is_null() {
        return false;
    }
    // SAFETY: `keep_spare` mapped this page, nobody uses it, and the swap made it this thread's.
    unsafe { libc::munmap(spare, rustix::param::page_size()) };
    let is_done = run();
    keep_spare();
    is_done
}

/// Maps the spare, where there is none. It is shared memory, which the kernel joins with no neighbour.
fn keep_spare() {
    let (len, flags) = (rustix::param::page_size(), libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: without an address, the kernel maps new memory where nothing is.
    let new = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
    if new == libc::MAP_FAILED {
        return;
    }
    let null = ptr::null_mut();
    if SPARE.compare_exchange(null, new, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: the page was mapped above, and nobody else knows of it.
        unsafe { libc::munmap(new, len) };
    }
}

/// Puts a copy of a page of the file in the place of that page of one of our mappings; says whether
/// it could.
///
/// The copy takes its place whole, by mremap(2), so nobody sees it half made. It is that of the page
/// cache, which the mapping showed. Nobody stores to the page meanwhile: whoever may is the thread
/// that runs here.
fn put_copy(page: usize, len: usize, descriptor: RawFd, offset: u64) -> bool {
    let Ok(offset) = libc::off64_t::try_from(offset) else { return false };
    // SAFETY: `__errno_location` gives this thread's errno, which the interrupted code may be about
    // to read; it is put back below.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the pointer is valid for this thread's life.
    let saved = unsafe { *errno };
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: without an address, the kernel maps new memory where nothing is.
    let copy = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, -1, 0) };
    let mut is_put = false;
    if copy != libc::MAP_FAILED {
        // SAFETY: the new memory has `len` bytes, which nobody else uses; pread(2) writes no more.
        // The descriptor is open: the mapping, which the interrupted code is using, keeps it so.
        let count = unsafe { libc::pread64(descriptor, copy, len, offset) };
        if usize::try_from(count) == Ok(len) {
            let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            let place = ptr::without_provenance_mut::<libc::c_void>(page);
            // SAFETY: the page lies in a range that the table says is one of our mappings
            // (`Table::find`), which lives because the interrupted code is using it; it is to be
            // read and written, as the copy is. So this frees no memory that anything else owns and
            // leaves the addresses valid, with the bytes that stood there.
            is_put = unsafe { libc::mremap(copy, len, len, flags, place) } != libc::MAP_FAILED;
        }
        if !is_put {
            // SAFETY: the memory was mapped above, has not moved, and nobody else knows of it.
            unsafe { libc::munmap(copy, len) };
        }
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
    is_put
}

/// Puts zeros in the place of some pages of one of our mappings.
fn put_zeros(start: usize, len: usize, protection: Protection) -> bool {
    let start = ptr::without_provenance_mut(start);
    let access = match protection {
        Protection::Read => libc::PROT_READ,
        Protection::ReadWrite(_) | Protection::Private => libc::PROT_READ | libc::PROT_WRITE,
    };
    // NORESERVE: memory is not set aside for a whole mapping that nobody will fill.
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: `__errno_location` gives this thread's errno, which the interrupted code may be about
    // to read; it is put back below.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the pointer is valid for this thread's life.
    let saved = unsafe { *errno };
    // SAFETY: the pages lie in a range that the table says is one of our mappings
    // (`Table::find`), which lives because the interrupted code is using it. Replacing them there
    // frees no memory that anything else owns, keeps the access rights, and leaves the addresses
    // valid.
    let mapped = unsafe { libc::mmap(start, len, access, flags, -1, 0) };
    // SAFETY: as above.
    unsafe { *errno = saved };
    mapped != libc::MAP_FAILED
}

/// Hands a signal that is not ours to whoever had it before.
fn forward(signal: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void, code: c_int) {
    let Some(before) = BEFORE.get() else { return };
    match before.sa_sigaction {
        libc::SIG_IGN if code <= 0 => {}
        // The default is to end the process by this signal. A fault that was "ignored" ends it too:
        // the kernel does not let a thread run on into the same fault for ever.
        libc::SIG_DFL | libc::SIG_IGN => end_by(signal, code),
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: the action was installed with `SA_SIGINFO`, so its handler has this
            // signature; both are of pointer size.
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: the action was installed without `SA_SIGINFO`, so its handler has this
            // signature; both are of pointer size.
            let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}

/// Ends the process by `signal`, as its default action does: with that action in place again, a
/// fault happens once more when the handler returns, and a signal that was sent is raised anew.
fn end_by(signal: c_int, code: c_int) {
    // SAFETY: signal(2) with the default action takes no pointer and may be called in a handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    if code <= 0 {
        // SAFETY: raise(3) may be called in a handler; the signal is blocked until that returns.
        unsafe { libc::raise(signal) };
    }
}
