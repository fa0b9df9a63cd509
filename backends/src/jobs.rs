//! The threads that may block, and the order in which what was given up comes.
//!
//! A job is one call of a medium. It belongs to the threads here and not to the future that waits
//! for it: no runtime has to poll, to have threads, or even to be there for it to be done.
//!
//! # Giving up
//! A future can be dropped at any time, and then one of three things is so, decided under one lock:
//!
//! * the job has not begun: it never does;
//! * the job has ended: nothing is left to be done;
//! * a thread is at it. If it changes files it is *given up* from then on, until it ends, and each
//!   operation that begins meanwhile and concerns one of the paths that it may change waits for that
//!   end, reads included. So what was given up comes before what begins later, or not at all.
//!
//! Operations that run at the same time, and none of which was given up, wait for nothing here: the
//! media keep them apart. That nothing is given up costs an operation one look at a number.
//!
//! # Who waits for whom
//! An operation waits for jobs that threads are at, never for a future: whoever waits for a given up
//! job holds nothing, and a place in the queue is held by the job itself. So a future that is never
//! polled again, on a runtime that has stopped or does something else, is in nobody's way.
//!
//! # Names
//! A job has a file open while a rename gives that file another name. The job may then change what
//! that name leads to, so it concerns both: see [`State::spread_names`].

use std::{
    collections::BTreeMap,
    fmt, io,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// How long a thread without a job stays.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// What a job may change.
#[derive(Clone, Default)]
pub(crate) struct Changes {
    paths: Vec<Arc<str>>,
    renames: bool,
}

impl Changes {
    /// Nothing: the job reads.
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// One file, or the names that lead to it.
    pub(crate) fn of(path: &str) -> Self {
        Self { paths: vec![path.into()], renames: false }
    }

    /// Some files. Those of the same path follow one another.
    pub(crate) fn of_all<'a>(paths: impl Iterator<Item = &'a str>) -> Self {
        let mut distinct: Vec<Arc<str>> = Vec::new();
        for path in paths {
            if distinct.last().is_none_or(|last| **last != *path) {
                distinct.push(path.into());
            }
        }
        Self { paths: distinct, renames: false }
    }

    /// A file that gets another name.
    pub(crate) fn renaming(from: &str, to: &str) -> Self {
        Self { paths: vec![from.into(), to.into()], renames: true }
    }
}

/// Whether what happens at one path can matter at the other: they are the same, or one is a folder
/// that the other lies in.
pub(crate) fn concerns(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let rest = long.strip_prefix(short);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The jobs of one backend, and the threads that do them, started as they are needed.
pub(crate) struct Jobs {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// There is a job, or there will be none any more.
    wake: Condvar,
    /// How many of the running jobs were given up.
    given_up_count: AtomicUsize,
    threads_max: usize,
}

/// Jobs in the order of their coming.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket(u64);

#[derive(Default)]
struct State {
    next_ticket: u64,
    waiting: BTreeMap<Ticket, Job>,
    /// Those that change something.
    running: Vec<Running>,
    thread_count: usize,
    /// The threads that wait for a job. One that was woken counts until it runs.
    idle_count: usize,
    is_closed: bool,
}

struct Job {
    changes: Changes,
    call: Call,
}

/// Does the job, and says that its effect is there before anybody gets the result.
type Call = Box<dyn FnOnce(&dyn Fn()) + Send>;

struct Running {
    ticket: Ticket,
    changes: Changes,
    is_given_up: bool,
    /// Dropped at the end, which is what they wait for.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Jobs {
    /// At most so many jobs run at the same time.
    pub(crate) fn new(threads_max: usize) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            given_up_count: AtomicUsize::new(0),
            threads_max,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether no job that was given up is under way. One look at a number.
    #[inline]
    pub(crate) fn are_settled(&self) -> bool {
        self.shared.given_up_count.load(Ordering::Acquire) == 0
    }

    /// Waits until no job that was given up by now changes a path that `concerned` tells of.
    pub(crate) async fn settle(&self, concerned: impl Fn(&str) -> bool + Send) {
        let ends = self.shared.state.lock().ends(concerned);
        for end in ends {
            // Nothing is ever sent: the other side is dropped at the end.
            let _closed = end.await;
        }
    }

    /// Has a thread do a job. Dropped before a thread is at it, it is not done at all; dropped later
    /// it is done to its end, see above.
    ///
    /// # Errors
    /// Where no thread can be started and there is none.
    ///
    /// # Panics
    /// Where the call does.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        changes: Changes,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (sender, receiver) = oneshot::channel();
        let call = move |has_ended: &dyn Fn()| {
            let result = panic::catch_unwind(AssertUnwindSafe(call));
            has_ended();
            // Where nobody waits any more, nobody wants the result.
            let _unwanted = sender.send(result);
        };
        let ticket = self.shared.begin(Job { changes, call: Box::new(call) })?;
        let mut begun = Begun { shared: &self.shared, ticket, has_ended: false };
        let result = receiver.await.expect("a job that somebody waits for is done");
        begun.has_ended = true;
        result.map_or_else(|panic| panic::resume_unwind(panic), Ok)
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.shared.state.lock().is_closed = true;
        self.shared.wake.notify_all();
    }
}

