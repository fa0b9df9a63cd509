//! Any order of reading, writing, evicting and reserving, against a plain model.
//!
//! The model is the value of each page and the sum of the reservations. On one thread everything
//! that is not reserved can be evicted, so it also says exactly which reservation must be refused;
//! and what the kernel has in memory is what was charged, but for the pages of headers, which are
//! read past the mapping.

use pagestore::{
    Access, Error, PageCount, PageFile, PageId, PageSize, Reservation, ResidencyBudget, SealedFile,
};
use proptest::prelude::*;

use super::{
    MIB,
    files::{check, folder, seal},
};

const PAGES: u64 = 1024;
const LIMIT: u64 = MIB;
/// Two headers, a seal record, and the first page of a table that was read when it was sealed.
const HEADERS: u64 = 8 * 4096;

#[derive(Clone, Debug)]
enum Step {
    Read { start: u64, count: u64 },
    Write { start: u64, count: u64, value: u64 },
    Verify { start: u64, count: u64 },
    Evict { start: u64, count: u64 },
    Prefetch { start: u64, count: u64 },
    Advise(Access),
    Flush,
    Reserve { bytes: u64 },
    GiveBack,
    Enforce,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let range = || (0..PAGES, 1..130_u64);
    let access = prop_oneof![Just(Access::Random), Just(Access::Sequential), Just(Access::Normal)];
    let step = prop_oneof![
        6 => range().prop_map(|(start, count)| Step::Read { start, count }),
        6 => (range(), 1..1000_u64)
            .prop_map(|((start, count), value)| Step::Write { start, count, value }),
        6 => range().prop_map(|(start, count)| Step::Verify { start, count }),
        2 => range().prop_map(|(start, count)| Step::Evict { start, count }),
        2 => range().prop_map(|(start, count)| Step::Prefetch { start, count }),
        1 => access.prop_map(Step::Advise),
        1 => Just(Step::Flush),
        3 => (0..LIMIT).prop_map(|bytes| Step::Reserve { bytes }),
        3 => Just(Step::GiveBack),
        1 => Just(Step::Enforce),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..60)
}

fn pages(start: u64, count: u64) -> std::ops::Range<PageId> {
    PageId::new(start)..PageId::new(PAGES.min(start + count))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]
    #[test]
    fn any_order_of_steps_is_as_the_model_says(page_log2 in 12..17_u32, steps in steps()) {
        let folder = folder();
        let (sealed, mutable) = (folder.path().join("sealed"), folder.path().join("mutable"));
        seal(&sealed, PAGES);
        let budget = ResidencyBudget::new(LIMIT).unwrap();
        let sealed = SealedFile::options().budget(&budget).open(&sealed).unwrap();
        let page_size = PageSize::new(1 << page_log2).unwrap();
        let options = PageFile::options().page_size(page_size).budget(&budget);
        let mut file = options.create(&mutable).unwrap();
        file.grow(PageCount::new(PAGES)).unwrap();
        let mut values = vec![0_u64; usize::try_from(PAGES).unwrap()];
        let mut reserved: Vec<Reservation> = Vec::new();
        for step in steps {
            let sum = reserved.iter().map(Reservation::bytes).sum::<u64>();
            // Reservations may leave no room for a page, its checksums' page, or a window.
            let may_be_full = LIMIT - sum < 4 * 256 * 1024;
            let full = |error: &Error| may_be_full && matches!(error, Error::BudgetExceeded { .. });
            match step {
                Step::Read { start, count } => match file.pages(pages(start, count)) {
                    Ok(guard) => for (page, bytes) in (start..).zip(guard.chunks(page_size.get_usize())) {
                        let words: &[u64] = bytemuck::cast_slice(bytes);
                        let value = values[usize::try_from(page).unwrap()];
                        prop_assert!(words.iter().all(|&word| word == value), "page {}", page);
                    },
                    Err(error) => prop_assert!(full(&error), "{}", error),
                },
                Step::Write { start, count, value } => match file.pages_mut(pages(start, count)) {
                    Ok(mut guard) => {
                        guard.as_slice_of_mut::<u64>().unwrap().fill(value);
                        let range = usize::try_from(start).unwrap()
                            ..usize::try_from(PAGES.min(start + count)).unwrap();
                        values[range].fill(value);
                    }
                    Err(error) => prop_assert!(full(&error), "{}", error),
                },
                Step::Verify { start, count } => match sealed.pages(pages(start, count)) {
                    Ok(bytes) => (start..).zip(bytes.chunks(4096)).for_each(|(page, bytes)| check(page, bytes)),
                    Err(error) => prop_assert!(full(&error), "{}", error),
                },
                Step::Evict { start, count } => {
                    file.evict(pages(start, count)).unwrap();
                    sealed.evict(pages(start, count)).unwrap();
                    prop_assert!(!sealed.is_resident(pages(start, count)).unwrap());
                }
                Step::Prefetch { start, count } => {
                    let asked = sealed.prefetch([pages(start, count)]);
                    prop_assert!(asked.as_ref().map_or_else(full, |()| true), "{:?}", asked);
                }
                Step::Advise(access) => {
                    file.advise(.., access).unwrap();
                    sealed.advise(.., access).unwrap();
                }
                Step::Flush => drop(file.flush().unwrap()),
                Step::Reserve { bytes } => match budget.reserve(bytes) {
                    Ok(reservation) => {
                        prop_assert!(sum + bytes <= LIMIT);
                        reserved.push(reservation);
                    }
                    Err(Error::BudgetExceeded { needed_bytes, used_bytes, .. }) => {
                        prop_assert!(sum + bytes > LIMIT);
                        prop_assert_eq!((needed_bytes, used_bytes), (bytes, sum));
                    }
                    Err(other) => panic!("{other}"),
                },
                Step::GiveBack => drop(reserved.pop()),
                Step::Enforce => budget.enforce().unwrap(),
                Step::Reopen => {
                    drop(file);
                    file = PageFile::options().budget(&budget).open(&mutable).unwrap();
                }
            }
            let sum = reserved.iter().map(Reservation::bytes).sum::<u64>();
            budget.enforce().unwrap();
            let stats = budget.stats();
            prop_assert_eq!(stats.reserved_bytes, sum);
            prop_assert!(stats.used_bytes <= LIMIT && stats.used_bytes >= sum);
            prop_assert!(stats.resident_bytes + sum <= LIMIT + HEADERS, "{:?}", stats);
        }
        drop((file, sealed, reserved));
        prop_assert_eq!(budget.stats().used_bytes, 0, "everything was given back");
    }
}
