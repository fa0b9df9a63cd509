//! Group commit under loom: all interleavings of updates that leave their changes to each other, and of one that
//! begins alone.
//!
//! Method: the code of `turn.rs` with a transaction that is a number of changes, and a disk that is an atomic read and
//! written with `Relaxed`, so that nothing but the protocol orders them. A job says on being dropped that it was.
//! The claims: when an update returns, its change is on the disk, and its job is nobody's any more; each change is
//! committed once; nobody waits for ever (loom says so where all threads wait).
//!
//! The second half breaks the protocol in one place each and expects loom to find it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use crate::versioned::turn::{Turn, Turned};

/// A change, one bit. What it is counted in, as long as it is there, is its owner's.
struct Job {
    change: u64,
    lent: Arc<AtomicU64>,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.lent.store(0, Relaxed);
    }
}

struct Model {
    turn: Turn<u64, Job, ()>,
    disk: AtomicU64,
}

/// Where the protocol is broken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nowhere,
    /// A change that was left is forgotten, and whoever left it is not told.
    Untold,
    /// Those who wait are told before the commit is on the disk.
    ToldTooSoon,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self { turn: Turn::new(0), disk: AtomicU64::new(0) })
    }

    fn update(&self, change: u64, broken: Broken) {
        let lent = Arc::new(AtomicU64::new(1));
        match self.turn.take_or_leave(Job { change, lent: Arc::clone(&lent) }) {
            Turned::Mine(committed, own) => self.lead(committed, own, broken),
            Turned::Done(done) => done.expect("nobody panics here"),
        }
        assert_eq!(lent.load(Relaxed), 0, "who has returned has lent nothing");
    }

    fn lead(&self, committed: u64, own: Job, broken: Broken) {
        let (mut changes, mut others) = (own.change, Vec::new());
        while let Some(mut left) = self.turn.next_job(None) {
            changes |= left.job().change;
            others.push(left);
        }
        if broken == Broken::Untold {
            others.drain(..).for_each(std::mem::forget);
        }
        if broken == Broken::ToldTooSoon {
            others.drain(..).for_each(|left| left.tell(()));
        }
        self.commit(committed, changes);
        others.into_iter().for_each(|left| left.tell(()));
    }

    fn begin_and_commit(&self, change: u64) {
        let committed = self.turn.take();
        self.commit(committed, change);
    }

    fn commit(&self, committed: u64, changes: u64) {
        assert_eq!(self.disk.load(Relaxed), committed, "one commit follows the other");
        assert_eq!(committed & changes, 0, "each change is committed once");
        self.disk.store(committed | changes, Relaxed);
        self.turn.give(committed | changes);
    }

    fn check_has(&self, change: u64) {
        assert_ne!(self.disk.load(Relaxed) & change, 0, "what has returned is on the disk");
    }
}

fn explore(broken: Broken) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let model = Model::new();
        let threads = [1, 2].map(|change| {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                match change {
                    1 => model.update(change, broken),
                    _ => model.begin_and_commit(change),
                }
                model.check_has(change);
            })
        });
        model.update(4, broken);
        model.check_has(4);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((model.turn.take(), model.disk.load(Relaxed)), (7, 7));
    });
}

#[test]
fn every_update_is_committed_once_before_it_returns() {
    explore(Broken::Nowhere);
}

#[test]
fn loom_finds_a_change_that_is_told_nothing() {
    let found = catch_unwind(AssertUnwindSafe(|| explore(Broken::Untold)));
    assert!(found.is_err());
}

#[test]
fn loom_finds_an_outcome_that_is_told_too_soon() {
    let found = catch_unwind(AssertUnwindSafe(|| explore(Broken::ToldTooSoon)));
    assert!(found.is_err());
}
