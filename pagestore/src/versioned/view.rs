//! The mappings that snapshots read from: which there are, which are in use, which can be used again.
//!
//! A *sheet* is a private mapping that one owner has for itself: a transaction, or the pool. A *view* is
//! one that shows a commit and is shared by snapshots; it never changes, but for copies that a commit
//! makes in it, of pages that it is about to change in the file. When its last snapshot goes, it becomes
//! a sheet of the pool.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use layout::{CommitId, PageCount, PageHasher, PageId, PageRange, PageStamp, VersionedGeometry};

use super::{
    backing::Backing,
    kept::{Kept, NoRoom},
    map::PrivateMap,
    pages::{Copies, Pages, Version},
};
use crate::{Error, Guard, Result, sync::Mutex};

/// Sheets that are kept for later. One is the transaction's, one is what readers have, one is being
/// cleaned.
const POOL_MAX: usize = 3;

/// A mapping that its owner has for itself.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) pages: Pages,
    pub(super) copies: Copies,
}

/// A mapping that shows one commit.
pub(super) struct View {
    /// `None` only while it is being taken apart.
    pages: Option<Pages>,
    copies: Mutex<Copies>,
    version: Version,
    /// The runs of pages of this very commit, where a transaction made this view. Their stamps may be on
    /// their way into the file.
    own: Vec<PageRange>,
    /// The last preservation that this view took part in, or that was over when it was made. One that is
    /// made between the preservation and the publication of a commit has not taken part.
    seen: AtomicU64,
    made: Instant,
    registry: Weak<Registry>,
}

/// All mappings of one file.
#[derive(Debug)]
pub(super) struct Registry {
    state: Mutex<State>,
    source: Source,
    pub(super) kept: Arc<Kept>,
}

/// What mappings are made of.
#[derive(Debug)]
struct Source {
    backing: Arc<Backing>,
    geometry: VersionedGeometry,
    guard: Guard,
    hasher: PageHasher,
}

#[derive(Debug)]
struct State {
    version: Version,
    /// The view of the last commit, where somebody asked for one, or a transaction has just left it.
    current: Option<Arc<View>>,
    older: Vec<Weak<View>>,
    /// Sheets without copies; what they have checked is right for the last commit.
    pool: Vec<Sheet>,
    /// Counts preservations.
    preservation: u64,
    /// The last one whose commit was published.
    published: u64,
}

/// Views in which the pages that a commit changes were copied; needed to publish it.
#[derive(Debug)]
pub(super) struct Preserved(u64);

impl Registry {
    pub(super) fn new(
        backing: &Arc<Backing>,
        geometry: VersionedGeometry,
        guard: Guard,
        hasher: PageHasher,
        kept: Arc<Kept>,
        version: Version,
    ) -> Arc<Self> {
        let source = Source { backing: Arc::clone(backing), geometry, guard, hasher };
        let state = State {
            version,
            current: None,
            older: Vec::new(),
            pool: Vec::new(),
            preservation: 0,
            published: 0,
        };
        Arc::new(Self { state: Mutex::new(state), source, kept })
    }

    /// The view of the last commit.
    pub(super) fn view(self: &Arc<Self>) -> Result<Arc<View>> {
        let mut state = self.state.lock();
        if let Some(current) = &state.current {
            return Ok(Arc::clone(current));
        }
        let version = state.version;
        let sheet = state.sheet(&self.source)?;
        let view = self.show(sheet, version, Vec::new(), state.published);
        state.current = Some(Arc::clone(&view));
        Ok(view)
    }

    /// A mapping of the last commit for a transaction to write to.
    pub(super) fn sheet(&self) -> Result<Sheet> {
        let mut state = self.state.lock();
        // Nobody can take a new share of the current view without the lock.
        if let Some(view) = state.current.take_if(|view| Arc::strong_count(view) == 1)
            && let Some(sheet) = View::into_sheet(view)
        {
            return Ok(sheet);
        }
        state.sheet(&self.source)
    }

    /// Takes back the sheet of a transaction that was given up. It has no copies.
    pub(super) fn give_back(&self, sheet: Sheet) {
        let mut state = self.state.lock();
        state.pool_in(sheet);
    }

    fn show(
        self: &Arc<Self>,
        mut sheet: Sheet,
        version: Version,
        own: Vec<PageRange>,
        seen: u64,
    ) -> Arc<View> {
        sheet.pages.checked.show(sheet.pages.map.watch(), version.page_count);
        Arc::new(View {
            pages: Some(sheet.pages),
            copies: Mutex::new(sheet.copies),
            version,
            own,
            seen: AtomicU64::new(seen),
            made: Instant::now(),
            registry: Arc::downgrade(self),
        })
    }

