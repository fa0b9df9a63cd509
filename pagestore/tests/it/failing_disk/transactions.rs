//! A versioned file on the failing disk: each commit that returned is there, and of the one that failed all
//! or nothing.
//!
//! The log is so short that the commits of one run fill both of its halves, each more than once; so every
//! write and sync of commits, checkpoints and of the recovery after a crash fails in turn.

use std::path::Path;

use pagestore::{
    Checkpoints, Error, PageCount, PageId, PoisonCause, Result, Snapshot, VersionedFile,
    VersionedFileOptions,
};

use super::{
    disk::Writes,
    workloads::{Promises, Workload, byte, check_error},
};

const PAGES: usize = 20;
const ROUNDS: usize = 5;

pub(crate) const TRANSACTIONS: Workload = Workload {
    name: "open, commit, checkpoint, close",
    writes: &[Writes::Through, Writes::Back],
    prepare: |folder| prepare(folder),
    work: |folder, promises| commit_some(&options(), folder, promises),
    check,
};

pub(crate) const AFTER_A_CRASH: Workload = Workload {
    name: "open after a crash, commit",
    writes: &[Writes::Through, Writes::Back],
    prepare: |folder| {
        prepare(folder);
        crash_after_commits(folder);
    },
    work: |folder, promises| {
        // What the crash left.
        *promises = after_the_crash();
        commit_some(&options(), folder, promises)
    },
    check: |folder, promises| {
        // Where not even the first commit was tried, what the crash left must be there.
        let crashed = after_the_crash();
        check(folder, if promises.flushed.is_empty() { &crashed } else { promises });
    },
};

fn options() -> VersionedFileOptions {
    VersionedFile::options().log_bytes(128 << 10).checkpoints(Checkpoints::WhenFull)
}

fn prepare(folder: &Path) {
    let file = options().create(folder.join("file")).unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(PageCount::new(PAGES as u64)).unwrap();
    transaction.commit().unwrap();
    file.close().unwrap();
}

/// Two commits that only the log has: the pages are put back as they were before.
fn crash_after_commits(folder: &Path) {
    /// The header, the mark and the log of such a file.
    const BEFORE_THE_PAGES: usize = (64 << 10) + (128 << 10);
    let path = folder.join("file");
    let before = std::fs::read(&path).unwrap();
    let file = options().open(&path).unwrap();
    let mut promises = Promises::of(PAGES);
    for round in 0..2 {
        commit(&file, &mut promises, round).unwrap();
    }
    let mut crashed = std::fs::read(&path).unwrap();
    drop(file);
    crashed[BEFORE_THE_PAGES..].copy_from_slice(&before[BEFORE_THE_PAGES..]);
    std::fs::write(&path, crashed).unwrap();
    std::fs::File::open(&path).unwrap().sync_all().unwrap();
}

fn after_the_crash() -> Promises {
    let mut promises = Promises::of(PAGES);
    for round in 0..2 {
        promises.change(round);
    }
    promises.flushed.clone_from(&promises.written);
    promises
}

impl Promises {
    fn of(pages: usize) -> Self {
        let mut promises = Self::default();
        (promises.written, promises.flushed) = (vec![0; pages], vec![0; pages]);
        promises
    }

    /// What a round changes.
    fn change(&mut self, round: usize) {
        for page in changed(round) {
            self.written[page] += 1;
        }
    }
}

fn changed(round: usize) -> impl Iterator<Item = usize> {
    (0..5).map(move |index| (round * 3 + index * 4) % PAGES)
}

fn commit_some(
    options: &VersionedFileOptions,
    folder: &Path,
    promises: &mut Promises,
) -> Result<()> {
    if promises.written.is_empty() {
        *promises = Promises::of(PAGES);
    }
    let file = options.open(folder.join("file"))?;
    for round in 0..ROUNDS {
        let before = file.snapshot()?;
        let committed = commit(&file, promises, round);
        if committed.is_err() {
            shows(&before, &promises.flushed);
            check_after_failure(&file, promises);
        }
        committed?;
    }
    file.close()
}

fn commit(file: &VersionedFile, promises: &mut Promises, round: usize) -> Result<()> {
    let mut transaction = file.begin()?;
    for page in changed(round) {
        let generation = promises.written[page] + 1;
        transaction.page_mut(PageId::new(page as u64))?.fill(byte(page, generation));
    }
    // From here on the disk may have it.
    promises.change(round);
    transaction.commit()?;
    promises.flushed.clone_from(&promises.written);
    Ok(())
}

/// After a commit that failed, the file takes no more, and what was committed can be saved.
fn check_after_failure(file: &VersionedFile, promises: &mut Promises) {
    let Err(error) = file.begin().map(drop) else { return };
    promises.errors += 1;
    let poisoned = matches!(error, Error::Poisoned { cause: PoisonCause::Commit(_), .. });
    assert!(poisoned, "{error}");
    assert!(file.checkpoint().is_err(), "a checkpoint after a failed commit is not to be believed");
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = elsewhere.path().join("recovered");
    match file.recover_into(&path) {
        Ok(_) => {
            let recovered = VersionedFile::open(&path).unwrap();
            shows(&recovered.snapshot().unwrap(), &promises.flushed);
        }
        // A page that was not in memory, on a disk that does not read either.
        Err(error) => {
            check_error(&error);
            assert!(!path.exists());
        }
    }
}

fn differs(snapshot: &Snapshot, generations: &[u8]) -> Option<usize> {
    (0..PAGES).find(|&page| {
        let expected = if generations[page] == 0 { 0 } else { byte(page, generations[page]) };
        match snapshot.page(PageId::new(page as u64)) {
            Ok(bytes) => bytes.iter().any(|&found| found != expected),
            // Not read yet, and the disk reads no more.
            Err(error) => {
                check_error(&error);
                false
            }
        }
    })
}

fn shows(snapshot: &Snapshot, generations: &[u8]) {
    assert_eq!(differs(snapshot, generations), None, "a page that differs");
}

fn check(folder: &Path, promises: &Promises) {
    let flushed = if promises.flushed.is_empty() { &vec![0; PAGES] } else { &promises.flushed };
    let written = if promises.written.is_empty() { flushed } else { &promises.written };
    let file = options().open(folder.join("file"));
    // An error of write-back that nobody was told of yet is told to the next who syncs, once.
    let file = file.or_else(|_told| options().open(folder.join("file"))).unwrap();
    let snapshot = file.snapshot().unwrap();
    snapshot.verify().unwrap();
    let (old, new) = (differs(&snapshot, flushed), differs(&snapshot, written));
    assert!(
        old.is_none() || new.is_none(),
        "neither all of the commit nor nothing: {old:?}, {new:?}"
    );
}
