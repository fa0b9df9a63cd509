//! Latch, dirty bitmap and flush under loom: all interleavings of two threads that write and flush,
//! with every value that a relaxed load may return (up to loom's preemption bound, set below).
//!
//! Method: memory and disk are atomics that are read and written with `Relaxed`, so that nothing
//! but the protocol of `states.rs` orders them. A write-back copies the pages of the hull from
//! memory to disk. The claim: when a thread's flush returns, what that thread stored under a guard
//! that it had dropped is on the disk, whatever the other thread did meanwhile.
//!
//! The second half breaks the protocol in one place each and expects loom to find it: that is the
//! evidence that the first half can fail.
//!
//! Each model runs from clean pages and from dirty ones. That is not only for the sake of states:
//! loom 0.7 remembers one last access to an atomic when it looks for two that conflict, so a marker
//! that loads a summary word and then sets it hides, by its own load, the flush's earlier look at
//! that word, and schedules that hang on it are never tried. With the bit set beforehand, the
//! conflict moves to the page's word, which is accessed once.
//!
//! Run: `RUSTFLAGS="--cfg loom" cargo test -p pagestore --lib --release model`

use std::convert::Infallible;

use layout::{PageCount, PageId, PageRange};
use loom::{sync::Arc, thread};

use crate::{
    mutable::{
        dirty::DirtyBitmap,
        states::{PageStates, Which},
    },
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    tables::bits::{self, Word},
};

const PAGES: PageCount = PageCount::new(2);
const STORED: u64 = 7;

fn page(number: u64) -> PageRange {
    PageRange::from(PageId::new(number))
}

