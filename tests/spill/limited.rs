//! In a cgroup that is limited to the budget and 64 MiB: eight times the budget is written and read
//! back, and no kill.
//!
//! Method: this test is run once more in a process of its own, inside the group, where a thread
//! samples what the budget and the kernel say, all the time.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use storage::{
    ResidencyBudget,
    spill::{SpillMerge, SpillOptions},
};

use super::{cgroup::Cgroup, child, folder, skip};

const BUDGET: u64 = 64 << 20;
const RECORD_BYTES: u64 = 10_007;
const RECORDS: u64 = 8 * BUDGET / RECORD_BYTES;
const RUNS: u64 = 32;
const TEST: &str = "limited::eight_times_the_budget_in_a_cgroup_and_no_kill";

/// Says so when the work is done, also where it panics.
struct Done<'flag>(&'flag AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn record(number: u64) -> Vec<u8> {
    let mut record = vec![number.to_le_bytes()[0]; usize::try_from(RECORD_BYTES).unwrap()];
    record[..8].copy_from_slice(&number.to_be_bytes());
    record
}

fn write_and_read(options: &SpillOptions) {
    let mut writer = options.create().unwrap();
    let mut places = Vec::new();
    for run in 0..RUNS {
        let start = writer.position();
        for number in (run..RECORDS).step_by(usize::try_from(RUNS).unwrap()) {
            writer.append_record(&record(number)).unwrap();
        }
        places.push(start..writer.position());
    }
    let reader = writer.finish().unwrap();
    let mut cursor = reader.cursor(..).unwrap();
    let mut count = 0;
    while let Some(read) = cursor.next().unwrap() {
        assert_eq!(u64::try_from(read.len()), Ok(RECORD_BYTES));
        count += 1;
    }
    assert_eq!(count, RECORDS);
    let runs = places.into_iter().map(|place| reader.cursor(place).unwrap()).collect();
    let mut merge = SpillMerge::new(runs, |a: &[u8], b: &[u8]| a.cmp(b)).unwrap();
    for number in 0..RECORDS {
        assert!(merge.next().unwrap() == Some(&record(number)), "record {number}");
    }
    assert!(merge.next().unwrap().is_none());
}

#[test]
fn eight_times_the_budget_in_a_cgroup_and_no_kill() {
    if let Some(folder) = child::path() {
        let budget = ResidencyBudget::new(BUDGET).unwrap();
        let options = SpillOptions::new(&folder).budget(&budget);
        let (done, most, samples) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let stats = budget.stats();
                    assert!(stats.used_bytes <= BUDGET, "{stats:?}");
                    most.fetch_max(stats.resident_bytes, Ordering::Relaxed);
                    samples.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(1));
                }
            });
            let _done = Done(&done);
            write_and_read(&options);
        });
        let (most, samples) = (most.into_inner(), samples.into_inner());
        println!("at most {most} bytes of {BUDGET} resident in {samples} samples");
        assert!(most <= BUDGET + BUDGET / 20, "{most}");
        assert!(most >= BUDGET / 2, "{most}: the budget is there to be used");
        child::done();
        return;
    }
    let group = match Cgroup::new("spill", BUDGET + (64 << 20)) {
        Ok(group) => group,
        Err(reason) => return skip::skipped(TEST, &reason),
    };
    let folder = folder();
    child::check(&mut child::command(&group.enter(), TEST, folder.path()));
    if let Some(peak) = group.peak_bytes() {
        println!("the group had {peak} bytes at most");
    }
}
