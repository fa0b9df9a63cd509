//! Cold pages through the mapped backend: no thread of the runtime waits for the disk, and a future
//! that is dropped leaves nothing behind.
//!
//! Method: the file is dropped from the page cache before it is mapped. The runtime has this thread
//! alone for its tasks, and the kernel counts the page faults at which it waited for the disk.

use std::{fs, fs::File, path::Path, time::Duration};

use backends::{Limits, MmapBackend, ReadRequest, StorageBackend};
use futures_util::{FutureExt, future};
use tempfile::TempDir;

const PAGE: usize = 4096;
const PAGES: usize = 8192;

/// The field `majflt` of /proc/thread-self/stat, which proc(5) counts as the twelfth.
fn major_faults() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, behind_name) = stat.rsplit_once(')').unwrap();
    behind_name.split_whitespace().nth(9).unwrap().parse().unwrap()
}

fn content() -> Vec<u8> {
    let byte = |place: usize| u8::try_from((place / PAGE + place % 7) % 251).unwrap();
    (0..PAGES * PAGE).map(byte).collect()
}

/// A folder with a sealed file of which nothing is in memory.
async fn cold(content: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let backend = MmapBackend::open(folder.path(), Limits::default()).unwrap();
    backend.write("cold", 0, content).await.unwrap();
    backend.seal("cold").await.unwrap();
    drop(backend);
    chill(&folder.path().join("cold"));
    folder
}

fn chill(path: &Path) {
    let file = File::open(path).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

fn requests(seed: usize) -> Vec<ReadRequest<'static>> {
    (0..64)
        .map(|number| (number * 7919 + seed * 104_729) % (PAGES - 1))
        .map(|page| ReadRequest { path: "cold", offset: (page * PAGE) as u64, length: PAGE })
        .collect()
}

#[tokio::test(flavor = "current_thread")]
async fn no_thread_of_the_runtime_waits_for_the_disk() {
    let content = content();
    let folder = cold(&content).await;
    let backend = MmapBackend::open(folder.path(), Limits::default()).unwrap();
    let mut faults = 0;
    for round in 0..20 {
        let requests = requests(round);
        let before = major_faults();
        let reads = backend.read_many(&requests).await;
        let one = backend.read("cold", requests[round].offset + 1, 3 * PAGE / 4).await.unwrap();
        for (read, request) in reads.into_iter().zip(&requests) {
            let start = usize::try_from(request.offset).unwrap();
            assert!(read.unwrap() == content[start..start + PAGE]);
        }
        let start = usize::try_from(requests[round].offset).unwrap() + 1;
        assert!(one == content[start..start + 3 * PAGE / 4]);
        // The first round brings in the code that runs.
        if round > 0 {
            faults += major_faults() - before;
        }
    }
    let reads = backend.stats().reads;
    assert!(reads.count > reads.at_once, "some reads had to wait");
    assert_eq!(faults, 0, "this thread waited for the disk");
}

#[tokio::test(flavor = "current_thread")]
async fn a_read_that_is_dropped_leaves_nothing_behind() {
    let content = content();
    let folder = cold(&content).await;
    // With one permit, whatever kept it would keep everybody out.
    let backend =
        MmapBackend::open(folder.path(), Limits::default().max_concurrent_ops(1)).unwrap();
    for round in 0..50 {
        let requests = requests(round);
        let reads = backend.read_many(&requests);
        assert!(reads.now_or_never().is_none_or(|reads| reads.iter().all(Result::is_ok)));
        let ranges = [(requests[0].offset, PAGE)];
        drop(backend.prefetch("cold", &ranges).now_or_never());
    }
    let all = future::join_all((0..8).map(|page| backend.read("cold", page * PAGE as u64, PAGE)));
    let all = tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
    assert!(all.iter().all(Result::is_ok));
    backend.delete("cold").await.unwrap();
    drop(all);
    // Nobody holds the file any more: its mapping is gone with the last handle.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!maps.lines().any(|line| line.contains(folder.path().to_str().unwrap())), "{maps}");
}
