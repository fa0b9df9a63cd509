//! A table of counters in a file, updated in place from two threads and flushed.
//!
//! Run: `cargo run --example mutable_file`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, thread};

use storage::{PageCount, PageFile, PageId};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("counters");

    let file = PageFile::create(&path)?;
    file.grow(PageCount::new(1024))?;

    // Pages are latched one by one, so threads that write different pages do not wait.
    thread::scope(|scope| {
        for worker in 0..2 {
            let file = &file;
            scope.spawn(move || -> storage::Result<()> {
                for number in (worker..1024).step_by(2) {
                    let mut page = file.page_mut(PageId::new(number))?;
                    page.as_slice_of_mut::<u64>()?[0] += number;
                }
                Ok(())
            });
        }
    });

    let report = file.flush()?;
    println!(
        "{} dirty pages in {} run, {} bytes durable in {:?}",
        report.pages, report.runs, report.bytes, report.elapsed
    );
    drop(file);

    // All pages as one slice: they are contiguous, nothing lies between them.
    let file = PageFile::open(&path)?;
    let pages = file.pages(..)?;
    let sum: u64 = pages.as_slice_of::<u64>()?.iter().sum();
    assert_eq!(sum, (0..1024).sum());
    println!("sum of all counters: {sum}");
    Ok(())
}
