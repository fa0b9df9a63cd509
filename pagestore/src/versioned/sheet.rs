//! A private mapping and its copies: what a transaction writes to, and a view shows its pages by.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use layout::{PageCount, PageHasher, PageId, PageRange, PageStamp, VersionedGeometry};

use super::{
    backing::Backing,
    checked::Checked,
    kept::Kept,
    map::PrivateMap,
    page_set::PageSet,
    pages::Pages,
    view::{Mapped, Reader, Registry, View},
};
use crate::{
    error::{Error, Result},
    map::fault::Guard,
    sync::Mutex,
    tables::bits::words_of,
};

/// All mappings of one file.
pub(super) type Sheets = Registry<Sheet>;
/// One that shows a commit.
pub(super) type SheetView = View<Sheet>;
/// A reader's share of that.
pub(super) type SheetReader = Reader<Sheet>;

/// A private mapping, and what it has copied.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) pages: Pages,
    /// Locked where many have the sheet, as a view.
    copies: Mutex<Copies>,
    // Behind the mapping, so that the kernel has the memory again when it is no longer counted.
    charge: Charge,
}

/// Which pages of a mapping are copies, no longer the file's.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Data pages.
    pub(super) data: PageSet,
    /// The system's pages that stamps lie in, counted from the first stamp on.
    table: PageSet,
    /// Those of `data` that are given back when the file has the same bytes.
    own: PageSet,
}

/// The bytes that copies take, counted until they are given back.
#[derive(Debug)]
struct Charge {
    kept: Arc<Kept>,
    bytes: AtomicU64,
}

/// What sheets are made of.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) backing: Arc<Backing>,
    pub(super) geometry: VersionedGeometry,
    pub(super) guard: Guard,
    pub(super) hasher: PageHasher,
    pub(super) checked: Arc<Checked>,
    pub(super) kept: Arc<Kept>,
}

impl Charge {
    /// Counts bytes here that were taken of what is kept.
    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.kept.give_back(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.kept.give_back(*self.bytes.get_mut());
    }
}

impl Mapped for Sheet {
    type Source = Source;

    fn make(source: &Source, page_count: PageCount) -> Result<Self> {
        let map = PrivateMap::new(&source.backing, source.geometry, source.guard, page_count)?;
        let pages = Pages::new(map, source.hasher, &source.checked, page_count)?;
        let charge = Charge { kept: Arc::clone(&source.kept), bytes: AtomicU64::new(0) };
        Ok(Self { pages, copies: Mutex::new(Copies::default()), charge })
    }

    fn path(source: &Source) -> &Path {
        source.backing.path()
    }

    fn make_room_for(&mut self, page_count: PageCount) -> Result<()> {
        self.pages.make_room_for(page_count)
    }

    fn show(&mut self, page_count: PageCount) {
        self.pages.set_free(page_count);
        let copies = self.copies.get_mut();
        for run in copies.data.runs() {
            copies.own.insert(run);
        }
    }

    fn preserve(
        &self,
        changed: &[PageRange],
        end: PageCount,
        charge: &dyn Fn(u64) -> Result<()>,
    ) -> Result<()> {
        let map = &self.pages.map;
        let mut copies = self.copies.lock();
        for run in changed {
            if run.start().get() >= end.get() {
                break;
            }
            let last = PageId::new(run.end().get().min(end.get()));
            let run = map.resolve(run.start()..last, end)?;
            let table = map.table_pages(run);
            // The file has other bytes soon.
            copies.own.remove(run);
            let new = copies.missing(&self.pages, run, table);
            if new == 0 {
                continue;
            }
            charge(new)?;
            self.charge.add(new);
            for part in copies.data.missing_runs(run) {
                self.pages.doubt(part);
            }
            let copied = copies.make(&self.pages, run, table);
            if copied.is_err() {
                self.charge.give_back(copies.missing(&self.pages, run, table));
            }
            copied?;
        }
        Ok(())
    }

    fn clean(&mut self) -> bool {
        let copies = self.copies.get_mut();
        self.pages.doubtful.clear();
        if copies.data.is_empty() && copies.table.is_empty() {
            return self.pages.map.check().is_ok();
        }
        let bytes = copies.bytes(&self.pages);
        let (data, table) = (copies.data.runs(), copies.table.runs());
        if self.pages.drop_copies(&data, &table).is_err() {
            return false;
        }
        copies.clear();
        self.charge.give_back(bytes);
        self.pages.map.check().is_ok()
    }
}

impl Sheet {
    /// The copies, for who has the sheet for itself.
    pub(super) fn copies(&mut self) -> &Copies {
        self.copies.get_mut()
    }

    /// How many pages are copies.
    pub(super) fn copied_count(&self) -> PageCount {
        self.copies.lock().data.count()
    }

