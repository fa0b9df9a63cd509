//! What works under the budget.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path};

use storage::{
    Access, ByteOffset, PageCount, PageFile, PageId, PageWriter, PageWriterOptions, RawFile,
    ResidencyBudget, SealedFile,
    run::{Run, RunWriter, TempRunWriter, merge},
    spill::{SpillCompression, SpillMerge, SpillOptions, SpillReader, SpillRun, merge_down},
};

use super::{LIMIT, MIB};

/// Twice the budget.
const DATA: u64 = 2 * LIMIT;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Worker {
    SealedAtRandom,
    SealedInOrder,
    RunCursors { count: usize },
    RunMerge,
    SpillCursors { count: usize, compression: SpillCompression },
    SpillMerge { runs: u64 },
    Mutable,
    Raw,
    Reservation,
}

impl Worker {
    /// Two to four of them.
    pub(crate) fn some(random: &mut fastrand::Rng) -> Vec<Self> {
        let count = random.usize(2..=4);
        (0..count).map(|_| Self::one(random)).collect()
    }

    fn one(random: &mut fastrand::Rng) -> Self {
        let count = random.usize(1..40);
        match random.u8(..10) {
            0 => Self::SealedAtRandom,
            1 => Self::SealedInOrder,
            2 => Self::RunCursors { count },
            3 => Self::RunMerge,
            4 => Self::SpillCursors { count, compression: SpillCompression::None },
            5 => Self::SpillCursors { count, compression: SpillCompression::Lz4 },
            6 => Self::SpillMerge { runs: random.u64(2..80) },
            7 => Self::Mutable,
            8 => Self::Raw,
            _ => Self::Reservation,
        }
    }

    pub(crate) fn work(self, folder: &Path, budget: &ResidencyBudget, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        match self {
            Self::SealedAtRandom => {
                let file = sealed(folder, budget, Access::Random);
                for _ in 0..20_000 {
                    let page = random.u64(..file.page_count().get());
                    assert_eq!(file.page(PageId::new(page)).unwrap()[..8], page.to_le_bytes());
                }
            }
            Self::SealedInOrder => {
                let file = sealed(folder, budget, Access::Normal);
                for page in (0..3).flat_map(|_| 0..file.page_count().get()) {
                    assert_eq!(file.page(PageId::new(page)).unwrap()[..8], page.to_le_bytes());
                }
            }
            Self::RunCursors { count } => run_cursors(folder, budget, count, &mut random),
            Self::RunMerge => run_merge(folder, budget),
            Self::SpillCursors { count, compression } => {
                let options = SpillOptions::new(folder).budget(budget).compression(compression);
                spill_cursors(&options, count, &mut random);
            }
            Self::SpillMerge { runs } => {
                spill_merge(&SpillOptions::new(folder).budget(budget), runs, &mut random);
            }
            Self::Mutable => {
                let path = folder.join("mutable");
                let file = PageFile::options().budget(budget).create(&path).unwrap();
                file.grow(PageCount::new(DATA / 4096)).unwrap();
                for _ in 0..10_000 {
                    let page = PageId::new(random.u64(..DATA / 4096));
                    file.page_mut(page).unwrap()[0] += 1;
                }
                file.flush().unwrap();
            }
            Self::Raw => raw(folder, budget, &mut random),
            Self::Reservation => {
                for _ in 0..200 {
                    let bytes = random.u64(..MIB);
                    // Where others have it, it is refused.
                    if let Ok(_held) = budget.reserve(bytes) {
                        std::thread::yield_now();
                    }
                }
            }
        }
    }
}

fn pages(budget: &ResidencyBudget) -> PageWriterOptions {
    PageWriter::options().budget(budget)
}

fn sealed(folder: &Path, budget: &ResidencyBudget, access: Access) -> SealedFile {
    let path = folder.join("sealed");
    let mut writer = pages(budget).create(&path).unwrap();
    for page in 0..DATA / 4096 {
        let mut bytes = [7; 4096];
        bytes[..8].copy_from_slice(&page.to_le_bytes());
        writer.append(&bytes).unwrap();
    }
    drop(writer.seal().unwrap());
    SealedFile::options().budget(budget).access(access).open(&path).unwrap()
}

fn run_cursors(folder: &Path, budget: &ResidencyBudget, count: usize, random: &mut fastrand::Rng) {
    let path = folder.join("run");
    let mut writer = RunWriter::create_with(pages(budget), &path).unwrap();
    let keys = DATA / 16;
    for key in 0..keys {
        writer.push(&key, &key).unwrap();
    }
    drop(writer.seal().unwrap());
    let options = SealedFile::options().budget(budget);
    let run = Run::<u64, u64>::open_with(&options, &path).unwrap();
    let mut cursors: Vec<_> = (0..count).map(|_| run.cursor()).collect();
    for cursor in &mut cursors {
        let key = random.u64(..keys);
        assert_eq!(cursor.seek(&key).unwrap(), Some(&key));
    }
    for _ in 0..200 {
        let cursor = &mut cursors[random.usize(..count)];
        for record in cursor.take(5_000) {
            let record = record.unwrap();
            assert_eq!(record.key, record.value);
        }
    }
}

