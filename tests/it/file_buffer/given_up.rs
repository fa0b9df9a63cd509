//! Calls that are given up, on real backends: what begins later comes later, what was `Ok` stays,
//! and nobody waits for a runtime that does nothing.
//!
//! Method: a call is dropped at each point where it waits, inside its runtime, outside of any, and
//! with its runtime shut down; another runtime goes on. Of nobody polling, a hang would show, hence
//! the generous time limit.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use storage::{
    AsyncFile, BufferPool, Caching, Compressed, DynBackend, FileBuffer, FileBufferOptions, Limits,
    MemoryBackend, MmapBackend, PosixBackend, StorageBackend, StorageError,
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::slow::slow;

const BLOCK: usize = 4096;
const LEN: usize = 5 * BLOCK + 100;

/// A backend, and the folder that its files lie in.
struct Store {
    name: &'static str,
    backend: DynBackend,
    _folder: Option<TempDir>,
}

fn stores() -> Vec<Store> {
    let store = |name, backend: DynBackend| Store { name, backend, _folder: None };
    let in_folder = |name, open: fn(&std::path::Path) -> DynBackend| {
        let folder = tempfile::tempdir().unwrap();
        let backend = open(&folder.path().join("root"));
        Store { name, backend, _folder: Some(folder) }
    };
    let memory = MemoryBackend::with_budget(64 << 20, Limits::default()).unwrap();
    let packed = Compressed::new(slow(Limits::default()), 4096, BufferPool::new(1 << 30)).unwrap();
    vec![
        store("slow", Arc::new(slow(Limits::default()))),
        store("slow compressed", Arc::new(packed)),
        store("memory", Arc::new(memory)),
        in_folder("mmap", |root| Arc::new(MmapBackend::open(root, Limits::default()).unwrap())),
        in_folder("posixio", |root| Arc::new(PosixBackend::open(root, Limits::default()).unwrap())),
    ]
}

async fn buffer(store: &Store, caching: Caching, block_count: u64) -> FileBuffer {
    let options = FileBufferOptions::default().block_size_bytes(BLOCK).caching(caching);
    let options = options.memory_limit_bytes(block_count * BLOCK as u64);
    let file = AsyncFile::new(Arc::clone(&store.backend), "file").unwrap();
    FileBuffer::new(file, options).await.unwrap()
}

fn one() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// How a call comes to be given up.
#[derive(Clone, Copy, Debug)]
enum Given {
    /// When it waits for the so manieth time.
    AtWait(usize),
    OutsideOfRuntimes,
    BeforeShutdown,
    AfterShutdown,
}

const GIVEN: [Given; 6] = [
    Given::AtWait(1),
    Given::AtWait(2),
    Given::AtWait(3),
    Given::OutsideOfRuntimes,
    Given::BeforeShutdown,
    Given::AfterShutdown,
];

/// Begins a call on a runtime of its own, and gives it up.
fn give_up<'a, T: 'a>(given: Given, call: impl Future<Output = T> + 'a) {
    let runtime = one();
    let mut call: Pin<Box<dyn Future<Output = T> + 'a>> = Box::pin(call);
    let poll = |call: &mut Pin<Box<dyn Future<Output = T> + 'a>>| {
        let _inside = runtime.enter();
        let _done_or_not = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    };
    match given {
        Given::AtWait(count) => runtime.block_on(given_up_at(call, count)),
        Given::OutsideOfRuntimes => {
            poll(&mut call);
            drop(call);
        }
        Given::BeforeShutdown => {
            poll(&mut call);
            drop(call);
            runtime.shutdown_background();
        }
        Given::AfterShutdown => {
            poll(&mut call);
            runtime.shutdown_background();
            drop(call);
        }
    }
}

async fn given_up_at<T>(call: impl Future<Output = T>, count: usize) {
    let mut call = pin!(call);
    let mut waited = 0;
    poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Pending => {
            waited += 1;
            if waited == count { Poll::Ready(()) } else { Poll::Pending }
        }
        Poll::Ready(_) => Poll::Ready(()),
    })
    .await;
}

/// What the file has, looked at again and again: whatever is still under way gets its time.
async fn stays(backend: &DynBackend, expected: &[u8], what: &str) {
    for look in 0..4 {
        let bytes = backend.read("file", 0, expected.len()).await.unwrap();
        assert!(bytes == expected, "{what}, look {look}: {}", bytes[0]);
        backend.sync("file").await.unwrap();
    }
}

#[test]
fn what_a_flush_wrote_stays_after_an_earlier_one_was_given_up() {
    for store in stores() {
        let runtime = one();
        let buffer = runtime.block_on(buffer(&store, Caching::Buffered, 64));
        for (round, given) in (1..=100_u8).zip(GIVEN.into_iter().cycle()) {
            runtime.block_on(async { buffer.write_at(0, &[100 + round; LEN]).await.unwrap() });
            give_up(given, buffer.flush());
            let what = format!("{}, {given:?}, round {round}", store.name);
            runtime.block_on(async {
                buffer.write_at(0, &[round; LEN]).await.unwrap();
                buffer.flush().await.unwrap();
                stays(&store.backend, &[round; LEN], &what).await;
            });
        }
    }
}

