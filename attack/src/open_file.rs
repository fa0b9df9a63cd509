//! A file that somebody made up, opened in every way, and everything in it touched.
//!
//! Most inputs are changes to a small file that the store wrote, with the checksums made right again
//! where the input says so: of the records, the pages, and the table. Others are just bytes.

use std::{fs, ops::ControlFlow, path::Path, sync::OnceLock};

use arbitrary::{Arbitrary, Unstructured};
use layout::{Geometry, Header, PageHasher, SEAL_BLOCK_LEN_BYTES, TableHasher};
use storage::{
    ColumnSpec, Columns, ColumnsWriter, Error, PageCount, PageFile, PageId, PageSize, PageWriter,
    SealedFile, inspect,
    run::{Run, RunWriter},
};

use crate::forge::{Patch, make_right};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    base: Base,
    /// In the header's records, anywhere in the file, and in its last two blocks.
    header_patches: Vec<(bool, Patch)>,
    patches: Vec<Patch>,
    end_patches: Vec<Patch>,
    right: Right,
    damage: Option<Patch>,
    len: Option<Len>,
    raw: &'a [u8],
}

/// Which checksums are made right again.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Right {
    slots: bool,
    pages: bool,
    seal: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Len {
    Cut(u32),
    More(u16),
    /// The record at the end stays at the end.
    Without(u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Base {
    Mutable,
    MutableOfLargePages,
    Sealed,
    SealedOfLargePages,
    SealedEmpty,
    Columns,
    Run,
    Raw,
}

/// Makes the file and opens it.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(input) = Input::arbitrary(&mut input) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, input.bytes()).unwrap();
    touch_mutable(&path);
    touch_sealed(&path);
    touch_columns(&path);
    touch_run(&path);
}

/// The files that inputs are changes of.
fn base(base: Base) -> &'static [u8] {
    static FILES: OnceLock<[Vec<u8>; 7]> = OnceLock::new();
    let index = match base {
        Base::Mutable => 0,
        Base::MutableOfLargePages => 1,
        Base::Sealed => 2,
        Base::SealedOfLargePages => 3,
        Base::SealedEmpty => 4,
        Base::Columns => 5,
        Base::Run => 6,
        Base::Raw => return &[],
    };
    &FILES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let large = PageSize::new(16 << 10).unwrap();
        let mutable = |page_size: PageSize| {
            let file = PageFile::options().page_size(page_size).create(&path).unwrap();
            file.grow(PageCount::new(2)).unwrap();
            file.page_mut(PageId::new(1)).unwrap().fill(7);
            file.close().unwrap();
        };
        let sealed = |page_size: PageSize, payload: &[u8]| {
            let mut writer = PageWriter::options().page_size(page_size).create(&path).unwrap();
            writer.append(payload).unwrap();
            drop(writer.seal().unwrap());
        };
        let taken = || {
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            bytes
        };
        [
            (mutable(PageSize::DEFAULT), taken()).1,
            (mutable(large), taken()).1,
            (sealed(PageSize::DEFAULT, &[9; 6000]), taken()).1,
            (sealed(large, &[9; 20_000]), taken()).1,
            (sealed(PageSize::DEFAULT, &[]), taken()).1,
            (columns(&path), taken()).1,
            (sorted_run(&path), taken()).1,
        ]
    })[index]
}

fn columns(path: &Path) {
    let specs = [ColumnSpec::of::<u64>(), ColumnSpec::of::<[u8; 3]>(), ColumnSpec::of::<u8>()];
    let mut writer = ColumnsWriter::create(path, &specs).unwrap();
    writer.append(0, &[0_u64, 4, 4, 10]).unwrap();
    writer.append(1, &[[1_u8, 2, 3]; 9]).unwrap();
    writer.append(2, b"some bytes").unwrap();
    drop(writer.seal().unwrap());
}

