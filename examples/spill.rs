//! Sorts more than fits into memory: runs are sorted and spilled, then merged straight from the
//! mapped file, all of it within a budget.
//!
//! `cargo run --example spill`
#![expect(clippy::print_stdout, reason = "an example is a program that prints")]

use storage::{
    ResidencyBudget,
    spill::{Result, SpillError, SpillMerge, SpillOptions, SpillRun, merge_down},
};

fn main() -> Result<()> {
    let budget = ResidencyBudget::new(16 << 20)?;
    let options = SpillOptions::new(".").budget(&budget);
    let mut spill = options.create()?;

    // 64 runs of 4 MiB: 16 times the budget.
    let mut places = Vec::new();
    for _ in 0..64 {
        let mut records: Vec<u64> = (0..1 << 18).map(|_| fastrand::u64(..)).collect();
        records.sort_unstable();
        let start = spill.position();
        for record in records {
            spill.append_record(&[&record.to_be_bytes()[..], b"payload."].concat())?;
        }
        places.push(start..spill.position());
    }

    let reader = spill.finish()?;
    let runs = places.into_iter().map(|place| reader.run(place)).collect::<Result<Vec<_>>>()?;
    // The old file goes with its last run.
    drop(reader);

    // How many can be read at once, the budget says.
    let order = |a: &[u8], b: &[u8]| a.cmp(b);
    let runs = merge_down(runs, &options, &order, |_| Ok::<_, SpillError>(()))?;
    println!("{} runs are left to merge", runs.len());
    let mut merge = SpillMerge::new(runs.iter().map(SpillRun::cursor).collect(), order)?;
    let (mut count, mut last) = (0, Vec::new());
    while let Some(record) = merge.next()? {
        assert!(*last <= *record, "in order");
        last = record.to_vec();
        count += 1;
    }
    println!("{count} records in order; in memory at the end: {:?}", budget.stats());
    Ok(())
}