/// The last clone is dropped while a flush of several batches is under way, and another buffer of the same
/// file is made at once.
#[test]
fn what_another_buffer_wrote_stays_after_a_flush_was_given_up_and_its_buffer_dropped() {
    const BIG: usize = 64 << 10;
    const COUNT: usize = 320;
    const LAST: u64 = ((COUNT - 1) * BIG) as u64;
    let options = FileBufferOptions::default().block_size_bytes(BIG).caching(Caching::Buffered);
    for store in stores() {
        let runtime = one();
        let make = || {
            let file = AsyncFile::new(Arc::clone(&store.backend), "file").unwrap();
            runtime.block_on(FileBuffer::new(file, options)).unwrap()
        };
        for (round, given) in (1..=6_u8).zip(GIVEN.into_iter().cycle()) {
            let first = make();
            let old = vec![100 + round; COUNT * BIG];
            runtime.block_on(async { first.write_at(0, &old).await.unwrap() });
            give_up(given, first.flush());
            drop(first);
            let second = make();
            let what = format!("{}, {given:?}, round {round}", store.name);
            runtime.block_on(async {
                second.write_at(LAST, &[round; BIG]).await.unwrap();
                second.flush().await.unwrap();
                for look in 0..4 {
                    let bytes = store.backend.read("file", LAST, BIG).await.unwrap();
                    assert!(bytes == [round; BIG][..], "{what}, look {look}: {}", bytes[0]);
                    store.backend.sync("file").await.unwrap();
                }
            });
        }
    }
}

#[test]
fn a_write_straight_to_the_file_stays_after_an_earlier_one_was_given_up() {
    for store in stores() {
        let runtime = one();
        let buffer = runtime.block_on(buffer(&store, Caching::PassThrough, 64));
        for (round, given) in (1..=100_u8).zip(GIVEN.into_iter().cycle()) {
            give_up(given, buffer.write_at(0, &[100 + round; LEN]));
            let what = format!("{}, {given:?}, round {round}", store.name);
            runtime.block_on(async {
                buffer.write_at(0, &[round; LEN]).await.unwrap();
                assert_eq!(buffer.read_block(0).await.unwrap().read(), [round; BLOCK], "{what}");
                stays(&store.backend, &[round; LEN], &what).await;
            });
        }
    }
}

/// A write behind the end is given up: it happened, or it did not, and the buffer shows which.
#[test]
fn a_file_has_grown_or_not_after_a_write_was_given_up() {
    for store in stores() {
        let runtime = one();
        let buffer = runtime.block_on(buffer(&store, Caching::PassThrough, 64));
        for (round, given) in (0..40_u64).zip(GIVEN.into_iter().cycle()) {
            give_up(given, buffer.write_at(round * BLOCK as u64, &[7; BLOCK]));
            runtime.block_on(async {
                let seen = buffer.read_block(round).await.is_ok();
                let len = store.backend.len("file").await.unwrap_or(0);
                let is_there = len > round * BLOCK as u64;
                assert_eq!(seen, is_there, "{}, {given:?}", store.name);
                assert_eq!(buffer.file_len(), len);
                buffer.write_at(round * BLOCK as u64, &[8; BLOCK]).await.unwrap();
                assert_eq!(buffer.read_block(round).await.unwrap().read(), [8; BLOCK]);
            });
        }
    }
}

/// Writes in memory, evictions, flushes, some of them given up: the file ends as a vector does.
#[test]
fn random_calls_that_are_given_up_undo_nothing() {
    for store in stores() {
        let runtime = one();
        let mut random = fastrand::Rng::with_seed(5);
        let buffer = runtime.block_on(buffer(&store, Caching::Buffered, 4));
        // What each byte may be: a write that is given up may be there or not, block by block.
        let mut may_be: Vec<Vec<u8>> = vec![vec![0]; 12 * BLOCK];
        runtime.block_on(async { buffer.write_at(0, &vec![0; 12 * BLOCK]).await.unwrap() });
        for _ in 0..300 {
            let given = GIVEN[random.usize(..GIVEN.len())];
            let (begin, byte) = (random.usize(..10 * BLOCK), random.u8(..));
            let data = vec![byte; random.usize(1..2 * BLOCK)];
            let touched = begin..begin + data.len();
            match random.u8(..6) {
                0 => {
                    give_up(given, buffer.write_at(begin as u64, &data));
                    may_be[touched].iter_mut().for_each(|may_be| may_be.push(byte));
                }
                1 => give_up(given, buffer.flush()),
                2 => give_up(given, buffer.read_block(random.u64(..12))),
                3 => runtime.block_on(async { buffer.flush().await.unwrap() }),
                4 => runtime.block_on(async {
                    let index = random.usize(..12);
                    let block = buffer.read_block(index as u64).await.unwrap();
                    for (may_be, byte) in may_be[index * BLOCK..].iter_mut().zip(block.read()) {
                        assert!(may_be.contains(byte), "{}: {byte}, not {may_be:?}", store.name);
                        *may_be = vec![*byte];
                    }
                }),
                _ => {
                    runtime.block_on(buffer.write_at(begin as u64, &data)).unwrap();
                    may_be[touched].iter_mut().for_each(|may_be| *may_be = vec![byte]);
                }
            }
        }
        runtime.block_on(async {
            buffer.flush().await.unwrap();
            let bytes = store.backend.read("file", 0, 12 * BLOCK).await.unwrap();
            for (at, (may_be, byte)) in may_be.iter().zip(&bytes).enumerate() {
                assert!(may_be.contains(byte), "{}: {byte} at {at}", store.name);
            }
            stays(&store.backend, &bytes, store.name).await;
        });
    }
}