fn sorted_run(path: &Path) {
    let mut writer = RunWriter::<u64, u32>::create(path).unwrap();
    for key in 0..600 {
        writer.push_weighted(&(key / 2 * 3), &u32::try_from(key).unwrap(), -1).unwrap();
    }
    drop(writer.seal().unwrap());
}

impl Input<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = base(self.base).to_vec();
        bytes.extend_from_slice(self.raw);
        if matches!(self.base, Base::Raw) {
            return bytes;
        }
        bytes.truncate(base(self.base).len());
        for (second, patch) in &self.header_patches {
            patch.apply_within(&mut bytes[if *second { 4096 } else { 0 }..], 256);
        }
        self.patches.iter().for_each(|patch| patch.apply(&mut bytes));
        let end = bytes.len().saturating_sub(8192);
        self.end_patches.iter().for_each(|patch| patch.apply(&mut bytes[end..]));
        if self.right.slots {
            make_right(&mut bytes, 252);
            make_right(&mut bytes[4096..], 252);
        }
        if let Some(Len::Without(count)) = self.len {
            let seal = bytes.len() - 4096;
            bytes.drain(seal.saturating_sub(count.into())..seal);
        }
        self.make_right(&mut bytes);
        if let Some(damage) = self.damage {
            damage.apply(&mut bytes);
        }
        match self.len {
            Some(Len::Cut(len)) => bytes.truncate(len as usize % (bytes.len() + 1)),
            Some(Len::More(count)) => bytes.resize(bytes.len() + usize::from(count), 1),
            Some(Len::Without(_)) | None => {}
        }
        bytes
    }

    /// Makes the checksums right of the pages and of what follows them, where the header says where
    /// they are.
    fn make_right(&self, bytes: &mut [u8]) {
        let Ok(header) = Header::parse(bytes) else { return };
        let (superblock, geometry) = (header.superblock(), *header.superblock().geometry());
        if !superblock.is_sealed() || geometry.file_len_sealed() != bytes.len() as u64 {
            return;
        }
        let at = |offset: u64| usize::try_from(offset).unwrap();
        let page_size = superblock.page_size();
        let (head, table) = bytes.split_at_mut(at(geometry.data_end()));
        if self.right.pages {
            let hasher = PageHasher::new(superblock.file_uuid());
            let data = &head[at(Geometry::data_start(page_size))..];
            let pages = data.chunks(page_size.get_usize());
            for ((page, bytes), entry) in (0..).zip(pages).zip(table.chunks_mut(4)) {
                entry.copy_from_slice(&hasher.checksum(PageId::new(page), bytes).to_le_bytes());
            }
        }
        if self.right.seal {
            let mut hasher = TableHasher::new();
            hasher.update(&table[..at(geometry.table_len())]);
            let seal = table.len() - at(SEAL_BLOCK_LEN_BYTES);
            table[seal + 48..seal + 52].copy_from_slice(&hasher.finish().to_le_bytes());
            make_right(&mut table[seal..], 124);
        }
    }
}

/// Options that take little address space.
fn open_mutable(path: &Path) -> Result<PageFile, Error> {
    PageFile::options().address_space_bytes(64 << 20).open(path)
}

fn touch_mutable(path: &Path) {
    let before = fs::read(path).unwrap();
    let seen = inspect(path);
    let file = match open_mutable(path) {
        Ok(file) => file,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(fs::read(path).unwrap() == before, "what is refused is left alone");
            return;
        }
    };
    let seen = seen.unwrap();
    assert_eq!(seen.page_count, file.page_count());
    let (page_size, count) = (file.page_size(), file.page_count());
    let start = usize::try_from(Geometry::data_start(page_size)).unwrap();
    for page in 0..count.get() {
        let bytes = file.page(PageId::new(page)).unwrap();
        let at = start + usize::try_from(page).unwrap() * page_size.get_usize();
        assert!(*bytes == before[at..at + page_size.get_usize()]);
        drop(bytes);
        file.page_mut(PageId::new(page)).unwrap()[5] ^= 0xff;
    }
    assert_eq!(file.dirty_count(), count);
    assert_eq!(file.flush().unwrap().pages, count);
    let grown = file.grow(PageCount::new(1)).unwrap();
    assert!(file.pages(grown.start()..).unwrap().iter().all(|&byte| byte == 0));
    file.close().unwrap();
    let file = open_mutable(path).unwrap();
    assert_eq!(file.page_count().get(), count.get() + 1);
    let seen = inspect(path).unwrap();
    assert_eq!(seen.superblock.page_count(), file.page_count());
}

