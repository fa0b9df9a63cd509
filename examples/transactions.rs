//! A bank of accounts: transfers by transactions, from two threads, and a sum that never changes.
//!
//! Run: `cargo run --example transactions`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, thread};

use storage::VersionedFile;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let bank = VersionedFile::create(folder.path().join("bank"))?;
    let mut opening = bank.begin()?;
    opening.grow(2)?;
    opening.as_slice_of_mut::<u64>(..)?.fill(100);
    let report = opening.commit()?;
    println!("{} pages durable by commit {} in {:?}", report.pages, report.commit, report.elapsed);

    let before = bank.snapshot()?;
    let transfer = |from: usize, to: usize| {
        // Those that come at the same time share one wait for the disk.
        bank.update(|transaction| -> storage::Result<()> {
            let accounts = transaction.as_slice_of_mut::<u64>(..)?;
            accounts[from] -= 1;
            accounts[to] += 1;
            Ok(())
        })
    };
    thread::scope(|scope| {
        let tellers = [0, 1].map(|from| {
            scope.spawn(move || (0..50).try_for_each(|number| transfer(from, 1023 - number)))
        });
        tellers.into_iter().try_for_each(|teller| teller.join().expect("no teller panics"))
    })?;
    // One that is dropped without a commit was never there.
    bank.begin()?.as_slice_of_mut::<u64>(..)?.fill(0);

    let (before, after) = (before.as_slice_of::<u64>(..)?, bank.snapshot()?);
    let after = after.as_slice_of::<u64>(..)?;
    let sum = after.iter().sum::<u64>();
    assert_eq!(before.iter().sum::<u64>(), sum);
    println!("account 0: {} then, {} now; the bank has {sum} all the time", before[0], after[0]);
    Ok(())
}
