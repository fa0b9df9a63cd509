//! Sequences of operations on a page file and on anonymous pages, side by side against a vector of
//! bytes and a set of dirty pages.

use std::{
    collections::BTreeSet,
    ops::Range,
    path::{Path, PathBuf},
};

use arbitrary::{Arbitrary, Unstructured};
use storage::{
    Access, ByteOffset, Error, FlushTarget, PageCount, PageFile, PageFileOptions, PageId, PageSize,
    Populate, ResidencyBudget, inspect,
};

const OPS_MAX: usize = 60;
/// The most bytes that the pages grow to, so that an input is done in about a millisecond.
const BYTES_MAX: usize = 1 << 20;

#[derive(Arbitrary, Debug)]
struct Input {
    page_size_log2: u8,
    access: u8,
    on_touch: bool,
    budget: bool,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Op {
    Grow(u8),
    Store {
        pages: Pages,
        at: u32,
        len: u16,
        byte: u8,
    },
    Read(Pages),
    View(Pages, Item, u32, u16),
    StoreItems(Pages, Item, u32, u16, u8),
    /// Borrows to write, and does not.
    LookToWrite(Pages),
    /// One guard is open while another is asked for.
    Latched {
        held: Pages,
        held_to_write: bool,
        asked: Pages,
        asked_to_write: bool,
    },
    Flush,
    FlushWhileOpen(Pages, u8),
    /// Dropped without a flush, or closed.
    Reopen {
        closed: bool,
    },
    Evict(Pages),
    Cool(Pages),
    Prefetch(Pages, Pages),
    Advise(u8),
    Recover,
    Beyond(u64, u64),
}

/// Some pages, by numbers that are brought into the range there is.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Pages(u8, u8);

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Item {
    Byte,
    Two,
    Eight,
    Sixteen,
    Three,
}

/// Does the operations on both.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(input) = Input::arbitrary(&mut input) else { return };
    let folder = tempfile::tempdir().unwrap();
    let page_size = PageSize::new(4096 << (input.page_size_log2 % 4)).unwrap();
    let populate = if input.on_touch { Populate::OnTouch } else { Populate::BeforeBorrow };
    let mut options = PageFile::options()
        .page_size(page_size)
        .address_space_bytes(64 << 20)
        .access(access(input.access))
        .populate(populate);
    let mut anonymous = Side::new(options.anonymous().unwrap(), None, options.clone());
    if input.budget {
        options = options.budget(&ResidencyBudget::new(4 << 20).unwrap());
    }
    let path = folder.path().join("pages");
    let mut in_file = Side::new(options.create(&path).unwrap(), Some(path), options);
    for op in input.ops.iter().take(OPS_MAX) {
        in_file.step(*op, folder.path());
        anonymous.step(*op, folder.path());
    }
    in_file.check_all();
    anonymous.check_all();
}

fn access(number: u8) -> Access {
    [Access::Random, Access::Sequential, Access::Normal][usize::from(number) % 3]
}

/// Pages, and what they must hold.
struct Side {
    file: Option<PageFile>,
    path: Option<PathBuf>,
    options: PageFileOptions,
    bytes: Vec<u8>,
    dirty: BTreeSet<u64>,
}

impl Side {
    fn new(file: PageFile, path: Option<PathBuf>, options: PageFileOptions) -> Self {
        Self { file: Some(file), path, options, bytes: Vec::new(), dirty: BTreeSet::new() }
    }

    fn file(&self) -> &PageFile {
        self.file.as_ref().unwrap()
    }

    fn page_len(&self) -> usize {
        self.file().page_size().get_usize()
    }

    fn page_count(&self) -> u64 {
        (self.bytes.len() / self.page_len()) as u64
    }

    /// The pages meant, which may be none.
    fn resolve(&self, pages: Pages) -> Range<u64> {
        let count = self.page_count();
        let start = u64::from(pages.0) % (count + 1);
        start..(start + u64::from(pages.1 % 5)).min(count)
    }

