//! How the commit of a batch went, for those who wait for it.

use crate::sync::{Condvar, Mutex};

/// Told once, to as many as wait.
#[derive(Debug)]
pub(super) struct Outcome<E> {
    told: Mutex<Option<Result<(), E>>>,
    changed: Condvar,
}

impl<E> Default for Outcome<E> {
    fn default() -> Self {
        Self { told: Mutex::new(None), changed: Condvar::new() }
    }
}

impl<E: Clone> Outcome<E> {
    pub(super) fn tell(&self, outcome: Result<(), E>) {
        *self.told.lock() = Some(outcome);
        self.changed.notify_all();
    }

    pub(super) fn wait(&self) -> Result<(), E> {
        let mut told = self.told.lock();
        loop {
            if let Some(outcome) = &*told {
                return outcome.clone();
            }
            told = self.changed.wait(told);
        }
    }
}
