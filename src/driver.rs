//! Work that goes on whoever polls.
//!
//! Work of several steps that others may have to wait for (a block that is being read for all who
//! want it, a batch of writes with its turn, a change that holds blocks of a compressed file) must
//! not stop where a caller stops: callers drop their futures, and runtimes shut down or do nothing
//! for a while. So there is one runtime that belongs to the process: one thread, started with the
//! first work that has to wait, which is never shut down. Its timer and its threads for blocking
//! calls are those that the work finds.
//!
//! Work that changes what belongs to one handle ends with it ([`Works`]): what is under way below comes first by
//! the promise of the backend, and what was not begun never is.
//!
//! Work is polled once where it was begun, so what is answered at once costs no hop. What then has
//! to wait goes on here.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, OnceLock, Weak},
    task::{Context, Poll, Waker},
    thread,
};

use parking_lot::Mutex;
use tokio::{
    runtime::{Builder, Handle, Runtime},
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
    let runtime = Unblocking(Some(runtime));
    let handle = runtime.get().handle().clone();
    let for_ever = move || runtime.get().block_on(std::future::pending::<()>());
    let started = thread::Builder::new().name("storage-driver".into()).spawn(for_ever);
    started.map_err(|error| {
        let advice = "raise the limit of processes (ulimit -u, or pids.max of the control group)";
        io::Error::new(error.kind(), format!("no thread could be started ({error}); {advice}"))
    })?;
    Ok(RUNTIME.get_or_init(|| handle))
}

/// A runtime that can be dropped inside of another one, as happens where its thread cannot be started.
struct Unblocking(Option<Runtime>);

impl Unblocking {
    fn get(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Unblocking {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
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

/// Work that is done for a handle, as long as that is there.
#[derive(Default)]
pub(crate) struct Works(Mutex<Vec<Weak<dyn Stop>>>);

trait Stop: Send + Sync {
    /// Drops the work where it waits.
    fn stop(&self);
}

type Stopped<T> = Mutex<Option<Pin<Box<dyn Future<Output = T> + Send>>>>;

impl<T> Stop for Stopped<T> {
    fn stop(&self) {
        // Waits for whoever polls it: a moment.
        let work = self.lock().take();
        drop(work);
    }
}

impl Works {
    /// Does work as [`drive`] does, to its end or until they are [stopped](Self::stop).
    ///
    /// # Errors
    /// As [`drive`].
    ///
    /// # Panics
    /// Where the work does. Where it was stopped and somebody waits for it all the same.
    pub(crate) async fn drive<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<T> {
        let work: Arc<Stopped<T>> = Arc::new(Mutex::new(Some(Box::pin(work))));
        let stop: Weak<dyn Stop> = Arc::<Stopped<T>>::downgrade(&work);
        {
            let mut works = self.0.lock();
            works.retain(|work| work.strong_count() > 0);
            works.push(stop);
        }
        let until_stopped = std::future::poll_fn(move |context| {
            let mut work = work.lock();
            let Some(polled) = work.as_mut().map(|work| work.as_mut().poll(context)) else {
                return Poll::Ready(None);
            };
            polled.map(|done| {
                *work = None;
                Some(done)
            })
        });
        let done = drive(Unwanted::GoesOn, until_stopped).await?;
        Ok(done.expect("who waits has the handle, so nobody stopped it"))
    }

    /// Drops all of it where it waits. Nothing of it begins anything from then on.
    pub(crate) fn stop(&self) {
        let works = std::mem::take(&mut *self.0.lock());
        works.iter().filter_map(Weak::upgrade).for_each(|work| work.stop());
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
