//! What pages do: grow, be borrowed, be written to, be flushed, and be there again.
//!
//! Method: one suite, run on a file and on anonymous memory (`on_both`), where the only difference
//! is what a reopening finds. At the end a random sequence of operations is held against a plain
//! `Vec<u8>` and a set of dirty pages.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod elsewhere;
mod loop_disk;
#[expect(dead_code, reason = "`LoopDisk` asks for root itself")]
mod skip;

use std::{
    collections::BTreeSet,
    mem,
    ops::Deref,
    path::PathBuf,
    ptr,
    sync::{Barrier, mpsc},
    thread,
    time::Duration,
};

use pagestore::{
    ByteOffset, Error, FlushReport, FlushTarget, PageCount, PageFile, PageId, PageSize,
};
use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

/// A page file without pages, on one of the two media.
struct Store {
    file: Option<PageFile>,
    place: Option<(TempDir, PathBuf)>,
}

impl Store {
    fn file(page_size: PageSize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pages");
        let file = PageFile::options().page_size(page_size).create(&path).unwrap();
        Self { file: Some(file), place: Some((folder, path)) }
    }

    fn memory(page_size: PageSize) -> Self {
        Self { file: Some(PageFile::anonymous(page_size).unwrap()), place: None }
    }

    /// With `pages` pages.
    fn with(self, pages: u64) -> Self {
        self.grow(PageCount::new(pages)).unwrap();
        self
    }

    /// Closes a file, without a flush, and opens it again. Memory is left as it is.
    fn reopen(&mut self) {
        if let Some((_, path)) = &self.place {
            drop(self.file.take());
            self.file = Some(PageFile::open(path).unwrap());
        }
    }

    fn target(&self) -> FlushTarget {
        if self.place.is_some() { FlushTarget::File } else { FlushTarget::Memory }
    }
}

impl Deref for Store {
    type Target = PageFile;

    fn deref(&self) -> &PageFile {
        self.file.as_ref().unwrap()
    }
}

/// Makes a test of each function, on each medium.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod file {
            $(#[test] fn $test() { super::$test(super::Store::file); })*
        }
        mod memory {
            $(#[test] fn $test() { super::$test(super::Store::memory); })*
        }
    };
}

on_both! {
    grown_pages_are_zero_and_follow_each_other
    slices_stay_where_they_are_over_a_thousand_growths
    threads_that_grow_get_pages_of_their_own
    many_read_or_one_writes
    a_writer_waits_for_readers_and_readers_for_a_writer
    try_forms_never_wait_and_leave_nothing_latched
    a_range_of_pages_is_one_slice
    typed_views_cross_pages
    a_flush_reports_pages_runs_and_bytes
    only_written_pages_are_dirty
    a_guard_open_during_a_flush_keeps_its_pages_dirty
    a_reader_during_a_flush_changes_nothing
    a_leaked_guard_keeps_its_pages_dirty
    a_reopening_finds_everything
    all_page_sizes_work
    a_random_sequence_of_operations_matches_a_plain_vector
}

fn id(number: u64) -> PageId {
    PageId::new(number)
}

/// The pages of a flush, its runs, and the pages that were open.
fn figures(report: FlushReport) -> (u64, u64, u64) {
    assert_eq!(report.bytes, report.pages.get() * 4096);
    (report.pages.get(), report.runs, report.pages_still_open.get())
}

fn grown_pages_are_zero_and_follow_each_other(make: fn(PageSize) -> Store) {
    let store = make(PageSize::DEFAULT);
    assert_eq!(store.page_count(), PageCount::ZERO);
    assert!(store.pages(..).unwrap().is_empty());
    let mut expected = 0;
    for count in [1, 2, 0, 61, 1, 1, 300] {
        let grown = store.grow(PageCount::new(count)).unwrap();
        assert_eq!((grown.start().get(), grown.count().get()), (expected, count));
        expected += count;
        let mut pages = store.pages_mut(grown.start()..grown.end()).unwrap();
        assert!(pages.iter().all(|&byte| byte == 0));
        // So that a page handed out twice would show.
        pages.fill(0xff);
    }
    assert_eq!(store.page_count().get(), expected);
}

