//! What a caller can ask for: pages ahead of their use, out of memory, and whether they are there.

use pagestore::{
    Access, Error, PageCount, PageFile, PageId, PageSize, ResidencyBudget, SealedFile,
};

use super::{
    LIMIT, MIB, PAGES,
    files::{check, folder, seal},
};

/// Waits until the disk has brought what was asked for.
fn wait_until(mut done: impl FnMut() -> bool) -> bool {
    (0..2000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(1));
        done()
    })
}

/// Far more than the kernel reads ahead by itself, which is where one call would be cut off.
#[test]
fn prefetch_brings_in_all_of_every_range() {
    let folder = folder();
    let path = folder.path().join("file");
    seal(&path, PAGES);
    let file = SealedFile::open(&path).unwrap();
    let ranges = [PageId::new(10)..PageId::new(2000), PageId::new(5000)..PageId::new(5001)];
    assert!(ranges.iter().all(|range| !file.is_resident(range.clone()).unwrap()));
    file.prefetch(ranges.clone()).unwrap();
    for range in ranges {
        assert!(wait_until(|| file.is_resident(range.clone()).unwrap()), "{range:?}");
    }
    assert!(!file.is_resident(PageId::new(7000)..PageId::new(7001)).unwrap());
    assert!(!file.is_resident(..).unwrap());
    check(1999, file.page(PageId::new(1999)).unwrap());
    file.evict(PageId::new(10)..PageId::new(20)).unwrap();
    assert!(!file.is_resident(PageId::new(19)..PageId::new(21)).unwrap());
    assert!(file.is_resident(PageId::new(20)..PageId::new(21)).unwrap());
    assert!(matches!(
        file.prefetch([PageId::new(0)..PageId::new(PAGES + 1)]),
        Err(Error::Range(_))
    ));
    assert!(matches!(
        file.is_resident(PageId::new(PAGES)..PageId::new(PAGES + 1)),
        Err(Error::Range(_))
    ));
}

#[test]
fn under_a_budget_prefetch_is_charged_and_stops_at_half_of_it() {
    let folder = folder();
    let path = folder.path().join("file");
    seal(&path, PAGES);
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let file = SealedFile::options().budget(&budget).open(&path).unwrap();
    file.prefetch([PageId::new(0)..PageId::new(128)]).unwrap();
    assert_eq!(budget.stats().used_bytes, 128 * 4096);
    assert!(wait_until(|| file.is_resident(PageId::new(0)..PageId::new(128)).unwrap()));
    file.prefetch([PageId::new(0)..PageId::new(PAGES)]).unwrap();
    let half = PageId::new(0)..PageId::new(LIMIT / 2 / 4096);
    assert!(wait_until(|| file.is_resident(half.clone()).unwrap()));
    assert!(!file.is_resident(half.end..PageId::new(half.end.get() + 64)).unwrap());
    let used = budget.stats().used_bytes;
    assert_eq!(used, LIMIT / 2);
    file.page(PageId::new(5)).unwrap();
    // The page of its checksum.
    assert_eq!(budget.stats().used_bytes, used + 4096);
}

/// Under a budget, pages read in order are read ahead, and pages read at random are not.
#[test]
fn reading_ahead_follows_the_access() {
    let folder = folder();
    let path = folder.path().join("file");
    seal(&path, PAGES);
    let budget = ResidencyBudget::new(4 * LIMIT).unwrap();
    let file = SealedFile::options().budget(&budget).open(&path).unwrap();
    let after = |access: Access| {
        file.evict(..).unwrap();
        file.advise(.., access).unwrap();
        (1000..1010).for_each(|page| check(page, file.page(PageId::new(page)).unwrap()));
        budget.stats().used_bytes / 4096
    };
    assert_eq!(after(Access::Random), 11, "ten pages and one of the table");
    let guessed = after(Access::Normal);
    assert!((20..200).contains(&guessed), "{guessed}");
    assert!(after(Access::Sequential) > 400);
}

