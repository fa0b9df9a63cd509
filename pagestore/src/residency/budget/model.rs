//! The budget's protocol under loom: two threads that borrow pages of extents which cannot both be
//! in memory, so that each evicts what the other one borrowed, in all interleavings of at most three
//! preemptions.
//!
//! Method: the files are real members of a real clock; what the kernel would hold of them is a set
//! of pages in the model, and what lets a borrow take the fast path a word of atomic bits. The
//! claims: memory never holds more pages than the limit, as long as every touch comes after a
//! charge; the count never passes the limit; when all threads are done, a page whose borrow would
//! take the fast path is charged, a page in memory is charged, and the count is the sum of what is
//! charged.
//!
//! The second half breaks the protocol in one place each and expects loom to find it.
//!
//! Run: `RUSTFLAGS="--cfg loom" cargo test -p pagestore --lib --release model`

use std::{
    collections::BTreeSet,
    fs::File,
    ops::Range,
    sync::{Arc, Weak},
};

use loom::thread;

use super::{
    budgeted::{Budgeted, Left, Pass},
    clock::Clock,
    core::Medium,
    extents::EXTENT_PAGES,
    member::Member,
};
use crate::{
    error::Result,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// The limit, in pages: one.
const LIMIT_PAGES: usize = 1;

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// Where the first page of an extent lies.
fn offset_of(extent: u64) -> u64 {
    extent * EXTENT_PAGES * page_bytes()
}

/// What the kernel has in memory, as extents with their one page.
type Memory = Mutex<BTreeSet<u64>>;

/// A file of two extents, of which the first page each is used.
struct ModelFile {
    file: File,
    memory: Arc<Memory>,
    /// One bit an extent: borrowing its page takes the fast path.
    noted: AtomicU64,
    forgets: Forgets,
}

/// Whether an eviction does its part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Forgets {
    Notes,
    Nothing,
}

impl Budgeted for ModelFile {
    fn file(&self) -> &File {
        &self.file
    }

    fn mincore_bytes(&self, _span: Range<u64>) -> Option<u64> {
        None
    }

    fn evict(&self, _pass: &Pass<'_>, span: Range<u64>) -> Result<Left> {
        let extent = span.start / offset_of(1);
        if self.forgets == Forgets::Notes {
            self.noted.fetch_and(!(1 << extent), Relaxed);
        }
        self.memory.lock().remove(&extent);
        Ok(Left::Nothing)
    }
}

/// The file, its membership, and the clock.
struct Model {
    clock: Arc<Clock>,
    file: Arc<ModelFile>,
    member: Member,
}

impl Model {
    fn new(forgets: Forgets) -> Arc<Self> {
        let clock = Arc::new(Clock::new(LIMIT_PAGES as u64 * page_bytes()));
        let memory = Arc::new(Mutex::new(BTreeSet::new()));
        let file = File::open("/dev/null").expect("there is always a /dev/null");
        let file = Arc::new(ModelFile { file, memory, noted: AtomicU64::new(0), forgets });
        let owner: Weak<ModelFile> = Arc::downgrade(&file);
        let member = Member::new(Arc::clone(&clock), None, Medium::Disk, owner);
        // The table's own lock is not loom's, so loom must not see it grow.
        member.core.grow_to(2).expect("a model has room");
        Arc::new(Self { clock, file, member })
    }

    /// Touches a page, as far as memory is concerned.
    fn touch(&self, extent: u64) {
        self.file.memory.lock().insert(extent);
    }

    fn note(&self, extent: u64) {
        self.file.noted.fetch_or(1 << extent, Relaxed);
    }

    fn is_noted(&self, extent: u64) -> bool {
        self.file.noted.load(Relaxed) & 1 << extent != 0
    }

    fn span(extent: u64) -> Range<u64> {
        offset_of(extent)..offset_of(extent) + page_bytes()
    }

    /// What a borrow does. A page that is noted is only referenced here and not touched: that touch
    /// may bring back what was evicted a moment ago, and the kernel is asked about that.
    fn borrow(&self, extent: u64) {
        if self.is_noted(extent) {
            self.member.reference(Self::span(extent));
            return;
        }
        let charged = self.member.charge(Self::span(extent)).expect("there will be room");
        self.touch(extent);
        self.note(extent);
        self.assert_within();
        drop(charged);
    }

    fn assert_within(&self) {
        assert!(self.file.memory.lock().len() <= LIMIT_PAGES, "memory passed the limit");
        assert!(self.clock.used_bytes() <= self.clock.limit_bytes(), "the count passed the limit");
    }

