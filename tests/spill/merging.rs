//! Merging, against the standard library's stable sort.

use std::cmp::Ordering;

use storage::{
    ResidencyBudget,
    spill::{Order, SpillError, SpillMerge, SpillOptions, SpillRun, merge_down},
};

use super::{all_options, folder};

/// By the first two bytes, so that many are equal.
struct ByKey;

fn key(record: &[u8]) -> [u8; 2] {
    [record.first().copied().unwrap_or(0), record.get(1).copied().unwrap_or(0)]
}

impl Order for ByKey {
    fn prefix(&self, record: &[u8]) -> u64 {
        // Half of the key, so that both ways to decide are taken.
        u64::from(key(record)[0])
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        key(a).cmp(&key(b))
    }
}

/// Sorted runs in one spill, and all records in the order that a stable sort brings them in.
fn runs(
    random: &mut fastrand::Rng,
    count: usize,
    options: &SpillOptions,
) -> (Vec<SpillRun>, Vec<Vec<u8>>) {
    let mut writer = options.create().unwrap();
    let (mut places, mut all) = (Vec::new(), Vec::new());
    for number in 0..count {
        let start = writer.position();
        let record = |serial: usize, random: &mut fastrand::Rng| {
            let mut record = vec![random.u8(..4), random.u8(..4)];
            record.extend(format!(" {number} {serial}").bytes());
            record.resize(record.len() + random.usize(..50), b'.');
            record
        };
        let len = if random.u8(..5) == 0 { 0 } else { random.usize(..300) };
        let mut run: Vec<_> = (0..len).map(|serial| record(serial, random)).collect();
        run.sort_by(|a, b| ByKey.compare(a, b));
        for record in &run {
            writer.append_record(record).unwrap();
        }
        places.push(start..writer.position());
        all.extend(run);
    }
    all.sort_by(|a, b| ByKey.compare(a, b));
    let reader = writer.finish().unwrap();
    (places.into_iter().map(|place| reader.run(place).unwrap()).collect(), all)
}

fn merged(runs: &[SpillRun], order: impl Order) -> Vec<Vec<u8>> {
    let mut merge = SpillMerge::new(runs.iter().map(SpillRun::cursor).collect(), order).unwrap();
    let mut records = Vec::new();
    while let Some(record) = merge.next().unwrap() {
        records.push(record.to_vec());
    }
    assert!(merge.next().unwrap().is_none(), "the end stays the end");
    records
}

#[test]
fn a_merge_is_a_stable_sort() {
    let folder = folder();
    let mut random = fastrand::Rng::with_seed(2);
    for options in all_options(&folder) {
        for count in (0..10).chain([31, 32, 33]) {
            let (runs, expected) = runs(&mut random, count, &options);
            assert!(merged(&runs, ByKey) == expected, "{count} runs");
            let closure = |a: &[u8], b: &[u8]| key(a).cmp(&key(b));
            assert!(merged(&runs, closure) == expected, "{count} runs");
        }
    }
}

/// How many are too many, the budget says.
#[test]
fn many_runs_are_merged_to_few_and_stay_stable() {
    let folder = folder();
    let mut random = fastrand::Rng::with_seed(3);
    for options in all_options(&folder) {
        for (count, budget_mib, most) in
            [(0, 1, 2), (1, 1, 2), (3, 1, 2), (9, 1, 2), (40, 2, 3), (17, 8, 12)]
        {
            let budget = ResidencyBudget::new(budget_mib << 20).unwrap();
            let options = options.clone().budget(&budget);
            let (runs, expected) = runs(&mut random, count, &options);
            let few = merge_down(runs, &options, &ByKey, |_| Ok::<_, SpillError>(())).unwrap();
            assert!(few.len() <= most.max(2), "{} of {count}", few.len());
            assert!(merged(&few, ByKey) == expected, "{count} runs in {budget_mib} MiB");
            drop(few);
            let stats = budget.stats();
            assert_eq!((stats.pinned_bytes, stats.reserved_bytes, stats.used_bytes), (0, 0, 0));
        }
    }
}

#[test]
fn only_as_many_runs_are_merged_as_are_too_many() {
    let folder = folder();
    let budget = ResidencyBudget::new(8 << 20).unwrap();
    let options = SpillOptions::new(folder.path()).budget(&budget);
    let (runs, _) = runs(&mut fastrand::Rng::with_seed(4), 13, &options);
    let first: u64 = runs[..2].iter().map(SpillRun::len_bytes).sum();
    let mut moved = 0;
    let few = merge_down(runs, &options, &ByKey, |bytes| {
        moved += bytes;
        Ok::<_, SpillError>(())
    });
    assert_eq!(few.unwrap().len(), 12, "6 MiB of 8 can be pinned, 512 KiB by each");
    assert!(moved <= first);
}

#[test]
fn the_caller_can_end_it() {
    #[derive(Debug)]
    enum Ended {
        Spill,
        Caller,
    }
    impl From<SpillError> for Ended {
        fn from(_: SpillError) -> Self {
            Self::Spill
        }
    }
    let folder = folder();
    let budget = ResidencyBudget::new(1 << 20).unwrap();
    let options = SpillOptions::new(folder.path()).budget(&budget);
    let (runs, _) = runs(&mut fastrand::Rng::with_seed(5), 9, &options);
    let ended = merge_down(runs, &options, &ByKey, |_| Err(Ended::Caller));
    assert!(matches!(ended, Err(Ended::Caller)));
}
