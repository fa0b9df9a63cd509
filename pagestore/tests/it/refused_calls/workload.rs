//! Everything that this crate does, once, with a look at each answer.

use std::{
    fs::{File, OpenOptions},
    io::IoSlice,
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use pagestore::{
    Access, Error, Existing, MemoryBudget, PageCount, PageFile, PageId, PageSize, PageWriter,
    RawFile, RawMemory, ResidencyBudget, SealedFile, Snapshot, TempWriter, VersionedFile,
};

const MIB: usize = 1 << 20;
const LIMIT: u64 = 1 << 20;

/// Whether a budget can be kept by what is not refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    IsKept,
    CannotBeKept,
}

/// Bytes of which each page tells which one it is.
fn content(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (number, page) in (1_u64..).zip(bytes.chunks_mut(4096)) {
        page.chunks_mut(8)
            .for_each(|word| word.copy_from_slice(&number.to_le_bytes()[..word.len()]));
    }
    bytes
}

pub(crate) fn run(folder: &Path, limit: Limit) {
    mutable(&folder.join("mutable"));
    sealed(&folder.join("sealed"));
    temporary(folder);
    budgeted(folder, limit);
    raw(folder);
    memory();
    versioned(&folder.join("versioned"));
}

fn mutable(path: &Path) {
    for access in [Access::Random, Access::Normal, Access::Sequential] {
        let file = PageFile::options().access(access).create(path).unwrap();
        file.grow(PageCount::new(300)).unwrap();
        for page in 0..300 {
            let mut page_mut = file.page_mut(PageId::new(page)).unwrap();
            page_mut.fill(u8::try_from(page % 251).unwrap());
        }
        assert_eq!(file.flush().unwrap().pages.get(), 300);
        file.prefetch([..PageId::new(10)]).unwrap();
        file.advise(PageId::new(10)..PageId::new(20), Access::Sequential).unwrap();
        file.cool(..).unwrap();
        file.evict(..).unwrap();
        file.close().unwrap();
        let file = PageFile::options().access(access).open(path).unwrap();
        for page in 0..300 {
            let expected = u8::try_from(page % 251).unwrap();
            assert!(file.page(PageId::new(page)).unwrap().iter().all(|&byte| byte == expected));
        }
        file.close().unwrap();
        assert!(matches!(PageFile::create(path), Err(Error::AlreadyExists { .. })));
        std::fs::remove_file(path).unwrap();
    }
}

fn versioned(path: &Path) {
    let file = VersionedFile::options().log_bytes(1 << 20).create(path).unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(300).unwrap();
    transaction.pages_mut(..).unwrap().fill(1);
    transaction.commit().unwrap();
    let old = file.snapshot().unwrap();
    // As many as a thread writes into the file; and few.
    for (round, pages) in [(2, 0..100), (3, 50..150), (4, 100..102)] {
        let mut transaction = file.begin().unwrap();
        for page in pages {
            transaction.page_mut(page).unwrap().fill(round);
        }
        transaction.commit().unwrap();
    }
    // One that is given up.
    let mut transaction = file.begin().unwrap();
    transaction.pages_mut(PageId::new(40)..PageId::new(120)).unwrap().fill(9);
    drop(transaction);
    assert!(old.pages(..).unwrap().iter().all(|&byte| byte == 1));
    drop(old);
    let check = |snapshot: &Snapshot| {
        for page in 0..300 {
            let expected = match page {
                100..102 => 4,
                50..150 => 3,
                0..50 => 2,
                _ => 1,
            };
            assert!(snapshot.page(page).unwrap().iter().all(|&byte| byte == expected), "{page}");
        }
    };
    check(&file.snapshot().unwrap());
    file.close().unwrap();
    let file = VersionedFile::open(path).unwrap();
    check(&file.snapshot().unwrap());
    file.close().unwrap();
    std::fs::remove_file(path).unwrap();
}

fn sealed(path: &Path) {
    let bytes = content(3 * MIB);
    for huge_pages in [false, true] {
        let mut writer = PageWriter::options().huge_pages(huge_pages).create(path).unwrap();
        writer.append(&bytes).unwrap();
        let file = writer.seal().unwrap();
        assert!(file.pages(..).unwrap() == bytes);
        file.evict(..).unwrap();
        drop(file);
        for access in [Access::Random, Access::Normal, Access::Sequential] {
            let file = SealedFile::options().access(access).open(path).unwrap();
            file.prefetch([PageId::new(7)..PageId::new(90)]).unwrap();
            // The kernel may evict what it likes at any moment, but hardly three times in a row.
            let loaded = PageId::new(100)..PageId::new(700);
            let is_there = (0..3).any(|_| {
                file.load(loaded.clone()).unwrap();
                file.is_resident(loaded.clone()).unwrap()
            });
            assert!(is_there);
            file.advise(PageId::new(3)..PageId::new(9), Access::Random).unwrap();
            for chunk in 0..12 {
                let pages = PageId::new(chunk * 64)..PageId::new((chunk + 1) * 64);
                let start = usize::try_from(chunk).unwrap() * 64 * 4096;
                assert!(file.pages(pages).unwrap() == &bytes[start..start + 64 * 4096]);
            }
            file.cool(..).unwrap();
            file.evict(..).unwrap();
            assert!(file.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
            file.still_valid().unwrap();
            let _whatever_it_is = file.lease();
        }
        // In the place of the old one, and then where it is gone.
        let replacing = PageWriter::options().existing(Existing::Replace);
        drop(replacing.create(path).unwrap().seal().unwrap());
        assert!(matches!(PageWriter::create(path), Err(Error::AlreadyExists { .. })));
        std::fs::remove_file(path).unwrap();
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 0, "nothing is left behind");
    }
}

