//! A writer and the file that it seals, against a vector of bytes: however it was appended, and
//! however it is read, under a budget or not.

use std::{
    num::NonZeroU64,
    ops::{ControlFlow, Range},
};

use arbitrary::{Arbitrary, Unstructured};
use storage::{
    Access, ByteOffset, Error, PageId, PageSize, PageWriter, PageWriterOptions, ResidencyBudget,
    SealedFile,
};

const OPS_MAX: usize = 60;
const BYTES_MAX: usize = 4 << 20;

#[derive(Arbitrary, Debug)]
struct Input {
    page_size_log2: u8,
    budget: bool,
    temporary: bool,
    writes: Vec<Write>,
    reads: Vec<Read>,
}

#[derive(Arbitrary, Debug)]
enum Write {
    These(Vec<u8>),
    Alike(u8, u16),
    /// Longer than what a writer collects before it writes.
    Many(u8, u8),
    AlignTo(u8),
    Reserve(u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Read {
    Page(u16),
    Pages(u16, u8),
    Items(u32, u16),
    /// A view, to be looked at in the end.
    Keep(u16, u8),
    Prefetch(u16, u8),
    Cool(u16, u8),
    Evict(u16, u8),
    Verify,
    Advise(bool),
    Far(u64, u64),
    /// Closed and opened again; a temporary file cannot be.
    Reopen,
}

/// Writes, seals and reads.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(input) = Input::arbitrary(&mut input) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let page_size = PageSize::new(4096 << (input.page_size_log2 % 5)).unwrap();
    let budget = input.budget.then(|| ResidencyBudget::new(8 << 20).unwrap());
    let mut options = PageWriterOptions::new().page_size(page_size);
    if let Some(budget) = &budget {
        options = options.budget(budget);
    }
    let mut bytes = Vec::new();
    let file = if input.temporary {
        let mut writer = options.create_temporary(folder.path()).unwrap();
        write(&mut writer, &input.writes, &mut bytes);
        writer.finish().unwrap()
    } else {
        let mut writer = options.create(&path).unwrap();
        write(&mut writer, &input.writes, &mut bytes);
        assert!(!path.exists(), "a file has its name when it is whole");
        writer.seal().unwrap()
    };
    let payload_len = bytes.len() as u64;
    bytes.resize(bytes.len().next_multiple_of(page_size.get_usize()), 0);
    let mut reading = Reading { file, bytes, payload_len, kept: Vec::new() };
    for read in input.reads.iter().take(OPS_MAX) {
        if matches!(read, Read::Reopen) && !input.temporary {
            let mut options = SealedFile::options();
            if let Some(budget) = &budget {
                options = options.budget(budget);
            }
            reading.file = options.open(&path).unwrap();
        }
        reading.step(*read);
    }
    reading.check_all();
}

fn write<T>(writer: &mut PageWriter<T>, writes: &[Write], bytes: &mut Vec<u8>) {
    for write in writes.iter().take(OPS_MAX) {
        let piece = match write {
            Write::These(piece) => piece.clone(),
            Write::Alike(byte, len) => vec![*byte; usize::from(*len)],
            Write::Many(byte, count) => vec![*byte; usize::from(*count) << 12],
            Write::AlignTo(log2) => {
                let align = NonZeroU64::new(1 << (log2 % 17)).unwrap();
                let end = bytes.len().next_multiple_of(usize::try_from(align.get()).unwrap());
                assert_eq!(writer.align_to(align).unwrap().get(), end as u64);
                bytes.resize(end, 0);
                continue;
            }
            Write::Reserve(more) => {
                writer.reserve(u64::from(*more) * 16).unwrap();
                continue;
            }
        };
        if bytes.len() + piece.len() > BYTES_MAX {
            continue;
        }
        assert_eq!(writer.append(&piece).unwrap().get(), bytes.len() as u64);
        bytes.extend(piece);
        assert_eq!(writer.payload_len(), bytes.len() as u64);
    }
}

struct Reading {
    file: SealedFile,
    /// All pages.
    bytes: Vec<u8>,
    payload_len: u64,
    kept: Vec<(bytes::Bytes, Range<usize>)>,
}

impl Reading {
    fn page_count(&self) -> u64 {
        self.file.page_size().pages_for(self.bytes.len() as u64).get()
    }

