//! The power goes in the middle of commits, again and again; what had returned is there, and of what was under
//! way all or nothing.
//!
//! Method: ext4 with a journal and without, and XFS, each on a loop device. A thread commits, as fast as it
//! can, changes that follow from the commits' numbers alone; the thread that makes checkpoints runs beside
//! it, and the log is so small that it is always at work. After some commits the filesystem is shut down (the ioctl for such tests): from then on nothing that is in memory reaches the device. It is mounted
//! again, the file is opened, and every page is compared. The next round goes on from there.
//!
//! `POWER_CUTS=1000` makes it so many cuts on each filesystem. Needs root; without, it says that it was
//! skipped.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::Duration,
};

use pagestore::{Error, Transaction, VersionedFile, VersionedFileOptions};

use super::{count, index, page, random::Random};
use crate::{
    loop_disk::{LoopDisk, XFS_MIB_MIN},
    power::{self, Journal},
    report::{say, seed},
    skip,
};

const CUTS: u64 = 20;
const PAGES_MIN: u64 = 16;

/// A log that has room for the largest commit, and is full after a few.
fn options() -> VersionedFileOptions {
    VersionedFile::options().log_bytes(256 << 10)
}

/// What the pages are filled with after some commits.
#[derive(Clone, Default)]
struct Model {
    commit: u64,
    pages: Vec<u8>,
}

impl Model {
    /// Makes the next commit's changes, also in a transaction where there is one.
    fn advance(&mut self, mut transaction: Option<&mut Transaction<'_>>) -> Result<(), Error> {
        self.commit += 1;
        let mut random = Random::new(self.commit);
        let added = match self.commit {
            1 => 64,
            commit if commit % 5 == 0 => 1 + random.below(12),
            _ => 0,
        };
        let kept = match self.commit % 7 {
            6 => PAGES_MIN + random.below(self.pages.len() as u64 - PAGES_MIN + 1),
            _ => self.pages.len() as u64,
        };
        self.pages.truncate(index(kept));
        self.pages.resize(index(kept + added), 0);
        if let Some(transaction) = &mut transaction {
            transaction.shrink_to(count(kept))?;
            transaction.grow(count(added))?;
        }
        let byte = u8::try_from(self.commit % 255).unwrap() + 1;
        for _ in 0..1 + random.below(10) {
            let number = random.below(self.pages.len() as u64);
            self.pages[index(number)] = byte;
            if let Some(transaction) = &mut transaction {
                transaction.page_mut(page(number))?.fill(byte);
            }
        }
        Ok(())
    }

    fn check(&self, file: &VersionedFile, what: &str) {
        let snapshot = file.snapshot().unwrap();
        assert_eq!(snapshot.page_count().get(), self.pages.len() as u64, "{what}");
        for (number, byte) in self.pages.iter().enumerate() {
            let found = snapshot.page(page(number as u64)).unwrap();
            assert_eq!(found, [*byte; 4096], "{what}: page {number}");
        }
    }
}

/// Which commits were begun, and which have returned.
#[derive(Default)]
struct Notes {
    begun: AtomicU64,
    returned: AtomicU64,
    is_cut: AtomicBool,
}

/// Commits until the power is gone; what fails before is a fault.
fn commit_until_cut(file: &VersionedFile, mut model: Model, notes: &Notes) {
    loop {
        let done = (|| {
            let mut transaction = file.begin()?;
            model.advance(Some(&mut transaction))?;
            notes.begun.store(model.commit, SeqCst);
            transaction.commit()
        })();
        match done {
            Ok(report) => {
                assert_eq!(report.commit.get(), model.commit);
                notes.returned.store(model.commit, SeqCst);
            }
            Err(error) => {
                assert!(notes.is_cut.load(SeqCst), "with power: {error}");
                return;
            }
        }
    }
}

/// Cuts the power of a disk so many times; gives how many commits were made, and how often a recovery had
/// something to do.
fn cut(disk: &LoopDisk, name: &str, cuts: u64, seed: u64) -> (u64, u64) {
    let path = disk.path().join("file");
    options().create(&path).unwrap().close().unwrap();
    // Its name is durable from here on.
    let (mut model, mut random, mut recoveries) = (Model::default(), Random::new(seed), 0);
    for number in 0..cuts {
        let what = format!("{name}, seed {seed}, cut {number}");
        let file = options().open(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
        let notes = Notes::default();
        notes.begun.store(model.commit, SeqCst);
        notes.returned.store(model.commit, SeqCst);
        thread::scope(|scope| {
            let writer = scope.spawn(|| commit_until_cut(&file, model.clone(), &notes));
            let until = model.commit + random.below(30);
            while notes.returned.load(SeqCst) < until && !writer.is_finished() {
                thread::sleep(Duration::from_micros(50));
            }
            thread::sleep(Duration::from_micros(random.below(1000)));
            notes.is_cut.store(true, SeqCst);
            let journal = if random.below(2) == 0 { Journal::Lost } else { Journal::Written };
            power::cut(disk, journal);
        });
        drop(file);
        disk.mount_again().unwrap();
        let file = options().open(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
        recoveries += u64::from(file.recovered().is_some_and(|report| report.commits > 0));
        let (begun, returned) = (notes.begun.load(SeqCst), notes.returned.load(SeqCst));
        let found = file.commit_id().get();
        assert!(returned <= found && found <= begun, "{what}: {returned}, {found}, {begun}");
        while model.commit < found {
            model.advance(None).unwrap();
        }
        model.check(&file, &what);
        if random.below(2) == 0 {
            file.close().unwrap();
        }
    }
    (model.commit, recoveries)
}

/// Cuts the power of one filesystem, or says that the test is skipped.
fn cut_all(test: &str, name: &str, disk: Result<LoopDisk, String>) {
    let disk = match disk {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let cuts = std::env::var("POWER_CUTS").map_or(CUTS, |cuts| cuts.parse().unwrap());
    let (commits, recoveries) = cut(&disk, name, cuts, seed());
    say(&format!("{name}: {cuts} power cuts, {commits} commits, {recoveries} recoveries"));
    assert!(commits > cuts && recoveries > 0, "{name}: {commits} commits, {recoveries} recoveries");
}

#[test]
fn commits_survive_power_cuts_on_ext4() {
    let disk = LoopDisk::with_feature("has_journal", 64, 64);
    cut_all("commits_survive_power_cuts_on_ext4", "ext4", disk);
}

#[test]
fn commits_survive_power_cuts_on_ext4_without_a_journal() {
    let test = "commits_survive_power_cuts_on_ext4_without_a_journal";
    cut_all(test, "ext4 without a journal", LoopDisk::new(64, 64));
}

#[test]
fn commits_survive_power_cuts_on_xfs() {
    cut_all("commits_survive_power_cuts_on_xfs", "xfs", LoopDisk::xfs(XFS_MIB_MIN));
}