/// All memory lies in results that their runtime does not take: others get it all the same, and the
/// calls end well when they are polled again.
#[test]
fn what_nobody_takes_is_taken_back() {
    type Begun<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
    for store in stores() {
        let other = one();
        let buffer = other.block_on(buffer(&store, Caching::Buffered, 3));
        other.block_on(async {
            for index in 0..12_u8 {
                let offset = u64::from(index) * BLOCK as u64;
                buffer.write_at(offset, &[index; BLOCK]).await.unwrap();
            }
            buffer.flush().await.unwrap();
        });
        let idle = one();
        let shared = &buffer;
        let read = |index: u8| async move {
            assert_eq!(shared.read_block(index.into()).await.unwrap().read(), [index; BLOCK]);
        };
        let blank = |index| async move { drop(shared.blank_block(index).await.unwrap()) };
        for blanks in [false, true] {
            // Blank blocks wait for memory until these are dropped.
            let used = 9..if blanks { 12 } else { 9 };
            let used: Vec<_> = used.map(|index| other.block_on(shared.read_block(index))).collect();
            let mut begun: Vec<Begun<'_>> = if blanks {
                (1..4).map(|index| Box::pin(blank(index)) as Begun<'_>).collect()
            } else {
                (1..4).map(|index| Box::pin(read(index)) as Begun<'_>).collect()
            };
            {
                let _inside = idle.enter();
                let mut context = Context::from_waker(Waker::noop());
                begun.retain_mut(|call| call.as_mut().poll(&mut context).is_pending());
            }
            drop(used);
            other.block_on(async {
                // What was begun is done meanwhile, and holds what there is.
                tokio::time::sleep(Duration::from_millis(50)).await;
                for index in 4..12_u8 {
                    let block = buffer.read_block(index.into()).await;
                    let block = block.unwrap_or_else(|error| panic!("{}: {error}", store.name));
                    assert_eq!(block.read(), [index; BLOCK], "{}", store.name);
                }
            });
            begun.into_iter().for_each(|call| idle.block_on(call));
        }
    }
}

/// A runtime begins reads, flushes and what needs memory, and then does nothing more.
#[test]
fn nobody_waits_for_an_idle_runtime() {
    type Begun<'a> = Pin<Box<dyn Future<Output = Result<(), StorageError>> + 'a>>;
    for store in stores() {
        let other = one();
        let buffer = other.block_on(buffer(&store, Caching::Buffered, 3));
        other.block_on(async {
            buffer.write_at(0, &[1; 12 * BLOCK]).await.unwrap();
            buffer.flush().await.unwrap();
        });
        let idle = Builder::new_current_thread().enable_time().max_blocking_threads(1).build();
        let idle = idle.unwrap();
        let (release, taken) = std::sync::mpsc::channel::<()>();
        idle.spawn_blocking(move || taken.recv().unwrap_err());
        for round in 0..10 {
            other.block_on(async { buffer.write_at(BLOCK as u64, &[1; BLOCK]).await.unwrap() });
            let mut begun: Vec<Begun<'_>> = vec![
                Box::pin(async { buffer.read_block(7).await.map(drop) }),
                Box::pin(buffer.flush()),
                Box::pin(async { buffer.read_block(8).await.map(drop) }),
                Box::pin(buffer.write_at(5 * BLOCK as u64 + 3, &[1; 10])),
                Box::pin(async { buffer.blank_block(9).await.map(drop) }),
                Box::pin(buffer.flush()),
            ];
            {
                let _inside = idle.enter();
                let mut context = Context::from_waker(Waker::noop());
                begun.retain_mut(|call| call.as_mut().poll(&mut context).is_pending());
            }
            other.block_on(async {
                let all = async {
                    for index in 0..12 {
                        let block = buffer.read_block(index).await.unwrap();
                        assert_eq!(block.read(), [1; BLOCK], "{}", store.name);
                    }
                    buffer.flush().await.unwrap();
                };
                let limit = Duration::from_secs(120);
                let ended = tokio::time::timeout(limit, all).await;
                ended.unwrap_or_else(|_| panic!("{}, round {round}: it waits", store.name));
            });
        }
        drop(release);
    }
}