fn slices_stay_where_they_are_over_a_thousand_growths(make: fn(PageSize) -> Store) {
    let store = make(PageSize::DEFAULT).with(3);
    store.page_mut(id(0)).unwrap().fill(1);
    let read = store.page(id(0)).unwrap();
    let mut written = store.page_mut(id(1)).unwrap();
    let (borrowed, start) = (&read[..], written.as_ptr());
    for round in 0..1000_u64 {
        store.grow(PageCount::new(1)).unwrap();
        written.as_slice_of_mut::<u64>().unwrap()[0] = round;
    }
    assert_eq!(borrowed, [1; 4096]);
    assert_eq!(store.page_count().get(), 1003);
    drop((read, written));
    let all = store.pages(..).unwrap();
    assert!(ptr::eq(&raw const all[4096], start), "page 1 is where it was");
    assert_eq!(all.as_slice_of::<u64>().unwrap()[512], 999);
}

fn threads_that_grow_get_pages_of_their_own(make: fn(PageSize) -> Store) {
    let store = make(PageSize::DEFAULT);
    thread::scope(|scope| {
        for mark in 1..=4_u8 {
            let store = &*store;
            scope.spawn(move || {
                for _ in 0..100 {
                    let grown = store.grow(PageCount::new(2)).unwrap();
                    let mut pages = store.pages_mut(grown.start()..grown.end()).unwrap();
                    assert!(pages.iter().all(|&byte| byte == 0), "handed out once only");
                    pages.fill(mark);
                }
            });
        }
    });
    assert_eq!(store.page_count().get(), 800);
    let mut counts = [0; 5];
    for pages in store.pages(..).unwrap().chunks(8192) {
        assert!(pages.iter().all(|&byte| byte == pages[0]));
        counts[usize::from(pages[0])] += 1;
    }
    assert_eq!(counts, [0, 100, 100, 100, 100]);
}

/// Writers fill a page, or three as one, with one value at a time; a reader never sees two.
fn many_read_or_one_writes(make: fn(PageSize) -> Store) {
    let store = make(PageSize::DEFAULT).with(3);
    let together = Barrier::new(4);
    thread::scope(|scope| {
        let (store, together) = (&*store, &together);
        for mark in [1, 2] {
            scope.spawn(move || {
                together.wait();
                for round in 0..400 {
                    let value = mark + 2 * u8::try_from(round % 100).unwrap();
                    match round % 3 {
                        0 => store.pages_mut(..).unwrap().fill(value),
                        page => store.page_mut(id(page)).unwrap().fill(value),
                    }
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                together.wait();
                for page in (0..3).cycle().take(1000) {
                    let page = store.page(id(page)).unwrap();
                    assert!(page.iter().all(|&byte| byte == page[0]), "a torn page");
                }
            });
        }
    });
    // All hold the page when the last one comes to the barrier.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let page = store.try_page(id(0));
                together.wait();
                assert!(page.is_ok(), "readers do not keep each other out");
            });
        }
    });
}

fn a_writer_waits_for_readers_and_readers_for_a_writer(make: fn(PageSize) -> Store) {
    let store = make(PageSize::DEFAULT).with(4);
    let soon = Duration::from_millis(30);
    let late = Duration::from_secs(20);
    thread::scope(|scope| {
        let store = &*store;
        let read = [store.page(id(2)).unwrap(), store.page(id(2)).unwrap()];
        let (send, receive) = mpsc::channel();
        scope.spawn(move || {
            store.pages_mut(id(1)..).unwrap().fill(7);
            send.send(()).unwrap();
        });
        receive.recv_timeout(soon).expect_err("the writer waits for the readers");
        assert_eq!(read[1][0], 0);
        drop(read);
        receive.recv_timeout(late).expect("the writer goes on");

        let mut written = store.page_mut(id(2)).unwrap();
        let (send, receive) = mpsc::channel();
        scope.spawn(move || send.send(store.pages(..).unwrap()[2 * 4096]).unwrap());
        receive.recv_timeout(soon).expect_err("the reader waits for the writer");
        written[0] = 9;
        drop(written);
        assert_eq!(receive.recv_timeout(late), Ok(9), "and then sees what was written");
    });
}

