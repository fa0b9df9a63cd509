//! The bytes of a versioned file's log: damaged in any way, it is found or harmless; forged with right
//! checksums, it is refused or taken, and nothing panics.

use std::{fs, sync::OnceLock};

use arbitrary::{Arbitrary, Unstructured};
use layout::{
    CommitHead, CommitId, CommitMark, Header, LogHalf, PageChange, PageChecksum, PageCount, PageId,
    PageSource, Superblock, VersionedGeometry,
};
use pagestore::{Checkpoints, Error, VersionedFile, VersionedFileOptions};
use tempfile::TempDir;

const BLOCK: usize = 4096;
const COMMITS: u8 = 6;
const PAGES: u64 = 5;

/// Damage that no checksum was made right for.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Damage {
    Flip {
        place: u32,
        bit: u8,
    },
    Zero {
        block: u8,
    },
    Copy {
        from: u8,
        to: u8,
    },
    Swap {
        one: u8,
        other: u8,
    },
    /// A sector of a block, as a torn write leaves it.
    ZeroSector {
        block: u8,
        sector: u8,
    },
}

/// A record of the log made anew, with right checksums.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Forged {
    record: u8,
    field: Field,
    /// Where it goes, if not where it was.
    block: Option<u8>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Field {
    Epoch(i8),
    Commit(i8),
    PageCount(u8),
    PageCountMax(Large),
    /// Of one of the pages that it lists.
    Page {
        at: u8,
        page: Large,
    },
    Checksum {
        at: u8,
        checksum: u32,
    },
    InPlace {
        at: u8,
    },
    /// One change less, or one twice.
    Fewer,
    Twice {
        at: u8,
    },
    Mark(i8),
}

/// A count that a file can have, or one that none has; between them, a file would be made that long.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Large {
    Small(u8),
    Huge(u8),
}

impl Large {
    fn get(self) -> u64 {
        match self {
            Self::Small(number) => number.into(),
            Self::Huge(less) => u64::MAX - u64::from(less),
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Input {
    damage: Vec<Damage>,
    forged: Vec<Forged>,
}

/// A file as the death of its process leaves it, and what it shows.
struct Base {
    bytes: Vec<u8>,
    pages: Vec<Vec<u8>>,
    geometry: VersionedGeometry,
    superblock: Superblock,
    /// Where the records of the log begin.
    records: Vec<usize>,
}

fn options() -> VersionedFileOptions {
    VersionedFile::options().log_bytes(128 << 10).checkpoints(Checkpoints::WhenFull)
}

fn folder() -> &'static TempDir {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().unwrap())
}

fn index(place: u64) -> usize {
    usize::try_from(place).unwrap()
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let path = folder().path().join("base");
        let file = options().create(&path).unwrap();
        for commit in 1..=COMMITS {
            let mut transaction = file.begin().unwrap();
            if commit == 1 {
                transaction.grow(PageCount::new(PAGES)).unwrap();
            }
            for page in [u64::from(commit) % PAGES, u64::from(commit) * 2 % PAGES] {
                transaction.page_mut(PageId::new(page)).unwrap().fill(commit);
            }
            transaction.commit().unwrap();
            if commit == 2 {
                file.checkpoint().unwrap();
            }
        }
        let bytes = fs::read(&path).unwrap();
        let snapshot = file.snapshot().unwrap();
        let page = |number| snapshot.page(PageId::new(number)).unwrap().to_vec();
        let pages = (0..PAGES).map(page).collect();
        drop(snapshot);
        file.close().unwrap();
        let header = Header::parse(&bytes[..2 * BLOCK]).unwrap();
        let superblock = *header.superblock();
        let geometry = superblock.versioned().unwrap().geometry;
        let mut records = Vec::new();
        let parse = |at: u64| {
            let (uuid, size) = (superblock.file_uuid(), geometry.page_size());
            CommitHead::parse(&bytes[index(at)..], uuid, size, geometry.half_len())
        };
        for half in LogHalf::BOTH {
            let mut at = geometry.half_start(half);
            while let Ok(head) = parse(at) {
                records.push(index(at));
                at += head.record_len(geometry.page_size());
            }
        }
        assert_eq!(records.len(), usize::from(COMMITS), "the log has all records");
        Base { bytes, pages, geometry, superblock, records }
    })
}

/// Opens a file whose log is what a fuzzer made of it.
pub fn run(data: &[u8]) {
    let Ok(input) = Input::arbitrary(&mut Unstructured::new(data)) else { return };
    let base = base();
    let mut bytes = base.bytes.clone();
    let log = index(base.geometry.half_start(LogHalf::First))..index(base.geometry.groups_start());
    let forged = &input.forged[..input.forged.len().min(4)];
    forged.iter().for_each(|forged| forged.apply(base, &mut bytes, log.start));
    for damage in input.damage.iter().take(8) {
        damage.apply(&mut bytes[log.clone()]);
    }
    let path = folder().path().join(format!("{:?}", std::thread::current().id()));
    fs::write(&path, &bytes).unwrap();
    let shown = look(&path, base, forged.is_empty());
    match shown {
        Ok(()) | Err(Error::Format { .. } | Error::Checksum { .. }) => {}
        // What a forged count asks for.
        Err(_) if !forged.is_empty() => {}
        Err(other) => panic!("{other}"),
    }
    fs::remove_file(&path).unwrap();
}

