//! Commits on their way into the file, one at a time: handed over by who makes them, taken by a thread.
//!
//! A commit is durable, and can be read, before it is in the file. So who commits does not have to wait
//! until it is there; the next commit does, before it is handed over itself.
//!
//! This module knows no commit. That is what lets loom (`applier/model.rs`) exercise the very code that runs.

#[cfg(all(test, loom))]
mod model;

use crate::sync::{Condvar, Mutex};

/// Passes jobs on to the one thread that does them.
#[derive(Debug)]
pub(super) struct Applier<J> {
    state: Mutex<State<J>>,
    /// Something was handed over, or the end has come.
    handed_over: Condvar,
    /// Something was done.
    done: Condvar,
}

#[derive(Debug)]
struct State<J> {
    next: Option<J>,
    handed_count: u64,
    done_count: u64,
    has_ended: bool,
}

impl<J> Applier<J> {
    pub(super) fn new() -> Self {
        let state = State { next: None, handed_count: 0, done_count: 0, has_ended: false };
        Self { state: Mutex::new(state), handed_over: Condvar::new(), done: Condvar::new() }
    }

    /// Hands a job over. The one before must be done.
    pub(super) fn hand_over(&self, job: J) {
        let mut state = self.state.lock();
        assert_eq!(state.handed_count, state.done_count, "one job follows the other");
        state.next = Some(job);
        state.handed_count += 1;
        self.handed_over.notify_one();
    }

    /// Whether everything is done that was handed over.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.handed_count == state.done_count
    }

    /// Waits until everything is done that was handed over before this.
    pub(super) fn wait(&self) {
        let mut state = self.state.lock();
        let wanted = state.handed_count;
        while state.done_count < wanted {
            state = self.done.wait(state);
        }
    }

    /// Does what is handed over, until the end.
    pub(super) fn run(&self, mut apply: impl FnMut(J)) {
        loop {
            let mut state = self.state.lock();
            let job = loop {
                if let Some(job) = state.next.take() {
                    break job;
                }
                if state.has_ended {
                    return;
                }
                state = self.handed_over.wait(state);
            };
            drop(state);
            // Told also where it panics: nobody would wake up who waits for it.
            let _told = Done(self);
            apply(job);
        }
    }

    /// Lets the thread end when it has done what was handed over.
    pub(super) fn end(&self) {
        self.state.lock().has_ended = true;
        self.handed_over.notify_one();
    }
}

/// Says that a job is done.
struct Done<'applier, J>(&'applier Applier<J>);

impl<J> Drop for Done<'_, J> {
    fn drop(&mut self) {
        self.0.state.lock().done_count += 1;
        self.0.done.notify_all();
    }
}