fn try_forms_never_wait_and_leave_nothing_latched(make: fn(PageSize) -> Store) {
    let store = make(PageSize::DEFAULT).with(4);
    let latched = |error: Error| match error {
        Error::Latched { page } => page.get(),
        other => panic!("{other}"),
    };
    let written = store.page_mut(id(2)).unwrap();
    let error = store.try_page(id(2)).unwrap_err();
    assert!(error.to_string().contains("drop that one first, or wait for it"), "{error}");
    assert_eq!(latched(error), 2);
    assert_eq!(latched(store.try_page_mut(id(2)).unwrap_err()), 2);
    assert_eq!(latched(store.try_pages(..).unwrap_err()), 2);
    assert_eq!(latched(store.try_pages_mut(id(1)..).unwrap_err()), 2);
    // The pages that were latched on the way are free again.
    for page in [0, 1, 3] {
        store.try_page_mut(id(page)).unwrap().fill(1);
    }
    drop(written);
    assert!(!store.is_dirty(id(2)), "a guard that nobody wrote through");

    let read = store.page(id(1)).unwrap();
    assert_eq!(store.try_page(id(1)).unwrap()[0], 1);
    assert_eq!(store.try_pages(..).unwrap().len(), 4 * 4096);
    assert_eq!(latched(store.try_page_mut(id(1)).unwrap_err()), 1);
    assert_eq!(latched(store.try_pages_mut(..).unwrap_err()), 1);
    drop(read);
    store.try_pages_mut(..).unwrap().fill(2);
}

fn a_range_of_pages_is_one_slice(make: fn(PageSize) -> Store) {
    let store = make(PageSize::DEFAULT).with(5);
    let range = id(1)..=id(3);
    let mut pages = store.pages_mut(range.clone()).unwrap();
    assert_eq!((pages.range().start(), pages.range().count().get()), (id(1), 3));
    for (index, byte) in pages.iter_mut().enumerate() {
        *byte = u8::try_from(index % 251).unwrap();
    }
    drop(pages);
    let pages = store.pages(range).unwrap();
    assert_eq!(pages.len(), 3 * 4096);
    assert!(pages.iter().zip((0..251).cycle()).all(|(&byte, expected)| byte == expected));
    let (first, last) = (store.page(id(0)).unwrap(), store.page(id(4)).unwrap());
    assert!(first.iter().chain(last.iter()).all(|&byte| byte == 0), "not past the range");
    assert_eq!(store.page(id(2)).unwrap()[..], pages[4096..8192]);
}

/// 24 bytes do not divide a page but do divide three.
type Row = [u64; 3];
const _: () = assert!(4096 % size_of::<Row>() != 0 && (3 * 4096) % size_of::<Row>() == 0);

