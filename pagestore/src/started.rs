//! Which standard streams this process was started with.
//!
//! Rust's runtime opens `/dev/null` in the place of a standard stream that is closed, before `main`
//! begins. From then on nobody can tell it from the `/dev/null` of a caller who wants silence, whom
//! many programs serve with one that is opened to read and write. So this looks before the runtime
//! does.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::{
    io::{Errno, fcntl_getfd},
    stdio,
};

static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// One of the three streams that a process is given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StandardStream {
    /// Descriptor 0.
    Input,
    /// Descriptor 1.
    Output,
    /// Descriptor 2.
    Error,
}

impl StandardStream {
    /// Whether there was no such stream when this process was started (`program <&-`), so that what
    /// is read from it is nothing, and what is written to it is lost.
    #[must_use]
    pub fn was_closed(self) -> bool {
        CLOSED[self as usize].load(Ordering::Relaxed)
    }
}

extern "C" fn look() {
    for (fd, closed) in [stdio::stdin(), stdio::stdout(), stdio::stderr()].into_iter().zip(&CLOSED)
    {
        closed.store(fcntl_getfd(fd) == Err(Errno::BADF), Ordering::Relaxed);
    }
}

// SAFETY: the C runtime calls each function in `.init_array` once, before `main`, with arguments that
// a function of the C calling convention may leave alone. This one does not unwind, makes three
// system calls that are right on any number, open or not, and stores to atomics; it uses nothing that
// Rust's runtime sets up.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;
