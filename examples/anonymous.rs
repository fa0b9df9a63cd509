//! The same pages in anonymous memory: no file, huge pages where the kernel has them.
//!
//! Run: `cargo run --example anonymous`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use storage::{FlushTarget, PageCount, PageFile, PageSize};

fn main() -> Result<(), Box<dyn Error>> {
    let memory = PageFile::anonymous(PageSize::new(64 * 1024)?)?;
    let first = memory.grow(PageCount::new(16))?;

    // Growing moves nothing: a slice borrowed before stays where it is.
    let held = memory.page(first.start())?;
    memory.grow(PageCount::new(1_000))?;
    assert!(held.iter().all(|&byte| byte == 0));
    drop(held);

    memory.pages_mut(..)?.fill(1);
    let report = memory.flush()?;
    assert_eq!(report.target, FlushTarget::Memory);
    println!("{} pages were dirty; memory has nowhere to flush them to", report.pages);
    Ok(())
}
