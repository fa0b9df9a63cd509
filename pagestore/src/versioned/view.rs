//! The mappings that snapshots read from: which there are, who reads them, which can be used again.
//!
//! A *view* shows one commit and is shared by its readers; it never changes, but for copies that a commit
//! makes in it, of pages that it is about to change in the file. When nobody has it any more, what it shows
//! its pages by goes to the pool: for the next transaction, or the next view.
//!
//! This module knows no memory, only [`Mapped`]. That is what lets loom (`view/model.rs`) exercise the very
//! code that runs.

#[cfg(all(test, loom))]
mod model;

use std::{fmt, path::Path, sync::Weak, time::Instant};

use layout::{CommitId, PageCount, PageRange};

use super::{
    kept::{Kept, NoRoom},
    pages::Version,
};
use crate::{
    error::{Error, Result},
    sync::{
        Mutex, Shared,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// What is kept for later. One is the transaction's, one is what readers have, one is being cleaned.
const POOL_MAX: usize = 3;

/// What a view shows its pages by, or a transaction writes to: a private mapping of the file.
pub(super) trait Mapped: Sized {
    /// What it is made of.
    type Source;

    /// Makes one that shows the file, with room for `page_count` pages.
    fn make(source: &Self::Source, page_count: PageCount) -> Result<Self>;

    /// Where what it is made of lies.
    fn path(source: &Self::Source) -> &Path;

    fn make_room_for(&mut self, page_count: PageCount) -> Result<()>;

    /// Says how many pages it shows from now on. The copies that it has are of pages that are about to be
    /// written into the file.
    fn show(&mut self, page_count: PageCount);

    /// Copies those of the `changed` pages that lie below `end`, so that it goes on showing what they are now.
    /// `charge` is asked first for the bytes.
    fn preserve(
        &self,
        changed: &[PageRange],
        end: PageCount,
        charge: &dyn Fn(u64) -> Result<()>,
    ) -> Result<()>;

    /// Gives all copies back, so that it shows the file again; says whether it can be used again.
    fn clean(&mut self) -> bool;
}

/// One commit, as those see it who read it.
pub(super) struct View<M: Mapped> {
    /// `None` only while it is being taken apart.
    mapped: Option<M>,
    version: Version,
    /// The runs of pages of this very commit, where a transaction made this view. They, and their stamps,
    /// may be on their way into the file.
    own: Vec<PageRange>,
    readers: AtomicUsize,
    /// The last preservation that this view took part in, or that was over when it was made. One that is
    /// made between the preservation and the publication of a commit has not taken part.
    seen: AtomicU64,
    made: Instant,
    registry: Weak<Registry<M>>,
}

/// A reader's share of a view. As long as there is one, nothing that the view shows changes.
pub(super) struct Reader<M: Mapped> {
    view: Shared<View<M>>,
}

/// All views of one file.
pub(super) struct Registry<M: Mapped> {
    state: Mutex<State<M>>,
    source: M::Source,
    pub(super) kept: std::sync::Arc<Kept>,
}

struct State<M: Mapped> {
    version: Version,
    /// The view of the last commit, where somebody asked for one, or a transaction has just left it.
    current: Option<Shared<View<M>>>,
    /// Views of earlier commits that have readers.
    older: Vec<Shared<View<M>>>,
    /// Without copies.
    pool: Vec<M>,
    /// Counts preservations.
    preservation: u64,
    /// The last one whose commit was published.
    published: u64,
}

/// Views in which the pages that a commit changes were copied; needed to publish it.
#[derive(Debug)]
pub(super) struct Preserved(u64);

impl<M: Mapped> Registry<M> {
    pub(super) fn new(
        source: M::Source,
        kept: std::sync::Arc<Kept>,
        version: Version,
    ) -> std::sync::Arc<Self> {
        let state = State {
            version,
            current: None,
            older: Vec::new(),
            pool: Vec::new(),
            preservation: 0,
            published: 0,
        };
        std::sync::Arc::new(Self { state: Mutex::new(state), source, kept })
    }

    /// A share of the view of the last commit.
    pub(super) fn read(self: &std::sync::Arc<Self>) -> Result<Reader<M>> {
        let mut state = self.state.lock();
        if let Some(current) = &state.current {
            return Ok(Reader::new(current));
        }
        let version = state.version;
        let mapped = state.mapped(&self.source)?;
        let view = self.show(mapped, version, Vec::new(), state.published);
        let reader = Reader::new(&view);
        state.current = Some(view);
        Ok(reader)
    }

    /// What shows the last commit for a transaction to write to, but for pages that are on their way into the
    /// file.
    pub(super) fn for_writing(&self) -> Result<M> {
        if let Some(mut view) = self.state.lock().take_current()
            && let Some(mut mapped) = view.mapped.take()
            && mapped.clean()
        {
            return Ok(mapped);
        }
        self.state.lock().mapped(&self.source)
    }

    /// Takes back what a transaction had that was given up. It has no copies.
    pub(super) fn give_back(&self, mapped: M) {
        self.state.lock().pool_in(mapped);
    }

    fn show(
        self: &std::sync::Arc<Self>,
        mut mapped: M,
        version: Version,
        own: Vec<PageRange>,
        seen: u64,
    ) -> Shared<View<M>> {
        mapped.show(version.page_count);
        Shared::new(View {
            mapped: Some(mapped),
            version,
            own,
            readers: AtomicUsize::new(0),
            seen: AtomicU64::new(seen),
            made: Instant::now(),
            registry: std::sync::Arc::downgrade(self),
        })
    }

    /// Copies pages that are about to be changed in each view that has readers.
    ///
    /// # Errors
    /// [`Error::KeptExceeded`]; where a page cannot be read. Copies that were made stay: they harm nobody.
    pub(super) fn preserve(&self, changed: &[PageRange]) -> Result<Preserved> {
        let (preservation, views) = {
            let mut state = self.state.lock();
            state.preservation += 1;
            let views = state.older.iter().chain(&state.current).filter(|view| view.has_readers());
            (state.preservation, views.map(Shared::clone).collect::<Vec<_>>())
        };
        for view in &views {
            view.mapped()
                .preserve(changed, view.version.page_count, &|bytes| self.take_kept(bytes))?;
            view.seen.store(preservation, Ordering::Relaxed);
        }
        Ok(Preserved(preservation))
    }

    /// Makes what a transaction wrote to the view of the last commit. Its copies are `own` alone. Gives the
    /// view, and the one before, where that has readers.
    pub(super) fn publish(
        self: &std::sync::Arc<Self>,
        mapped: M,
        version: Version,
        own: Vec<PageRange>,
        preserved: &Preserved,
    ) -> (Shared<View<M>>, Option<Shared<View<M>>>) {
        let view = self.show(mapped, version, own, preserved.0);
        let mut state = self.state.lock();
        (state.version, state.published) = (version, preserved.0);
        let before = state.current.replace(Shared::clone(&view));
        let Some(before) = before else { return (view, None) };
        if before.has_readers() {
            state.older.push(Shared::clone(&before));
            return (view, Some(before));
        }
        // Nothing is given back to the kernel, or dropped, under the lock that readers need.
        drop(state);
        // Where this fails, its last reader is just going, and takes it apart.
        if let Ok(mut before) = Shared::try_unwrap(before)
            && let Some(mut mapped) = before.mapped.take()
            && mapped.clean()
        {
            self.state.lock().pool_in(mapped);
        }
        (view, None)
    }

    /// Copies the pages of a commit in the view before it, if somebody took that only after the others
    /// were preserved; whatever the limit is, since the commit is durable.
    pub(super) fn preserve_late(
        &self,
        view: &View<M>,
        changed: &[PageRange],
        preserved: &Preserved,
    ) -> Result<()> {
        if view.seen.load(Ordering::Relaxed) < preserved.0 {
            view.mapped().preserve(changed, view.version.page_count, &|bytes| {
                self.kept.take_anyway(bytes);
                Ok(())
            })?;
            view.seen.store(preserved.0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes room for copies.
    pub(super) fn take_kept(&self, needed_bytes: u64) -> Result<()> {
        let Err(NoRoom { used_bytes }) = self.kept.take(needed_bytes)? else { return Ok(()) };
        let (oldest, snapshots) = self.oldest();
        Err(Error::KeptExceeded {
            path: M::path(&self.source).into(),
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

    /// The oldest view that has readers, and how many there are.
    pub(super) fn oldest(&self) -> (Option<(CommitId, Instant)>, usize) {
        let state = self.state.lock();
        let views = state.older.iter().chain(&state.current).filter(|view| view.has_readers());
        let views = views.map(|view| (view.version.commit, view.made));
        (views.clone().min(), views.count())
    }

    /// The most pages that a view has that somebody can read from.
    pub(super) fn page_count_max(&self) -> PageCount {
        let state = self.state.lock();
        let views = state.older.iter().chain(&state.current).map(|view| view.version.page_count);
        views.max().unwrap_or(PageCount::ZERO).max(state.version.page_count)
    }

    /// Takes a view off the list whose last reader has gone, unless it is the current one, or has another
    /// reader by now.
    fn take_off(&self, view: &Shared<View<M>>) -> Option<Shared<View<M>>> {
        let mut state = self.state.lock();
        let place = state.older.iter().position(|other| Shared::ptr_eq(other, view));
        match place {
            Some(place) if !view.has_readers() => Some(state.older.swap_remove(place)),
            _ => None,
        }
    }
}

impl<M: Mapped> State<M> {
    /// Takes the current view, if nobody has it: nobody can become a reader of it without the lock.
    fn take_current(&mut self) -> Option<View<M>> {
        let view = self.current.take_if(|view| !view.has_readers())?;
        match Shared::try_unwrap(view) {
            Ok(view) => Some(view),
            // Its commit is still being written into the file, out of its copies.
            Err(view) => {
                self.current = Some(view);
                None
            }
        }
    }

    fn mapped(&mut self, source: &M::Source) -> Result<M> {
        let page_count = self.version.page_count;
        match self.pool.pop() {
            Some(mut mapped) => {
                mapped.make_room_for(page_count)?;
                Ok(mapped)
            }
            None => M::make(source, page_count),
        }
    }

    fn pool_in(&mut self, mapped: M) {
        if self.pool.len() < POOL_MAX {
            self.pool.push(mapped);
        }
    }
}

impl<M: Mapped> View<M> {
    #[inline]
    pub(super) fn mapped(&self) -> &M {
        self.mapped.as_ref().expect("a view has its mapping until it is taken apart")
    }

    #[inline]
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// The runs of pages that this view's own commit changed. They, and their stamps, may not be in the file.
    pub(super) fn own(&self) -> &[PageRange] {
        &self.own
    }

    /// Acquire: what was read by readers that have gone was read before what follows this.
    fn has_readers(&self) -> bool {
        self.readers.load(Ordering::Acquire) > 0
    }
}

impl<M: Mapped> Drop for View<M> {
    fn drop(&mut self) {
        let Some(mut mapped) = self.mapped.take() else { return };
        // A mapping that cannot be cleaned is not used again.
        if !mapped.clean() {
            return;
        }
        let Some(registry) = self.registry.upgrade() else { return };
        let mut state = registry.state.lock();
        state.pool_in(mapped);
    }
}

impl<M: Mapped> Reader<M> {
    /// Only under the registry's lock, or beside another reader of the view.
    fn new(view: &Shared<View<M>>) -> Self {
        view.readers.fetch_add(1, Ordering::Relaxed);
        Self { view: Shared::clone(view) }
    }

    #[inline]
    pub(super) fn view(&self) -> &View<M> {
        &self.view
    }
}

impl<M: Mapped> Clone for Reader<M> {
    fn clone(&self) -> Self {
        Self::new(&self.view)
    }
}

impl<M: Mapped> Drop for Reader<M> {
    fn drop(&mut self) {
        // Release: what was read is read before anybody sees that the reader has gone.
        if self.view.readers.fetch_sub(1, Ordering::Release) == 1
            && let Some(registry) = self.view.registry.upgrade()
        {
            // Its end takes the lock that `take_off` has given back.
            drop(registry.take_off(&self.view));
        }
    }
}

impl<M: Mapped> fmt::Debug for View<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("version", &self.version).finish_non_exhaustive()
    }
}

impl<M: Mapped> fmt::Debug for Registry<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}
