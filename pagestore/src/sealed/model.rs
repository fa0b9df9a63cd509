//! The bits of verified pages under loom, with the number that a borrow looks at: how many pages are free, that is,
//! handed out without a look at anything else.
//!
//! The claim: where all pages were verified they are free, and none is that has to be verified again, in all
//! interleavings of those who verify and those who remove. Bound and run: as in `map/fault/model.rs`.

use layout::{PageCount, PageId, PageRange};
use loom::{sync::Arc, thread};

use crate::{
    map::fault::{
        Watch,
        model::{explore, watch},
    },
    sealed::verified::Verified,
    tables::bits::words_of,
};

/// Two pages, and what says of them that they were verified.
struct Pages {
    verified: Verified,
    watch: Watch,
}

impl Pages {
    fn new() -> Arc<Self> {
        let verified = Verified::none_of(PageCount::new(2), false);
        let verified = verified.expect("a model has room");
        Arc::new(Self { verified, watch: watch() })
    }

    fn add(&self, page: u64) {
        let words = words_of(PageRange::from(PageId::new(page)));
        words.for_each(|word| self.verified.add(word, Some(&self.watch)));
    }

    fn remove(&self, page: u64) {
        self.verified.remove(PageRange::from(PageId::new(page)), Some(&self.watch));
    }

    fn are_free(&self) -> bool {
        self.watch.free_pages() == 2
    }

    fn are_all_verified(&self) -> bool {
        [0, 1].into_iter().all(|page| self.verified.has(PageId::new(page)))
    }
}

#[test]
fn all_pages_that_were_verified_are_free() {
    explore(|| {
        let pages = Pages::new();
        let others = Arc::clone(&pages);
        let other = thread::spawn(move || others.add(1));
        pages.add(0);
        other.join().expect("it only notes");
        assert!(pages.are_free());
    });
}

#[test]
fn no_page_is_free_while_one_is_to_be_verified_again() {
    explore(|| {
        let pages = Pages::new();
        pages.add(0);
        let others = Arc::clone(&pages);
        let other = thread::spawn(move || others.add(1));
        pages.remove(0);
        assert!(!pages.are_free(), "nobody has verified the first page again");
        other.join().expect("it only notes");
        assert!(!pages.are_free(), "still nobody has");
    });
}

/// Whoever removes two pages one after the other must not have the second forgotten while somebody else verifies
/// the first again.
#[test]
fn no_page_is_free_while_another_comes_back() {
    explore(|| {
        let pages = Pages::new();
        pages.add(0);
        pages.add(1);
        pages.remove(1);
        let [adding, removing] = [Arc::clone(&pages), Arc::clone(&pages)];
        let add = thread::spawn(move || adding.add(0));
        let remove = thread::spawn(move || removing.remove(0));
        assert!(!pages.are_free(), "nobody has verified the second page again");
        add.join().expect("it only notes");
        remove.join().expect("it only notes");
        assert!(!pages.are_free() && !pages.are_all_verified());
    });
}
