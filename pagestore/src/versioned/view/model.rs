//! Taking, sharing and dropping snapshots beside commits, under loom.
//!
//! Method: the code of `view.rs` with a file of two pages that are atomics, read and written with `Relaxed`, so that
//! nothing but the protocol orders them; what stands in for a private mapping reads the file where it has no copy. A
//! writer makes two commits, the first of which is written into the file by another thread while the second is under
//! way; readers take a snapshot at any moment. The claims: a snapshot shows the pages of one commit, whenever it was
//! taken, and still does when everything was committed; and a mapping that is used again shows no copy of before.
//!
//! The second half breaks the protocol in one place each and expects loom to find it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use layout::{CommitId, PageCount, PageId, PageRange};
use loom::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use super::{Mapped, Reader, Registry};
use crate::{
    error::Result,
    versioned::{kept::Kept, pages::Version},
};

const PAGES: PageCount = PageCount::new(2);
/// What the pages are after each commit.
const CONTENTS: [[u64; 2]; 3] = [[0, 0], [1, 0], [2, 2]];

/// Where the protocol is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Broken {
    Nowhere,
    /// Pages are not copied for readers before they change.
    NotPreserved,
    /// Nor for those who came after the others were looked for.
    NotPreservedLate,
    /// Copies of a commit that is in the file are dropped although the next one changes the page.
    DroppedThoughPreserved,
}

struct File {
    pages: [AtomicU64; 2],
    broken: Broken,
}

#[derive(Clone, Copy, Default)]
struct Copy {
    bytes: Option<u64>,
    /// It is given back when the file has the same.
    is_own: bool,
}

/// Stands in for a private mapping.
struct Paper {
    file: Arc<File>,
    copies: Mutex<[Copy; 2]>,
}

impl Paper {
    fn read(&self, page: usize) -> u64 {
        let copies = self.copies.lock().unwrap();
        copies[page].bytes.unwrap_or_else(|| self.file.pages[page].load(Relaxed))
    }

    fn write(&mut self, page: usize, bytes: u64) {
        self.copies.get_mut().unwrap()[page].bytes = Some(bytes);
    }

    fn drop_own_copies(&self) {
        for copy in self.copies.lock().unwrap().iter_mut() {
            if copy.is_own || self.file.broken == Broken::DroppedThoughPreserved {
                *copy = Copy::default();
            }
        }
    }
}

impl Mapped for Paper {
    type Source = Arc<File>;

    fn make(source: &Arc<File>, _: PageCount) -> Result<Self> {
        Ok(Self { file: Arc::clone(source), copies: Mutex::new([Copy::default(); 2]) })
    }

    fn path(_: &Arc<File>) -> &Path {
        Path::new("a model")
    }

    fn make_room_for(&mut self, _: PageCount) -> Result<()> {
        Ok(())
    }

    fn show(&mut self, _: PageCount) {
        for copy in self.copies.get_mut().unwrap() {
            copy.is_own = copy.bytes.is_some();
        }
    }

    fn preserve(
        &self,
        changed: &[PageRange],
        _: PageCount,
        charge: &dyn Fn(u64) -> Result<()>,
    ) -> Result<()> {
        let mut copies = self.copies.lock().unwrap();
        for page in changed.iter().flat_map(|run| run.iter()) {
            let page = usize::try_from(page.get()).unwrap();
            copies[page].is_own = false;
            if copies[page].bytes.is_none() {
                charge(1)?;
                copies[page].bytes = Some(self.file.pages[page].load(Relaxed));
            }
        }
        Ok(())
    }

    fn clean(&mut self) -> bool {
        *self.copies.get_mut().unwrap() = [Copy::default(); 2];
        true
    }
}

/// Makes commit `number`; gives what is still to be written into the file.
fn commit(
    registry: &Arc<Registry<Paper>>,
    number: usize,
    applied: impl FnOnce(),
) -> crate::sync::Shared<super::View<Paper>> {
    let broken = registry.source.broken;
    let mut paper = registry.for_writing().unwrap();
    let changed: Vec<usize> =
        (0..2).filter(|&page| CONTENTS[number][page] != CONTENTS[number - 1][page]).collect();
    for &page in &changed {
        paper.write(page, CONTENTS[number][page]);
    }
    let first = PageId::new(changed[0] as u64);
    let runs = vec![
        PageRange::resolve(first.., PageCount::new(first.get() + changed.len() as u64)).unwrap(),
    ];
    let preserved = match broken {
        Broken::NotPreserved => registry.preserve(&[]),
        _ => registry.preserve(&runs),
    };
    let preserved = preserved.unwrap();
    applied();
    let version = Version { commit: CommitId::new(number as u64), page_count: PAGES };
    let (view, before) = registry.publish(paper, version, runs, &preserved);
    if let Some(before) = before
        && broken != Broken::NotPreservedLate
    {
        registry.preserve_late(&before, view.own(), &preserved).unwrap();
    }
    view
}

/// Writes a commit into the file.
fn apply(view: &super::View<Paper>) {
    for run in view.own() {
        for page in run.iter() {
            let page = usize::try_from(page.get()).unwrap();
            let bytes = view.mapped().read(page);
            view.mapped().file.pages[page].store(bytes, Relaxed);
        }
    }
    view.mapped().drop_own_copies();
}

fn look(reader: &Reader<Paper>) {
    let commit = usize::try_from(reader.view().version().commit.get()).unwrap();
    let found = [0, 1].map(|page| reader.view().mapped().read(page));
    assert_eq!(found, CONTENTS[commit], "a snapshot shows its commit");
}

fn explore(broken: Broken) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(move || {
        let pages = [AtomicU64::new(0), AtomicU64::new(0)];
        let file = Arc::new(File { pages, broken });
        let kept = Arc::new(Kept::new(u64::MAX, None).unwrap());
        let version = Version { commit: CommitId::ZERO, page_count: PAGES };
        let registry = Registry::<Paper>::new(file, kept, version);
        let reader = thread::spawn({
            let registry = Arc::clone(&registry);
            move || {
                let first = registry.read().unwrap();
                look(&first);
                let second = first.clone();
                drop(first);
                look(&second);
                second
            }
        });
        let view = commit(&registry, 1, || {});
        let applier = thread::spawn(move || apply(&view));
        let view = commit(&registry, 2, || applier.join().unwrap());
        apply(&view);
        drop(view);
        let held = reader.join().unwrap();
        look(&held);
        drop(held);
        look(&registry.read().unwrap());
        assert_eq!(registry.oldest().1, 0);
    });
}

#[test]
fn a_snapshot_shows_one_commit_for_ever() {
    explore(Broken::Nowhere);
}

#[test]
fn loom_finds_pages_that_are_not_preserved() {
    let found = catch_unwind(AssertUnwindSafe(|| explore(Broken::NotPreserved)));
    assert!(found.is_err());
}

#[test]
fn loom_finds_readers_who_came_late_and_are_forgotten() {
    let found = catch_unwind(AssertUnwindSafe(|| explore(Broken::NotPreservedLate)));
    assert!(found.is_err());
}

#[test]
fn loom_finds_copies_that_are_dropped_though_a_reader_needs_them() {
    let found = catch_unwind(AssertUnwindSafe(|| explore(Broken::DroppedThoughPreserved)));
    assert!(found.is_err());
}
