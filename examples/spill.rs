//! Sorts more than fits into memory: runs are sorted and spilled, then merged straight from the
//! mapped file, all of it within a budget.
//!
//! `cargo run --example spill`
#![expect(clippy::print_stdout, reason = "an example is a program that prints")]

use storage::{
    ResidencyBudget,
    spill::{Merge, Result, SpillOptions},
};

fn main() -> Result<()> {
    let budget = ResidencyBudget::new(16 << 20)?;
    let mut spill = SpillOptions::new(".").budget(&budget).create()?;

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
    let runs = places.into_iter().map(|place| reader.cursor(place)).collect::<Result<Vec<_>>>()?;
    let mut merge = Merge::new(runs, |a: &[u8], b: &[u8]| a.cmp(b))?;
    let (mut count, mut last) = (0, Vec::new());
    while let Some(record) = merge.next()? {
        assert!(*last <= *record, "in order");
        last = record.to_vec();
        count += 1;
    }
    println!("{count} records in order; in memory at the end: {:?}", budget.stats());
    Ok(())
}