    /// Copies pages that are about to be changed in each view that somebody has.
    ///
    /// # Errors
    /// [`Error::KeptExceeded`]; where a page cannot be read. Copies that were made stay: they harm nobody.
    pub(super) fn preserve(&self, changed: &[PageRange]) -> Result<Preserved> {
        let (preservation, views) = {
            let mut state = self.state.lock();
            state.preservation += 1;
            state.older.retain(|view| view.strong_count() > 0);
            let current = state.current.iter().filter(|view| Arc::strong_count(view) > 1).cloned();
            let older = state.older.iter().filter_map(Weak::upgrade);
            (state.preservation, older.chain(current).collect::<Vec<_>>())
        };
        for view in &views {
            view.preserve(changed, Some(self))?;
            view.seen.store(preservation, Ordering::Relaxed);
        }
        Ok(Preserved(preservation))
    }

    /// Makes a transaction's mapping the view of the last commit. Its copies are `own` alone. Gives the
    /// view, and the one before, where somebody has that.
    pub(super) fn publish(
        self: &Arc<Self>,
        sheet: Sheet,
        version: Version,
        own: Vec<PageRange>,
        preserved: &Preserved,
    ) -> (Arc<View>, Option<Arc<View>>) {
        let view = self.show(sheet, version, own, preserved.0);
        let mut state = self.state.lock();
        let old_count = state.version.page_count;
        (state.version, state.published) = (version, preserved.0);
        // What these have checked of the pages that change is not right any more.
        for sheet in &mut state.pool {
            sheet.pages.forget(&view.own, version.page_count..old_count);
        }
        let before = state.current.replace(Arc::clone(&view));
        let Some(before) = before else { return (view, None) };
        if Arc::strong_count(&before) == 1 && before.copies.lock().is_empty() {
            if let Some(mut sheet) = View::into_sheet(before) {
                sheet.pages.forget(&view.own, version.page_count..old_count);
                state.pool_in(sheet);
            }
            return (view, None);
        }
        state.older.push(Arc::downgrade(&before));
        // Not dropped here, under the lock that its end takes.
        (view, Some(before))
    }

