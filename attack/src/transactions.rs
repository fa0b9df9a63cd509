//! Transactions against a model: every commit, snapshot and reopening shows what was committed.

use arbitrary::{Arbitrary, Unstructured};

use crash::{Step, run_and_compare};

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Action {
    Write(u8),
    Grow(u8),
    Shrink(u8),
    Commit,
    Rollback,
    Snapshot,
    DropSnapshot,
    Checkpoint,
    Update(u8),
    Reopen,
    Kill,
}

impl Action {
    fn step(self) -> Step {
        match self {
            Self::Write(page) => Step::Write(page.into()),
            Self::Grow(count) => Step::Grow(u64::from(count % 16)),
            Self::Shrink(count) => Step::Shrink(u64::from(count % 32)),
            Self::Commit => Step::Commit,
            Self::Rollback => Step::Rollback,
            Self::Snapshot => Step::Snapshot,
            Self::DropSnapshot => Step::DropSnapshot,
            Self::Checkpoint => Step::Checkpoint,
            Self::Update(page) => Step::Update(page.into()),
            Self::Reopen => Step::Reopen,
            Self::Kill => Step::Kill,
        }
    }
}

/// Runs what a fuzzer made up; snapshots are compared when they are dropped, and all pages at each opening.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(actions) = Vec::<Action>::arbitrary(&mut input) else { return };
    // More pages than a commit may change, given how short the log is, are another test's matter.
    let mut steps: Vec<_> = actions.into_iter().take(60).map(Action::step).collect();
    let mut pages = 0_u64;
    steps.retain(|step| match step {
        Step::Grow(count) => {
            pages += count;
            pages <= 12
        }
        _ => true,
    });
    if let Err(what) = run_and_compare(&steps) {
        panic!("{what}");
    }
}
