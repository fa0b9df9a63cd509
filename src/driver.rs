//! Work that goes on whoever polls.
//!
//! Work of several steps that others may have to wait for (a block that is being read for all who
//! want it, a batch of writes with its turn, a change that holds blocks of a compressed file) must
//! not stop where a caller stops: callers drop their futures, and runtimes shut down or do nothing
//! for a while. So there is one runtime that belongs to the process: one thread, started with the
//! first work that has to wait, which is never shut down. Its timer and its threads for blocking
//! calls are those that the work finds.
//!
//! Work is polled once where it was begun, so what is answered at once costs no hop. What then has
//! to wait goes on here.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll, Waker},
    thread,
};

use parking_lot::Mutex;
use tokio::{
    runtime::{Builder, Handle},
    task::JoinHandle,
};

/// What becomes of work that a caller has begun and waits for no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unwanted {
    /// It is done to its end: it changes something, or others wait for it.
    GoesOn,
    /// It stops where it next waits: all that it does is answer.
    Stops,
}

/// The runtime of the process.
///
/// # Errors
/// Where its thread cannot be started.
fn runtime() -> io::Result<&'static Handle> {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(handle) = RUNTIME.get() {
        return Ok(handle);
    }
    let _starting = STARTING.lock();
    if let Some(handle) = RUNTIME.get() {
        return Ok(handle);
    }
    let runtime = Builder::new_current_thread().enable_all().thread_name("storage-work").build()?;
    let handle = runtime.handle().clone();
    let for_ever = move || runtime.block_on(std::future::pending::<()>());
    let started = thread::Builder::new().name("storage-driver".into()).spawn(for_ever);
    started.map_err(|error| {
        let advice = "raise the limit of processes (ulimit -u, or pids.max of the control group)";
        io::Error::new(error.kind(), format!("no thread could be started ({error}); {advice}"))
    })?;
    Ok(RUNTIME.get_or_init(|| handle))
}

/// Does work. Nothing is begun before the first poll.
///
/// # Errors
/// Where the thread of the process's runtime cannot be started; nothing is begun then.
///
/// # Panics
/// Where the work does.
pub(crate) async fn drive<T: Send + 'static>(
    unwanted: Unwanted,
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<T> {
    let runtime = runtime()?;
    let mut work: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(work);
    let polled = {
        // What it begins belongs to the runtime of the process, not to the caller's.
        let _inside = runtime.enter();
        work.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    if let Poll::Ready(done) = polled {
        return Ok(done);
    }
    let mut task = Task { handle: runtime.spawn(work), unwanted };
    match (&mut task.handle).await {
        Ok(done) => Ok(done),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Begins work that nobody waits for.
///
/// # Errors
/// As [`drive`].
pub(crate) fn begin(work: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let driven = std::pin::pin!(drive(Unwanted::GoesOn, work));
    match driven.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(begun) => begun,
        Poll::Pending => Ok(()),
    }
}

struct Task<T> {
    handle: JoinHandle<T>,
    unwanted: Unwanted,
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if self.unwanted == Unwanted::Stops {
            self.handle.abort();
        }
    }
}