    fn resolve(&self, start: u16, count: u8) -> (Range<PageId>, Range<usize>) {
        let pages = self.page_count();
        let start = u64::from(start) % (pages + 1);
        let end = (start + u64::from(count)).min(pages);
        let at = |page: u64| usize::try_from(page).unwrap() * self.file.page_size().get_usize();
        (PageId::new(start)..PageId::new(end), at(start)..at(end))
    }

    fn step(&mut self, read: Read) {
        let file = &self.file;
        match read {
            Read::Page(page) => {
                let (ids, place) = self.resolve(page, 1);
                match file.page(ids.start) {
                    Ok(page) => assert!(*page == self.bytes[place]),
                    Err(error) => assert!(place.is_empty(), "{error}"),
                }
            }
            Read::Pages(start, count) => {
                let (ids, place) = self.resolve(start, count);
                assert!(*file.pages(ids.clone()).unwrap() == self.bytes[place.clone()]);
                let read = file.with_pages(ids, <[u8]>::to_vec).unwrap();
                assert!(read == self.bytes[place]);
            }
            Read::Items(offset, count) => self.items(offset, count.into()),
            Read::Keep(start, count) => {
                let (ids, place) = self.resolve(start, count);
                self.kept.push((file.bytes(ids).unwrap(), place));
            }
            Read::Prefetch(start, count) => {
                file.prefetch([self.resolve(start, count).0]).unwrap();
            }
            Read::Cool(start, count) => file.cool(self.resolve(start, count).0).unwrap(),
            Read::Evict(start, count) => file.evict(self.resolve(start, count).0).unwrap(),
            Read::Verify => {
                let report = file.verify(|_| ControlFlow::Continue(())).unwrap();
                assert!(report.is_ok(), "{report:?}");
            }
            Read::Advise(sequential) => {
                let access = if sequential { Access::Sequential } else { Access::Random };
                file.advise(.., access).unwrap();
            }
            Read::Far(start, count) => self.far(start, count),
            Read::Reopen => assert_eq!(file.payload_len(), self.payload_len),
        }
    }

    fn items(&self, offset: u32, count: usize) {
        let offset = offset as usize % (self.bytes.len() + 16);
        let fits = offset + count * 8 <= usize::try_from(self.payload_len).unwrap();
        match self.file.as_slice_of_at::<u64>(ByteOffset::new(offset as u64), count) {
            Ok(items) => {
                let read: Vec<u8> = items.iter().flat_map(|item| item.to_le_bytes()).collect();
                assert!(fits && read == self.bytes[offset..offset + count * 8]);
            }
            Err(Error::View(_)) => assert!(!fits || (count > 0 && !offset.is_multiple_of(8))),
            Err(other) => panic!("{other}"),
        }
    }

    fn far(&self, start: u64, count: u64) {
        let end = start.saturating_add(count);
        let ids = PageId::new(start)..PageId::new(end);
        if end <= self.page_count() {
            return;
        }
        let file = &self.file;
        let outcomes = [
            file.pages(ids.clone()).map(drop),
            file.pages_unverified(ids.clone()).map(drop),
            file.bytes(ids.clone()).map(drop),
            file.prefetch([ids.clone()]),
            file.cool(ids.clone()),
            file.evict(ids),
        ];
        for outcome in outcomes {
            assert!(matches!(outcome, Err(Error::Range(_))), "{outcome:?}");
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let far = file.as_slice_of_at::<u32>(ByteOffset::new(start), count);
        assert!(far.is_err() || start.saturating_add(4 * count as u64) <= self.payload_len);
    }

    fn check_all(&self) {
        assert_eq!(self.file.page_count().get(), self.page_count());
        assert_eq!(self.file.payload_len(), self.payload_len);
        assert!(*self.file.pages(..).unwrap() == *self.bytes);
        for (view, place) in &self.kept {
            assert!(*view == self.bytes[place.clone()], "a view has changed");
        }
        self.file.still_valid().unwrap();
    }
}