fn touch_sealed(path: &Path) {
    let sealed = match SealedFile::open(path) {
        Ok(sealed) => sealed,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(matches!(PageFile::open(path), Err(Error::Sealed { .. })));
    let unverified = sealed.pages_unverified(..).unwrap().to_vec();
    let page_len = sealed.page_size().get_usize();
    let again = SealedFile::open(path).unwrap();
    let report = sealed.verify(|_| ControlFlow::Continue(())).unwrap();
    assert!(report.is_complete());
    for page in 0..sealed.page_count().get() {
        let id = PageId::new(page);
        let is_bad = report.bad_pages.iter().any(|bad| bad.page == id);
        // The file that was not verified as a whole comes to the same.
        for file in [&sealed, &again] {
            match file.page(id) {
                Ok(bytes) => {
                    assert!(!is_bad, "page {page} is bad, and was lent");
                    let at = usize::try_from(page).unwrap() * page_len;
                    assert!(*bytes == unverified[at..at + page_len]);
                }
                Err(Error::Checksum { page, .. }) => assert!(is_bad && page == id),
                Err(other) => panic!("{other}"),
            }
        }
    }
    let all = [
        sealed.pages(..).map(<[u8]>::len),
        sealed.bytes(..).map(|bytes| bytes.len()),
        sealed.as_slice_of::<u64>(..).map(|items| items.len() * 8),
    ];
    for outcome in all {
        assert_eq!(outcome.ok(), report.bad_pages.is_empty().then_some(unverified.len()));
    }
    assert!(sealed.payload_len() <= unverified.len() as u64);
    sealed.evict(..).unwrap();
    sealed.still_valid().unwrap();
}

fn touch_columns(path: &Path) {
    let Ok(columns) = Columns::open(path) else { return };
    let payload_len = columns.file().payload_len();
    for column in 0..columns.column_count() {
        let spec = columns.spec(column).unwrap();
        assert!(!format!("{spec:?}").is_empty());
        let unverified = columns.column_bytes_unverified(column, &spec).unwrap();
        assert!(unverified.len() as u64 <= payload_len);
        if let Ok(bytes) = columns.column_bytes(column, &spec) {
            assert!(bytes == unverified);
        }
        for borrowed in [
            columns.column::<u64>(column).map(size_of_val),
            columns.column::<u8>(column).map(size_of_val),
            columns.column_range::<[u8; 3]>(column, 1..4).map(size_of_val),
            columns.column_unverified::<u128>(column).map(size_of_val),
        ] {
            match borrowed {
                Ok(len) => assert!(len <= unverified.len()),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    assert!(columns.spec(columns.column_count()).is_err());
    if let Ok(strings) = columns.byte_strings(0, 2) {
        for index in 0..strings.len() + 2 {
            if let Ok(string) = strings.get(index) {
                assert!(string.len() as u64 <= payload_len);
            }
        }
    }
}

fn touch_run(path: &Path) {
    let Ok(run) = Run::<u64, u32>::open(path) else { return };
    let mut cursor = run.cursor();
    for key in [0, 1, 300, 899, 900, u64::MAX, 3, 4] {
        if cursor.seek(&key).is_err() || cursor.seek_exact(&(key / 3)).is_err() {
            break;
        }
    }
    // The first error ends it, and at most all records come before that.
    let records = run.cursor().take_while(Result::is_ok).count();
    assert!(records <= run.record_count());
}
