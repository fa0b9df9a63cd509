//! SIGBUS handlers of the tests' own, before ours or after it.
#![allow(dead_code, reason = "not every suite needs each")]

use std::{
    ffi::{c_int, c_void},
    mem::MaybeUninit,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

pub(crate) type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// What was installed before the handler that counts.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// What is done about `SIGBUS` now.
pub(crate) fn current() -> libc::sigaction {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with a null second argument, sigaction(2) only writes to the third.
    let read = unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), action.as_mut_ptr()) };
    assert_eq!(read, 0);
    // SAFETY: filled in by the call above.
    unsafe { action.assume_init() }
}

/// Has `SIGBUS` answered by `handler`; gives what was installed before.
pub(crate) fn install(handler: Handler) -> libc::sigaction {
    let before = current();
    let mut action = before;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: a whole `sigaction`, whose handler has the signature that `SA_SIGINFO` asks for.
    let set = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) };
    assert_eq!(set, 0);
    before
}

/// Has `SIGBUS` ignored, or answered by default.
pub(crate) fn install_disposition(disposition: libc::sighandler_t) {
    // SAFETY: signal(2) takes no pointer; `SIG_IGN` and `SIG_DFL` are no functions.
    let before = unsafe { libc::signal(libc::SIGBUS, disposition) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Calls the handler of `action`, which is one with `SA_SIGINFO`.
pub(crate) fn call(
    action: &libc::sigaction,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    // SAFETY: handlers with `SA_SIGINFO` have this signature.
    let handler = unsafe { std::mem::transmute::<usize, Handler>(action.sa_sigaction) };
    handler(signal, info, context);
}

/// The address of a fault.
pub(crate) fn address(info: *mut libc::siginfo_t) -> usize {
    // SAFETY: the kernel passes a valid `siginfo_t`.
    let info = unsafe { &*info };
    // SAFETY: for a `SIGBUS` it has an address.
    unsafe { info.si_addr() }.addr()
}

/// Counts every `SIGBUS` from now on, and hands each to the handler that is there now.
pub(crate) fn count_from_now() {
    assert_eq!(current().sa_flags & libc::SA_SIGINFO, libc::SA_SIGINFO, "ours is installed");
    BEFORE.get_or_init(current);
    install(counting);
}

/// The signals counted so far.
pub(crate) fn counted() -> usize {
    COUNT.load(Ordering::Relaxed)
}

extern "C" fn counting(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    if let Some(before) = BEFORE.get() {
        call(before, signal, info, context);
    }
}
