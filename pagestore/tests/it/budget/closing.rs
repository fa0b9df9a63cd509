//! A file is closed when its last handle is dropped, also while another thread evicts pages of it.
//!
//! Method: threads read a file several times as large as the budget, so they evict whatever else is
//! charged all the time. Meanwhile a file is opened, touched and closed again and again, and each time
//! its lock must be free at once.

use std::{
    fs::File,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use pagestore::{
    Access, Existing, PageCount, PageFile, PageId, PageWriter, RawFile, ResidencyBudget, SealedFile,
};

use super::{
    MIB,
    files::{folder, seal},
};

const PAGES: u64 = 2048;
const ROUNDS: u32 = 300;

/// Closes what `open` opened, again and again, while others evict it.
fn check(open: impl Fn(&ResidencyBudget, &Path) -> Box<dyn Send>) {
    let folder = folder();
    let (path, other) = (folder.path().join("file"), folder.path().join("other"));
    seal(&other, PAGES);
    let budget = ResidencyBudget::new(MIB).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for start in [0, PAGES / 2] {
            let options = SealedFile::options().budget(&budget).access(Access::Random);
            let file = options.open(&other).unwrap();
            let done = &done;
            scope.spawn(move || {
                let mut page = start;
                while !done.load(Ordering::Acquire) {
                    file.page(PageId::new(page % PAGES)).unwrap();
                    page += 7;
                }
            });
        }
        let rounds = || {
            for round in 0..ROUNDS {
                drop(open(&budget, &path));
                let file = File::options().read(true).write(true).open(&path);
                let file = file.or_else(|_sealed| File::open(&path)).unwrap();
                file.try_lock().unwrap_or_else(|error| panic!("round {round}: {error}"));
            }
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(rounds));
        done.store(true, Ordering::Release);
        outcome.unwrap();
    });
    assert!(budget.stats().evictions > u64::from(ROUNDS / 10), "others evicted meanwhile");
}

#[test]
fn a_page_file_is_closed_when_it_is_dropped() {
    check(|budget, path| {
        let options = PageFile::options().budget(budget).access(Access::Random);
        let file = if path.exists() { options.open(path) } else { options.create(path) };
        let file = file.unwrap();
        if file.page_count() == PageCount::ZERO {
            file.grow(128).unwrap();
        }
        for page in 0..128 {
            file.page_mut(page).unwrap()[0] ^= 1;
        }
        Box::new(file)
    });
}

#[test]
fn a_sealed_file_is_closed_when_its_last_view_is_dropped() {
    check(|budget, path| {
        if !path.exists() {
            seal(path, 128);
        }
        let file = SealedFile::options().budget(budget).open(path).unwrap();
        let view = file.bytes(..).unwrap();
        drop(file.clone());
        Box::new((file, view))
    });
}

#[test]
fn a_raw_file_is_closed_when_it_is_dropped() {
    check(|budget, path| {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).unwrap();
        let file = RawFile::options().budget(budget).open(file, path).unwrap();
        for page in 0..64_u64 {
            file.write_at(page * 4096, &[std::io::IoSlice::new(&[7; 4096])]).unwrap();
            file.read_at(page * 4096, &mut [0; 4096]).unwrap();
        }
        Box::new(file)
    });
}

#[test]
fn a_writer_is_closed_when_it_is_dropped() {
    check(|budget, path| {
        let options = PageWriter::options().budget(budget);
        let mut writer = options.existing(Existing::Replace).create(path).unwrap();
        writer.append(&[7; 512 << 10]).unwrap();
        Box::new(writer.seal().unwrap())
    });
}
