//! Passing commits on to a thread, under loom: all interleavings of a writer, the thread, and one who asks for a
//! checkpoint.
//!
//! Method: the code of `applier.rs`, with a file that is two atomics read and written with `Relaxed`, so that nothing
//! but the protocol orders them. The claims: a commit goes into the file whole before the next one begins to; who
//! has waited sees everything in it that was handed over before; the end comes when everything is done; nobody waits
//! for ever (loom says so where all threads wait).
//!
//! The second half breaks the protocol in one place and expects loom to find it. (That a commit is not handed over
//! before the one before is done is asserted by the code itself.)

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use super::Applier;

struct Model {
    applier: Applier<u64>,
    file: [AtomicU64; 2],
}

/// Where the protocol is broken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nowhere,
    /// Who makes a checkpoint does not wait.
    CheckpointTooSoon,
}

fn explore(broken: Broken) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let file = [AtomicU64::new(0), AtomicU64::new(0)];
        let model = Arc::new(Model { applier: Applier::new(), file });
        let thread = thread::spawn({
            let model = Arc::clone(&model);
            move || {
                model.applier.run(|commit| {
                    for page in &model.file {
                        assert_eq!(page.load(Relaxed), commit - 1, "one commit follows the other");
                        page.store(commit, Relaxed);
                    }
                });
            }
        });
        let handed = Arc::new(loom::sync::Mutex::new(0));
        let checkpoint = thread::spawn({
            let (model, handed) = (Arc::clone(&model), Arc::clone(&handed));
            move || {
                let least = *handed.lock().unwrap();
                if broken != Broken::CheckpointTooSoon {
                    model.applier.wait();
                }
                for page in &model.file {
                    assert!(page.load(Relaxed) >= least, "what was handed over is in the file");
                }
            }
        });
        for commit in 1..=2 {
            model.applier.wait();
            model.applier.hand_over(commit);
            *handed.lock().unwrap() = commit;
        }
        checkpoint.join().unwrap();
        model.applier.end();
        thread.join().unwrap();
        assert!(model.applier.is_idle());
        assert_eq!([0, 1].map(|page: usize| model.file[page].load(Relaxed)), [2, 2]);
    });
}

#[test]
fn commits_go_into_the_file_one_after_the_other() {
    explore(Broken::Nowhere);
}

#[test]
fn loom_finds_a_checkpoint_that_does_not_wait() {
    let found = catch_unwind(AssertUnwindSafe(|| explore(Broken::CheckpointTooSoon)));
    assert!(found.is_err());
}
