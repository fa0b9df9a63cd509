//! Versioned files: transactions, snapshots, and what a reopened file has of them.
//!
//! Method: the public interface on the real filesystem, against a model in memory that keeps every version.

mod basics;
mod between;
mod damage;
mod killed;
mod known_pages;
mod limited;
mod model;
mod passed_on;
mod power_cuts;
mod random;
mod taken_back;
mod together;
mod unapplied;
mod verifying;

use pagestore::{PageCount, PageId, Transaction, VersionedFile, VersionedFileOptions};

/// Files with a log that is soon full.
fn small_log() -> VersionedFileOptions {
    VersionedFile::options().log_bytes(128 << 10)
}

fn page(number: u64) -> PageId {
    PageId::new(number)
}

fn count(pages: u64) -> PageCount {
    PageCount::new(pages)
}

/// Fills a page with one byte.
fn fill(transaction: &mut Transaction<'_>, number: u64, byte: u8) {
    transaction.page_mut(page(number)).unwrap().fill(byte);
}

/// A number as the index of something in memory.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}
