//! The versioned file that copies and backups are made of: equal, to the byte of each page and to its stamps, in
//! every process that makes it.

use std::path::Path;

use layout::{PageHasher, PageStamp};
use pagestore::{
    Checkpoints, CommitId, Existing, PageCount, PageId, Snapshot, VersionedContent, VersionedFile,
    VersionedFileOptions,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{disk::index, random::Random, stage, workload::LOG_BYTES};

pub(crate) const PAGE_LEN: usize = 4096;

/// How many states the source goes through.
pub(crate) const STATES: usize = 5;

const UUID: Uuid = Uuid::from_u128(0x23);

/// What a page was filled with; `None`: it was never written.
pub(crate) type Word = Option<u64>;

/// The file, and a snapshot of each of its states.
pub(crate) struct Source {
    pub(crate) file: VersionedFile,
    pub(crate) snapshots: Vec<Snapshot>,
    _folder: TempDir,
}

/// A number that follows from two.
pub(crate) fn mix(seed: u64, number: u64) -> u64 {
    Random::new(seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d)).next()
}

/// Bytes of which no two sectors are equal.
pub(crate) fn bytes_of(word: u64, len: usize) -> Vec<u8> {
    let words = (0..len.div_ceil(8) as u64).map(|place| word.wrapping_add(place));
    let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    bytes.truncate(len);
    bytes
}

/// A page.
pub(crate) fn page_of(word: Word) -> Vec<u8> {
    word.map_or_else(|| vec![0; PAGE_LEN], |word| bytes_of(word, PAGE_LEN))
}

/// The commit that leaves a state.
pub(crate) fn commit_of(state: usize) -> u64 {
    state as u64 + 1
}

/// The pages of each state.
pub(crate) fn states(seed: u64) -> Vec<Vec<Word>> {
    let mut random = Random::new(seed);
    let count = 2 + random.below(4);
    let mut states: Vec<Vec<Word>> = vec![(0..count).map(|_| Some(random.next())).collect()];
    while states.len() < STATES {
        let mut pages = states[states.len() - 1].clone();
        let place = index(random.below(pages.len() as u64));
        pages[place] = Some(random.next());
        match random.below(4) {
            0 if pages.len() > 1 => pages.truncate(pages.len() - 1),
            1 => pages.push(None),
            2 => pages.extend([random.next(), random.next()].map(Some)),
            _ => {}
        }
        states.push(pages);
    }
    states
}

pub(crate) fn options() -> VersionedFileOptions {
    VersionedFile::options().log_bytes(LOG_BYTES).checkpoints(Checkpoints::WhenFull)
}

impl Source {
    pub(crate) fn new(seed: u64) -> pagestore::Result<Self> {
        let folder = stage::folder();
        let path = folder.path().join("source");
        let states = states(seed);
        begin(&path, &states[0])?;
        let file = options().open(&path)?;
        let mut snapshots = vec![file.snapshot()?];
        for two in states.windows(2) {
            let [before, after] = two else { continue };
            let mut transaction = file.begin()?;
            if let Some(more) = after.len().checked_sub(before.len()) {
                transaction.grow(PageCount::new(more as u64))?;
            } else {
                transaction.shrink_to(PageCount::new(after.len() as u64))?;
            }
            for (number, word) in after.iter().enumerate() {
                if before.get(number) != Some(word) && word.is_some() {
                    transaction
                        .page_mut(PageId::new(number as u64))?
                        .copy_from_slice(&page_of(*word));
                }
            }
            transaction.commit()?;
            snapshots.push(file.snapshot()?);
        }
        Ok(Self { file, snapshots, _folder: folder })
    }
}

/// Makes the file with its first commit, of which nothing is left to chance.
fn begin(path: &Path, pages: &[Word]) -> pagestore::Result<()> {
    let commit = CommitId::new(commit_of(0));
    let page_count = PageCount::new(pages.len() as u64);
    let content = VersionedContent { file_uuid: UUID, commit, page_count };
    let mut writer = options().write(path, Existing::Refuse, &content)?;
    let hasher = PageHasher::new(UUID);
    for (page, word) in (0..).map(PageId::new).zip(pages) {
        let bytes = page_of(*word);
        let checksum = hasher.versioned(page, commit, &bytes);
        writer.append(page, &[PageStamp { commit, checksum }], &bytes)?;
    }
    writer.publish()
}

/// What a snapshot must show.
pub(crate) fn compare(snapshot: &Snapshot, commit: u64, pages: &[Word]) -> Result<(), String> {
    if snapshot.commit().get() != commit {
        return Err(format!("it shows commit {}, not {commit}", snapshot.commit()));
    }
    let count = snapshot.page_count().get();
    if count != pages.len() as u64 {
        return Err(format!("commit {commit} has {count} pages, not {}", pages.len()));
    }
    for (page, word) in (0..).map(PageId::new).zip(pages) {
        let found = snapshot.page(page).map_err(|error| error.to_string())?;
        if *found != *page_of(*word) {
            return Err(format!("page {page} of commit {commit} has other bytes"));
        }
    }
    snapshot.still_valid().map_err(|error| error.to_string())
}