fn temporary(folder: &Path) {
    let bytes = content(3 * MIB);
    let mut writer = TempWriter::create_in(folder).unwrap();
    writer.append(&bytes).unwrap();
    assert!(writer.finish().unwrap().pages(..).unwrap() == bytes);
}

fn budgeted(folder: &Path, limit: Limit) {
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    let path = folder.join("budgeted");
    let bytes = content(3 * MIB);
    let mut writer = PageWriter::options().budget(&budget).create(&path).unwrap();
    for part in bytes.chunks(100_000) {
        writer.append(part).unwrap();
    }
    let is_kept = |file: &SealedFile| {
        let resident = file.residency().map_or(0, |residency| residency.resident_bytes);
        assert!(limit == Limit::CannotBeKept || resident <= LIMIT + LIMIT / 20, "{resident}");
    };
    drop(writer.seal().unwrap());
    for access in [Access::Random, Access::Normal, Access::Sequential] {
        let file = SealedFile::options().budget(&budget).access(access).open(&path).unwrap();
        for (number, expected) in bytes.chunks(4096).enumerate() {
            let page = PageId::new(number as u64 * 509 % 768);
            let at = usize::try_from(page.get()).unwrap() * 4096;
            assert_eq!(file.page(page).unwrap()[0], bytes[at]);
            assert!(file.page(PageId::new(number as u64)).unwrap() == expected);
            if number % 64 == 0 {
                is_kept(&file);
            }
        }
    }
    let file = PageFile::options().budget(&budget).create(folder.join("pages")).unwrap();
    file.grow(PageCount::new(600)).unwrap();
    for page in 0..600 {
        file.page_mut(PageId::new(page)).unwrap()[..8].copy_from_slice(&page.to_le_bytes());
    }
    file.flush().unwrap();
    for page in 0..600 {
        assert_eq!(file.page(PageId::new(page)).unwrap()[..8], page.to_le_bytes());
    }
}

fn open_raw(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .unwrap()
}

fn raw(folder: &Path) {
    let bytes = content(3 * MIB + 77);
    let budget = ResidencyBudget::new(LIMIT).unwrap();
    for (name, options) in
        [("raw", RawFile::options()), ("raw budgeted", RawFile::options().budget(&budget))]
    {
        let path = folder.join(name);
        let file = options.open(open_raw(&path), &path).unwrap();
        for (number, part) in bytes.chunks(MIB).enumerate() {
            file.write_at((number * MIB) as u64, &[IoSlice::new(part)]).unwrap();
        }
        let mut buffer = vec![0; 300_000];
        file.read_at(1_000_001, &mut buffer).unwrap();
        assert!(buffer == bytes[1_000_001..1_300_001]);
        if let Some(read) = file.try_read_at(5, &mut buffer[..100]) {
            read.unwrap();
            assert_eq!(buffer[..100], bytes[5..105]);
        }
        file.sync().unwrap();
        file.seal().unwrap();
        drop(file);
        let file = options.access(Access::Random).open(File::open(&path).unwrap(), &path).unwrap();
        assert!(file.is_sealed());
        file.prefetch(&[(0, 100_000), (2_000_000, 10)]).unwrap();
        file.advise(.., Access::Normal).unwrap();
        for start in (0..bytes.len() - 70_000).step_by(70_000).rev() {
            let view = file.view_in_memory(start as u64, 70_000).unwrap();
            assert!(view == bytes[start..start + 70_000]);
            if let Some(view) = file.try_view(start as u64, 5000) {
                assert!(view.unwrap() == bytes[start..start + 5000]);
            }
        }
        file.still_valid().unwrap();
    }
}

fn memory() {
    let memory = RawMemory::new(Arc::new(MemoryBudget::new(32 << 20))).unwrap();
    let bytes = content(5 * MIB);
    memory.write_at(0, &[&bytes]).unwrap();
    let mut buffer = vec![0; MIB];
    memory.read_at(MIB as u64, &mut buffer).unwrap();
    assert!(buffer == bytes[MIB..2 * MIB]);
    let pages = PageFile::anonymous(PageSize::DEFAULT).unwrap();
    pages.grow(PageCount::new(700)).unwrap();
    pages.page_mut(PageId::new(699)).unwrap().fill(3);
    assert_eq!(pages.page(PageId::new(699)).unwrap()[17], 3);
}