    fn ids(pages: &Range<u64>) -> Range<PageId> {
        PageId::new(pages.start)..PageId::new(pages.end)
    }

    /// Where some pages lie in the model.
    fn place(&self, pages: &Range<u64>) -> Range<usize> {
        let at = |page: u64| usize::try_from(page).unwrap() * self.page_len();
        at(pages.start)..at(pages.end)
    }

    fn step(&mut self, op: Op, folder: &Path) {
        match op {
            Op::Grow(count) => self.grow(u64::from(count % 9)),
            Op::Store { pages, at, len, byte } => self.store(pages, at, len, byte),
            Op::Read(pages) => self.read(&self.resolve(pages)),
            Op::View(pages, item, offset, count) => self.view(pages, item, offset, count),
            Op::StoreItems(pages, item, offset, count, byte) => {
                self.store_items(pages, item, offset, count, byte);
            }
            Op::LookToWrite(pages) => {
                let pages = self.resolve(pages);
                let guard = self.file().pages_mut(Self::ids(&pages)).unwrap();
                assert!(*guard == self.bytes[self.place(&pages)]);
            }
            Op::Latched { held, held_to_write, asked, asked_to_write } => {
                self.latched((held, held_to_write), (asked, asked_to_write));
            }
            Op::Flush => self.flush(),
            Op::FlushWhileOpen(pages, byte) => self.flush_while_open(pages, byte),
            Op::Reopen { closed } => self.reopen(closed),
            Op::Evict(pages) => {
                self.file().evict(Self::ids(&self.resolve(pages))).unwrap();
                // What is dirty of a file goes to the disk first; all of it, or the extents'.
                if self.path.is_some() {
                    self.dirty
                        .retain(|page| self.file.as_ref().unwrap().is_dirty(PageId::new(*page)));
                }
            }
            Op::Cool(pages) => self.file().cool(Self::ids(&self.resolve(pages))).unwrap(),
            Op::Prefetch(a, b) => {
                let ranges = [a, b].map(|pages| Self::ids(&self.resolve(pages)));
                self.file().prefetch(ranges).unwrap();
            }
            Op::Advise(number) => self.file().advise(.., access(number)).unwrap(),
            Op::Recover => self.recover(folder),
            Op::Beyond(start, count) => self.beyond(start, count),
        }
        self.check_counts();
    }

    fn grow(&mut self, count: u64) {
        let len = usize::try_from(count).unwrap() * self.page_len();
        if self.bytes.len() + len > BYTES_MAX {
            return;
        }
        let before = self.page_count();
        let grown = self.file().grow(PageCount::new(count)).unwrap();
        assert_eq!((grown.start().get(), grown.count().get()), (before, count));
        self.bytes.resize(self.bytes.len() + len, 0);
    }

    fn store(&mut self, pages: Pages, at: u32, len: u16, byte: u8) {
        let pages = self.resolve(pages);
        let place = self.place(&pages);
        if pages.is_empty() {
            return;
        }
        let at = at as usize % place.len();
        let len = usize::from(len).min(place.len() - at);
        let mut guard = self.file().pages_mut(Self::ids(&pages)).unwrap();
        guard[at..at + len].fill(byte);
        drop(guard);
        self.bytes[place][at..at + len].fill(byte);
        self.dirty.extend(pages);
    }

    fn read(&self, pages: &Range<u64>) {
        let expected = &self.bytes[self.place(pages)];
        assert!(*self.file().pages(Self::ids(pages)).unwrap() == *expected, "pages {pages:?}");
        let read = self.file().with_pages(Self::ids(pages), <[u8]>::to_vec).unwrap();
        assert!(read == expected, "pages {pages:?}");
    }