fn typed_views_cross_pages(make: fn(PageSize) -> Store) {
    let mut store = make(PageSize::DEFAULT).with(3);
    let row = |key: u64| [key, !key, 7];
    let mut pages = store.pages_mut(..).unwrap();
    for (key, place) in (0..).zip(pages.as_slice_of_mut::<Row>().unwrap()) {
        *place = row(key);
    }
    // Row 170 lies across the end of page 0.
    let at = ByteOffset::new(170 * 24);
    assert_eq!(pages.as_slice_of_at::<Row>(at, 1).unwrap(), [row(170)]);
    pages.as_slice_of_mut_at::<Row>(at, 1).unwrap()[0] = row(9999);
    drop(pages);
    store.reopen();
    let pages = store.pages(..).unwrap();
    let rows = pages.as_slice_of::<Row>().unwrap();
    assert_eq!(rows.len(), 512);
    assert_eq!((rows[169], rows[170], rows[171]), (row(169), row(9999), row(171)));
    assert_eq!(pages.as_slice_of_at::<Row>(at, 2).unwrap(), [row(9999), row(171)]);
    assert!(ptr::eq(pages.as_ptr(), rows.as_ptr().cast()), "a view, no copy");
}

fn a_flush_reports_pages_runs_and_bytes(make: fn(PageSize) -> Store) {
    let store = make(PageSize::DEFAULT).with(300);
    let first = store.flush().unwrap();
    assert_eq!((figures(first), first.target), ((0, 0, 0), store.target()));
    // Page 63 and 64 lie in two words of the bitmap and are one run.
    let cases: [(&[u64], u64); 7] = [
        (&[5], 1),
        (&[63, 64], 1),
        (&[0, 2, 4], 3),
        (&[0, 1, 63, 64, 128, 299], 4),
        (&[], 0),
        (&[62, 64, 127, 128, 191, 192], 4),
        (&[299], 1),
    ];
    for (pages, runs) in cases {
        for &page in pages {
            store.page_mut(id(page)).unwrap()[0] += 1;
            assert!(store.is_dirty(id(page)));
        }
        assert_eq!(store.dirty_count().get(), pages.len() as u64);
        let report = store.flush().unwrap();
        assert_eq!(figures(report), (pages.len() as u64, runs, 0), "{pages:?}");
        assert_eq!(report.target, store.target());
        assert_eq!(store.dirty_count(), PageCount::ZERO);
        let clean = store.flush().unwrap();
        assert_eq!((figures(clean), clean.elapsed), ((0, 0, 0), Duration::ZERO));
    }
    store.pages_mut(..).unwrap().fill(1);
    assert_eq!(figures(store.flush().unwrap()), (300, 1, 0));
}

fn only_written_pages_are_dirty(make: fn(PageSize) -> Store) {
    let store = make(PageSize::DEFAULT).with(10);
    assert_eq!(store.dirty_count(), PageCount::ZERO, "grown pages are zero on the disk already");
    let page = store.page_mut(id(3)).unwrap();
    assert_eq!(page[0], 0);
    assert!(page.as_slice_of::<u64>().is_ok());
    assert!(!store.is_dirty(id(3)), "reading through a write guard");
    drop(page);
    let mut pages = store.pages_mut(id(4)..=id(5)).unwrap();
    pages[0] = 1;
    assert!(store.is_dirty(id(4)), "marked before the guard is dropped");
    drop(pages);
    assert!(store.is_dirty(id(5)), "all pages of the guard");
    assert_eq!(store.dirty_count().get(), 2);
    assert!(!store.is_dirty(id(10)) && !store.is_dirty(id(u64::MAX)));
}

fn a_guard_open_during_a_flush_keeps_its_pages_dirty(make: fn(PageSize) -> Store) {
    let mut store = make(PageSize::DEFAULT).with(4);
    let mut open = store.pages_mut(id(1)..=id(2)).unwrap();
    open[0] = 1;
    assert_eq!(figures(store.flush().unwrap()), (2, 1, 2));
    assert_eq!(figures(store.flush().unwrap()), (2, 1, 2), "as long as it is open");
    open[1] = 2;
    drop(open);
    assert_eq!(figures(store.flush().unwrap()), (2, 1, 0), "what came later is written too");
    assert_eq!(figures(store.flush().unwrap()), (0, 0, 0));
    // Open, but nothing was written through it yet: that makes it dirty when it happens.
    let mut open = store.page_mut(id(3)).unwrap();
    assert_eq!(figures(store.flush().unwrap()), (0, 0, 0));
    open[0] = 3;
    drop(open);
    assert_eq!(figures(store.flush().unwrap()), (1, 1, 0));
    store.reopen();
    let pages = store.pages(..).unwrap();
    assert_eq!((pages[4096], pages[4097], pages[3 * 4096]), (1, 2, 3));
}

