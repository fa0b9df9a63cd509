//! A process is killed at any moment, again and again; what it was told is committed is there, and of what it
//! was committing all or nothing.
//!
//! Method: a child makes commits that follow from their numbers alone, and notes in a file of its own, by
//! pwrite(2), which it has begun and which has returned. The parent kills it (SIGKILL) after a time of its
//! choice, opens the file and computes what its commit number stands for. The next child goes on from there.

use std::{fs::File, os::unix::fs::FileExt, path::Path, time::Duration};

use pagestore::{PageId, VersionedFile, VersionedFileOptions};
use tempfile::tempdir;

use super::{count, index, page, random::Random};
use crate::child;

const TEST: &str = "what_was_committed_survives_a_kill_at_any_moment";
const PAGES: u64 = 300;
const KILLS: u64 = 25;

fn options() -> VersionedFileOptions {
    VersionedFile::options().log_bytes(512 << 10)
}

/// The pages that a commit changes.
fn changed(commit: u64) -> impl Iterator<Item = u64> {
    let mut random = Random::new(commit);
    (0..1 + random.below(20)).map(move |_| random.below(PAGES))
}

/// The byte that each page is filled with after so many commits.
fn model(commits: u64) -> Vec<u8> {
    let mut pages = vec![0; index(PAGES)];
    for commit in 2..=commits {
        for page in changed(commit) {
            pages[index(page)] = byte(commit);
        }
    }
    pages
}

fn byte(commit: u64) -> u8 {
    u8::try_from(commit % 251).unwrap() + 1
}

fn commit_for_ever(folder: &Path) -> ! {
    let notes = File::options().write(true).open(folder.join("notes")).unwrap();
    let file = options().open(folder.join("file")).unwrap();
    loop {
        let commit = file.commit_id().get() + 1;
        let mut transaction = file.begin().unwrap();
        if commit == 1 {
            transaction.grow(count(PAGES)).unwrap();
        }
        for number in changed(commit).filter(|_| commit > 1) {
            transaction.page_mut(PageId::new(number)).unwrap().fill(byte(commit));
        }
        notes.write_all_at(&commit.to_le_bytes(), 0).unwrap();
        assert_eq!(transaction.commit().unwrap().commit.get(), commit);
        notes.write_all_at(&commit.to_le_bytes(), 8).unwrap();
    }
}

#[test]
fn what_was_committed_survives_a_kill_at_any_moment() {
    if let Some(folder) = child::path() {
        child::done();
        commit_for_ever(&folder);
    }
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    drop(options().create(&path).unwrap());
    let notes_path = folder.path().join("notes");
    std::fs::write(&notes_path, [0; 16]).unwrap();
    let (mut random, mut recoveries) = (Random::new(7), 0);
    for kill in 0..KILLS {
        let running = child::Waiting::start(&mut child::command("", TEST, folder.path()));
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        running.kill();
        let notes = std::fs::read(&notes_path).unwrap();
        let note = |at: usize| u64::from_le_bytes(*notes[at..].first_chunk().unwrap());
        let (begun, returned) = (note(0), note(8));
        let file = options().open(&path).unwrap();
        recoveries += u64::from(file.recovered().is_some());
        let commit = file.commit_id().get();
        assert!(
            returned <= commit && commit <= begun,
            "kill {kill}: {returned}, {commit}, {begun}"
        );
        let snapshot = file.snapshot().unwrap();
        snapshot.verify().unwrap();
        if commit > 0 {
            for (number, byte) in model(commit).into_iter().enumerate() {
                assert_eq!(
                    snapshot.page(page(number as u64)).unwrap(),
                    [byte; 4096],
                    "kill {kill}"
                );
            }
        }
    }
    assert!(recoveries > 0, "none of {KILLS} kills left anything to recover");
}
