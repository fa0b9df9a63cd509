//! Mapped files where memory is short: within a budget of their own, and in a group of processes from
//! which the kernel takes pages back.
//!
//! Method: a test runs itself once more in a process of its own inside a control group with a limit.
//! What is in memory is asked of the kernel all the time by a thread that does nothing else; the
//! kernel also counts the page faults at which a thread waited for the disk. Each byte tells its
//! place.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../pagestore/tests/cgroup/mod.rs"]
#[expect(dead_code, reason = "what a group has now is looked at elsewhere")]
mod cgroup;
#[path = "../../../pagestore/tests/child/mod.rs"]
#[expect(dead_code, reason = "children here are not killed")]
mod child;
mod limited;
mod reclaimed;
#[path = "../../../pagestore/tests/report/mod.rs"]
mod report;
#[path = "../../../pagestore/tests/skip/mod.rs"]
#[expect(dead_code, reason = "what is asked for here is more than root")]
mod skip;

use std::{path::Path, thread, time::Duration};

use backends::{Limits, MmapBackend, ReadRequest, StorageBackend};
use pagestore::ResidencyBudget;
use report::Random;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const PIECE: usize = 1 << 20;

/// A folder on a disk.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The bytes of a place in a file where each word tells its own.
fn content(offset: u64, len: usize) -> Vec<u8> {
    let first = offset / 8;
    let words = first..(offset + len as u64).div_ceil(8);
    let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    let skipped = usize::try_from(offset - first * 8).unwrap();
    bytes[skipped..skipped + len].to_vec()
}

#[track_caller]
fn check(bytes: &[u8], offset: u64) {
    assert!(*bytes == content(offset, bytes.len()), "{} bytes at {offset}", bytes.len());
}

async fn fill(backend: &MmapBackend, path: &str, len: u64) {
    for offset in (0..len).step_by(PIECE) {
        backend.write(path, offset, &content(offset, PIECE)).await.unwrap();
    }
}

fn requests(random: &mut Random, count: usize, len: u64) -> Vec<ReadRequest<'static>> {
    let request = |_| ReadRequest { path: "file", offset: random.below(len - 9000), length: 4096 };
    (0..count).map(request).collect()
}

#[tokio::test(flavor = "current_thread")]
async fn the_counts_of_a_backend_are_those_of_its_budget() {
    let folder = folder();
    let budget = ResidencyBudget::new(4 * MIB).unwrap();
    let limits = Limits::default().residency_budget(&budget);
    let backend = MmapBackend::open(folder.path(), limits).unwrap();
    fill(&backend, "file", 16 * MIB).await;
    backend.seal("file").await.unwrap();
    let written = backend.stats();
    assert!(written.written_back_bytes >= 8 * MIB, "{written:?}");
    assert!(written.evicted_bytes >= 12 * MIB, "{written:?}");
    for offset in (0..16 * MIB).step_by(PIECE) {
        check(&backend.read("file", offset, PIECE).await.unwrap(), offset);
    }
    let (read, of_budget) = (backend.stats(), budget.stats());
    assert_eq!(read.budget_bytes, Some(4 * MIB));
    assert_eq!(read.used_bytes, of_budget.used_bytes);
    assert!(read.used_bytes <= 4 * MIB && read.used_bytes >= 2 * MIB, "{read:?}");
    assert_eq!(read.resident_bytes, Some(of_budget.resident_bytes));
    assert!(read.evicted_bytes >= written.evicted_bytes + 12 * MIB, "{read:?}");
    assert_eq!(read.written_back_bytes, written.written_back_bytes, "it was clean");
    assert!(read.faults >= written.faults + 8, "{read:?}");
    let whole = backend.read("file", 0, 2 * PIECE).await.unwrap();
    let everything = budget.reserve(4 * MIB).unwrap();
    // A page that the kernel has in its hands for a moment stays until the next look.
    let is_evicted = (0..50).any(|_| {
        budget.enforce().unwrap();
        thread::sleep(Duration::from_millis(20));
        backend.stats().resident_bytes == Some(0)
    });
    assert!(is_evicted, "{:?}", backend.stats());
    drop(everything);
    check(&whole, 0);
}

/// What does not fit even when everything else is evicted is an error, and passes by itself.
#[tokio::test(flavor = "current_thread")]
async fn where_there_is_no_room_reading_and_writing_are_errors() {
    let folder = folder();
    let budget = ResidencyBudget::new(MIB).unwrap();
    let limits = Limits::default().residency_budget(&budget);
    let backend = MmapBackend::open(folder.path(), limits).unwrap();
    fill(&backend, "file", MIB).await;
    let all = budget.reserve(MIB).unwrap();
    for refused in [
        backend.read("file", 0, 4096).await.unwrap_err(),
        backend.write("file", 0, b"bytes").await.unwrap_err(),
    ] {
        let is_told =
            matches!(refused, backends::StorageError::BudgetExceeded { budget_bytes: MIB, .. });
        assert!(is_told, "{refused}");
    }
    drop(all);
    check(&backend.read("file", 0, 4096).await.unwrap(), 0);
}

fn backend(folder: &Path, limits: Limits) -> MmapBackend {
    MmapBackend::open(folder, limits).unwrap()
}