fn a_reader_during_a_flush_changes_nothing(make: fn(PageSize) -> Store) {
    let store = make(PageSize::DEFAULT).with(2);
    store.page_mut(id(1)).unwrap()[0] = 1;
    let _read = store.pages(..).unwrap();
    assert_eq!(figures(store.flush().unwrap()), (1, 1, 0));
    assert_eq!(store.dirty_count(), PageCount::ZERO);
}

fn a_leaked_guard_keeps_its_pages_dirty(make: fn(PageSize) -> Store) {
    let mut store = make(PageSize::DEFAULT).with(3);
    let mut leaked = store.page_mut(id(1)).unwrap();
    leaked.fill(8);
    mem::forget(leaked);
    for _ in 0..3 {
        assert_eq!(figures(store.flush().unwrap()), (1, 1, 1));
        assert!(store.is_dirty(id(1)));
    }
    assert!(matches!(store.try_page(id(1)), Err(Error::Latched { .. })), "latched for ever");
    store.page_mut(id(2)).unwrap()[0] = 1;
    assert_eq!(figures(store.flush().unwrap()), (2, 1, 1));
    // A reader's guard, leaked, keeps writers out of its page and nothing else.
    mem::forget(store.page(id(0)).unwrap());
    assert!(matches!(store.try_page_mut(id(0)), Err(Error::Latched { .. })));
    assert_eq!(store.page(id(0)).unwrap()[0], 0);
    if store.target() == FlushTarget::File {
        store.reopen();
        assert_eq!(store.page(id(1)).unwrap()[..], [8; 4096]);
        store.page_mut(id(0)).unwrap()[0] = 1;
    }
}

fn a_reopening_finds_everything(make: fn(PageSize) -> Store) {
    let mut store = make(PageSize::DEFAULT).with(100);
    for round in 1..=6_u8 {
        let page = u64::from(round) * 15;
        store.page_mut(id(page)).unwrap().fill(round);
        if round % 2 == 0 {
            store.flush().unwrap();
        }
        let grown = store.grow(PageCount::new(3)).unwrap();
        store.page_mut(grown.start()).unwrap().fill(100 + round);
        store.reopen();
        assert_eq!(store.page_count().get(), 100 + 3 * u64::from(round));
        assert_eq!(store.page(id(page)).unwrap()[..], [round; 4096]);
        assert_eq!(store.page(grown.start()).unwrap()[..], [100 + round; 4096]);
        assert_eq!(store.page(grown.end().get().checked_sub(1).map(id).unwrap()).unwrap()[0], 0);
    }
}

fn all_page_sizes_work(make: fn(PageSize) -> Store) {
    for size in (12..=21).map(|log2| PageSize::new(1 << log2).unwrap()) {
        let mut store = make(size).with(3);
        let len = size.get_usize();
        store.page_mut(id(1)).unwrap()[len - 1] = 1;
        store.page_mut(id(2)).unwrap()[0] = 2;
        let report = store.flush().unwrap();
        assert_eq!((report.pages.get(), report.runs, report.bytes), (2, 1, 2 * size.get()));
        if let Some((_, path)) = &store.place {
            let header_len = size.get().max(8192);
            assert_eq!(path.metadata().unwrap().len(), header_len + 3 * size.get());
        }
        store.reopen();
        assert_eq!((store.page_size(), store.page_count().get()), (size, 3));
        let pages = store.pages(..).unwrap();
        assert_eq!((pages.len(), pages[2 * len - 1], pages[2 * len]), (3 * len, 1, 2));
        assert_eq!(pages.iter().map(|&byte| u64::from(byte)).sum::<u64>(), 3);
    }
}

