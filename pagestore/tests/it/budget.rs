//! A budget for what files have in memory: it is kept, nothing that was borrowed changes, and every
//! byte comes back.
//!
//! Method: files several times as large as the budget are read and written through it, on one thread
//! and on several, by plan and at random against a model. Each page says which one it is, so that a
//! page in another's place shows. What is in memory is asked of the kernel (cachestat(2)), and
//! sampled all the time where it says so. Files lie in the target folder: tmpfs has no disk to
//! evict to.

mod asking;
mod closing;
mod files;
mod limited;
mod model;
mod staying;
mod threads;

use files::{check, fill, folder, seal};
use pagestore::{
    Access, Error, PageCount, PageFile, PageId, PageWriter, ResidencyBudget, SealedFile,
};

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 4 * MIB;
const MOST: u64 = LIMIT + LIMIT / 20;
const PAGES: u64 = 8 * LIMIT / 4096;

#[test]
fn a_limit_that_could_hold_nothing_is_refused() {
    let refused = ResidencyBudget::new(ResidencyBudget::LIMIT_BYTES_MIN - 1).unwrap_err();
    assert!(matches!(refused, Error::BudgetTooSmall { limit_bytes: 1_048_575, .. }), "{refused}");
    assert!(refused.to_string().contains("1048576"), "{refused}");
    assert_eq!(ResidencyBudget::new(ResidencyBudget::LIMIT_BYTES_MIN).unwrap().limit_bytes(), MIB);
}

#[test]
fn a_sealed_file_is_read_through_a_budget_an_eighth_of_its_size() {
    let folder = folder();
    let path = folder.path().join("file");
    seal(&path, PAGES);
    for access in [Access::Normal, Access::Sequential, Access::Random] {
        let budget = ResidencyBudget::new(LIMIT).unwrap();
        let file = SealedFile::options().budget(&budget).access(access).open(&path).unwrap();
        let resident = || file.residency().unwrap().resident_bytes;
        for page in 0..PAGES {
            check(page, file.page(PageId::new(page)).unwrap());
            if page % 16 == 0 {
                assert!(resident() <= MOST, "{access:?}: {} at page {page}", resident());
            }
        }
        for start in (0..PAGES).step_by(100) {
            let pages =
                file.pages(PageId::new(start)..PageId::new(PAGES.min(start + 100))).unwrap();
            for (page, bytes) in (start..).zip(pages.chunks(4096)) {
                check(page, bytes);
            }
            assert!(resident() <= MOST, "{access:?}: {} at range {start}", resident());
        }
        let stats = budget.stats();
        assert!(stats.used_bytes <= LIMIT && stats.evicted_bytes >= 14 * LIMIT, "{stats:?}");
        assert_eq!((stats.dirty_bytes, stats.written_back_bytes, stats.reserved_bytes), (0, 0, 0));
        assert_eq!(stats.resident_bytes, resident());
        let outside = SealedFile::open(&path).unwrap();
        drop(file);
        assert_eq!(budget.stats().used_bytes, 0);
        let left = outside.residency().unwrap().resident_bytes;
        assert!(left <= LIMIT / 20, "what was charged goes with the file: {left}");
    }
}

/// A single borrow of more than the budget holds is brought in window by window, and is whole.
#[test]
fn more_than_the_budget_can_be_borrowed_at_once() {
    let folder = folder();
    let path = folder.path().join("file");
    seal(&path, PAGES);
    let budget = ResidencyBudget::new(MIB).unwrap();
    let file = SealedFile::options().budget(&budget).open(&path).unwrap();
    let all = file.pages(..).unwrap();
    assert!(file.residency().unwrap().resident_bytes <= MIB + MIB / 20);
    for (page, bytes) in (0..).zip(all.chunks(4096)) {
        check(page, bytes);
    }
    // Reading the slice brought back what was evicted behind it, which only the kernel knows.
    assert!(file.residency().unwrap().resident_bytes > 2 * MIB, "the slice is held");
    budget.enforce().unwrap();
    assert!(file.residency().unwrap().resident_bytes <= MIB);
    check(PAGES / 2, &all[usize::try_from(PAGES / 2).unwrap() * 4096..][..4096]);
}

