//! The dirty bitmap against the kernel's own knowledge.
//!
//! Purpose: no page that was stored to may be missing from the bitmap. Method: userfaultfd and
//! `PAGEMAP_SCAN` (`written_pages.rs`) list the pages of the mapping that were really stored to,
//! however that came about. In each round two threads store to random pages through guards, some of
//! which were opened before a flush and are written to before and after it; then every page that
//! the kernel lists must be marked dirty. A million stores on a file and a million on anonymous
//! memory; the seed is printed when a round fails.
//!
//! Pages that the bitmap has and the kernel does not list are no error: a guard marks all of its
//! pages, and asking for bytes to write to is not yet writing them.
#![expect(unsafe_code, reason = "the oracle talks to the kernel about raw memory")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails loudly and skips loudly"
)]

#[expect(
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "a module that reads on its own; addresses and page numbers fit"
)]
mod written_pages;

use std::{io, thread};

use pagestore::{PageCount, PageFile, PageId, PageMut, PageSize};
use written_pages::WrittenPages;

const PAGES: u64 = 2048;
const ROUNDS: u64 = 50;
const STORES_PER_THREAD: u64 = 10_000;
const SEED: u64 = 0x0dd5_eed5;

/// Steele, Lea and Flood's SplitMix64: small, and every seed is a good one.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Stores one byte somewhere in a guard's pages.
fn store(guard: &mut PageMut<'_>, random: &mut Random) {
    let at = usize::try_from(random.below(guard.len() as u64)).unwrap();
    guard[at] = guard[at].wrapping_add(1);
}

/// Stores through guards of one to four pages.
fn store_at_random(file: &PageFile, random: &mut Random, count: u64) {
    for _ in 0..count {
        let first = random.below(PAGES);
        let end = (first + 1 + random.below(4)).min(PAGES);
        let mut guard = file.pages_mut(PageId::new(first)..PageId::new(end)).unwrap();
        store(&mut guard, random);
    }
}

/// Asserts that every page the kernel saw a store to is marked dirty; returns how many there were.
fn assert_none_is_missing(file: &PageFile, oracle: &WrittenPages, round: u64) -> usize {
    let written = oracle.take().unwrap();
    for &page in &written {
        let page = PageId::new(page as u64);
        assert!(
            file.is_dirty(page),
            "page {page} was stored to, yet is clean: round {round}, seed {SEED:#x}"
        );
    }
    written.len()
}

fn run(file: &PageFile) {
    file.grow(PageCount::new(PAGES)).unwrap();
    let start = file.pages(..).unwrap().as_ptr();
    let oracle = match WrittenPages::watch(start, usize::try_from(PAGES).unwrap() * 4096) {
        Ok(oracle) => oracle,
        Err(error) if is_denied(&error) => {
            eprintln!("SKIPPED: the kernel does not let this process watch its pages: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let mut random = Random(SEED);
    let mut seen = 0;
    for round in 0..ROUNDS {
        // A guard that is open while the flush takes the marks.
        let open = random.below(PAGES);
        let mut guard = file.page_mut(PageId::new(open)).unwrap();
        store(&mut guard, &mut random);
        file.flush().unwrap();
        oracle.take().unwrap();
        store(&mut guard, &mut random);
        drop(guard);
        thread::scope(|scope| {
            for seed in [random.next(), random.next()] {
                scope.spawn(move || store_at_random(file, &mut Random(seed), STORES_PER_THREAD));
            }
        });
        seen += assert_none_is_missing(file, &oracle, round);
    }
    const { assert!(2 * ROUNDS * STORES_PER_THREAD >= 1_000_000) };
    assert!(seen > 50_000, "the oracle listed only {seen} pages: it was not watching");
    assert_eq!(file.flush().unwrap().pages_still_open, PageCount::ZERO);
    assert_eq!(file.dirty_count(), PageCount::ZERO);
    assert_eq!(oracle.take().unwrap(), Vec::<usize>::new(), "a flush stores to no page");
}

fn is_denied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}

#[test]
fn every_page_stored_to_in_a_file_is_dirty() {
    // In the build folder, which is on a disk, where /tmp may not be.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    run(&PageFile::create(folder.path().join("pages")).unwrap());
}

#[test]
fn every_page_stored_to_in_anonymous_memory_is_dirty() {
    run(&PageFile::anonymous(PageSize::DEFAULT).unwrap());
}
