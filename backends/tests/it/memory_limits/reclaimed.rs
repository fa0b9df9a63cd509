//! In a cgroup with room for a quarter of a file, and no budget: the kernel takes pages back while
//! tasks read, and the thread of the runtime does not wait for them.
//!
//! Method: one thread runs all tasks, and it counts its own page faults that waited for the disk. So
//! that the count is known to count, the same thread then touches a view that was kept for long, which
//! nobody brings in for it.

use std::{fs, path::Path};

use backends::{Limits, StorageBackend};

use super::{MIB, PIECE, backend, check, fill, folder, requests};
use crate::{cgroup::Cgroup, child, report::Random, report::say, skip};

const LIMIT: u64 = 64 * MIB;
const LEN: u64 = 4 * LIMIT;
const TEST: &str = "pages_are_taken_back_and_no_thread_of_the_runtime_waits";

/// The field `majflt` of /proc/thread-self/stat, which proc(5) counts as the twelfth.
fn major_faults() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, behind_name) = stat.rsplit_once(')').unwrap();
    behind_name.split_whitespace().nth(9).unwrap().parse().unwrap()
}

async fn read(folder: &Path) {
    const ROUNDS: usize = 300;
    // The code that runs is in a file of its own, which the kernel brings in as it is touched.
    const WARM_UP_ROUNDS: usize = 30;
    const READS_A_ROUND: usize = 64 + 8;
    // What remains, by docs/memory.md: a page that is taken back within milliseconds. The kernel counts
    // a fault also where a page was only locked for a moment.
    const FAULTS_MAX: u64 = ((ROUNDS - WARM_UP_ROUNDS) * READS_A_ROUND / 50) as u64;
    let backend = backend(folder, Limits::default());
    // From here on there is no page that was never brought in: what is not there was taken back.
    for offset in (0..LEN).step_by(PIECE) {
        check(&backend.read("file", offset, PIECE).await.unwrap(), offset);
    }
    let mut random = Random(7);
    let (mut faults, mut read) = (0, 0);
    let mut read_round = async |round: usize| {
        let requests = requests(&mut random, 64, LEN);
        let before = major_faults();
        let mut reads = backend.read_many(&requests).await;
        // And some by themselves, which are tried at once each.
        for request in &requests[..8] {
            reads.push(backend.read(request.path, request.offset + 1, request.length).await);
        }
        let offsets = requests.iter().map(|request| request.offset);
        let offsets = offsets.chain(requests[..8].iter().map(|request| request.offset + 1));
        for (read, offset) in reads.into_iter().zip(offsets) {
            check(&read.unwrap(), offset);
        }
        if round >= WARM_UP_ROUNDS {
            faults += major_faults() - before;
            read += READS_A_ROUND;
        }
        assert!(faults <= FAULTS_MAX, "{faults} of {read} reads waited on the runtime's thread");
    };
    for round in 0..ROUNDS {
        read_round(round).await;
    }
    let stats = backend.stats().reads;
    assert!(stats.at_once > 0 && stats.at_once < stats.count, "{stats:?}");
    say(&format!("cgroup, taken back: {faults} of {read} reads waited on the runtime's thread"));

    let whole = backend.read("file", 0, usize::try_from(LEN).unwrap()).await.unwrap();
    let before = major_faults();
    for _ in 0..1000 {
        let offset = random.below(LEN - 8);
        check(&whole[usize::try_from(offset).unwrap()..][..8], offset);
    }
    let by_touch = major_faults() - before;
    say(&format!("cgroup, taken back: {by_touch} of 1000 touches of a view that was kept waited"));
    assert!(by_touch >= 200, "{by_touch}: then nothing was taken back");
}

#[test]
fn pages_are_taken_back_and_no_thread_of_the_runtime_waits() {
    if let Some(folder) = child::path() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read(&folder));
        return child::done();
    }
    let group = match Cgroup::new("backends-reclaimed", LIMIT) {
        Ok(group) => group,
        Err(reason) => return skip::skipped(TEST, &reason),
    };
    let folder = folder();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let backend = backend(folder.path(), Limits::default());
        fill(&backend, "file", LEN).await;
        backend.seal("file").await.unwrap();
    });
    // The page cache is charged to who brought it in: so it has to be the child.
    let file = fs::File::open(folder.path().join("file")).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    drop(file);
    child::check(&mut child::command(&group.enter(), TEST, folder.path()));
}
