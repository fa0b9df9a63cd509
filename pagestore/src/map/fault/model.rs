//! The table of mappings under loom: mappings come and go while a fault handler looks for one, in
//! all interleavings, with every value that a relaxed load may return (up to loom's preemption
//! bound, set below).
//!
//! Method: the addresses are numbers, no memory is behind them. The claim: whoever touches a mapping
//! that lives finds that mapping's entry and extent, whatever happens to others meanwhile; and two
//! that take an entry never get the same one.
//!
//! And of the number that a borrow looks at, of pages that are free: none is after a fault, whoever frees them
//! meanwhile.
//!
//! Run: `RUSTFLAGS="--cfg loom" cargo test -p pagestore --lib --release model`

use loom::thread;

use super::{
    Watch,
    table::{Extent, FilePlace, Outcome, Protection, Table},
};

const fn extent(start: usize, end: usize, protection: Protection) -> Extent {
    Extent { start, end, protection }
}

/// The mapping that lives all the time.
const OURS: Extent = extent(50, 60, Protection::ReadWrite(PLACE));

/// Where that one comes from.
const PLACE: FilePlace = FilePlace { descriptor: 3, offset_bytes: 8192 };
/// Two that come and go: what lies between the end of one and the start of the other is ours.
const ABOVE: Extent = extent(100, 110, Protection::Read);
const BELOW: Extent = extent(10, 20, Protection::Read);

/// Runs a model in all interleavings, up to the bound.
pub(crate) fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(model);
}

/// A table, as static as the real one; what little it takes is never freed.
fn table<const LEN: usize>() -> &'static Table<LEN> {
    Box::leak(Box::new(Table::new()))
}

/// A watch of a mapping that lives, with a table of its own.
pub(crate) fn watch() -> Watch {
    Watch { entry: table::<1>().take(OURS) }
}

/// Half of one mapping's numbers and half of another's are a mapping that never was, and that would
/// get the fault of ours noted: so the owner of ours would never hear of it.
#[test]
fn a_fault_is_noted_for_the_mapping_that_it_was_in_while_others_come_and_go() {
    explore(|| {
        let table = table::<2>();
        let first = table.take(ABOVE);
        let ours = table.take(OURS);
        let others = thread::spawn(move || {
            first.give_back();
            table.take(BELOW);
        });
        let (found, extent) = table.find(55).expect("it lives");
        assert_eq!(extent, OURS);
        found.note(55, Outcome::Lost);
        assert_eq!(ours.fault(), Some(55), "the note is where its owner looks");
        assert_eq!(first.fault(), None, "and nowhere else");
        others.join().expect("the other thread's assertions hold");
    });
}

/// With room for one entry, the second one makes a chunk, or both do at once and one is thrown away.
#[test]
fn two_that_take_an_entry_at_once_get_two() {
    explore(|| {
        let table = table::<1>();
        let take = move |extent: Extent| {
            let entry = table.take(extent);
            let (found, same) = table.find(extent.start).expect("it was just taken");
            assert_eq!((std::ptr::from_ref(found), same), (std::ptr::from_ref(entry), extent));
            found.note(extent.start, Outcome::Lost);
            assert_eq!(entry.fault(), Some(extent.start));
        };
        let other = thread::spawn(move || take(ABOVE));
        take(BELOW);
        other.join().expect("the other thread's assertions hold");
        for extent in [ABOVE, BELOW] {
            let (entry, same) = table.find(extent.end - 1).expect("both live");
            assert_eq!((entry.fault(), same), (Some(extent.start), extent));
        }
    });
}

/// A note tells of the mapping that was there before, and not of the one that takes its entry.
#[test]
fn who_takes_an_entry_finds_no_note_of_the_one_before() {
    explore(|| {
        let table = table::<1>();
        let entry = table.take(ABOVE);
        let other = thread::spawn(move || {
            entry.note(ABOVE.start, Outcome::Lost);
            entry.give_back();
        });
        let second = table.take(BELOW);
        assert_eq!(second.fault(), None);
        if std::ptr::eq(entry, second) {
            assert!(table.find(ABOVE.start).is_none(), "what was given back is found no more");
        }
        other.join().expect("the other thread's assertions hold");
    });
}

#[test]
fn no_page_is_free_after_a_fault() {
    explore(|| {
        let entry = table::<1>().take(OURS);
        let other = thread::spawn(move || entry.set_free_pages(3));
        entry.note(55, Outcome::Lost);
        assert_eq!(entry.fault(), Some(55));
        other.join().expect("it only stores");
        assert_eq!(entry.free_pages(), 0);
    });
}
