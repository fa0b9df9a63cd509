//! A budget for what files have in memory: it is kept, nothing that was borrowed changes, and every
//! byte comes back.
//!
//! Method: files several times as large as the budget are read and written through it, on one thread
//! and on several. Each page says which one it is, so that a page in another's place shows. What is
//! in memory is asked of the kernel (cachestat(2)) on descriptors of the test's own, and sampled all
//! the time where it says so.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use pagestore::{
    Access, Error, PageCount, PageFile, PageId, PageWriter, ResidencyBudget, SealedFile,
};

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 4 * MIB;
const PAGES: u64 = 8 * LIMIT / 4096;

/// The words that fill a page of a file.
fn word(page: u64, word: u64) -> u64 {
    page << 16 | word
}

fn fill(page: u64) -> Vec<u64> {
    (0..512).map(|at| word(page, at)).collect()
}

fn check(page: u64, bytes: &[u8]) {
    let words: &[u64] = bytemuck::cast_slice(bytes);
    assert!(words.iter().enumerate().all(|(at, &w)| w == word(page, at as u64)), "page {page}");
}

/// A sealed file of `pages` pages of 4 KiB, of which nothing is in memory.
fn seal(path: &Path, pages: u64) {
    let mut writer = PageWriter::create(path).unwrap();
    for page in 0..pages {
        writer.append(bytemuck::cast_slice(&fill(page))).unwrap();
    }
    writer.seal().unwrap().evict(..).unwrap();
}

/// What the kernel has of a file in memory, in bytes.
fn resident(path: &Path) -> u64 {
    let map = pagestore::residency_map(path, std::num::NonZeroU32::MIN).unwrap();
    map.parts.iter().map(|part| part.resident_bytes).sum()
}

#[test]
fn a_limit_that_could_hold_nothing_is_refused() {
    let refused = ResidencyBudget::new(ResidencyBudget::LIMIT_BYTES_MIN - 1).unwrap_err();
    assert!(matches!(refused, Error::BudgetTooSmall { limit_bytes: 1_048_575, .. }), "{refused}");
    let message = refused.to_string();
    assert!(message.contains("1048576"), "{message}");
    assert_eq!(ResidencyBudget::new(ResidencyBudget::LIMIT_BYTES_MIN).unwrap().limit_bytes(), MIB);
}

#[test]
fn a_sealed_file_is_read_through_a_budget_an_eighth_of_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    seal(&path, PAGES);
    for access in [Access::Normal, Access::Sequential, Access::Random] {
        let budget = ResidencyBudget::new(LIMIT).unwrap();
        let file = SealedFile::options().budget(&budget).access(access).open(&path).unwrap();
        for page in 0..PAGES {
            check(page, file.page(PageId::new(page)).unwrap());
            if page % 64 == 0 {
                let resident = resident(&path);
                assert!(resident <= LIMIT + LIMIT / 20, "{access:?}: {resident} at page {page}");
            }
        }
        for (number, range) in (0..PAGES).step_by(100).enumerate() {
            let range = PageId::new(range)..PageId::new(PAGES.min(range + 100));
            let bytes = file.pages(range.clone()).unwrap();
            for (page, bytes) in (range.start.get()..).zip(bytes.chunks(4096)) {
                check(page, bytes);
            }
            assert!(resident(&path) <= LIMIT + LIMIT / 20, "range {number}");
        }
        let stats = budget.stats().unwrap();
        assert!(stats.used_bytes <= LIMIT);
        assert!(stats.evicted_bytes >= 14 * LIMIT, "{stats:?}");
        assert_eq!((stats.dirty_bytes, stats.written_back_bytes, stats.reserved_bytes), (0, 0, 0));
        drop(file);
        assert_eq!(budget.stats().unwrap().used_bytes, 0);
        assert!(resident(&path) < LIMIT / 20, "what was charged goes with the file");
    }
}

#[test]
fn a_mutable_file_is_written_through_a_budget_an_eighth_of_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let file = PageFile::options().budget(&budget).create(&path).unwrap();
    file.grow(PageCount::new(PAGES)).unwrap();
    for page in 0..PAGES {
        let mut guard = file.page_mut(PageId::new(page)).unwrap();
        guard.copy_from_slice(bytemuck::cast_slice(&fill(page)));
        drop(guard);
        if page % 64 == 0 {
            let resident = resident(&path);
            assert!(resident <= LIMIT + LIMIT / 20, "{resident} at page {page}");
        }
    }
    let stats = budget.stats().unwrap();
    assert!(stats.written_back_bytes >= 6 * LIMIT, "{stats:?}");
    for page in 0..PAGES {
        check(page, &file.page(PageId::new(page)).unwrap());
    }
    assert!(budget.stats().unwrap().used_bytes <= LIMIT);
    assert!(budget.stats().unwrap().resident_bytes <= LIMIT + LIMIT / 20);
}
