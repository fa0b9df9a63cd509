//! Spilled records come back as they were, in order and at random; a merge of sorted runs is a
//! stable sort; and reading at places where no record begins ends in an error.

use std::cmp::Ordering;

use arbitrary::{Arbitrary, Unstructured};
use storage::{
    ByteOffset, ResidencyBudget,
    spill::{Order, SpillCompression, SpillError, SpillMerge, SpillOptions, SpillRun, merge_down},
};

#[derive(Arbitrary, Debug)]
struct Input {
    lz4: bool,
    block_size_log2: u8,
    budget: bool,
    what: What,
}

#[derive(Arbitrary, Debug)]
enum What {
    Records {
        records: Vec<Bytes>,
        raw: Vec<Bytes>,
        reads: Vec<(u16, u16)>,
        far: u64,
    },
    /// Keys of the records of each run, and the budget, which says how many can be read at once.
    Sorted {
        runs: Vec<Vec<(u8, u8)>>,
        budget_mib: u8,
    },
}

/// Some bytes: few, or many alike.
#[derive(Arbitrary, Debug)]
enum Bytes {
    These(Vec<u8>),
    Alike(u8, u16),
}

impl Bytes {
    fn get(&self) -> Vec<u8> {
        match self {
            Self::These(bytes) => bytes.clone(),
            Self::Alike(byte, len) => vec![*byte; usize::from(*len)],
        }
    }
}

/// Does what the bytes say.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(input) = Input::arbitrary(&mut input) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut options =
        SpillOptions::new(folder.path()).block_size_bytes(4096 << (input.block_size_log2 % 3));
    if input.lz4 {
        options = options.compression(SpillCompression::Lz4);
    }
    if input.budget {
        options = options.budget(&ResidencyBudget::new(8 << 20).unwrap());
    }
    match &input.what {
        What::Records { records, raw, reads, far } => {
            come_back(&options, records, raw, reads, *far);
        }
        What::Sorted { runs, budget_mib } => sorted(options, runs, *budget_mib),
    }
}

fn come_back(
    options: &SpillOptions,
    records: &[Bytes],
    raw: &[Bytes],
    reads: &[(u16, u16)],
    far: u64,
) {
    let mut writer = options.create().unwrap();
    let record = |bytes: &Bytes| {
        let record = bytes.get();
        (writer.append_record(&record).unwrap(), record)
    };
    let records: Vec<_> = records.iter().take(100).map(record).collect();
    let middle = writer.position();
    let mut behind = Vec::new();
    for piece in raw.iter().take(20) {
        let piece = piece.get();
        assert_eq!(writer.append(&piece).unwrap().get(), middle.get() + behind.len() as u64);
        behind.extend(piece);
    }
    let stats = writer.stats();
    assert_eq!(stats.records, records.len() as u64);
    assert_eq!(stats.bytes, middle.get() + behind.len() as u64);
    let reader = writer.finish().unwrap();

    let mut cursor = reader.cursor(..middle).unwrap();
    for (offset, expected) in &records {
        assert_eq!(cursor.position(), *offset);
        assert!(cursor.next().unwrap() == Some(expected), "the record at {offset}");
    }
    assert!(cursor.next().unwrap().is_none() && cursor.next().unwrap().is_none());
    for &(start, len) in reads.iter().take(40) {
        if let Some((offset, expected)) = records.get(usize::from(start) % (records.len() + 1)) {
            assert!(cursor.record_at(*offset).unwrap() == expected);
        }
        let start = usize::from(start) % (behind.len() + 1);
        let len = usize::from(len).min(behind.len() - start);
        let offset = ByteOffset::new(middle.get() + start as u64);
        assert!(cursor.bytes_at(offset, len).unwrap() == &behind[start..start + len]);
        // What stands there is no record, or one by chance; either way it is in the spill.
        if let Ok(record) = cursor.record_at(offset) {
            assert!(record.len() as u64 <= stats.bytes);
        }
    }
    for offset in [far, stats.bytes, stats.bytes.saturating_add(far)].map(ByteOffset::new) {
        if offset.get() >= stats.bytes {
            assert!(cursor.record_at(offset).is_err() && cursor.bytes_at(offset, 1).is_err());
        }
        assert_eq!(reader.cursor(offset..).is_ok(), offset.get() <= stats.bytes);
    }
    // Going through bytes that are no records ends.
    let mut cursor = reader.cursor(middle..).unwrap();
    while let Ok(Some(_)) = cursor.next() {}
}

/// By the first two bytes, so that many are equal.
struct ByKey;

fn key(record: &[u8]) -> [u8; 2] {
    [record[0], record[1]]
}

impl Order for ByKey {
    fn prefix(&self, record: &[u8]) -> u64 {
        // Half of the key, so that both ways to decide are taken.
        u64::from(key(record)[0])
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        key(a).cmp(&key(b))
    }
}

fn sorted(options: SpillOptions, runs: &[Vec<(u8, u8)>], budget_mib: u8) {
    let budget = ResidencyBudget::new((1 + u64::from(budget_mib % 4)) << 20).unwrap();
    let options = options.budget(&budget);
    let mut writer = options.create().unwrap();
    let (mut places, mut expected) = (Vec::new(), Vec::new());
    for (number, keys) in runs.iter().take(40).enumerate() {
        let start = writer.position();
        let record = |(serial, keys): (usize, &(u8, u8))| {
            let mut record = vec![keys.0 % 8, keys.1 % 8];
            record.extend(format!(" {number} {serial}").bytes());
            record
        };
        let mut run: Vec<_> = keys.iter().enumerate().map(record).collect();
        run.sort_by(|a, b| ByKey.compare(a, b));
        for record in &run {
            writer.append_record(record).unwrap();
        }
        places.push(start..writer.position());
        expected.extend(run);
    }
    expected.sort_by(|a, b| ByKey.compare(a, b));
    let reader = writer.finish().unwrap();
    let runs: Vec<SpillRun> = places.into_iter().map(|place| reader.run(place).unwrap()).collect();
    assert!(all(&runs) == expected);
    let few = merge_down(runs, &options, &ByKey, |_| Ok::<_, SpillError>(())).unwrap();
    assert!(all(&few) == expected);
}

fn all(runs: &[SpillRun]) -> Vec<Vec<u8>> {
    let mut merge = SpillMerge::new(runs.iter().map(SpillRun::cursor).collect(), ByKey).unwrap();
    let mut records = Vec::new();
    while let Some(record) = merge.next().unwrap() {
        records.push(record.to_vec());
    }
    assert!(merge.next().unwrap().is_none(), "the end stays the end");
    records
}