    /// How many of some pages are no copies.
    pub(super) fn missing_count(&self, range: PageRange) -> u64 {
        self.copies.lock().data.missing_count(range)
    }

    /// Those of some pages that are copies.
    pub(super) fn copied_runs(&self, range: PageRange) -> Vec<PageRange> {
        self.copies.lock().data.runs_in(range)
    }

    /// Makes those copies of pages that are missing. `charge` is asked first for the bytes.
    pub(super) fn copy(
        &mut self,
        range: PageRange,
        charge: impl Fn(u64) -> Result<()>,
    ) -> Result<()> {
        let copies = self.copies.get_mut();
        let new = copies.missing(&self.pages, range, PageRange::EMPTY);
        charge(new)?;
        self.charge.add(new);
        let made = copies.make(&self.pages, range, PageRange::EMPTY);
        if made.is_err() {
            self.charge.give_back(copies.missing(&self.pages, range, PageRange::EMPTY));
        }
        made
    }

    /// Gives the copies of some pages back to the kernel.
    pub(super) fn drop_copies_of(&mut self, range: PageRange) -> io::Result<()> {
        let copies = self.copies.get_mut();
        self.pages.drop_copies(&[range], &[])?;
        let before = copies.data.count().get();
        copies.data.remove(range);
        let count = before - copies.data.count().get();
        self.charge.give_back(count * self.pages.map.geometry().page_size().get());
        Ok(())
    }

    /// Gives the copies of a view's own commit back to the kernel, once the file has the same bytes; but not
    /// those that another commit is about to change. What cannot be given back stays counted, until the
    /// mapping goes.
    ///
    /// # Safety
    /// The file has the same bytes in the pages that were copies when this was shown, but for those that were
    /// preserved since.
    pub(super) unsafe fn drop_own_copies(&self) {
        // Held to the end, so that nobody preserves what is being dropped.
        let mut copies = self.copies.lock();
        let own = copies.own.runs();
        // SAFETY: by the caller's promise, the file has the same bytes.
        let dropped = unsafe { self.pages.drop_same(&own) };
        if dropped.is_err() {
            return;
        }
        let before = copies.data.count().get();
        if copies.own.count() == copies.data.count() {
            copies.data.clear();
        } else {
            own.iter().for_each(|&run| copies.data.remove(run));
        }
        copies.own.clear();
        let count = before - copies.data.count().get();
        self.charge.give_back(count * self.pages.map.geometry().page_size().get());
    }
}

impl SheetView {
    /// What the table says of a page.
    pub(super) fn stamp(&self, page: PageId) -> Result<Option<PageStamp>> {
        self.mapped().pages.stamp(page, self.version().commit)
    }

    /// Fails where a page could not be reached, or the file was cut short.
    pub(super) fn still_valid(&self) -> Result<()> {
        let map = &self.mapped().pages.map;
        map.check()?;
        let path = map.backing().path();
        let needed =
            map.geometry().file_len(self.version().page_count).map_err(Error::format(path))?;
        if map.backing().len_bytes()? < needed {
            map.note_short();
        }
        map.check()
    }
}

impl Copies {
    /// The bytes of copies that are still to be made of some pages, and of pages of stamps.
    fn missing(&self, pages: &Pages, run: PageRange, table: PageRange) -> u64 {
        let data = self.data.missing_count(run) * pages.map.geometry().page_size().get();
        data + self.table.missing_count(table) * rustix::param::page_size() as u64
    }

    /// Makes the copies of pages that are missing, and of pages of stamps. What was copied is noted also
    /// where a later part fails.
    fn make(&mut self, pages: &Pages, run: PageRange, table: PageRange) -> Result<()> {
        for part in self.table.missing_runs(table) {
            let place = pages.map.table_pages_place(part);
            pages.copy(place).map_err(|source| pages.map.unreachable(run, source))?;
            self.table.insert(part);
        }
        for part in self.data.missing_runs(run) {
            let place = pages.map.place(part);
            pages.copy(place).map_err(|source| pages.map.unreachable(part, source))?;
            self.data.insert(part);
        }
        Ok(())
    }

    /// The bytes of all copies.
    fn bytes(&self, pages: &Pages) -> u64 {
        let data = self.data.count().get() * pages.map.geometry().page_size().get();
        data + self.table.count().get() * rustix::param::page_size() as u64
    }

    fn clear(&mut self) {
        self.data.clear();
        self.table.clear();
        self.own.clear();
    }
}

impl Pages {
    /// Notes what is not known to be right of pages of which copies are about to be made.
    fn doubt(&self, range: PageRange) {
        for mut word in words_of(range) {
            word.bits &= !self.checked.of(word);
            self.doubtful.add(word);
        }
    }
}
