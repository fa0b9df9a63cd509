//! Large commits are written into the file by a thread, beside the next transaction: which sees them whole, and
//! waits for nothing.
//!
//! Method: transactions at random against a model, each of hundreds of pages of a small file, so that the next one
//! meets pages that are on their way; with reads before writes, runs that are in part on their way, updates that
//! fail, rollbacks, and snapshots that are held. A medium that is slow to write pages keeps them on their way for
//! long. The file is opened again at the end, after a close or after its process seems to have died.

use std::{
    io::{self, IoSlice},
    sync::Arc,
    thread,
    time::Duration,
};

use pagestore::{Error, Medium, Snapshot, Transaction, VersionedFile};

use super::{count, page, random::Random};
use crate::report;

const PAGES: u64 = 700;

/// Takes its time for single pages.
#[derive(Debug)]
struct Slow(Arc<dyn Medium>);

impl Medium for Slow {
    fn write(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        thread::sleep(Duration::from_micros(20));
        self.0.write(offset, parts)
    }

    fn write_durably(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.0.write_durably(offset, parts)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn start_write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.start_write_back(offset, len)
    }

    fn extend(&self, old_len: u64, new_len: u64) -> io::Result<()> {
        self.0.extend(old_len, new_len)
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.0.cut(len)
    }
}

#[test]
fn the_next_transaction_sees_what_is_on_its_way_into_the_file() {
    for seed in 1..=4 {
        report::say(&format!("seed {seed}"));
        run(seed);
    }
}

fn run(seed: u64) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("file");
    let options = VersionedFile::options().log_bytes(32 << 20).medium(|real| Arc::new(Slow(real)));
    let file = options.create(&path).unwrap();
    let mut random = Random::new(seed);
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(PAGES)).unwrap();
    transaction.pages_mut(..).unwrap().fill(1);
    transaction.commit().unwrap();
    let mut model = vec![1_u8; usize::try_from(PAGES).unwrap()];
    let mut held: Vec<(Snapshot, Vec<u8>)> = Vec::new();
    for round in 2..30_u8 {
        let mut transaction = file.begin().unwrap();
        let mut pending = model.clone();
        for _ in 0..random.below(300) {
            let first = random.below(PAGES);
            let len = (1 + random.below(5)).min(PAGES - first);
            let range = page(first)..page(first + len);
            let numbers = usize::try_from(first).unwrap()..usize::try_from(first + len).unwrap();
            if random.below(3) == 0 {
                shows(transaction.pages(range).unwrap(), &pending[numbers]);
            } else {
                let bytes = transaction.pages_mut(range).unwrap();
                shows(bytes, &pending[numbers.clone()]);
                bytes.fill(round);
                pending[numbers].fill(round);
            }
        }
        if random.below(4) == 0 {
            drop(transaction);
        } else {
            transaction.commit().unwrap();
            model = pending;
        }
        // One that fails meets pages that are on their way, too.
        let failed = file.update(|transaction| give_up(transaction, random.below(PAGES - 9)));
        assert!(matches!(failed, Err(Error::Overlap)));
        if random.below(3) == 0 {
            held.push((file.snapshot().unwrap(), model.clone()));
        }
        if held.len() > 3 {
            let (snapshot, expected) = held.remove(0);
            shows(snapshot.pages(..).unwrap(), &expected);
        }
    }
    for (snapshot, expected) in &held {
        shows(snapshot.pages(..).unwrap(), expected);
        snapshot.verify().unwrap();
    }
    drop(held);
    file.checkpoint().unwrap();
    assert_eq!(file.stats().kept_bytes, 0);
    shows(file.snapshot().unwrap().pages(..).unwrap(), &model);
    file.close().unwrap();
    let file = VersionedFile::open(&path).unwrap();
    shows(file.snapshot().unwrap().pages(..).unwrap(), &model);
}

fn give_up(transaction: &mut Transaction<'_>, first: u64) -> Result<(), Error> {
    transaction.pages_mut(page(first)..page(first + 9))?.fill(99);
    Err(Error::Overlap)
}

#[track_caller]
fn shows(bytes: &[u8], expected: &[u8]) {
    for (number, (bytes, &expected)) in bytes.chunks_exact(4096).zip(expected).enumerate() {
        assert!(bytes.iter().all(|&byte| byte == expected), "page {number} is not {expected}");
    }
}