/// What came back behind a slice is found without being asked for, once more is borrowed.
#[test]
fn borrowing_has_the_kernel_asked_what_is_in_memory() {
    let folder = folder();
    let path = folder.path().join("file");
    seal(&path, PAGES);
    let budget = ResidencyBudget::new(MIB).unwrap();
    let file = SealedFile::options().budget(&budget).open(&path).unwrap();
    let all = file.pages(..).unwrap();
    for (page, bytes) in (0..).zip(all.chunks(4096)) {
        check(page, bytes);
    }
    assert!(file.residency().unwrap().resident_bytes > 2 * MIB, "the slice is held");
    // Twice as much as is charged between two questions.
    for page in 0..MIB / 16 / 4096 {
        check(page, file.page(PageId::new(page)).unwrap());
    }
    assert!(file.residency().unwrap().resident_bytes <= MIB + MIB / 20);
}

#[test]
fn each_file_counts_in_what_the_kernel_says() {
    let folder = folder();
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let files: Vec<_> = (0..3)
        .map(|number: u32| {
            let path = folder.path().join(number.to_string());
            seal(&path, 128);
            let file = SealedFile::options().budget(&budget).open(&path).unwrap();
            file.pages(..).unwrap();
            file
        })
        .collect();
    assert!(budget.stats().resident_bytes >= 3 * 128 * 4096, "{:?}", budget.stats());
    drop(files);
    assert_eq!(budget.stats().resident_bytes, 0);
}

#[test]
fn a_mutable_file_is_written_through_a_budget_an_eighth_of_its_size() {
    let folder = folder();
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let path = folder.path().join("file");
    let file = PageFile::options().budget(&budget).create(&path).unwrap();
    file.grow(PageCount::new(PAGES)).unwrap();
    let resident = || file.residency().unwrap().resident_bytes;
    for page in 0..PAGES {
        let mut guard = file.page_mut(PageId::new(page)).unwrap();
        guard.copy_from_slice(bytemuck::cast_slice(&fill(page)));
        drop(guard);
        if page % 16 == 0 {
            assert!(resident() <= MOST, "{} at page {page}", resident());
        }
    }
    let stats = budget.stats();
    assert!(stats.written_back_bytes >= 6 * LIMIT, "{stats:?}");
    for page in 0..PAGES {
        check(page, &file.page(PageId::new(page)).unwrap());
    }
    let stats = budget.stats();
    assert!(stats.used_bytes <= LIMIT && stats.resident_bytes <= MOST, "{stats:?}");
}

/// A guard stays valid while its page is evicted, and what is stored through it is not lost.
#[test]
fn what_is_stored_through_a_guard_survives_the_eviction_of_its_page() {
    let folder = folder();
    let budget = ResidencyBudget::new(MIB).unwrap();
    let path = folder.path().join("file");
    let file = PageFile::options().budget(&budget).create(&path).unwrap();
    file.grow(PageCount::new(2048)).unwrap();
    let mut held = file.page_mut(PageId::new(7)).unwrap();
    held[0] = 1;
    for page in 256..2048 {
        file.page_mut(PageId::new(page)).unwrap().fill(9);
    }
    assert!(!file.is_resident(PageId::new(0)..PageId::new(64)).unwrap(), "it was evicted");
    assert_eq!(held[0], 1);
    held[1] = 2;
    drop(held);
    file.evict(..).unwrap();
    assert_eq!(file.page(PageId::new(7)).unwrap()[..3], [1, 2, 0]);
    drop(file);
    assert_eq!(PageFile::open(&path).unwrap().page(PageId::new(7)).unwrap()[..3], [1, 2, 0]);
}

