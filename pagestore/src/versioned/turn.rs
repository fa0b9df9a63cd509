//! Whose turn it is to write: one transaction at a time.

use layout::PageCount;
use parking_lot::{Condvar, Mutex};

use super::{group::Batch, pages::Version};

/// What the one transaction of a file has to itself, and hands to the next.
#[derive(Debug)]
pub(super) struct Writer {
    /// The last commit.
    pub(super) version: Version,
    /// How many pages the file had at most so far.
    pub(super) page_count_max: PageCount,
    /// The file's length.
    pub(super) file_len: u64,
}

/// Holds the [`Writer`] while there is no transaction, or the transaction that goes from one update to the
/// next.
#[derive(Debug)]
pub(super) struct Turn {
    state: Mutex<State>,
    /// The writer is here.
    free: Condvar,
    /// Something is here that an update can take.
    updates: Condvar,
}

#[derive(Debug)]
struct State {
    slot: Slot,
    /// Updates that wait. A batch is left here only for one of those, so one of them takes it.
    updates_waiting: usize,
}

#[derive(Debug)]
enum Slot {
    Free(Box<Writer>),
    Passing(Box<Batch>),
    Taken,
}

impl Turn {
    pub(super) fn new(writer: Writer) -> Self {
        let state = State { slot: Slot::Free(Box::new(writer)), updates_waiting: 0 };
        Self { state: Mutex::new(state), free: Condvar::new(), updates: Condvar::new() }
    }

    /// Waits for its turn.
    pub(super) fn take(&self) -> Box<Writer> {
        let mut state = self.state.lock();
        loop {
            match state.take_free() {
                Some(writer) => return writer,
                None => self.free.wait(&mut state),
            }
        }
    }

    /// Takes its turn, if it is nobody else's.
    pub(super) fn try_take(&self) -> Option<Box<Writer>> {
        self.state.lock().take_free()
    }

    /// Waits for its turn, or for the transaction of other updates.
    pub(super) fn take_for_update(&self) -> Result<Box<Writer>, Box<Batch>> {
        let mut state = self.state.lock();
        state.updates_waiting += 1;
        let taken = loop {
            match std::mem::replace(&mut state.slot, Slot::Taken) {
                Slot::Free(writer) => break Ok(writer),
                Slot::Passing(batch) => break Err(batch),
                Slot::Taken => self.updates.wait(&mut state),
            }
        };
        state.updates_waiting -= 1;
        taken
    }

    /// Leaves the transaction to the next update, if one waits; else it comes back.
    pub(super) fn pass_on(&self, batch: Box<Batch>) -> Option<Box<Batch>> {
        let mut state = self.state.lock();
        if state.updates_waiting == 0 {
            return Some(batch);
        }
        state.slot = Slot::Passing(batch);
        self.updates.notify_one();
        None
    }

    /// Lets the next one have its turn.
    pub(super) fn give(&self, writer: Box<Writer>) {
        self.state.lock().slot = Slot::Free(writer);
        self.free.notify_one();
        self.updates.notify_one();
    }
}

impl State {
    fn take_free(&mut self) -> Option<Box<Writer>> {
        match std::mem::replace(&mut self.slot, Slot::Taken) {
            Slot::Free(writer) => Some(writer),
            other => {
                self.slot = other;
                None
            }
        }
    }
}
