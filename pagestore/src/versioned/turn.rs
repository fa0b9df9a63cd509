//! Whose turn it is to write: one transaction at a time. Who finds it taken can leave what he wants done to the
//! one who has it.
//!
//! This module knows no transaction, only what one has to itself (`W`), what is left to be done (`J`), and what is
//! told of it then (`D`). That is what lets loom (`group/model.rs`) exercise the very code that runs.

use std::{collections::VecDeque, fmt, time::Instant};

use crate::sync::{Condvar, Mutex, Shared};

/// Holds what a writer needs while there is none, and the jobs that were left.
pub(super) struct Turn<W, J, D> {
    state: Mutex<State<W, J, D>>,
    /// The writer's is here.
    free: Condvar,
    /// A job was left, for who waits for one.
    come: Condvar,
}

struct State<W, J, D> {
    /// `None` while it is somebody's turn.
    writer: Option<W>,
    jobs: VecDeque<Left<J, D>>,
    /// Whether somebody waits for a job.
    is_waited_for: bool,
}

/// A job that somebody waits for. Where it is dropped untold, as by a panic, he is told that.
///
/// The job has been dropped when he is told.
pub(super) struct Left<J, D> {
    job: Option<J>,
    seat: Shared<Seat<D>>,
}

/// What became of a job.
pub(super) enum Turned<W, J, D> {
    /// It is the turn of who has it.
    Mine(W, J),
    /// Another did it, and told this; `None` if he failed to. The job was dropped before.
    Done(Option<D>),
}

/// Where one waits who has left a job.
struct Seat<D> {
    word: Mutex<Option<Word<D>>>,
    told: Condvar,
}

enum Word<D> {
    /// It may be his turn.
    Look,
    Done(Option<D>),
}

impl<W, J, D> Turn<W, J, D> {
    pub(super) fn new(writer: W) -> Self {
        let state = State { writer: Some(writer), jobs: VecDeque::new(), is_waited_for: false };
        Self { state: Mutex::new(state), free: Condvar::new(), come: Condvar::new() }
    }

    /// Waits for its turn.
    pub(super) fn take(&self) -> W {
        let mut state = self.state.lock();
        loop {
            match state.writer.take() {
                Some(writer) => return writer,
                None => state = self.free.wait(state),
            }
        }
    }

    /// Takes its turn, if it is nobody else's.
    pub(super) fn try_take(&self) -> Option<W> {
        self.state.lock().writer.take()
    }

    /// Takes its turn, or has the job done by whoever has his before.
    pub(super) fn take_or_leave(&self, job: J) -> Turned<W, J, D> {
        let seat = Shared::new(Seat { word: Mutex::new(None), told: Condvar::new() });
        {
            let mut state = self.state.lock();
            if let Some(writer) = state.writer.take() {
                return Turned::Mine(writer, job);
            }
            state.jobs.push_back(Left { job: Some(job), seat: Shared::clone(&seat) });
            if state.is_waited_for {
                self.come.notify_one();
            }
        }
        loop {
            match seat.wait() {
                Word::Done(done) => return Turned::Done(done),
                Word::Look => {
                    if let Some((writer, job)) = self.state.lock().take_back(&seat) {
                        return Turned::Mine(writer, job);
                    }
                }
            }
        }
    }

    /// The job that was left first, for who has his turn. Where there is none, waits for one until then.
    pub(super) fn next_job(&self, until: Option<Instant>) -> Option<Left<J, D>> {
        let mut state = self.state.lock();
        loop {
            if let Some(left) = state.jobs.pop_front() {
                return Some(left);
            }
            let time_left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let time_left = time_left.filter(|time_left| !time_left.is_zero())?;
            state.is_waited_for = true;
            state = self.come.wait_for(&self.state, state, time_left);
            state.is_waited_for = false;
        }
    }

    /// Lets the next one have his turn.
    pub(super) fn give(&self, writer: W) {
        let mut state = self.state.lock();
        state.writer = Some(writer);
        // One of each kind looks, and who comes too late waits for the next time.
        self.free.notify_one();
        if let Some(first) = state.jobs.front() {
            first.seat.tell(Word::Look);
        }
    }
}

impl<W, J, D> State<W, J, D> {
    /// The turn and the job of who waits in a seat, if the one is free and the other nobody else's.
    fn take_back(&mut self, seat: &Shared<Seat<D>>) -> Option<(W, J)> {
        let place = self.jobs.iter().position(|left| Shared::ptr_eq(&left.seat, seat))?;
        let writer = self.writer.take()?;
        let job = self.jobs.remove(place)?.job.take();
        Some((writer, job.expect("a job is there until it was told of")))
    }
}

impl<J, D> Left<J, D> {
    pub(super) fn job(&mut self) -> &mut J {
        self.job.as_mut().expect("a job is there until it was told of")
    }

    /// Tells who waits how it went.
    pub(super) fn tell(mut self, done: D) {
        self.end(Some(done));
    }

    fn end(&mut self, done: Option<D>) {
        if let Some(job) = self.job.take() {
            drop(job);
            self.seat.tell(Word::Done(done));
        }
    }
}

impl<J, D> Drop for Left<J, D> {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl<D> Seat<D> {
    fn tell(&self, word: Word<D>) {
        let mut told = self.word.lock();
        *told = Some(word);
        self.told.notify_one();
    }

    fn wait(&self) -> Word<D> {
        let mut told = self.word.lock();
        loop {
            match told.take() {
                Some(word) => return word,
                None => told = self.told.wait(told),
            }
        }
    }
}

impl<W, J, D> fmt::Debug for Turn<W, J, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}
