//! A merge of as many runs as a budget is said to have room for reads each byte once.

use storage::{
    ResidencyBudget,
    spill::{SpillError, SpillMerge, SpillOptions, SpillRun, merge_down},
};

use super::{LIMIT, MIB};

const RUNS: u64 = 40;
const RUN_BYTES: u64 = MIB;

#[test]
fn what_a_merge_reads_it_reads_once() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let options = SpillOptions::new(folder.path()).budget(&budget);
    let mut writer = options.create().unwrap();
    let mut places = Vec::new();
    for run in 0..RUNS {
        let start = writer.position();
        for key in 0..RUN_BYTES / 64 {
            let key = key * RUNS + run;
            writer.append_record(&[&key.to_be_bytes()[..], &[9; 55]].concat()).unwrap();
        }
        places.push(start..writer.position());
    }
    let reader = writer.finish().unwrap();
    let runs: Vec<_> = places.into_iter().map(|place| reader.run(place).unwrap()).collect();
    let order = |a: &[u8], b: &[u8]| a.cmp(b);
    let (mut moved, mut few) = (0_u64, runs);
    few = merge_down(few, &options, &order, |_| {
        moved += 1;
        if !moved.is_multiple_of(64) {
            return Ok(());
        }
        let stats = budget.stats();
        assert!(stats.resident_bytes + stats.reserved_bytes <= LIMIT + LIMIT / 16, "{stats:?}");
        Ok::<_, SpillError>(())
    })
    .unwrap();
    assert!(few.len() < 13 && few.len() > 2, "{}: three quarters of the budget", few.len());
    let before = budget.stats();
    let mut merge = SpillMerge::new(few.iter().map(SpillRun::cursor).collect(), order).unwrap();
    let mut count = 0_u64;
    while let Some(record) = merge.next().unwrap() {
        assert_eq!(record[..8], count.to_be_bytes());
        count += 1;
    }
    assert_eq!(count, RUNS * RUN_BYTES / 64);
    // What left memory had been brought in, or was there before; so what is above that was read twice.
    let after = budget.stats();
    let read = after.evicted_bytes - before.evicted_bytes + after.used_bytes - before.used_bytes;
    let once = RUNS * RUN_BYTES + LIMIT;
    assert!(read <= once + once / 10, "{read} bytes were brought in to read {once}");
}

/// Of records that are long, fewer are merged at once: as many as there is room for.
#[test]
fn long_records_are_merged_within_the_budget() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let options = SpillOptions::new(folder.path()).budget(&budget);
    let mut writer = options.create().unwrap();
    let mut places = Vec::new();
    let mut expected = Vec::new();
    for run in 0..7_u8 {
        let start = writer.position();
        for (key, len) in [(0, 100), (1, LIMIT / 4 + u64::from(run) * 10_000), (2, 100)] {
            let record = vec![key * 10 + run; usize::try_from(len).unwrap()];
            writer.append_record(&record).unwrap();
            expected.push((record[0], record.len()));
        }
        places.push(start..writer.position());
    }
    expected.sort_unstable();
    let reader = writer.finish().unwrap();
    let runs: Vec<_> = places.into_iter().map(|place| reader.run(place).unwrap()).collect();
    let order = |a: &[u8], b: &[u8]| a.cmp(b);
    let within = || {
        let stats = budget.stats();
        assert!(stats.resident_bytes + stats.reserved_bytes <= LIMIT + LIMIT / 16, "{stats:?}");
    };
    let merging = |_| {
        within();
        Ok::<_, SpillError>(())
    };
    let few = merge_down(runs, &options, &order, merging).unwrap();
    let mut merge = SpillMerge::new(few.iter().map(SpillRun::cursor).collect(), order).unwrap();
    let mut merged = Vec::new();
    while let Some(record) = merge.next().unwrap() {
        merged.push((record[0], record.len()));
        within();
    }
    assert_eq!(merged, expected);
}
