//! Sequences of operations on all media: each must end as the model says, so they agree with each
//! other.

use arbitrary::{Arbitrary, Unstructured};
use storage::{Limits, MemoryBackend, MmapBackend, PosixBackend};

use crate::steps::{Pair, Step, block_on};

/// How many steps of an input are done: a longer one finds nothing that a shorter one would not.
const STEPS_MAX: usize = 40;

/// Does the steps on mapped files, positioned reads and writes, and memory; the folder of the first
/// two is opened anew on the way, by the other one.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(steps) = Vec::<Step>::arbitrary(&mut input) else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = |name: &str| folder.path().join(name);
    let limits = Limits::default;
    block_on(async {
        let mut mapped = Pair::new(MmapBackend::open(root("a"), limits()).unwrap());
        let mut called = Pair::new(PosixBackend::open(root("b"), limits()).unwrap());
        let mut memory = Pair::new(MemoryBackend::with_budget(1 << 30, limits()).unwrap());
        let mut reopened = 0;
        for step in steps.iter().take(STEPS_MAX) {
            mapped.step(step).await;
            called.step(step).await;
            memory.step(step).await;
            if matches!(step, Step::Reopen) && reopened < 3 {
                reopened += 1;
                let names = if reopened % 2 == 1 { ["b", "a"] } else { ["a", "b"] };
                mapped.backend = MmapBackend::open(root(names[0]), limits()).unwrap();
                called.backend = PosixBackend::open(root(names[1]), limits()).unwrap();
            }
        }
        mapped.compare_all().await;
        called.compare_all().await;
        memory.compare_all().await;
    });
}