/// An operation; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Grow(u64),
    Fill { page: u64, count: u64, value: u8 },
    Typed { word: usize, value: u64 },
    Look { page: u64 },
    Flush,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..40_u64).prop_map(Step::Grow),
        6 => (any::<u64>(), 1..70_u64, any::<u8>())
            .prop_map(|(page, count, value)| Step::Fill { page, count, value }),
        4 => (any::<usize>(), any::<u64>()).prop_map(|(word, value)| Step::Typed { word, value }),
        1 => any::<u64>().prop_map(|page| Step::Look { page }),
        2 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ];
    vec(step, 1..40)
}

/// What the store must hold: its bytes, and which pages a flush must write.
#[derive(Default)]
struct Model {
    bytes: Vec<u8>,
    dirty: BTreeSet<u64>,
}

impl Model {
    fn pages(&self) -> u64 {
        (self.bytes.len() / 4096) as u64
    }

    fn runs(&self) -> u64 {
        let starts =
            self.dirty.iter().filter(|&&page| page == 0 || !self.dirty.contains(&(page - 1)));
        starts.count() as u64
    }
}

fn apply(store: &mut Store, model: &mut Model, step: &Step) {
    let pages = model.pages();
    match *step {
        Step::Grow(count) => {
            let grown = store.grow(PageCount::new(count)).unwrap();
            assert_eq!(grown.start().get(), pages);
            model.bytes.resize(usize::try_from((pages + count) * 4096).unwrap(), 0);
        }
        Step::Flush => {
            let report = store.flush().unwrap();
            assert_eq!(figures(report), (model.dirty.len() as u64, model.runs(), 0));
            model.dirty.clear();
        }
        Step::Reopen => {
            store.reopen();
            if store.target() == FlushTarget::File {
                model.dirty.clear();
            }
        }
        _ if pages == 0 => {}
        Step::Fill { page, count, value } => {
            let first = page % pages;
            let end = (first + count).min(pages);
            store.pages_mut(id(first)..id(end)).unwrap().fill(value);
            let bytes = [first, end].map(|page| usize::try_from(page * 4096).unwrap());
            model.bytes[bytes[0]..bytes[1]].fill(value);
            model.dirty.extend(first..end);
        }
        Step::Typed { word, value } => {
            let at = word % (model.bytes.len() / 8) * 8;
            let (page, inside) = ((at / 4096) as u64, ByteOffset::new((at % 4096) as u64));
            let mut guard = store.page_mut(id(page)).unwrap();
            guard.as_slice_of_mut_at::<u64>(inside, 1).unwrap()[0] = value;
            model.bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
            model.dirty.insert(page);
        }
        Step::Look { page } => {
            let page = page % pages;
            assert_eq!(store.is_dirty(id(page)), model.dirty.contains(&page));
            let start = usize::try_from(page * 4096).unwrap();
            assert_eq!(store.page_mut(id(page)).unwrap()[..], model.bytes[start..start + 4096]);
        }
    }
}

fn a_random_sequence_of_operations_matches_a_plain_vector(make: fn(PageSize) -> Store) {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&steps(), |steps| {
        let (mut store, mut model) = (make(PageSize::DEFAULT), Model::default());
        for step in &steps {
            apply(&mut store, &mut model, step);
            assert_eq!(store.page_count().get(), model.pages());
            assert_eq!(store.dirty_count().get(), model.dirty.len() as u64, "after {step:?}");
        }
        assert!(store.pages(..).unwrap()[..] == model.bytes, "bytes after {steps:?}");
        store.reopen();
        assert!(store.pages(..).unwrap()[..] == model.bytes, "bytes reopened after {steps:?}");
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn the_suite_passes_on_other_filesystems() {
    elsewhere::run("pages::the_suite_passes_on_other_filesystems", &[]);
}