/// What is said of a part is kept to that part.
#[test]
fn reading_ahead_ends_where_the_part_does_that_is_read_in_order() {
    let folder = folder();
    let path = folder.path().join("file");
    seal(&path, PAGES);
    let budget = ResidencyBudget::new(4 * LIMIT).unwrap();
    let file = SealedFile::options().budget(&budget).access(Access::Random).open(&path).unwrap();
    file.advise(PageId::new(1000)..PageId::new(1100), Access::Sequential).unwrap();
    check(1000, file.page(PageId::new(1000)).unwrap());
    assert_eq!(budget.stats().used_bytes, 101 * 4096, "the part, and one page of the table");
    check(2000, file.page(PageId::new(2000)).unwrap());
    assert_eq!(budget.stats().used_bytes, 103 * 4096, "nothing is read ahead elsewhere");
}

#[test]
fn cold_pages_are_evicted_before_those_that_are_used() {
    let folder = folder();
    let path = folder.path().join("file");
    seal(&path, PAGES);
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let file = SealedFile::options().budget(&budget).access(Access::Random).open(&path).unwrap();
    let (cold, hot) = (PageId::new(62)..PageId::new(126), PageId::new(254)..PageId::new(318));
    for range in [&cold, &hot, &cold, &hot] {
        file.pages(range.clone()).unwrap();
    }
    file.cool(cold.clone()).unwrap();
    assert!(file.is_resident(cold.clone()).unwrap(), "nothing is dropped by it");
    drop(budget.reserve(LIMIT - 2 * 256 * 1024).unwrap());
    assert!(file.is_resident(hot).unwrap());
    assert!(!file.is_resident(cold).unwrap());
}

#[test]
fn a_mutable_file_is_asked_in_the_same_way() {
    let folder = folder();
    let path = folder.path().join("file");
    let file = PageFile::create(&path).unwrap();
    file.grow(PageCount::new(4096)).unwrap();
    file.pages_mut(..).unwrap().fill(7);
    // What is dirty is flushed first.
    file.evict(..).unwrap();
    assert_eq!(file.dirty_count(), PageCount::ZERO);
    assert!(file.residency().unwrap().resident_bytes < MIB);
    file.prefetch([..]).unwrap();
    assert!(wait_until(|| file.is_resident(..).unwrap()));
    file.cool(..).unwrap();
    assert!(file.page(PageId::new(4095)).unwrap().iter().all(|&byte| byte == 7));
    file.advise(.., Access::Sequential).unwrap();
    assert!(file.evict(PageId::new(0)..PageId::new(5000)).is_err());
}

#[test]
fn anonymous_memory_takes_no_part() {
    let budget = ResidencyBudget::new(MIB).unwrap();
    let memory = PageFile::options().budget(&budget).anonymous().unwrap();
    memory.grow(PageCount::new(1024)).unwrap();
    memory.pages_mut(..).unwrap().fill(7);
    memory.evict(..).unwrap();
    memory.prefetch([..]).unwrap();
    assert!(memory.is_resident(..).unwrap());
    assert!(memory.pages(..).unwrap().iter().all(|&byte| byte == 7));
    assert_eq!(budget.stats().used_bytes, 0);
}

/// A page may be as large as an eighth of the budget, or more.
#[test]
fn large_pages_fit_a_budget_that_holds_one() {
    let folder = folder();
    let path = folder.path().join("file");
    let page_size = PageSize::new(1 << 20).unwrap();
    let budget = ResidencyBudget::new(2 * MIB).unwrap();
    let file = PageFile::options().page_size(page_size).budget(&budget).create(&path).unwrap();
    file.grow(PageCount::new(16)).unwrap();
    for page in 0..16_u8 {
        file.page_mut(PageId::new(page.into())).unwrap().fill(page);
    }
    for page in 0..16_u8 {
        let guard = file.page(PageId::new(page.into())).unwrap();
        assert!(guard.iter().all(|&byte| byte == page));
    }
    let small = ResidencyBudget::new(MIB).unwrap();
    drop(file);
    let file = PageFile::options().budget(&small).open(&path).unwrap();
    assert_eq!(file.page(PageId::new(3)).unwrap()[0], 3);
    let taken = small.reserve(4096).unwrap();
    let refused = file.page(PageId::new(4)).unwrap_err();
    assert!(matches!(refused, Error::BudgetExceeded { .. }), "{refused}");
    drop(taken);
}
