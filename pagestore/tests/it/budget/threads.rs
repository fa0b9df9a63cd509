//! Several threads under one budget that is far too small for what they read and write.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use pagestore::{Access, PageCount, PageFile, PageId, ResidencyBudget, SealedFile};

use super::{
    MIB,
    files::{check, folder, seal},
};

const PAGES: u64 = 8192;
const STEPS: u64 = 12_000;

/// A plain generator of numbers, seeded.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn readers_see_the_right_bytes_while_pages_are_evicted_under_them() {
    let folder = folder();
    let path = folder.path().join("file");
    seal(&path, PAGES);
    let budget = ResidencyBudget::new(2 * MIB).unwrap();
    let file = SealedFile::options().budget(&budget).open(&path).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (1..=2_u64)
            .map(|seed| {
                let (file, budget) = (&file, &budget);
                scope.spawn(move || {
                    let mut state = seed;
                    let mut held: Vec<(u64, &[u8])> = Vec::new();
                    for step in 0..STEPS {
                        let page = next(&mut state) % PAGES;
                        let bytes = file.page(PageId::new(page)).unwrap();
                        check(page, bytes);
                        held.push((page, bytes));
                        if held.len() > 50 {
                            let at = usize::try_from(next(&mut state) % 50).unwrap();
                            let (page, bytes) = held.swap_remove(at);
                            check(page, bytes);
                        }
                        if step % 1000 == 0 {
                            assert!(budget.stats().used_bytes <= 2 * MIB);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut state = 99;
            while !done.load(Ordering::Acquire) {
                let page = next(&mut state) % (PAGES - 64);
                file.evict(PageId::new(page)..PageId::new(page + 64)).unwrap();
                let to = PageId::new(page + 20);
                file.prefetch([PageId::new(page)..to]).unwrap();
                thread::yield_now();
            }
        });
        let outcomes: Vec<_> = readers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Release);
        outcomes.into_iter().for_each(Result::unwrap);
    });
    budget.enforce().unwrap();
    let stats = budget.stats();
    assert!(stats.resident_bytes <= 2 * MIB, "{stats:?}");
    // Pages that the disk is still bringing cannot leave yet.
    let all_given_back = (0..2000).any(|_| {
        file.evict(..).unwrap();
        thread::sleep(Duration::from_millis(1));
        budget.stats().used_bytes == 0
    });
    assert!(all_given_back, "no charge is lost");
}

/// Two threads count up in pages of a file of 16 times the budget; every count arrives.
#[test]
fn writers_lose_nothing_while_pages_are_evicted_under_them() {
    const WRITTEN: u64 = 4096;
    let folder = folder();
    let path = folder.path().join("file");
    let budget = ResidencyBudget::new(MIB).unwrap();
    let options = PageFile::options().budget(&budget).access(Access::Random);
    let file = options.create(&path).unwrap();
    file.grow(PageCount::new(WRITTEN)).unwrap();
    thread::scope(|scope| {
        for seed in 1..=2_u64 {
            let file = &file;
            scope.spawn(move || {
                let mut state = seed;
                for _ in 0..4000 {
                    let page = PageId::new(next(&mut state) % WRITTEN);
                    let mut guard = file.page_mut(page).unwrap();
                    guard.as_slice_of_mut::<u64>().unwrap()[usize::try_from(seed).unwrap()] += 1;
                }
            });
        }
    });
    let mut expected = vec![[0_u64; 2]; usize::try_from(WRITTEN).unwrap()];
    for seed in [1, 2] {
        let mut state = seed;
        for _ in 0..4000 {
            let page = usize::try_from(next(&mut state) % WRITTEN).unwrap();
            expected[page][usize::try_from(seed - 1).unwrap()] += 1;
        }
    }
    assert!(budget.stats().used_bytes <= MIB);
    drop(file);
    let file = PageFile::open(&path).unwrap();
    for (page, counts) in (0..).zip(&expected) {
        let guard = file.page(PageId::new(page)).unwrap();
        assert_eq!(guard.as_slice_of::<u64>().unwrap()[1..3], counts[..], "page {page}");
    }
}
