//! In a cgroup that is limited to the budget and 64 MiB: eight times the budget is written, read back
//! in order and at random, and no kill.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use backends::{Limits, MmapBackend, StorageBackend};
use pagestore::ResidencyBudget;

use super::{MIB, PIECE, backend, check, fill, folder, requests};
use crate::{cgroup::Cgroup, child, report::Random, report::say, skip};

const BUDGET: u64 = 64 * MIB;
const LEN: u64 = 8 * BUDGET;
const TEST: &str = "eight_times_the_budget_in_a_cgroup_and_no_kill";

/// Says so when the work is done, also where it panics.
struct Done<'flag>(&'flag AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs `work` while what the kernel has of the files is sampled.
fn sampled(what: &str, backend: &MmapBackend, work: impl Future<Output = ()>) {
    let (done, most, samples) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let stats = backend.stats();
                most.fetch_max(stats.resident_bytes.unwrap_or(0), Ordering::Relaxed);
                assert!(stats.used_bytes <= BUDGET, "{stats:?}");
                samples.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_micros(500));
            }
        });
        let _done = Done(&done);
        runtime.block_on(work);
    });
    let (most, samples) = (most.into_inner(), samples.into_inner());
    let percent = most as f64 * 100.0 / BUDGET as f64;
    say(&format!("cgroup, {what}: at most {percent:.1} % of the budget in {samples} samples"));
    assert!(most <= BUDGET + BUDGET / 20, "{what}: {most}");
    assert!(most >= BUDGET / 2, "{what}: {most}: the budget is there to be used");
}

fn write_and_read(folder: &Path) {
    let budget = ResidencyBudget::new(BUDGET).unwrap();
    let backend = backend(folder, Limits::default().residency_budget(&budget));
    sampled("write", &backend, fill(&backend, "file", LEN));
    let read_all = || async {
        for offset in (0..LEN).step_by(PIECE) {
            check(&backend.read("file", offset, PIECE).await.unwrap(), offset);
        }
    };
    sampled("read back", &backend, read_all());
    sampled("seal and read views", &backend, async {
        backend.seal("file").await.unwrap();
        read_all().await;
    });
    sampled("random reads", &backend, async {
        let mut random = Random(7);
        for _ in 0..300 {
            let requests = requests(&mut random, 64, LEN);
            for (read, request) in backend.read_many(&requests).await.into_iter().zip(&requests) {
                check(&read.unwrap(), request.offset);
            }
        }
    });
    say(&format!("cgroup: {:?}", budget.stats()));
}

#[test]
fn eight_times_the_budget_in_a_cgroup_and_no_kill() {
    if let Some(folder) = child::path() {
        write_and_read(&folder);
        return child::done();
    }
    let group = match Cgroup::new("backends-budget", BUDGET + 64 * MIB) {
        Ok(group) => group,
        Err(reason) => return skip::skipped(TEST, &reason),
    };
    let folder = folder();
    child::check(&mut child::command(&group.enter(), TEST, folder.path()));
    let peak = group.peak_bytes().unwrap_or(0);
    say(&format!("cgroup: {} MiB at most, of {} MiB", peak >> 20, (BUDGET >> 20) + 64));
}