/// Runs a model from clean pages and from dirty ones, with up to five forced switches between
/// threads, which keeps each model under some seconds.
fn explore(model: impl Fn(Start) + Copy + Sync + Send + 'static) {
    for start in [Start::Clean, Start::Dirty] {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(5);
        builder.check(move || model(start));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Clean,
    Dirty,
}

/// Two pages in memory and on disk.
struct Pages {
    states: PageStates,
    memory: [AtomicU64; 2],
    disk: [AtomicU64; 2],
}

impl Pages {
    fn new(start: Start) -> Arc<Self> {
        let zeros = || [AtomicU64::new(0), AtomicU64::new(0)];
        let states = PageStates::new();
        states.grow_to(PAGES);
        if start == Start::Dirty {
            states.dirty().mark(page(0).hull(page(1)));
        }
        Arc::new(Self { states, memory: zeros(), disk: zeros() })
    }

    /// What `PageMut` does: latch, mark, store, give the latch back.
    fn write(&self, number: u64) {
        let hold = self.states.hold_exclusive(page(number)).expect("nothing is found out here");
        hold.mark_dirty();
        self.store(number);
        drop(hold);
    }

    fn store(&self, number: u64) {
        self.memory[number as usize].store(STORED, Relaxed);
    }

    /// What the kernel does in msync.
    fn write_back(&self, hull: PageRange) {
        for page in hull.iter().map(|page| page.get() as usize) {
            self.disk[page].store(self.memory[page].load(Relaxed), Relaxed);
        }
    }

    fn flush(&self) {
        let flushed = self.states.flush(
            Which::All,
            || PAGES,
            |dirty, _| {
                self.write_back(dirty.hull());
                Ok::<_, Infallible>(())
            },
        );
        flushed.expect("cannot fail");
    }

    fn assert_durable(&self, number: u64) {
        assert_eq!(self.disk[number as usize].load(Relaxed), STORED, "page {number} was missed");
    }
}

/// Runs `work` for page 0 in one thread and for `other_page` in another.
fn in_two_threads(other_page: u64, work: fn(&Pages, u64)) {
    explore(move |start| {
        let pages = Pages::new(start);
        let other = {
            let pages = Arc::clone(&pages);
            thread::spawn(move || work(&pages, other_page))
        };
        work(&pages, 0);
        other.join().expect("the other thread's assertions hold");
    });
}

/// The two pages share their word of the bitmap and its summary bit.
#[test]
fn what_was_stored_before_a_flush_is_durable_after_it() {
    in_two_threads(1, |pages, number| {
        pages.write(number);
        pages.flush();
        pages.assert_durable(number);
    });
}

#[test]
fn so_it_is_where_both_threads_write_the_same_page() {
    in_two_threads(0, |pages, number| {
        pages.write(number);
        pages.flush();
        pages.assert_durable(number);
    });
}

/// One thread only flushes. What it finds open stays dirty, so the writer's next flush has it.
#[test]
fn a_flush_beside_an_open_guard_loses_nothing() {
    explore(|start| {
        let pages = Pages::new(start);
        let flusher = {
            let pages = Arc::clone(&pages);
            thread::spawn(move || pages.flush())
        };
        pages.write(0);
        pages.write(1);
        pages.flush();
        pages.assert_durable(0);
        pages.assert_durable(1);
        flusher.join().expect("a flush does not panic");
    });
}

/// A failed flush gives back what it took.
#[test]
fn a_failed_flush_leaves_its_pages_dirty() {
    explore(|start| {
        let pages = Pages::new(start);
        let failing = {
            let pages = Arc::clone(&pages);
            thread::spawn(move || {
                pages.states.flush(Which::All, || PAGES, |_, _| Err(())).map(drop)
            })
        };
        pages.write(0);
        failing.join().expect("a flush does not panic").expect_err("its write-back fails");
        pages.flush();
        pages.assert_durable(0);
    });
}

mod broken {
    use super::*;

    /// The mark comes before the latch: a flush can take it, see the latch free, and write the page
    /// before the store.
    #[test]
    #[should_panic(expected = "was missed")]
    fn marking_before_latching() {
        in_two_threads(1, |pages, number| {
            drop_marked(pages, number);
            let hold =
                pages.states.hold_exclusive(page(number)).expect("nothing is found out here");
            pages.store(number);
            drop(hold);
            pages.flush();
            pages.assert_durable(number);
        });

        fn drop_marked(pages: &Pages, number: u64) {
            pages
                .states
                .hold_exclusive(page(number))
                .expect("nothing is found out here")
                .mark_dirty();
        }
    }

    /// The flush looks at the latches before it takes the marks.
    #[test]
    #[should_panic(expected = "was missed")]
    fn looking_at_latches_before_taking() {
        fn flush(pages: &Pages) {
            let open = [0, 1].map(|number| pages.states.try_hold_shared(page(number)).is_err());
            let mut taken = Vec::new();
            pages.states.dirty().take(PAGES, &mut taken);
            for number in [0, 1].into_iter().filter(|&number| open[number as usize]) {
                pages.states.dirty().mark(page(number));
            }
            pages.write_back(bits::Pages(&taken).hull());
        }
        a_flush_beside_a_writer(flush);
    }

    /// The flush takes the marks after it has written.
    #[test]
    #[should_panic(expected = "was missed")]
    fn taking_after_writing() {
        fn flush(pages: &Pages) {
            pages.write_back(page(0).hull(page(1)));
            pages.states.dirty().take(PAGES, &mut Vec::new());
        }
        a_flush_beside_a_writer(flush);
    }

    /// The flush does not mark again what is open.
    #[test]
    #[should_panic(expected = "was missed")]
    fn forgetting_open_guards() {
        fn flush(pages: &Pages) {
            let mut taken = Vec::new();
            pages.states.dirty().take(PAGES, &mut taken);
            pages.write_back(bits::Pages(&taken).hull());
        }
        a_flush_beside_a_writer(flush);
    }

    /// The marker skips the page's bit where it sees it set, as it may do with the summary's.
    #[test]
    #[should_panic(expected = "was missed")]
    fn skipping_a_page_bit_that_is_set() {
        fn mark(bitmap: &DirtyBitmap) {
            if !bitmap.is_marked(PageId::new(0)) {
                bitmap.mark(page(0));
            }
        }
        explore(|start| {
            let state = Arc::new((DirtyBitmap::new(), AtomicU64::new(0), AtomicU64::new(0)));
            state.0.grow_to(PAGES);
            if start == Start::Dirty {
                state.0.mark(page(0));
            }
            let taker = {
                let state = Arc::clone(&state);
                thread::spawn(move || take_and_copy(&state))
            };
            state.1.store(STORED, Relaxed);
            mark(&state.0);
            taker.join().expect("taking does not panic");
            take_and_copy(&state);
            assert_eq!(state.2.load(Relaxed), STORED, "page 0 was missed");
        });

        fn take_and_copy((bitmap, memory, disk): &(DirtyBitmap, AtomicU64, AtomicU64)) {
            let mut taken: Vec<Word> = Vec::new();
            bitmap.take(PAGES, &mut taken);
            if !taken.is_empty() {
                disk.store(memory.load(Relaxed), Relaxed);
            }
        }
    }

    fn a_flush_beside_a_writer(flush: fn(&Pages)) {
        explore(move |start| {
            let pages = Pages::new(start);
            let flusher = {
                let pages = Arc::clone(&pages);
                thread::spawn(move || flush(&pages))
            };
            pages.write(0);
            flusher.join().expect("a flush does not panic");
            pages.flush();
            pages.assert_durable(0);
        });
    }
}
