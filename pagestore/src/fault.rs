//! Page faults that cannot be answered: caught, so that they end in an error and not the process.
//!
//! Touching a mapped page that the file does not have any more, or that the disk cannot read or
//! find room for, raises `SIGBUS`. The handler here looks the address up in a table of our
//! mappings. If it is one of ours, it notes the fault in the table, puts a page of zeros in the
//! bad page's place, and returns, so that the access goes through. Everything that is read from
//! such a page is wrong, and what is stored to it goes nowhere; therefore the note is never taken
//! back, and the mapping's owner looks for it before and after everything it does. A fault that is
//! not ours goes on to the handler that was there before.
//!
//! A signal handler may interrupt any code at any place. This one touches atomics, the table, which
//! is never freed, and makes one system call; it allocates nothing, takes no lock and cannot panic.

use std::{
    ffi::c_int,
    io,
    mem::MaybeUninit,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering, fence},
    },
};

/// Whether page faults of a mapping that cannot be answered are caught.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Guard {
    /// They are caught: the mapping is poisoned, and everything that is done with it from then on
    /// fails with [`Error::Poisoned`](crate::Error::Poisoned). The first such mapping installs a
    /// `SIGBUS` handler for the whole process; faults elsewhere go on to the handler that was there
    /// before.
    #[default]
    Installed,
    /// They are not caught: such a fault ends the process, unless it has a handler of its own.
    Off,
}

/// What may be done with a mapping's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protection {
    Read,
    ReadWrite,
}

/// Mappings a chunk of the table holds. The first chunk is static; a process that has more mappings
/// at once than all chunks hold gets another one, which is then kept for ever.
const CHUNK_LEN: usize = 128;

/// One mapping's entry. Its numbers change only while `version` is odd.
struct Entry {
    version: AtomicU32,
    taken: AtomicBool,
    writable: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    /// The first address whose fault was caught; 0 where there was none.
    fault: AtomicUsize,
}

impl Entry {
    const fn new() -> Self {
        Self {
            version: AtomicU32::new(0),
            taken: AtomicBool::new(false),
            writable: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            fault: AtomicUsize::new(0),
        }
    }

    /// Changes the numbers. Only the one who has `taken` the entry may.
    fn set(&self, start: usize, end: usize, writable: bool) {
        self.version.fetch_add(1, Ordering::Acquire);
        self.start.store(start, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
        self.writable.store(writable, Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Notes a fault. A note that is there already stays: the first one is the one to report.
    fn note(&self, address: usize) {
        let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
        let _earlier = self.fault.compare_exchange(0, address, success, failure);
    }

    /// This mapping, where `address` lies in it.
    ///
    /// The entry of the mapping that a thread is touching does not change meanwhile, since whoever
    /// borrows from a mapping keeps it alive. An entry that changes under the look is another one's
    /// and is passed over.
    fn covers(&self, address: usize) -> Option<Extent> {
        let version = self.version.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        let end = self.end.load(Ordering::Relaxed);
        let writable = self.writable.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let unchanged = version & 1 == 0 && version == self.version.load(Ordering::Relaxed);
        (unchanged && start <= address && address < end).then_some(Extent { start, end, writable })
    }
}

/// Where a mapping lies, and whether it is writable.
struct Extent {
    start: usize,
    end: usize,
    writable: bool,
}

struct Chunk {
    entries: [Entry; CHUNK_LEN],
    next: AtomicPtr<Self>,
}

impl Chunk {
    const fn new() -> Self {
        Self { entries: [const { Entry::new() }; CHUNK_LEN], next: AtomicPtr::new(ptr::null_mut()) }
    }

    fn next(&self) -> Option<&'static Self> {
        // SAFETY: the pointer is null or came from `Box::leak` in `next_or_new`, was published with
        // `Release` after the chunk was made, and is never freed.
        unsafe { self.next.load(Ordering::Acquire).as_ref() }
    }

    fn next_or_new(&self) -> &'static Self {
        if let Some(next) = self.next() {
            return next;
        }
        let new = ptr::from_mut(Box::leak(Box::new(Self::new())));
        let null = ptr::null_mut();
        let published =
            match self.next.compare_exchange(null, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => new,
                Err(earlier) => {
                    // SAFETY: `new` was leaked above, was not published, and is used no more.
                    drop(unsafe { Box::from_raw(new) });
                    earlier
                }
            };
        // SAFETY: either our own leaked chunk or another's that was published, hence not null; no
        // published chunk is ever freed.
        unsafe { &*published }
    }
}

static TABLE: Chunk = Chunk::new();

/// What was done about `SIGBUS` before our handler; set before that is installed.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// A mapping's place in the table, and the note of its first fault.
pub(crate) struct Watch {
    entry: &'static Entry,
}

impl Watch {
    /// Has faults in a range of addresses caught from now on, and installs the handler the first
    /// time.
    pub(crate) fn new(start: usize, len: usize, protection: Protection) -> io::Result<Self> {
        install()?;
        let mut chunk = &TABLE;
        loop {
            for entry in &chunk.entries {
                if !entry.taken.swap(true, Ordering::Acquire) {
                    entry.fault.store(0, Ordering::Relaxed);
                    entry.set(start, start + len, protection == Protection::ReadWrite);
                    return Ok(Self { entry });
                }
            }
            chunk = chunk.next_or_new();
        }
    }

    /// Notes that the page at `address` cannot be reached, as the handler does.
    pub(crate) fn note(&self, address: usize) {
        self.entry.note(address);
    }

    /// The address of the first fault that was caught in the range, if there was one.
    #[inline]
    pub(crate) fn fault(&self) -> Option<usize> {
        match self.entry.fault.load(Ordering::Acquire) {
            0 => None,
            address => Some(address),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.entry.set(0, 0, false);
        self.entry.taken.store(false, Ordering::Release);
    }
}

/// Installs the handler, once for the process.
fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let mut before = MaybeUninit::<libc::sigaction>::zeroed();
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
    let mut chunk = &TABLE;
    loop {
        for entry in &chunk.entries {
            if let Some(extent) = entry.covers(address) {
                return patch(entry, address, &extent);
            }
        }
        match chunk.next() {
            Some(next) => chunk = next,
            None => return false,
        }
    }
}

/// Notes the fault, then puts zeros in the place of the page.
///
/// In this order: whoever reads the zeros and then looks for a note must find it.
///
/// Each page that is replaced splits a mapping in the kernel's books, of which a process may have
/// 65,530 (vm.max_map_count). Where it has no more, all of our mapping is replaced, which makes many
/// into one; it is poisoned as a whole in any case, and its good pages are still in the file.
fn patch(entry: &Entry, address: usize, extent: &Extent) -> bool {
    entry.note(address);
    // The page size is a constant of the running system, which rustix read when the first mapping
    // was made; no system call happens here.
    let page_len = rustix::param::page_size();
    put_zeros(address & !(page_len - 1), page_len, extent.writable)
        || put_zeros(extent.start, extent.end - extent.start, extent.writable)
}

/// Puts zeros in the place of some pages of one of our mappings.
fn put_zeros(start: usize, len: usize, writable: bool) -> bool {
    let start = ptr::without_provenance_mut(start);
    let access = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
    // NORESERVE: memory is not set aside for a whole mapping that nobody will fill.
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: `__errno_location` gives this thread's errno, which the interrupted code may be about
    // to read; it is put back below.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the pointer is valid for this thread's life.
    let saved = unsafe { *errno };
    // SAFETY: the pages lie in a range that the table says is one of our mappings
    // (`Entry::covers`), which lives because the interrupted code is using it. Replacing them there
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