fn run_merge(folder: &Path, budget: &ResidencyBudget) {
    let options = SealedFile::options().budget(budget);
    let runs: Vec<Run<u64, u64>> = (0..6)
        .map(|number| {
            let path = folder.join(number.to_string());
            let mut writer = RunWriter::create_with(pages(budget), &path).unwrap();
            for key in (number..DATA / 16).step_by(6) {
                writer.push(&key, &key).unwrap();
            }
            drop(writer.seal().unwrap());
            Run::open_with(&options, &path).unwrap()
        })
        .collect();
    let mut merged = TempRunWriter::create_in_with(pages(budget), folder).unwrap();
    merge(&runs, &mut merged, i64::saturating_add).unwrap();
    let merged = merged.finish().unwrap();
    assert!(merged.cursor().zip(0..).all(|(record, key)| *record.unwrap().key == key));
    assert_eq!(merged.record_count() as u64, DATA / 16);
}

/// Records of different lengths, a few of them long; each begins with its number.
fn spill(options: &SpillOptions, random: &mut fastrand::Rng) -> (SpillReader, Vec<ByteOffset>) {
    let mut writer = options.create().unwrap();
    let mut places = Vec::new();
    while writer.stats().bytes < DATA {
        let len =
            if random.u16(..500) == 0 { random.usize(8..500_000) } else { random.usize(8..2000) };
        let mut record = vec![3; len];
        random.fill(&mut record[..len * 3 / 4]);
        record[..8].copy_from_slice(&places.len().to_le_bytes());
        places.push(writer.append_record(&record).unwrap());
    }
    (writer.finish().unwrap(), places)
}

fn spill_cursors(options: &SpillOptions, count: usize, random: &mut fastrand::Rng) {
    let (reader, places) = spill(options, random);
    let mut cursors: Vec<_> = (0..count)
        .map(|_| {
            let first = random.usize(..places.len());
            (first, reader.cursor(places[first]..).unwrap())
        })
        .collect();
    for _ in 0..100 {
        let (next, cursor) = &mut cursors[random.usize(..count)];
        for _ in 0..random.usize(1..300) {
            match cursor.next().unwrap() {
                Some(record) => assert_eq!(record[..8], next.to_le_bytes()),
                None => assert_eq!(*next, places.len()),
            }
            *next = (*next + 1).min(places.len());
        }
    }
}

fn spill_merge(options: &SpillOptions, count: u64, random: &mut fastrand::Rng) {
    let mut writer = options.create().unwrap();
    let mut places = Vec::new();
    for _ in 0..count {
        let mut keys: Vec<u64> = (0..DATA / count / 64).map(|_| random.u64(..)).collect();
        keys.sort_unstable();
        let start = writer.position();
        for key in keys {
            writer.append_record(&[&key.to_be_bytes()[..], &[9; 55]].concat()).unwrap();
        }
        places.push(start..writer.position());
    }
    let reader = writer.finish().unwrap();
    let runs: Vec<_> = places.into_iter().map(|place| reader.run(place).unwrap()).collect();
    drop(reader);
    // At once, however many, and then as many as the budget says.
    let order = |a: &[u8], b: &[u8]| a.cmp(b);
    let at_once =
        read(SpillMerge::new(runs.iter().map(SpillRun::cursor).collect(), order).unwrap());
    let few =
        merge_down(runs, options, &order, |_| Ok::<_, storage::spill::SpillError>(())).unwrap();
    let passed = read(SpillMerge::new(few.iter().map(SpillRun::cursor).collect(), order).unwrap());
    assert_eq!((at_once, passed), (DATA / count / 64 * count, at_once));
}

/// Reads all records, which are in order; says how many.
fn read(mut merge: SpillMerge<storage::spill::SpillCursor, impl storage::spill::Order>) -> u64 {
    let (mut count, mut last) = (0, Vec::new());
    while let Some(record) = merge.next().unwrap() {
        assert!(*last <= *record);
        last.clear();
        last.extend_from_slice(record);
        count += 1;
    }
    count
}

fn raw(folder: &Path, budget: &ResidencyBudget, random: &mut fastrand::Rng) {
    let path = folder.join("raw");
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path).unwrap();
    let file = RawFile::options().budget(budget).open(file, &path).unwrap();
    for start in (0..DATA).step_by(1 << 16) {
        file.write_at(start, &[std::io::IoSlice::new(&[5; 1 << 16])]).unwrap();
    }
    let mut buffer = [0; 10_000];
    for _ in 0..1_000 {
        file.read_at(random.u64(..DATA - 10_000), &mut buffer).unwrap();
        assert!(buffer.iter().all(|&byte| byte == 5));
    }
    file.seal().unwrap();
    for start in (0..DATA).step_by(1 << 18) {
        assert!(file.view(start, 1 << 18).unwrap().iter().all(|&byte| byte == 5));
    }
}