    /// What must hold when nobody is at work.
    fn assert_at_rest(&self) {
        let charged = [0, 1].map(|extent| self.member.is_charged(Self::span(extent)));
        for extent in [0, 1] {
            let is_charged = charged[usize::from(extent == 1)];
            assert!(is_charged || !self.is_noted(extent), "borrowed without a charge");
            let is_in_memory = self.file.memory.lock().contains(&extent);
            assert!(is_charged || !is_in_memory, "in memory without a charge");
        }
        let sum = charged.iter().filter(|&&is_charged| is_charged).count() as u64 * page_bytes();
        assert_eq!(self.clock.used_bytes(), sum, "a charge was lost");
    }
}

fn explore(forgets: Forgets, one: fn(&Model), other: fn(&Model)) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let model = Model::new(forgets);
        let beside = {
            let model = Arc::clone(&model);
            thread::spawn(move || other(&model))
        };
        one(&model);
        beside.join().expect("the other thread's assertions hold");
        model.assert_at_rest();
        // Whatever was noted, whoever borrows next is charged.
        model.borrow(0);
        model.borrow(1);
        model.assert_at_rest();
    });
}

#[test]
fn what_is_borrowed_is_charged_and_never_passes_the_limit() {
    explore(Forgets::Notes, |model| model.borrow(0), |model| model.borrow(1));
}

#[test]
fn so_it_is_where_both_threads_borrow_the_same_page() {
    explore(Forgets::Notes, |model| model.borrow(0), |model| model.borrow(0));
}

/// One thread evicts by hand what the other is bringing in.
#[test]
fn so_it_is_beside_an_eviction_by_hand() {
    let evict = |model: &Model| model.member.evict(Model::span(0)).expect("nothing can fail");
    explore(Forgets::Notes, |model| model.borrow(0), evict);
}

/// A reservation takes the room that a page had, and gives it back.
#[test]
fn so_it_is_beside_a_reservation() {
    explore(
        Forgets::Notes,
        |model| model.borrow(0),
        |model| {
            let room = model.clock.room(page_bytes()).expect("there will be room");
            model.assert_within();
            drop(room);
        },
    );
}

/// The last handle of a file goes while another thread needs its room.
#[test]
fn a_file_that_is_closed_gives_its_charges_back() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let model = Model::new(Forgets::Notes);
        let second = Member::new(
            Arc::clone(&model.clock),
            None,
            Medium::Disk,
            Arc::downgrade(&model.file) as Weak<dyn Budgeted>,
        );
        second.core.grow_to(2).expect("a model has room");
        drop(second.charge(Model::span(0)).expect("there is room"));
        let closing = thread::spawn(move || drop(second));
        model.borrow(1);
        closing.join().expect("closing does not panic");
        model.assert_at_rest();
    });
}

mod broken {
    use super::*;

    /// The page is noted after its extent can be evicted again.
    #[test]
    #[should_panic(expected = "without a charge")]
    fn noting_after_the_latch() {
        fn borrow(model: &Model, extent: u64) {
            drop(model.member.charge(Model::span(extent)).expect("there will be room"));
            model.touch(extent);
            model.note(extent);
        }
        explore(Forgets::Notes, |model| borrow(model, 0), |model| borrow(model, 1));
    }

    /// The page is touched before it is charged.
    #[test]
    #[should_panic(expected = "passed the limit")]
    fn touching_before_charging() {
        fn borrow(model: &Model, extent: u64) {
            model.touch(extent);
            model.assert_within();
            let charged = model.member.charge(Model::span(extent)).expect("there will be room");
            model.note(extent);
            drop(charged);
        }
        explore(Forgets::Notes, |model| borrow(model, 0), |model| borrow(model, 1));
    }

    /// An eviction leaves the page on the fast path.
    #[test]
    #[should_panic(expected = "without a charge")]
    fn evicting_without_forgetting() {
        explore(Forgets::Nothing, |model| model.borrow(0), |model| model.borrow(1));
    }

    /// The room is given back before the page has left.
    #[test]
    #[should_panic(expected = "passed the limit")]
    fn giving_back_before_dropping() {
        fn evict(model: &Model) {
            let extent = model.member.core.extent(0);
            let Some(_alone) = extent.latch.try_write() else { return };
            if extent.charged.swap(0, Relaxed) != 0 {
                model.file.noted.fetch_and(!1, Relaxed);
                model.clock.give_back(page_bytes());
                model.file.memory.lock().remove(&0);
            }
        }
        explore(
            Forgets::Notes,
            |model| {
                model.borrow(0);
                model.borrow(1);
            },
            evict,
        );
    }
}
