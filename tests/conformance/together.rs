//! Many tasks on the same files: what operations promise to each other.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::task::JoinSet;

use super::{Kind, Refusal, pattern, refusal, whole};
use storage::StorageBackend;

/// Runs `tasks` until each is done; a failed one fails the test.
async fn all(mut tasks: JoinSet<()>) {
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Each write sets the whole file to one value, so a read that is not of one value saw a mixture.
pub(crate) async fn whole_writes_in_reads(kind: Kind) {
    const LEN: usize = 3 * 65_536 + 100;
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("f", 0, &[0; LEN]).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
    for writer in 1..=3_u8 {
        let backend = Arc::clone(backend);
        writers.spawn(async move {
            for round in 0..40_u8 {
                backend.write("f", 0, &vec![writer * 50 + round; LEN]).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    for seed in 0..3 {
        let (backend, done) = (Arc::clone(backend), Arc::clone(&done));
        readers.spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            while !done.load(Ordering::Relaxed) {
                let offset = if random.bool() { 0 } else { random.usize(..LEN) };
                let length =
                    if random.bool() { LEN - offset } else { random.usize(..LEN - offset) };
                let bytes = backend.read("f", offset as u64, length).await.unwrap();
                let mixture = bytes.iter().find(|byte| **byte != bytes[0]);
                assert_eq!(mixture, None, "{length} bytes at {offset} with {:?}", bytes.first());
                tokio::task::yield_now().await;
            }
        });
    }
    all(writers).await;
    done.store(true, Ordering::Relaxed);
    all(readers).await;
}

/// A write of [`History`]: which cells, and when it began and ended in ticks of one clock.
#[derive(Clone, Copy)]
struct Write {
    first: usize,
    end: usize,
    began: u64,
    ended: u64,
}

/// All writes to a file that is made of cells; each write fills cells with its own number.
#[derive(Default)]
struct History {
    writes: Mutex<BTreeMap<u32, Write>>,
    clock: AtomicU64,
}

/// Divides neither a page nor a stripe.
const CELL_LEN: usize = 1000;
const CELL_COUNT: usize = 220;

impl History {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn begin(&self, number: u32, first: usize, end: usize) {
        let write = Write { first, end, began: self.now(), ended: u64::MAX };
        self.writes.lock().unwrap().insert(number, write);
    }

    fn end(&self, number: u32) {
        let ended = self.now();
        self.writes.lock().unwrap().get_mut(&number).unwrap().ended = ended;
    }

    /// Asserts that there is an order of the writes in which the bytes of cells `first..` come
    /// about, and that nothing is missing that was complete when the read began.
    fn check(&self, bytes: &[u8], first: usize, read_began: u64) {
        let cells: Vec<u32> = bytes.chunks(CELL_LEN).map(number_of).collect();
        let writes = self.writes.lock().unwrap().clone();
        for (cell, number) in (first..).zip(&cells) {
            let shown = writes.get(number).expect("only numbers of writes are written");
            let missed = writes.iter().find(|(_, write)| {
                let covers = write.first <= cell && cell < write.end;
                covers && shown.ended < write.began && write.ended < read_began
            });
            assert_eq!(missed.map(|(number, _)| number), None, "older {number} seen in {cell}");
        }
        // What must have come before what, by cells that show another write than one that covers
        // them and shows elsewhere, and by the clock.
        let mut visible: Vec<u32> = cells.clone();
        visible.sort_unstable();
        visible.dedup();
        let before = |one: u32, other: u32| {
            let write = writes[&one];
            let range = write.first.max(first)..write.end.min(first + cells.len());
            write.ended < writes[&other].began
                || range.into_iter().any(|c| cells[c - first] == other)
        };
        while !visible.is_empty() {
            let earliest = visible.iter().position(|&candidate| {
                !visible.iter().any(|&other| other != candidate && before(other, candidate))
            });
            let earliest = earliest.unwrap_or_else(|| panic!("no order explains {cells:?}"));
            visible.swap_remove(earliest);
        }
    }
}

fn number_of(cell: &[u8]) -> u32 {
    let number = u32::from_le_bytes(cell[..4].try_into().unwrap());
    assert!(cell.chunks(4).all(|word| word == number.to_le_bytes()), "a cell of two writes");
    number
}

/// Writes of random ranges; each read must show a state that some order of them gives.
pub(crate) async fn overlapping_writes(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let history = Arc::new(History::default());
    let data = |number: u32, count: usize| number.to_le_bytes().repeat(count * CELL_LEN / 4);
    history.begin(0, 0, CELL_COUNT);
    backend.write("f", 0, &data(0, CELL_COUNT)).await.unwrap();
    history.end(0);
    let mut tasks = JoinSet::new();
    for task in 0..4_u32 {
        let (backend, history) = (Arc::clone(backend), Arc::clone(&history));
        tasks.spawn(async move {
            let mut random = fastrand::Rng::with_seed(u64::from(task));
            let mut range = move || {
                let first = random.usize(..CELL_COUNT);
                (first, random.usize(first + 1..=CELL_COUNT))
            };
            for round in 0..60 {
                let ((first, end), number) = (range(), 1 + task * 1000 + round);
                history.begin(number, first, end);
                let data = data(number, end - first);
                backend.write("f", (first * CELL_LEN) as u64, &data).await.unwrap();
                history.end(number);
                let ((first, end), began) = (range(), history.now());
                let length = (end - first) * CELL_LEN;
                let bytes = backend.read("f", (first * CELL_LEN) as u64, length).await.unwrap();
                history.check(&bytes, first, began);
                tokio::task::yield_now().await;
            }
        });
    }
    all(tasks).await;
}

/// A file that is appended to: its length is that of whole appends, and what it has is there.
pub(crate) async fn growing(kind: Kind) {
    const RECORD_LEN: usize = 5003;
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("log", 0, b"").await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..2 {
        let (backend, done) = (Arc::clone(backend), Arc::clone(&done));
        readers.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let len = backend.len("log").await.unwrap();
                assert_eq!(len % RECORD_LEN as u64, 0, "the length amid an append");
                let len = usize::try_from(len).unwrap();
                let bytes = backend.read("log", 0, len).await.unwrap();
                for (number, record) in bytes.chunks(RECORD_LEN).enumerate() {
                    assert!(record.iter().all(|&byte| usize::from(byte) == number % 251));
                }
                match backend.read("log", 0, len + 1).await {
                    Ok(bytes) => assert_eq!(usize::from(bytes[len]), len / RECORD_LEN % 251),
                    Err(error) => match refusal(&error) {
                        Refusal::PastEnd { file_len } => {
                            assert_eq!(file_len % RECORD_LEN as u64, 0);
                        }
                        other => panic!("{other:?}"),
                    },
                }
                tokio::task::yield_now().await;
            }
        });
    }
    for number in 0..200 {
        let record = vec![u8::try_from(number % 251).unwrap(); RECORD_LEN];
        backend.write("log", (number * RECORD_LEN) as u64, &record).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    all(readers).await;
    assert_eq!(backend.len("log").await.unwrap(), 200 * RECORD_LEN as u64);
}

/// Readers find a version of the file, whole, or none, or the file that a write has just made and
/// not yet filled. Views of deleted files stay.
pub(crate) async fn deleting_and_making(kind: Kind) {
    const LEN: usize = 20_000;
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let (backend, done) = (Arc::clone(backend), Arc::clone(&done));
        readers.spawn(async move {
            let mut views = Vec::new();
            while !done.load(Ordering::Relaxed) {
                match backend.read("d/f", 0, LEN).await {
                    Ok(bytes) => {
                        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mixture");
                        views.push((bytes[0], bytes));
                        views.truncate(100);
                    }
                    Err(error) => assert!(
                        matches!(
                            refusal(&error),
                            Refusal::NotFound | Refusal::PastEnd { file_len: 0 }
                        ),
                        "{error:?}"
                    ),
                }
                assert!(backend.list("d").await.unwrap().len() <= 1);
                tokio::task::yield_now().await;
            }
            for (value, view) in views {
                assert!(view.iter().all(|&byte| byte == value));
            }
        });
    }
    for round in 0..150_u8 {
        backend.write("d/f", 0, &[round; LEN]).await.unwrap();
        if round % 8 == 0 {
            backend.seal("d/f").await.unwrap();
        }
        tokio::task::yield_now().await;
        backend.delete("d/f").await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    all(readers).await;
    backend.write("d", 0, b"free").await.unwrap();
}

/// A file that is cut and grown under its readers: they get bytes or an error, and live.
pub(crate) async fn cutting_while_reading(kind: Kind) {
    const LEN: usize = 150_000;
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("f", 0, &[7; LEN]).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for seed in 0..3 {
        let (backend, done) = (Arc::clone(backend), Arc::clone(&done));
        readers.spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            while !done.load(Ordering::Relaxed) {
                let offset = random.usize(..LEN);
                let length = random.usize(..=LEN - offset);
                match backend.read("f", offset as u64, length).await {
                    Ok(bytes) => assert!(bytes.iter().all(|&byte| byte == 0 || byte == 7)),
                    Err(error) => match refusal(&error) {
                        Refusal::PastEnd { file_len } => {
                            assert!(file_len < (offset + length) as u64, "{error:?}");
                        }
                        other => panic!("{other:?}"),
                    },
                }
                tokio::task::yield_now().await;
            }
        });
    }
    let mut random = fastrand::Rng::with_seed(9);
    for _ in 0..100 {
        backend.truncate("f", random.u64(..LEN as u64)).await.unwrap();
        match random.u8(..3) {
            0 => backend.truncate("f", LEN as u64).await.unwrap(),
            1 => backend.write("f", 0, &[7; LEN]).await.unwrap(),
            _ => backend.write("f", LEN as u64 - 1, &[7]).await.unwrap(),
        }
        assert_eq!(backend.len("f").await.unwrap(), LEN as u64);
    }
    done.store(true, Ordering::Relaxed);
    all(readers).await;
}