#[test]
fn buffers_and_files_share_one_limit() {
    let folder = folder();
    let path = folder.path().join("file");
    seal(&path, PAGES);
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let file = SealedFile::options().budget(&budget).open(&path).unwrap();
    for page in 0..PAGES {
        file.page(PageId::new(page)).unwrap();
    }
    assert!(budget.stats().used_bytes > LIMIT - MIB, "it is full");
    let mut buffer = budget.reserve(3 * MIB).unwrap();
    assert!(file.residency().unwrap().resident_bytes <= MIB + LIMIT / 20, "evicted to make room");
    let refused = budget.reserve(2 * MIB).unwrap_err();
    assert!(
        matches!(refused, Error::BudgetExceeded { needed_bytes, budget_bytes: LIMIT, .. }
            if needed_bytes == 2 * MIB),
        "{refused}"
    );
    for page in 0..PAGES {
        check(page, file.page(PageId::new(page)).unwrap());
    }
    assert!(file.residency().unwrap().resident_bytes <= MIB + LIMIT / 20, "one MiB does too");
    assert!(buffer.resize(5 * MIB).is_err());
    assert_eq!(buffer.bytes(), 3 * MIB);
    buffer.resize(LIMIT).unwrap();
    let nothing_left = file.page(PageId::new(0)).unwrap_err();
    assert!(matches!(nothing_left, Error::BudgetExceeded { .. }), "{nothing_left}");
    drop(buffer);
    check(0, file.page(PageId::new(0)).unwrap());
    assert_eq!(budget.stats().reserved_bytes, 0);
}

/// Pages that are borrowed again and again stay, those that pass through once go.
#[test]
fn what_is_used_stays_and_what_passes_through_goes() {
    let folder = folder();
    let path = folder.path().join("file");
    seal(&path, PAGES);
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let file = SealedFile::options().budget(&budget).access(Access::Random).open(&path).unwrap();
    // An extent: 64 pages, the first two of a file being its header.
    let hot = PageId::new(62)..PageId::new(126);
    file.pages(hot.clone()).unwrap();
    for page in 256..PAGES {
        file.page(PageId::new(page)).unwrap();
        if page % 32 == 0 {
            file.page(PageId::new(70)).unwrap();
        }
    }
    assert!(file.is_resident(hot).unwrap(), "second chance");
    assert!(!file.is_resident(PageId::new(256)..PageId::new(320)).unwrap());
}

/// The kernel keeps what was written in large pieces in large folios, and drops no part of one.
#[test]
fn a_file_that_lies_in_large_folios_is_cut_down_too() {
    let folder = folder();
    let path = folder.path().join("file");
    let mut writer = PageWriter::create(&path).unwrap();
    writer.append(&vec![7; 16 << 20]).unwrap();
    drop(writer.seal().unwrap());
    let budget = ResidencyBudget::new(MIB).unwrap();
    let file = SealedFile::options().budget(&budget).open(&path).unwrap();
    let resident = || file.residency().unwrap().resident_bytes;
    assert!(resident() <= MIB, "{} after joining", resident());
    for page in 0..4096 {
        assert_eq!(file.page(PageId::new(page)).unwrap()[0], 7);
        assert!(resident() <= MIB + MIB / 20, "{} at page {page}", resident());
    }
}

/// A file that is closed leaves memory, in whatever folios it lies.
#[test]
fn a_closed_file_that_lies_in_large_folios_leaves_memory() {
    let folder = folder();
    let path = folder.path().join("file");
    let mut writer = PageWriter::create(&path).unwrap();
    writer.append(&vec![7; 2 << 20]).unwrap();
    drop(writer.seal().unwrap());
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let file = SealedFile::options().budget(&budget).open(&path).unwrap();
    file.pages(..).unwrap();
    assert!(file.residency().unwrap().resident_bytes >= 2 * MIB);
    drop(file);
    assert_eq!(budget.stats().used_bytes, 0);
    let left = SealedFile::open(&path).unwrap().residency().unwrap().resident_bytes;
    assert!(left < MIB / 4, "{left} bytes are left");
}

/// What is in memory of a file when it joins counts, as far as there is room.
#[test]
fn a_file_that_joins_with_much_in_memory_is_cut_down() {
    let folder = folder();
    let path = folder.path().join("file");
    seal(&path, PAGES);
    let outside = SealedFile::open(&path).unwrap();
    outside.pages(..).unwrap();
    assert!(outside.residency().unwrap().resident_bytes >= 8 * LIMIT);
    drop(outside);
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let file = SealedFile::options().budget(&budget).open(&path).unwrap();
    assert!(file.residency().unwrap().resident_bytes <= LIMIT);
}