    fn view(&self, pages: Pages, item: Item, offset: u32, count: u16) {
        let pages = self.resolve(pages);
        let expected = &self.bytes[self.place(&pages)];
        let guard = self.file().pages(Self::ids(&pages)).unwrap();
        let offset = offset as usize % (expected.len() + 32);
        let at = ByteOffset::new(offset as u64);
        macro_rules! view {
            ($item:ty, $to_bytes:expr) => {{
                let size = size_of::<$item>();
                let len = usize::from(count) * size;
                let fits = offset + len <= expected.len();
                let aligned = offset.is_multiple_of(align_of::<$item>()) || len == 0;
                match guard.as_slice_of_at::<$item>(at, count.into()) {
                    Ok(items) => {
                        assert!(fits && items.len() == usize::from(count));
                        let bytes: Vec<u8> = items.iter().flat_map($to_bytes).collect();
                        assert!(bytes == expected[offset..offset + len]);
                    }
                    Err(Error::View(_)) => assert!(!fits || !aligned),
                    Err(other) => panic!("{other}"),
                }
                let whole = guard.as_slice_of::<$item>();
                assert_eq!(whole.is_ok(), expected.len().is_multiple_of(size));
            }};
        }
        match item {
            Item::Byte => view!(u8, |item| item.to_le_bytes()),
            Item::Two => view!(u16, |item| item.to_le_bytes()),
            Item::Eight => view!(u64, |item| item.to_le_bytes()),
            Item::Sixteen => view!(u128, |item| item.to_le_bytes()),
            Item::Three => view!([u8; 3], |item| *item),
        }
    }

    fn store_items(&mut self, pages: Pages, item: Item, offset: u32, count: u16, byte: u8) {
        let pages = self.resolve(pages);
        let place = self.place(&pages);
        let offset = offset as usize % (place.len() + 32);
        let at = ByteOffset::new(offset as u64);
        let mut guard = self.file().pages_mut(Self::ids(&pages)).unwrap();
        macro_rules! store {
            ($item:ty, $value:expr) => {{
                match guard.as_slice_of_mut_at::<$item>(at, count.into()) {
                    Ok(items) => {
                        items.fill($value);
                        Some(usize::from(count) * size_of::<$item>())
                    }
                    Err(Error::View(_)) => None,
                    Err(other) => panic!("{other}"),
                }
            }};
        }
        let stored = match item {
            Item::Byte => store!(u8, byte),
            Item::Two => store!(u16, u16::from_le_bytes([byte; 2])),
            Item::Eight => store!(u64, u64::from_le_bytes([byte; 8])),
            Item::Sixteen => store!(u128, u128::from_le_bytes([byte; 16])),
            Item::Three => store!([u8; 3], [byte; 3]),
        };
        drop(guard);
        match stored {
            Some(len) => {
                self.bytes[place][offset..offset + len].fill(byte);
                self.dirty.extend(pages);
            }
            // A view that is refused may have marked the pages by then.
            None => self.dirty.extend(
                pages.filter(|page| self.file.as_ref().unwrap().is_dirty(PageId::new(*page))),
            ),
        }
    }

    fn latched(&self, held: (Pages, bool), asked: (Pages, bool)) {
        let (held_pages, asked_pages) = (self.resolve(held.0), self.resolve(asked.0));
        let meets = !held_pages.is_empty()
            && !asked_pages.is_empty()
            && held_pages.start.max(asked_pages.start) < held_pages.end.min(asked_pages.end);
        let file = self.file();
        let (reading, writing);
        if held.1 {
            writing = file.pages_mut(Self::ids(&held_pages)).unwrap();
            assert!(*writing == self.bytes[self.place(&held_pages)]);
        } else {
            reading = file.pages(Self::ids(&held_pages)).unwrap();
            assert!(*reading == self.bytes[self.place(&held_pages)]);
        }
        let outcome = if asked.1 {
            file.try_pages_mut(Self::ids(&asked_pages)).map(drop)
        } else {
            file.try_pages(Self::ids(&asked_pages)).map(drop)
        };
        match outcome {
            Ok(()) => assert!(!meets || !(held.1 || asked.1), "two borrows that conflict"),
            Err(Error::Latched { .. }) => assert!(meets && (held.1 || asked.1)),
            Err(other) => panic!("{other}"),
        }
    }

