//! In a cgroup that is limited to the budget and 64 MiB: eight times the budget is written and read
//! back, and no kill. Also on an overlay, where the kernel answers for the wrong page cache.
//!
//! Method: this test is run once more in a process of its own, inside the group, and what the kernel
//! has charged to the group is looked at all the time.

use std::path::Path;

use storage::{
    ResidencyBudget,
    spill::{SpillMerge, SpillOptions},
};

use super::folder;
use crate::{cgroup::Cgroup, child, overlay::Overlay, skip};

const RECORD_BYTES: u64 = 10_007;
const RUNS: u64 = 32;

fn record(number: u64) -> Vec<u8> {
    let mut record = vec![number.to_le_bytes()[0]; usize::try_from(RECORD_BYTES).unwrap()];
    record[..8].copy_from_slice(&number.to_be_bytes());
    record
}

fn write_and_read(options: &SpillOptions, records: u64) {
    let mut writer = options.create().unwrap();
    let mut places = Vec::new();
    for run in 0..RUNS {
        let start = writer.position();
        for number in (run..records).step_by(usize::try_from(RUNS).unwrap()) {
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
    assert_eq!(count, records);
    let runs = places.into_iter().map(|place| reader.cursor(place).unwrap()).collect();
    let mut merge = SpillMerge::new(runs, |a: &[u8], b: &[u8]| a.cmp(b)).unwrap();
    for number in 0..records {
        assert!(merge.next().unwrap() == Some(&record(number)), "record {number}");
    }
    assert!(merge.next().unwrap().is_none());
}

/// The child's part.
fn spill(folder: &Path, budget_bytes: u64) {
    let budget = ResidencyBudget::new(budget_bytes).unwrap();
    let options = SpillOptions::new(folder).budget(&budget);
    write_and_read(&options, 8 * budget_bytes / RECORD_BYTES);
    assert!(budget.stats().used_bytes <= budget_bytes);
    child::done();
}

/// Has the child do it in a group.
#[track_caller]
fn is_kept(test: &str, folder: &Path, budget_bytes: u64) {
    let group = match Cgroup::new(test, budget_bytes + (64 << 20)) {
        Ok(group) => group,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let mut command = child::command(&group.enter(), test, folder);
    let seen = group.watch(|| child::check(&mut command));
    let most = seen.files_most_bytes;
    assert!(most <= budget_bytes + budget_bytes / 20, "{seen:?}, {:?} at most", group.peak_bytes());
    assert!(most >= budget_bytes / 2, "{seen:?}: the budget is there to be used");
}

#[test]
fn eight_times_the_budget_in_a_cgroup_and_no_kill() {
    const BUDGET: u64 = 64 << 20;
    match child::path() {
        Some(folder) => spill(&folder, BUDGET),
        None => {
            let test = "eight_times_the_budget_in_a_cgroup_and_no_kill";
            is_kept(test, folder().path(), BUDGET);
        }
    }
}

#[test]
fn eight_times_the_budget_on_an_overlay() {
    const BUDGET: u64 = 16 << 20;
    if let Some(folder) = child::path() {
        return spill(&folder, BUDGET);
    }
    let (test, folder) = ("eight_times_the_budget_on_an_overlay", folder());
    match Overlay::over(folder.path()) {
        Ok(overlay) => is_kept(test, &overlay.path(), BUDGET),
        Err(reason) => skip::skipped(test, &reason),
    }
}
