//! Group commit under loom: all interleavings of updates that pass a transaction on, and of one that begins
//! alone.
//!
//! Method: the code of `turn.rs` and `outcome.rs` with a transaction that is a number of changes, and a disk that is
//! an atomic read and written with `Relaxed`, so that nothing but the protocol orders them. The claims: when an
//! update returns, its change is on the disk; each change is committed once; nobody waits for ever (loom
//! says so where all threads wait).
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

use crate::versioned::{outcome::Outcome, turn::Turn};

/// The transaction that goes from one update to the next: a set of changes, one bit each.
struct Batch {
    committed: u64,
    changes: u64,
    outcome: Arc<Outcome<()>>,
}

struct Model {
    turn: Turn<u64, Batch>,
    disk: AtomicU64,
}

/// Where the protocol is broken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nowhere,
    /// Who passes the transaction on does not wait for its commit.
    NotWaitedFor,
    /// Those who wait are told before the commit is on the disk.
    ToldTooSoon,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self { turn: Turn::new(0), disk: AtomicU64::new(0) })
    }

    fn update(&self, change: u64, broken: Broken) {
        let (committed, changes, outcome) = match self.turn.take_for_update() {
            Ok(committed) => (committed, 0, Arc::new(Outcome::default())),
            Err(Batch { committed, changes, outcome }) => (committed, changes, outcome),
        };
        let batch = Batch { committed, changes: changes | change, outcome: Arc::clone(&outcome) };
        match self.turn.pass_on(batch, None) {
            None if broken == Broken::NotWaitedFor => {}
            None => outcome.wait().expect("no commit fails here"),
            Some(Batch { committed, changes, .. }) => {
                if broken == Broken::ToldTooSoon {
                    outcome.tell(Ok(()));
                }
                self.commit(committed, changes);
                outcome.tell(Ok(()));
            }
        }
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
fn loom_finds_an_update_that_does_not_wait() {
    let found = catch_unwind(AssertUnwindSafe(|| explore(Broken::NotWaitedFor)));
    assert!(found.is_err());
}

#[test]
fn loom_finds_an_outcome_that_is_told_too_soon() {
    let found = catch_unwind(AssertUnwindSafe(|| explore(Broken::ToldTooSoon)));
    assert!(found.is_err());
}