    fn flush(&mut self) {
        let report = self.file().flush().unwrap();
        let runs = self.dirty.iter().filter(|page| !self.dirty.contains(&(*page + 1))).count();
        assert_eq!(report.pages.get(), self.dirty.len() as u64);
        assert_eq!(report.runs, runs as u64);
        assert_eq!(report.bytes, self.dirty.len() as u64 * self.page_len() as u64);
        assert_eq!(report.pages_still_open, PageCount::ZERO);
        assert_eq!(report.target == FlushTarget::File, self.path.is_some());
        self.dirty.clear();
        if let Some(path) = &self.path {
            let seen = inspect(path).unwrap();
            assert_eq!(seen.page_count.get(), self.page_count());
            assert_eq!(seen.superblock.page_count().get(), self.page_count());
        }
    }

    /// What is stored through a guard that was open meanwhile is dirty afterwards.
    fn flush_while_open(&mut self, pages: Pages, byte: u8) {
        let pages = self.resolve(pages);
        if pages.is_empty() {
            return;
        }
        let place = self.place(&pages);
        let mut guard = self.file().pages_mut(Self::ids(&pages)).unwrap();
        guard[0] = byte;
        let report = self.file().flush().unwrap();
        assert_eq!(report.pages_still_open.get(), pages.end - pages.start);
        *guard.last_mut().unwrap() = byte;
        drop(guard);
        self.bytes[place.start] = byte;
        self.bytes[place.end - 1] = byte;
        self.dirty.clear();
        self.dirty.extend(pages);
    }

    fn reopen(&mut self, closed: bool) {
        let Some(path) = &self.path else { return };
        let file = self.file.take().unwrap();
        if closed {
            file.close().unwrap();
        } else {
            drop(file);
        }
        self.file = Some(self.options.open(path).unwrap());
        // Nothing is lost, and what the kernel writes by itself is not dirty to us.
        self.dirty.clear();
        self.check_all();
    }

    fn recover(&self, folder: &Path) {
        let path = folder.join("copy");
        let report = self.file().recover_into(&path).unwrap();
        assert_eq!(report.pages.get(), self.page_count());
        let copy = self.options.open(&path).unwrap();
        assert_eq!(copy.page_count(), self.file().page_count());
        assert!(*copy.pages(..).unwrap() == *self.bytes);
        drop(copy);
        std::fs::remove_file(path).unwrap();
    }

    /// Pages that are not there, by any numbers.
    fn beyond(&self, start: u64, count: u64) {
        let end = start.saturating_add(count);
        let (ids, file) = (PageId::new(start)..PageId::new(end), self.file());
        if end <= self.page_count() {
            return;
        }
        let outcomes = [
            file.pages(ids.clone()).map(drop),
            file.pages_mut(ids.clone()).map(drop),
            file.try_pages(ids.clone()).map(drop),
            file.evict(ids.clone()),
            file.cool(ids.clone()),
            file.prefetch([ids.clone()]),
            file.is_resident(ids).map(drop),
        ];
        for outcome in outcomes {
            assert!(matches!(outcome, Err(Error::Range(_))), "{outcome:?}");
        }
        assert!(start < self.page_count() || !file.is_dirty(PageId::new(start)));
        // More than the address space has room for.
        let grown = file.grow(PageCount::new(end.max(1 << 20)));
        assert!(matches!(grown, Err(Error::AddressSpaceFull { .. })), "{grown:?}");
    }

    fn check_counts(&self) {
        let file = self.file();
        assert_eq!(file.page_count().get(), self.page_count());
        assert_eq!(file.dirty_count().get(), self.dirty.len() as u64);
        for page in 0..self.page_count() {
            assert_eq!(file.is_dirty(PageId::new(page)), self.dirty.contains(&page), "{page}");
        }
        file.still_valid().unwrap();
    }

    fn check_all(&self) {
        self.check_counts();
        self.read(&(0..self.page_count()));
        for page in 0..self.page_count() {
            let one = self.file().page(PageId::new(page)).unwrap();
            assert!(*one == self.bytes[self.place(&(page..page + 1))]);
        }
    }
}