/// Tasks with files of their own, in folders that come and go under each other.
pub(crate) async fn one_file_each(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let mut tasks = JoinSet::new();
    for task in 0..16_u64 {
        let backend = Arc::clone(backend);
        tasks.spawn(async move {
            let path = format!("a/b{}/{task}", task % 3);
            let other = format!("a/c/d/{task}");
            for round in 0..25 {
                let bytes = pattern(task * 100 + round, 3000);
                backend.write(&path, round, &bytes).await.unwrap();
                assert_eq!(backend.read(&path, round, 3000).await.unwrap(), bytes);
                backend.rename(&path, &other).await.unwrap();
                assert!(!backend.exists(&path).await.unwrap());
                assert_eq!(backend.read(&other, round, 3000).await.unwrap(), bytes);
                assert_eq!(backend.list(&other).await.unwrap().first(), Some(&other));
                backend.delete(&other).await.unwrap();
            }
        });
    }
    all(tasks).await;
    assert!(backend.list("").await.unwrap().is_empty());
    backend.write("a", 0, b"free").await.unwrap();
}

/// Each write is before the seal, and then it is there for good, or after it, and then refused.
pub(crate) async fn sealing_while_writing(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    for round in 0..10_u64 {
        let path = format!("f{round}");
        backend.write(&path, 0, &[0; 64]).await.unwrap();
        let mut writers = JoinSet::new();
        for slot in 1..=8_u8 {
            let (backend, path) = (Arc::clone(backend), path.clone());
            writers.spawn(async move {
                let place = u64::from(slot) * 5000;
                match backend.write(&path, place, &[slot; 5000]).await {
                    Ok(()) => Some(slot),
                    Err(error) => {
                        assert_eq!(refusal(&error), Refusal::Sealed);
                        None
                    }
                }
            });
        }
        tokio::task::yield_now().await;
        backend.seal(&path).await.unwrap();
        let sealed = whole(backend, &path).await;
        let mut expected = vec![0; sealed.len()];
        while let Some(done) = writers.join_next().await {
            if let Some(slot) = done.unwrap() {
                expected[usize::from(slot) * 5000..][..5000].fill(slot);
            }
        }
        assert_eq!(sealed, expected);
        assert_eq!(whole(backend, &path).await, expected);
    }
}
