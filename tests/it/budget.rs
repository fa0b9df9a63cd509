//! A budget is kept, whatever reads and writes under it at the same time.
//!
//! Method: a process of its own, in a control group of its own, has some of everything at work on several threads:
//! sealed files, runs and their cursors, spills that are written, read and merged, mutable files, raw files. This
//! process looks from outside all the time at what the kernel has charged to the group: pages of files, and memory
//! of the process. What is at work, and in which order it takes turns, a seed decides, which a failure prints.

mod merging;
mod workers;

use storage::ResidencyBudget;
use workers::Worker;

use crate::{cgroup, child, skip};

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 8 * MIB;

/// How far the pages of files may be above the limit for a moment: what is charged between two comparisons with the
/// kernel, and what the filesystem itself has in the page cache of its disk.
const SLACK: u64 = LIMIT / 16;

/// What the process has beside the budget: code, stacks, checksum tables, the test itself.
const OWN: u64 = 5 * MIB;

const SEEDS: std::ops::Range<u64> = 0..6;

#[test]
fn every_combination_keeps_to_it() {
    const TEST: &str = "every_combination_keeps_to_it";
    if let Some(folder) = child::path() {
        let seed = std::fs::read_to_string(folder.join("seed")).unwrap().parse().unwrap();
        let budget = ResidencyBudget::new(LIMIT).unwrap();
        let workers = Worker::some(&mut fastrand::Rng::with_seed(seed));
        println!("seed {seed}: {workers:?}");
        std::thread::scope(|scope| {
            for (number, worker) in workers.iter().enumerate() {
                let (folder, budget) = (folder.join(number.to_string()), &budget);
                std::fs::create_dir(&folder).unwrap();
                scope.spawn(move || worker.work(&folder, budget, seed + number as u64));
            }
        });
        let stats = budget.stats();
        assert_eq!((stats.used_bytes, stats.pinned_bytes), (0, 0), "all is given back: {stats:?}");
        println!("{stats:?}");
        child::done();
        return;
    }
    for seed in SEEDS {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(folder.path().join("seed"), seed.to_string()).unwrap();
        let group = match cgroup::Cgroup::new("budget", 4 * LIMIT + 16 * OWN) {
            Ok(group) => group,
            Err(reason) => return skip::skipped(TEST, &reason),
        };
        let seen =
            group.watch(|| child::check(&mut child::command(&group.enter(), TEST, folder.path())));
        println!("seed {seed}: {seen:?}");
        let most = seen.files_most_bytes;
        assert!(
            most <= LIMIT + SLACK,
            "seed {seed}: {most} bytes of files are in memory\n{seen:?}"
        );
        let most = seen.all_most_bytes;
        assert!(most <= LIMIT + OWN, "seed {seed}: {most} bytes of memory\n{seen:?}");
        assert!(seen.looks > 50 && most > LIMIT / 2, "seed {seed}: it was looked at\n{seen:?}");
    }
}
