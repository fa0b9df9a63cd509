//! In a cgroup that is limited to the budget and 64 MiB: eight times the budget is written and read
//! back, and no kill.
//!
//! Method: this test is run once more in a process of its own, inside the group, and what the kernel
//! has charged to the group is looked at all the time.

use storage::{
    ResidencyBudget,
    spill::{SpillMerge, SpillOptions},
};

use super::folder;
use crate::{cgroup::Cgroup, child, skip};

const BUDGET: u64 = 64 << 20;
const RECORD_BYTES: u64 = 10_007;
const RECORDS: u64 = 8 * BUDGET / RECORD_BYTES;
const RUNS: u64 = 32;
const TEST: &str = "eight_times_the_budget_in_a_cgroup_and_no_kill";

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
        write_and_read(&options);
        assert!(budget.stats().used_bytes <= BUDGET);
        child::done();
        return;
    }
    let group = match Cgroup::new("spill", BUDGET + (64 << 20)) {
        Ok(group) => group,
        Err(reason) => return skip::skipped(TEST, &reason),
    };
    let folder = folder();
    let seen = group.watch(|| {
        child::check(&mut child::command(&group.enter(), TEST, folder.path()));
    });
    println!("{seen:?}, {:?} bytes at most, of a budget of {BUDGET}", group.peak_bytes());
    let most = seen.files_most_bytes;
    assert!(most <= BUDGET + BUDGET / 20, "{most} bytes of files are in memory");
    assert!(most >= BUDGET / 2, "{most}: the budget is there to be used");
}
