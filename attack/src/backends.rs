//! Sequences of operations on all media: each must end as the model says, so they agree with each
//! other.

use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use storage::{Limits, MemoryBackend, MmapBackend, PosixBackend, ResidencyBudget};

use crate::steps::{Pair, Step, block_on};

/// How many steps of an input are done: a longer one finds nothing that a shorter one would not.
const STEPS_MAX: usize = 40;

/// Does the steps on mapped files, positioned reads and writes, memory, and mapped files within a
/// budget; the folder of the first two is opened anew on the way, by the other one.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(steps) = Vec::<Step>::arbitrary(&mut input) else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = |name: &str| folder.path().join(name);
    let limits = Limits::default();
    let budget = ResidencyBudget::new(4 << 20).unwrap();
    let within = Limits::default().residency_budget(&budget);
    let map = |name: &str| MmapBackend::open(root(name), limits.clone()).unwrap();
    let call = |name: &str| PosixBackend::open(root(name), limits.clone()).unwrap();
    block_on(async {
        let mut mapped = Pair::new(map("a"));
        let mut called = Pair::new(call("b"));
        let mut memory = Pair::new(MemoryBackend::with_budget(1 << 30, limits.clone()).unwrap());
        let mut limited = Pair::new(MmapBackend::open(root("c"), within).unwrap());
        let mut reopened = 0;
        for step in steps.iter().take(STEPS_MAX) {
            mapped.step(step).await;
            called.step(step).await;
            memory.step(step).await;
            limited.step(step).await;
            if matches!(step, Step::Reopen) && reopened < 3 {
                reopened += 1;
                let names = if reopened % 2 == 1 { ["b", "a"] } else { ["a", "b"] };
                mapped.backend = Arc::new(map(names[0]));
                called.backend = Arc::new(call(names[1]));
            }
        }
        mapped.compare_all().await;
        called.compare_all().await;
        memory.compare_all().await;
        limited.compare_all().await;
        let stats = budget.stats();
        assert!(stats.used_bytes <= stats.limit_bytes, "{stats:?}");
    });
}
