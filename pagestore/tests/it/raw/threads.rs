//! Threads that read, write and cut overlapping ranges: a read sees each write wholly or not at all.
//!
//! Each writer has a range of its own, of no round size, which overlaps the others', and fills it
//! with one byte a time: its number in the upper bits and a count in the lower ones. The ends of the
//! ranges and the length that another thread cuts to divide the file into segments. Whatever the
//! order of the operations, each segment is always of one byte; and all segments that show a writer
//! show the same count of it, since no other writer has a segment that is older.

use std::{
    ops::Range,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use pagestore::{Error, RawFile};

use super::{open, read, write};
use crate::report::Random;

const RANGES: [Range<u64>; 3] = [0..200_003, 100_001..300_007, 150_011..300_007];
/// Small enough to lie in one range: a cut leaves no zeros that somebody could see.
const CUT: u64 = 170_017;
const ENDS: [u64; 7] = [0, 100_001, 150_011, CUT, 200_003, 300_007, u64::MAX];
const READS: u64 = 6_000;

/// Looks at a copy of the file from `offset` on.
fn check(offset: u64, bytes: &[u8]) {
    let end = offset + bytes.len() as u64;
    let mut counts = [None; RANGES.len()];
    for segment in ENDS.windows(2) {
        let (from, to) = (segment[0].max(offset), segment[1].min(end));
        if from >= to {
            continue;
        }
        let place = |at: u64| usize::try_from(at - offset).unwrap();
        let part = &bytes[place(from)..place(to)];
        let first = part[0];
        assert!(part.iter().all(|&byte| byte == first), "a mixture at {from} to {to}");
        let writer = usize::from(first >> 6);
        assert!((1..=RANGES.len()).contains(&writer), "nobody wrote {first} at {from}");
        let count = counts[writer - 1].get_or_insert(first);
        assert_eq!(*count, first, "two writes of one writer, the second at {from}");
    }
}

fn fill(file: &RawFile, writer: usize, count: u64) -> Result<(), Error> {
    let range = &RANGES[writer];
    let byte = u8::try_from(((writer as u64 + 1) << 6) | (count % 64)).unwrap();
    let len = usize::try_from(range.end - range.start).unwrap();
    write(file, range.start, &vec![byte; len])
}

#[test]
fn a_read_sees_each_write_wholly_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = open(&folder.path().join("file")).unwrap();
    fill(&file, 0, 0).unwrap();
    fill(&file, 1, 0).unwrap();
    let (over, start) = (AtomicBool::new(false), Barrier::new(6));
    let (right, past_end) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for writer in 0..RANGES.len() {
            let (file, over, start) = (&file, &over, &start);
            scope.spawn(move || {
                start.wait();
                for count in 1.. {
                    fill(file, writer, count).unwrap();
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        scope.spawn(|| {
            start.wait();
            while !over.load(Ordering::Relaxed) {
                file.set_len(CUT).unwrap();
                thread::yield_now();
            }
        });
        let readers: Vec<_> = (0..2_u64)
            .map(|seed| {
                let (file, start) = (&file, &start);
                let (right, past_end) = (&right, &past_end);
                scope.spawn(move || {
                    let mut random = Random(seed);
                    start.wait();
                    for _ in 0..READS {
                        let offset = random.below(250_000);
                        let len = usize::try_from(random.below(300_007 - offset)).unwrap();
                        let mut buffer = vec![0; len];
                        let result = if random.one_in(2) {
                            read(file, offset, len)
                        } else {
                            let Some(result) = file.try_read_at(offset, &mut buffer) else {
                                continue;
                            };
                            result.map(|()| buffer)
                        };
                        match result {
                            Ok(bytes) => {
                                check(offset, &bytes);
                                right.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(Error::PastEnd { .. }) => {
                                past_end.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        let outcomes: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        over.store(true, Ordering::Relaxed);
        outcomes.into_iter().for_each(|outcome| outcome.unwrap());
    });
    assert!(right.load(Ordering::Relaxed) > 100, "most reads see something");
}

/// Writers that append at the same time lose nothing, and neither does one that waits for its turn
/// while another grows the file.
#[test]
fn writers_that_grow_the_file_at_the_same_time_lose_nothing() {
    const PIECE: usize = 100_003;
    /// Far enough from each other that no latch orders the writers.
    const STRIDE: u64 = 300_007;
    const PIECES: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let file = open(&folder.path().join("file")).unwrap();
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    // The later one of two pieces first, so that the other comes to grow the file
                    // when it is just becoming longer than that.
                    let piece = next.fetch_add(1, Ordering::Relaxed) ^ 1;
                    if piece >= PIECES {
                        break;
                    }
                    let byte = u8::try_from(piece % 255).unwrap() + 1;
                    write(&file, piece * STRIDE, &vec![byte; PIECE]).unwrap();
                    let found = read(&file, piece * STRIDE, PIECE).unwrap();
                    assert!(found == [byte; PIECE], "a write is seen by who wrote it");
                }
            });
        }
    });
    assert_eq!(file.len().unwrap(), (PIECES - 1) * STRIDE + PIECE as u64);
    for piece in 0..PIECES {
        let byte = u8::try_from(piece % 255).unwrap() + 1;
        assert!(read(&file, piece * STRIDE, PIECE).unwrap() == [byte; PIECE]);
    }
}

/// Sealing waits for writes that are under way and refuses those that wait: exactly the writes that
/// returned `Ok` are in the file.
#[test]
fn a_seal_among_writers_keeps_what_was_written_and_refuses_the_rest() {
    for _ in 0..30 {
        let folder = tempfile::tempdir().unwrap();
        let file = open(&folder.path().join("file")).unwrap();
        write(&file, 0, &[1; 100_000]).unwrap();
        let start = Barrier::new(4);
        let counts = thread::scope(|scope| {
            let writers: Vec<_> = (0..3_u64)
                .map(|writer| {
                    let (file, start) = (&file, &start);
                    scope.spawn(move || {
                        start.wait();
                        for count in 0..=255_u8 {
                            match write(file, writer * 200_000, &[count; 150_000]) {
                                Ok(()) => {}
                                Err(Error::Sealed { .. }) => return count.checked_sub(1),
                                Err(error) => panic!("{error}"),
                            }
                        }
                        Some(255)
                    })
                })
                .collect();
            start.wait();
            while file.unsynced_bytes() < 900_000 {
                thread::yield_now();
            }
            file.seal().unwrap();
            let sealed_len = file.len().unwrap();
            let view = file.view(0, usize::try_from(sealed_len).unwrap()).unwrap();
            let before = view.to_vec();
            let counts: Vec<_> = writers.into_iter().map(|w| w.join().unwrap()).collect();
            assert!(view == before, "a view never changes");
            counts
        });
        for (writer, count) in (0..3_u64).zip(counts) {
            if let Some(count) = count {
                let found = file.view(writer * 200_000, 150_000).unwrap();
                assert_eq!(found.iter().position(|&byte| byte != count), None);
            }
        }
    }
}