/// A job that somebody waits for.
struct Begun<'a> {
    shared: &'a Shared,
    ticket: Ticket,
    has_ended: bool,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut state = self.shared.state.lock();
        let never_begun = state.waiting.remove(&self.ticket);
        let of_this = |running: &&mut Running| running.ticket == self.ticket;
        if let Some(running) = state.running.iter_mut().find(of_this) {
            running.is_given_up = true;
            self.shared.given_up_count.fetch_add(1, Ordering::Release);
        }
        drop(state);
        // What it holds may take long to drop.
        drop(never_begun);
    }
}

impl Shared {
    fn begin(self: &Arc<Self>, job: Job) -> io::Result<Ticket> {
        let mut state = self.state.lock();
        let ticket = Ticket(state.next_ticket);
        state.next_ticket += 1;
        state.waiting.insert(ticket, job);
        if state.waiting.len() <= state.idle_count {
            self.wake.notify_one();
            return Ok(ticket);
        }
        if state.thread_count == self.threads_max {
            return Ok(ticket);
        }
        state.thread_count += 1;
        drop(state);
        let shared = Arc::clone(self);
        let named = thread::Builder::new().name("storage-io".into());
        let Err(error) = named.spawn(move || shared.work()) else { return Ok(ticket) };
        let mut state = self.state.lock();
        state.thread_count -= 1;
        if state.thread_count > 0 {
            tracing::warn!(%error, "no further thread could be started; the others do the work");
            return Ok(ticket);
        }
        // Nobody is there to do it. A thread that was there a moment ago may have done it.
        let never_begun = state.waiting.remove(&ticket);
        drop(state);
        if never_begun.is_some() { Err(no_thread(&error)) } else { Ok(ticket) }
    }

    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some((ticket, job)) = state.waiting.pop_first() {
                state.start(ticket, job.changes);
                drop(state);
                (job.call)(&|| self.end(ticket));
                state = self.state.lock();
            } else if state.is_closed {
                break;
            } else {
                state.idle_count += 1;
                let waited = self.wake.wait_for(&mut state, IDLE_MAX);
                state.idle_count -= 1;
                if waited.timed_out() && state.waiting.is_empty() {
                    break;
                }
            }
        }
        state.thread_count -= 1;
    }

    fn end(&self, ticket: Ticket) {
        let mut state = self.state.lock();
        let at = state.running.iter().position(|running| running.ticket == ticket);
        let ended = at.map(|at| state.running.swap_remove(at));
        if ended.as_ref().is_some_and(|running| running.is_given_up) {
            self.given_up_count.fetch_sub(1, Ordering::Release);
        }
        drop(state);
        // Wakes who waits.
        drop(ended);
    }
}

fn no_thread(error: &io::Error) -> io::Error {
    let advice = "raise the limit of processes (ulimit -u, or pids.max of the control group)";
    io::Error::new(error.kind(), format!("no thread could be started ({error}); {advice}"))
}

impl State {
    fn start(&mut self, ticket: Ticket, changes: Changes) {
        if changes.paths.is_empty() {
            return;
        }
        let running = Running { ticket, changes, is_given_up: false, waiting: Vec::new() };
        self.running.push(running);
        self.spread_names();
    }

    /// Adds to each running job the names that a rename, running at the same time, may give to what
    /// it changes.
    fn spread_names(&mut self) {
        loop {
            let mut found = None;
            for rename in self.running.iter().filter(|running| running.changes.renames) {
                let (from, to) = (&rename.changes.paths[0], &rename.changes.paths[1]);
                let lacks = |running: &Running| {
                    running.changes.paths.contains(from) && !running.changes.paths.contains(to)
                };
                found =
                    found.or(self.running.iter().position(lacks).map(|at| (at, Arc::clone(to))));
            }
            let Some((at, name)) = found else { break };
            self.running[at].changes.paths.push(name);
        }
    }

    fn ends(&mut self, concerned: impl Fn(&str) -> bool) -> Vec<oneshot::Receiver<()>> {
        let given_up = self.running.iter_mut().filter(|running| running.is_given_up);
        let in_the_way =
            given_up.filter(|running| running.changes.paths.iter().any(|path| concerned(path)));
        let wait = |running: &mut Running| {
            let (sender, receiver) = oneshot::channel();
            running.waiting.push(sender);
            receiver
        };
        in_the_way.map(wait).collect()
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("Jobs")
            .field("waiting", &state.waiting.len())
            .field("threads", &state.thread_count)
            .finish_non_exhaustive()
    }
}
