//! What is known of the last commit that updates shared.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

/// The longest that a batch waits for members. (A commit takes 0.2 ms on a fast disk, 10 ms on a slow one.)
const PATIENCE_MAX: Duration = Duration::from_millis(5);

/// What the last commit of a batch was like.
#[derive(Debug, Default)]
pub(super) struct LastBatch {
    members: AtomicUsize,
    elapsed_ns: AtomicU64,
}

impl LastBatch {
    pub(super) fn note(&self, members: usize, elapsed: Duration) {
        self.members.store(members, Ordering::Relaxed);
        let ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.elapsed_ns.store(ns, Ordering::Relaxed);
    }

    pub(super) fn members(&self) -> usize {
        self.members.load(Ordering::Relaxed)
    }

    /// How long a batch may wait for members: what it is spared, where they share its commit, is more.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_nanos(self.elapsed_ns.load(Ordering::Relaxed) / 2).min(PATIENCE_MAX)
    }
}
