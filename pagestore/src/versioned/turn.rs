//! Whose turn it is to write: one transaction at a time.
//!
//! This module knows no transaction, only what one has to itself (`W`) and what goes from one update to the
//! next (`B`). That is what lets loom (`group/model.rs`) exercise the very code that runs.

use std::time::Instant;

use crate::sync::{Condvar, Mutex};

/// Holds what a writer needs while there is none, or the transaction that goes from one update to the next.
#[derive(Debug)]
pub(super) struct Turn<W, B> {
    state: Mutex<State<W, B>>,
    /// The writer's is here.
    free: Condvar,
    /// Something is here that an update can take.
    updates: Condvar,
    /// An update has come, for who waits for one.
    come: Condvar,
}

#[derive(Debug)]
struct State<W, B> {
    slot: Slot<W, B>,
    /// Updates that wait. A batch is left here only for one of those, so one of them takes it.
    updates_waiting: usize,
    /// Whether somebody waits for one to come.
    is_waited_for: bool,
}

#[derive(Debug)]
enum Slot<W, B> {
    Free(W),
    Passing(B),
    Taken,
}

impl<W, B> Turn<W, B> {
    pub(super) fn new(writer: W) -> Self {
        let state = State { slot: Slot::Free(writer), updates_waiting: 0, is_waited_for: false };
        let (free, updates, come) = (Condvar::new(), Condvar::new(), Condvar::new());
        Self { state: Mutex::new(state), free, updates, come }
    }

    /// Waits for its turn.
    pub(super) fn take(&self) -> W {
        let mut state = self.state.lock();
        loop {
            match state.take_free() {
                Some(writer) => return writer,
                None => state = self.free.wait(state),
            }
        }
    }

    /// Takes its turn, if it is nobody else's.
    pub(super) fn try_take(&self) -> Option<W> {
        self.state.lock().take_free()
    }

    /// Waits for its turn, or for the transaction of other updates.
    pub(super) fn take_for_update(&self) -> Result<W, B> {
        let mut state = self.state.lock();
        state.updates_waiting += 1;
        if state.is_waited_for {
            self.come.notify_one();
        }
        let taken = loop {
            match std::mem::replace(&mut state.slot, Slot::Taken) {
                Slot::Free(writer) => break Ok(writer),
                Slot::Passing(batch) => break Err(batch),
                Slot::Taken => state = self.updates.wait(state),
            }
        };
        state.updates_waiting -= 1;
        taken
    }

    /// Leaves the transaction to the next update, if one waits, or comes before `until`; else it comes back.
    pub(super) fn pass_on(&self, batch: B, until: Option<Instant>) -> Option<B> {
        let mut state = self.state.lock();
        while state.updates_waiting == 0 {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let Some(left) = left.filter(|left| !left.is_zero()) else { return Some(batch) };
            state.is_waited_for = true;
            state = self.come.wait_for(&self.state, state, left);
            state.is_waited_for = false;
        }
        state.slot = Slot::Passing(batch);
        self.updates.notify_one();
        None
    }

    /// Lets the next one have its turn.
    pub(super) fn give(&self, writer: W) {
        self.state.lock().slot = Slot::Free(writer);
        // Both: one of each kind looks, and who comes too late waits for the next time.
        self.free.notify_one();
        self.updates.notify_one();
    }
}

impl<W, B> State<W, B> {
    fn take_free(&mut self) -> Option<W> {
        match std::mem::replace(&mut self.slot, Slot::Taken) {
            Slot::Free(writer) => Some(writer),
            other => {
                self.slot = other;
                None
            }
        }
    }
}
