//! Two sorted runs of records, written, merged, and read in place.
//!
//! Run: `cargo run --release --example sorted_run`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use storage::run::{Run, RunWriter, TempRunWriter, merge};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    // Orders by customer, in order. What is merged away needs no name.
    let mut orders = TempRunWriter::<u64, u32>::create_in(folder.path())?;
    for customer in 0..1_000_000 {
        orders.push(&customer, &1)?;
        orders.push(&customer, &(2 + (customer % 7) as u32))?;
    }
    // Every third customer took the first one back.
    let mut returns = TempRunWriter::<u64, u32>::create_in(folder.path())?;
    for customer in (0..1_000_000).step_by(3) {
        returns.push_weighted(&customer, &1, -1)?;
    }
    let mut kept = RunWriter::create(folder.path().join("kept"))?;
    merge(&[orders.finish()?, returns.finish()?], &mut kept, i64::saturating_add)?;
    kept.seal()?;

    // Keys, values and weights are references into the mapping; nothing is copied.
    let run = Run::<u64, u32>::open(folder.path().join("kept"))?;
    println!("{} orders of {} customers", run.record_count(), run.key_count());
    let mut cursor = run.cursor();
    cursor.seek(&777_777)?;
    for record in cursor.take(3) {
        let record = record?;
        println!("customer {}: order {} x {}", record.key, record.value, record.weight);
    }
    run.columns().file().still_valid()?;
    Ok(())
}