/// Reads everything, commits, and reads again.
fn look(path: &std::path::Path, base: &Base, is_honest: bool) -> Result<(), Error> {
    let file = options().open(path)?;
    let snapshot = file.snapshot()?;
    for number in 0..snapshot.page_count().get() {
        let page = snapshot.page(PageId::new(number))?;
        if is_honest {
            assert_eq!(page, base.pages[index(number)], "page {number} of a damaged file");
        }
    }
    if is_honest {
        assert_eq!(snapshot.commit().get(), u64::from(COMMITS), "a damaged file lost a commit");
        assert_eq!(snapshot.page_count().get(), PAGES);
    }
    drop(snapshot);
    let mut transaction = file.begin()?;
    let added = transaction.grow(PageCount::new(1))?;
    transaction.page_mut(added.start())?.fill(77);
    let commit = transaction.commit()?.commit;
    file.close()?;
    let file = options().open(path)?;
    assert_eq!(file.commit_id(), commit, "a commit that returned is gone");
    let snapshot = file.snapshot()?;
    assert!(snapshot.page(added.start())?.iter().all(|&byte| byte == 77));
    Ok(())
}

impl Damage {
    fn apply(self, log: &mut [u8]) {
        let blocks = log.len() / BLOCK;
        let block = |number: u8| usize::from(number) % blocks * BLOCK;
        match self {
            Self::Flip { place, bit } => log[place as usize % log.len()] ^= 1 << (bit % 8),
            Self::Zero { block: number } => log[block(number)..][..BLOCK].fill(0),
            Self::Copy { from, to } => {
                let (from, to) = (block(from), block(to));
                log.copy_within(from..from + BLOCK, to);
            }
            Self::Swap { one, other } => {
                let (one, other) = (block(one), block(other));
                let bytes = log[one..one + BLOCK].to_vec();
                log.copy_within(other..other + BLOCK, one);
                log[other..other + BLOCK].copy_from_slice(&bytes);
            }
            Self::ZeroSector { block: number, sector } => {
                log[block(number) + usize::from(sector % 8) * 512..][..512].fill(0);
            }
        }
    }
}

impl Forged {
    fn apply(self, base: &Base, bytes: &mut [u8], log_start: usize) {
        let (uuid, size) = (base.superblock.file_uuid(), base.geometry.page_size());
        let at = base.records[usize::from(self.record) % base.records.len()];
        let half_len = base.geometry.half_len();
        let Ok(mut head) = CommitHead::parse(&bytes[at..], uuid, size, half_len) else { return };
        let head_end = at + index(head.head_len());
        let Ok(mut changes) = head.changes(&bytes[at..head_end]) else { return };
        if let Field::Mark(by) = self.field {
            let commit = CommitId::new(u64::from(COMMITS).saturating_add_signed(by.into()));
            let mark = CommitMark { epoch: head.epoch, commit }.encode(uuid);
            bytes[index(VersionedGeometry::MARK_START)..][..mark.len()].copy_from_slice(&mark);
            return;
        }
        self.field.apply(&mut head, &mut changes);
        let counts = (head.page_count, head.page_count_max);
        let head = CommitHead::new(head.epoch, head.commit, counts, &changes);
        let encoded = head.encode(uuid, size, &changes);
        let blocks = base.geometry.log_len() / BLOCK as u64;
        let to =
            self.block.map_or(at, |block| log_start + index(u64::from(block) % blocks) * BLOCK);
        if let Some(room) = bytes.get_mut(to..to + encoded.len()) {
            room.copy_from_slice(&encoded);
        }
    }
}

impl Field {
    fn apply(self, head: &mut CommitHead, changes: &mut Vec<PageChange>) {
        let len = changes.len().max(1);
        let place = |at: u8| usize::from(at) % len;
        match self {
            Self::Epoch(by) => head.epoch = head.epoch.saturating_add_signed(by.into()),
            Self::Commit(by) => {
                head.commit = CommitId::new(head.commit.get().saturating_add_signed(by.into()));
            }
            Self::PageCount(count) => head.page_count = PageCount::new(count.into()),
            Self::PageCountMax(count) => head.page_count_max = PageCount::new(count.get()),
            Self::Page { at, page } => {
                if let Some(change) = changes.get_mut(place(at)) {
                    change.page = PageId::new(page.get());
                }
            }
            Self::Checksum { at, checksum } => {
                if let Some(change) = changes.get_mut(place(at)) {
                    change.checksum = PageChecksum::from_le_bytes(checksum.to_le_bytes());
                }
            }
            Self::InPlace { at } => {
                if let Some(change) = changes.get_mut(place(at)) {
                    change.source = PageSource::InPlace;
                }
            }
            Self::Fewer => drop(changes.pop()),
            Self::Twice { at } => {
                if let Some(change) = changes.get(place(at)).copied() {
                    changes.push(change);
                }
            }
            Self::Mark(_) => {}
        }
    }
}
