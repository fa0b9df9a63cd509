//! A bank of accounts: transfers by transactions, from two threads, and a sum that never changes.
//!
//! Run: `cargo run --example transactions`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, thread};

use storage::{PageCount, VersionedFile};

const ACCOUNTS: usize = 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let bank = VersionedFile::create(folder.path().join("bank"))?;

    let mut transaction = bank.begin()?;
    transaction.grow(PageCount::new(2))?;
    transaction.as_slice_of_mut::<u64>(..)?[..ACCOUNTS].fill(100);
    let report = transaction.commit()?;
    println!("{} pages durable by commit {} in {:?}", report.pages, report.commit, report.elapsed);

    let opening = bank.snapshot()?;
    thread::scope(|scope| {
        for teller in 0..2 {
            let bank = &bank;
            // Transfers that come at the same time share one wait for the disk.
            scope.spawn(move || -> storage::Result<()> {
                for number in 0..50 {
                    bank.update(|transaction| {
                        let accounts = transaction.as_slice_of_mut::<u64>(..)?;
                        accounts[teller] -= 1;
                        accounts[ACCOUNTS - 1 - number] += 1;
                        Ok::<_, storage::Error>(())
                    })?;
                }
                Ok(())
            });
        }
    });

    // One that is dropped without a commit was never there.
    bank.begin()?.as_slice_of_mut::<u64>(..)?.fill(0);

    let closing = bank.snapshot()?;
    let sum: u64 = closing.as_slice_of::<u64>(..)?[..ACCOUNTS].iter().sum();
    assert_eq!(sum, 100 * ACCOUNTS as u64);
    assert_eq!(opening.as_slice_of::<u64>(..)?[0], 100);
    println!("account 0 has {} of 100, the bank {sum}", closing.as_slice_of::<u64>(..)?[0]);
    println!("{} runs of pages changed since", closing.changed_since(opening.commit())?.len());
    Ok(())
}