    /// Copies the pages of a commit in the view before it, if somebody took that only after the others
    /// were preserved; whatever the limit is, since the commit is durable.
    pub(super) fn preserve_late(
        &self,
        view: &View,
        changed: &[PageRange],
        preserved: &Preserved,
    ) -> Result<()> {
        if view.seen.load(Ordering::Relaxed) < preserved.0 {
            view.preserve(changed, None)?;
            view.seen.store(preserved.0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes room for copies.
    pub(super) fn take_kept(&self, needed_bytes: u64) -> Result<()> {
        let Err(NoRoom { used_bytes }) = self.kept.take(needed_bytes)? else { return Ok(()) };
        let (oldest, snapshots) = self.oldest();
        Err(Error::KeptExceeded {
            path: self.source.backing.path().into(),
            needed_bytes,
            used_bytes,
            limit_bytes: self.kept.limit_bytes(),
            snapshots,
            oldest: oldest.map(|(commit, made)| (commit, made.elapsed())),
        })
    }

    /// The commit that the last one asked for would show.
    pub(super) fn version(&self) -> Version {
        self.state.lock().version
    }

    /// The oldest view that somebody has, and how many there are.
    pub(super) fn oldest(&self) -> (Option<(CommitId, Instant)>, usize) {
        let state = self.state.lock();
        let current = state.current.iter().filter(|view| Arc::strong_count(view) > 1).cloned();
        let views: Vec<_> = state.older.iter().filter_map(Weak::upgrade).chain(current).collect();
        drop(state);
        let oldest = views.iter().map(|view| (view.version.commit, view.made)).min();
        (oldest, views.len())
    }

    /// The most pages that a view has that somebody can read from.
    pub(super) fn page_count_max(&self) -> PageCount {
        let state = self.state.lock();
        let views = state.older.iter().filter_map(Weak::upgrade).chain(state.current.clone());
        let views: Vec<_> = views.collect();
        let most = views.iter().map(|view| view.version.page_count).max();
        let most = most.unwrap_or(PageCount::ZERO).max(state.version.page_count);
        drop(state);
        most
    }
}

impl State {
    fn sheet(&mut self, source: &Source) -> Result<Sheet> {
        let page_count = self.version.page_count;
        if let Some(mut sheet) = self.pool.pop() {
            sheet.pages.make_room_for(page_count)?;
            return Ok(sheet);
        }
        let map = PrivateMap::new(&source.backing, source.geometry, source.guard, page_count)?;
        let mut pages = Pages::new(map, source.hasher);
        pages.fit_checked(page_count);
        Ok(Sheet { pages, copies: Copies::default() })
    }

    fn pool_in(&mut self, sheet: Sheet) {
        // One in which a fault was met is good for nothing more.
        if self.pool.len() < POOL_MAX && sheet.pages.map.check().is_ok() {
            self.pool.push(sheet);
        }
    }
}

impl View {
    #[inline]
    pub(super) fn pages(&self) -> &Pages {
        self.pages.as_ref().expect("a view has its pages until it is taken apart")
    }

    #[inline]
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// What the table says of a page.
    pub(super) fn stamp(&self, page: PageId) -> Result<Option<PageStamp>> {
        self.pages().stamp(page, self.version.commit)
    }

    /// The runs of pages that this view's own commit changed, where their stamps may not be in the file.
    pub(super) fn own(&self) -> &[PageRange] {
        &self.own
    }

    /// Fails where a page could not be reached, or the file was cut short.
    pub(super) fn still_valid(&self) -> Result<()> {
        let map = &self.pages().map;
        map.check()?;
        let path = map.backing().path();
        let needed =
            map.geometry().file_len(self.version.page_count).map_err(Error::format(path))?;
        if map.backing().len_bytes()? < needed {
            map.note_short();
        }
        map.check()
    }

    /// Copies pages, and the stamps of pages, that are about to change in the file.
    fn preserve(&self, changed: &[PageRange], limited: Option<&Registry>) -> Result<()> {
        let pages = self.pages();
        let end = self.version.page_count.get();
        let mut copies = self.copies.lock();
        for run in changed {
            let first = run.start().get();
            if first >= end {
                break;
            }
            let last = run.end().get().min(end);
            let run = pages.map.resolve(run.start()..PageId::new(last), self.version.page_count)?;
            let table = pages.map.table_pages(run);
            let new = copies.missing(pages, run, table);
            if new == 0 {
                continue;
            }
            match limited {
                Some(registry) => registry.take_kept(new)?,
                None => self.take_anyway(new),
            }
            let copied = copies.make(pages, run, table);
            let rest = copies.missing(pages, run, table);
            if rest > 0
                && let Some(registry) = self.registry.upgrade()
            {
                registry.kept.give_back(rest);
            }
            copied?;
        }
        Ok(())
    }

    fn take_anyway(&self, bytes: u64) {
        if let Some(registry) = self.registry.upgrade() {
            registry.kept.take_anyway(bytes);
        }
    }

    /// Gives the copies of a view's own commit back to the kernel, once the file has the same bytes.
    /// What cannot be given back stays counted, until the mapping goes.
    ///
    /// # Safety
    /// The file has the same bytes in these pages as this view.
    #[expect(unsafe_code, reason = "drops copies of which the file has the bytes")]
    pub(super) unsafe fn drop_own_copies(&self) {
        let pages = self.pages();
        let mut copies = self.copies.lock();
        // SAFETY: by the caller's promise, the file has the same bytes.
        let dropped = unsafe { pages.drop_same(&self.own) };
        if dropped.is_err() {
            return;
        }
        let bytes = copies.data.count().get() * pages.map.geometry().page_size().get();
        copies.data.clear();
        if let Some(registry) = self.registry.upgrade() {
            registry.kept.give_back(bytes);
        }
    }

    /// Takes a view apart that nobody else has; its copies are given back.
    fn into_sheet(view: Arc<Self>) -> Option<Sheet> {
        let mut view = Arc::into_inner(view)?;
        view.take_sheet()
    }

    fn take_sheet(&mut self) -> Option<Sheet> {
        let pages = self.pages.take()?;
        let copies = std::mem::take(&mut *self.copies.lock());
        let mut sheet = Sheet { pages, copies };
        let dropped = sheet.drop_copies();
        if let Some(registry) = self.registry.upgrade() {
            match dropped {
                Ok(bytes) => registry.kept.give_back(bytes),
                // The mapping goes, and with it what it kept.
                Err((bytes, _)) => {
                    drop(sheet);
                    registry.kept.give_back(bytes);
                    return None;
                }
            }
        }
        Some(sheet)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let Some(mut sheet) = self.take_sheet() else { return };
        let Some(registry) = self.registry.upgrade() else { return };
        let mut state = registry.state.lock();
        // What was checked is right for the last commit only if this view took part in all preservations
        // since: then the pages that were changed are those that it had copies of.
        if self.seen.load(Ordering::Relaxed) < state.published {
            sheet.pages.forget_all();
        } else {
            let now = state.version.page_count;
            sheet.pages.forget(&[], now..self.version.page_count);
        }
        state.pool_in(sheet);
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("version", &self.version).finish_non_exhaustive()
    }
}
