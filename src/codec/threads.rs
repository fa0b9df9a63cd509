//! The threads that compress and decompress what would keep the thread of the process's runtime too long.
//!
//! There are as many as the machine has processors, at most. They are started when they are needed, and end when
//! they had nothing to do for a while. Where none can be started, the one who asks does the work: that is slow,
//! and no reason to fail.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// How long a thread waits for more to do.
const IDLE_MAX: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

struct Threads {
    state: Mutex<State>,
    more: Condvar,
}

struct State {
    waiting: VecDeque<Job>,
    thread_count: usize,
    idle_count: usize,
}

static THREADS: Threads = Threads {
    state: Mutex::new(State { waiting: VecDeque::new(), thread_count: 0, idle_count: 0 }),
    more: Condvar::new(),
};

/// Does a job on such a thread.
///
/// # Panics
/// Where the job does.
pub(super) async fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    let (answer, answered) = oneshot::channel();
    let job = Box::new(move || {
        let done = catch_unwind(AssertUnwindSafe(job));
        // Nobody waits for what was given up.
        let _unwanted = answer.send(done);
    });
    if let Err(job) = THREADS.take(job) {
        job();
    }
    match answered.await.expect("each job is done and answers") {
        Ok(done) => done,
        Err(panic) => resume_unwind(panic),
    }
}

impl Threads {
    /// Has a thread do a job. Gives it back where there is none and none can be started.
    fn take(&'static self, job: Job) -> Result<(), Job> {
        let mut state = self.state.lock();
        state.waiting.push_back(job);
        self.more.notify_one();
        let count_max = thread::available_parallelism().map_or(1, usize::from);
        if state.idle_count >= state.waiting.len() || state.thread_count >= count_max {
            return Ok(());
        }
        let named = thread::Builder::new().name("storage-codec".into());
        if named.spawn(|| self.work()).is_ok() {
            state.thread_count += 1;
        } else if state.thread_count == 0 {
            return state.waiting.pop_back().map_or(Ok(()), Err);
        }
        Ok(())
    }

    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.waiting.pop_front() {
                drop(state);
                job();
                state = self.state.lock();
                continue;
            }
            state.idle_count += 1;
            let waited = self.more.wait_for(&mut state, IDLE_MAX);
            state.idle_count -= 1;
            if waited.timed_out() && state.waiting.is_empty() {
                state.thread_count -= 1;
                return;
            }
        }
    }
}
