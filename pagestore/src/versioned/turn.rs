//! Whose turn it is to write: one transaction at a time.
//!
//! This module knows no transaction, only what one has to itself (`W`) and what goes from one update to the
//! next (`B`). That is what lets loom (`group/model.rs`) exercise the very code that runs.

use crate::sync::{Condvar, Mutex};

/// Holds what a writer needs while there is none, or the transaction that goes from one update to the next.
#[derive(Debug)]
pub(super) struct Turn<W, B> {
    state: Mutex<State<W, B>>,
    /// The writer's is here.
    free: Condvar,
    /// Something is here that an update can take.
    updates: Condvar,
}

#[derive(Debug)]
struct State<W, B> {
    slot: Slot<W, B>,
    /// Updates that wait. A batch is left here only for one of those, so one of them takes it.
    updates_waiting: usize,
}

#[derive(Debug)]
enum Slot<W, B> {
    Free(W),
    Passing(B),
    Taken,
}

impl<W, B> Turn<W, B> {
    pub(super) fn new(writer: W) -> Self {
        let state = State { slot: Slot::Free(writer), updates_waiting: 0 };
        Self { state: Mutex::new(state), free: Condvar::new(), updates: Condvar::new() }
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

    /// Leaves the transaction to the next update, if one waits; else it comes back.
    pub(super) fn pass_on(&self, batch: B) -> Option<B> {
        let mut state = self.state.lock();
        if state.updates_waiting == 0 {
            return Some(batch);
        }
        state.slot = Slot::Passing(batch);
        self.updates.notify_one();
        None
    }

    /// For the model that shows that loom finds this.
    #[cfg(all(test, loom))]
    pub(super) fn pass_on_blindly(&self, batch: B) {
        self.state.lock().slot = Slot::Passing(batch);
        self.updates.notify_one();
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
