//! Pages that can't leave memory: those of a file that somebody else has locked there, and those of filesystems that
//! are memory. The work that a budget does stays in proportion to what is read.
//!
//! Method: what is done is counted (`ResidencyStats::evictions`), not timed.

use std::{fs::File, path::Path};

use pagestore::{Error, PageCount, PageFile, PageId, PageWriter, ResidencyBudget, SealedFile};
use rustix::process::{Resource, geteuid, getrlimit};

use super::{
    MIB,
    files::{check, folder, seal},
};
use crate::skip;

const EXTENT: u64 = 256 << 10;

/// A mapping of a file, locked into memory, as another program may have it.
struct LockedElsewhere {
    _mapping: memmap2::Mmap,
}

impl LockedElsewhere {
    fn new(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        // SAFETY: nobody changes a sealed file, and nothing is read through this.
        #[expect(unsafe_code, reason = "plays the other program")]
        let mapping = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        // Page by page: of a large folio that is split the kernel unmaps all pages, locked or not.
        mapping.advise(memmap2::Advice::Random).unwrap();
        mapping.lock().unwrap();
        Self { _mapping: mapping }
    }
}

/// Reads a file of so many MiB, all of it, through 4 MiB, while somebody has it locked; gives how often something
/// was to be evicted.
fn evictions_for(mib: u64) -> u64 {
    let folder = folder();
    let path = folder.path().join("file");
    seal(&path, mib * MIB / 4096);
    let other = LockedElsewhere::new(&path);
    let budget = ResidencyBudget::new(4 * MIB).unwrap();
    let file = SealedFile::options().budget(&budget).open(&path).unwrap();
    for page in 0..file.page_count().get() {
        check(page, file.page(PageId::new(page)).unwrap());
    }
    let stats = budget.stats();
    assert!(stats.used_bytes <= 4 * MIB);
    assert!(stats.kept_by_others_bytes >= (mib - 8) * MIB, "{stats:?}");
    // When they are gone, so are the pages.
    drop(other);
    budget.enforce().unwrap();
    let after = budget.stats();
    assert!(after.resident_bytes <= 4 * MIB && after.kept_by_others_bytes == 0, "{after:?}");
    stats.evictions
}

#[test]
fn what_another_program_keeps_is_tried_again_seldom() {
    const MIB_MAX: u64 = 64;
    let lockable = getrlimit(Resource::Memlock).current;
    if !geteuid().is_root() && lockable.is_some_and(|bytes| bytes < MIB_MAX * MIB) {
        let test = "what_another_program_keeps_is_tried_again_seldom";
        skip::skipped(test, "locking 64 MiB into memory needs root, or ulimit -l 65536");
        return;
    }
    for mib in [16, MIB_MAX] {
        let extents = mib * MIB / EXTENT;
        let evictions = evictions_for(mib);
        // Once by being evicted, once by the first comparison, and again a few times.
        assert!(evictions <= 6 * extents, "{evictions} evictions of {extents} extents");
    }
}

fn on_tmpfs(test: &str, run: impl FnOnce(&Path)) {
    let here = tempfile::tempdir_in("/dev/shm");
    match here.map(|folder| (rustix::fs::statfs(folder.path()).unwrap().f_type, folder)) {
        Ok((0x0102_1994, folder)) => run(folder.path()),
        _ => skip::skipped(test, "/dev/shm is no tmpfs to write to"),
    }
}

#[test]
fn what_is_memory_is_charged_and_refused_beyond_the_budget() {
    on_tmpfs("what_is_memory_is_charged_and_refused_beyond_the_budget", |folder| {
        let path = folder.join("file");
        let budget = ResidencyBudget::new(8 * MIB).unwrap();
        seal(&path, 4 * MIB / 4096);
        // All that there is of it is charged from the start.
        let file = SealedFile::options().budget(&budget).open(&path).unwrap();
        let used = budget.stats().used_bytes;
        assert!((4 * MIB..=4 * MIB + MIB / 2).contains(&used), "{used}");
        for page in (0..4 * MIB / 4096).rev() {
            check(page, file.page(PageId::new(page)).unwrap());
        }
        file.evict(..).unwrap();
        let stats = budget.stats();
        assert_eq!((stats.used_bytes, stats.evicted_bytes), (used, 0), "it went nowhere");
        // A second one does not fit, and says why.
        let other = folder.join("other");
        seal(&other, 6 * MIB / 4096);
        let error = SealedFile::options().budget(&budget).open(&other).unwrap_err();
        assert!(matches!(error, Error::BudgetOnMemory { .. }), "{error}");
        assert!(error.to_string().contains("put it on a disk"), "{error}");
        drop(file);
        assert_eq!(budget.stats().used_bytes, 0);
        drop(SealedFile::options().budget(&budget).open(&other).unwrap());
    });
}

#[test]
fn a_file_that_is_memory_grows_within_the_budget() {
    on_tmpfs("a_file_that_is_memory_grows_within_the_budget", |folder| {
        let budget = ResidencyBudget::new(4 * MIB).unwrap();
        let options = PageFile::options().budget(&budget);
        let file = options.create(folder.join("mutable")).unwrap();
        let refused = file.grow(PageCount::new(5 * MIB / 4096)).unwrap_err();
        assert!(matches!(refused, Error::BudgetOnMemory { .. }), "{refused}");
        file.grow(PageCount::new(MIB / 4096)).unwrap();
        file.page_mut(PageId::new(7)).unwrap()[0] = 1;
        drop(file);
        let mut writer = PageWriter::options().budget(&budget).create_temporary(folder).unwrap();
        let mut written = 0;
        let error = loop {
            match writer.append(&[7; 4096]) {
                Ok(_) => written += 4096,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::BudgetOnMemory { .. }), "{error}");
        assert!((MIB..4 * MIB).contains(&written), "{written}");
        assert_eq!(budget.stats().evictions, 0, "nobody tries what cannot be");
        drop(writer);
        assert_eq!(budget.stats().used_bytes, 0);
    });
}
