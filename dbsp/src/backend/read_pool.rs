//! Threads that wait for the disk, so that DBSP's own need not.

use std::{
    collections::VecDeque,
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread,
};

use parking_lot::{Condvar, Mutex};

/// What a thread of the pool does.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// A bounded number of threads, started as they are needed. Jobs begin in the order in which they
/// came. When the pool is dropped, what was passed to it is still done.
pub(super) struct ReadPool {
    shared: Arc<Shared>,
    threads_max: usize,
}

struct Shared {
    state: Mutex<State>,
    /// There is a job, or there will be none any more.
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    thread_count: usize,
    /// The threads that wait for a job. One that was woken counts until it runs.
    idle_count: usize,
    is_closed: bool,
}

impl ReadPool {
    pub(super) fn new(threads_max: usize) -> Self {
        let shared = Shared { state: Mutex::default(), wake: Condvar::new() };
        Self { shared: Arc::new(shared), threads_max }
    }

    /// Has a thread do the job; where none can be started, the caller's own does it at once.
    pub(super) fn run(&self, job: Job) {
        let mut state = self.shared.state.lock();
        state.jobs.push_back(job);
        if state.jobs.len() <= state.idle_count {
            self.shared.wake.notify_one();
            return;
        }
        if state.thread_count == self.threads_max {
            return;
        }
        state.thread_count += 1;
        drop(state);
        let shared = Arc::clone(&self.shared);
        let named = thread::Builder::new().name("storage-read".into());
        if let Err(error) = named.spawn(move || shared.work()) {
            tracing::warn!(%error, "no thread for reading could be started");
            let mut state = self.shared.state.lock();
            state.thread_count -= 1;
            let is_alone = state.thread_count == 0;
            let jobs = if is_alone { std::mem::take(&mut state.jobs) } else { VecDeque::new() };
            drop(state);
            jobs.into_iter().for_each(run_one);
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                run_one(job);
                state = self.state.lock();
            } else if state.is_closed {
                return;
            } else {
                state.idle_count += 1;
                self.wake.wait(&mut state);
                state.idle_count -= 1;
            }
        }
    }
}

/// Does a job. One that panics, in what somebody else wants done with the blocks, must not take the
/// thread along that others count on.
fn run_one(job: Job) {
    if panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
        tracing::error!("the receiver of asynchronously read blocks panicked");
    }
}

impl Drop for ReadPool {
    /// Tells the threads to end when all is done. They are not waited for: the last user of a pool
    /// may be one of them.
    fn drop(&mut self) {
        self.shared.state.lock().is_closed = true;
        self.shared.wake.notify_all();
    }
}

impl fmt::Debug for ReadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadPool").field("threads_max", &self.threads_max).finish_non_exhaustive()
    }
}
