//! Memories: bytes without a file, and the budget they are charged against.
//!
//! A model (a vector, and the set of pages ever written to) is held against the real thing after
//! random sequences; threads write values that would show any mixture; and the count of bytes is
//! compared with what the kernel says the process holds, in a process of its own, since tests run
//! beside one another.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use pagestore::{Error, MemoryBudget, RawMemory};
use proptest::prelude::*;

use crate::child;

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

fn budget(bytes: u64) -> Arc<MemoryBudget> {
    Arc::new(MemoryBudget::new(bytes))
}

fn memory(budget: &Arc<MemoryBudget>) -> RawMemory {
    RawMemory::new(Arc::clone(budget)).unwrap()
}

fn read(memory: &RawMemory, offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0xee; usize::try_from(len).unwrap()];
    memory.read_at(offset, &mut bytes).unwrap();
    bytes
}

fn all(memory: &RawMemory) -> Vec<u8> {
    read(memory, 0, memory.len())
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<usize>, u8),
    TryWrite(u64, usize, u8),
    SetLen(u64),
    Read(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let offset = || prop_oneof![0..200_000_u64, (0..50_u64).prop_map(|page| page * PAGE)];
    let len = || prop_oneof![0..5_000_usize, 0..100_000_usize, Just(4096)];
    prop_oneof![
        4 => (offset(), prop::collection::vec(len(), 0..4), 1..=255_u8)
            .prop_map(|(offset, lens, byte)| Step::Write(offset, lens, byte)),
        2 => (offset(), len(), 1..=255_u8)
            .prop_map(|(offset, len, byte)| Step::TryWrite(offset, len, byte)),
        3 => offset().prop_map(Step::SetLen),
        2 => (offset(), 0..9_000_u64).prop_map(|(offset, len)| Step::Read(offset, len)),
    ]
}

/// What a memory should be.
#[derive(Default)]
struct Model {
    bytes: Vec<u8>,
    pages: BTreeSet<u64>,
}

impl Model {
    fn write(&mut self, offset: u64, len: usize, byte: u8) {
        if len == 0 {
            return;
        }
        let start = usize::try_from(offset).unwrap();
        self.bytes.resize(self.bytes.len().max(start + len), 0);
        self.bytes[start..start + len].fill(byte);
        self.pages.extend(offset / PAGE..(offset + len as u64).div_ceil(PAGE));
    }

    fn set_len(&mut self, len: u64) {
        self.bytes.resize(usize::try_from(len).unwrap(), 0);
        self.pages.retain(|page| page * PAGE < len.next_multiple_of(PAGE));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_memory_is_like_a_vector_and_charged_by_the_page(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let budget = budget(64 * MIB);
        let memory = memory(&budget);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Write(offset, lens, byte) => {
                    let parts: Vec<Vec<u8>> = lens.iter().map(|len| vec![byte; *len]).collect();
                    memory.write_at(offset, &parts).unwrap();
                    model.write(offset, lens.iter().sum(), byte);
                }
                Step::TryWrite(offset, len, byte) => {
                    // It may say no where the bytes would have to move.
                    if let Some(done) = memory.try_write_at(offset, &[vec![byte; len]]) {
                        done.unwrap();
                        model.write(offset, len, byte);
                    } else {
                        prop_assert!(offset + len as u64 > model.bytes.len() as u64);
                    }
                }
                Step::SetLen(len) => {
                    memory.set_len(len).unwrap();
                    model.set_len(len);
                }
                Step::Read(offset, len) => check_read(&memory, &model, offset, len),
            }
            prop_assert_eq!(memory.len(), model.bytes.len() as u64);
            prop_assert_eq!(budget.used_bytes(), model.pages.len() as u64 * PAGE);
        }
        prop_assert!(all(&memory) == model.bytes);
        memory.seal();
        let view = memory.view(0, model.bytes.len()).unwrap();
        drop(memory);
        prop_assert!(view == model.bytes);
        prop_assert!(view.is_empty() || budget.used_bytes() == model.pages.len() as u64 * PAGE);
        drop(view);
        prop_assert_eq!(budget.used_bytes(), 0);
    }
}

fn check_read(memory: &RawMemory, model: &Model, offset: u64, len: u64) {
    let mut buffer = vec![0xee; usize::try_from(len).unwrap()];
    let result = memory.try_read_at(offset, &mut buffer).expect("nobody writes");
    let start = usize::try_from(offset).unwrap();
    match model.bytes.get(start..start + buffer.len()) {
        Some(bytes) => {
            result.unwrap();
            assert!(buffer == bytes);
        }
        None => {
            let Err(Error::PastEnd { offset: at, len: asked, file_len, .. }) = result else {
                panic!("{result:?}");
            };
            assert_eq!((at, asked, file_len), (offset, len, model.bytes.len() as u64));
            assert!(buffer.iter().all(|byte| *byte == 0xee), "nothing is read");
        }
    }
}

/// A cut gives whole pages back, and what is left of the last one reads as zeros later on.
#[test]
fn cutting_gives_pages_back_and_forgets_their_bytes() {
    let budget = budget(MIB);
    let memory = memory(&budget);
    memory.write_at(0, &[[7_u8; 20_000]]).unwrap();
    assert_eq!(budget.used_bytes(), 5 * PAGE);
    memory.set_len(5_000).unwrap();
    assert_eq!(budget.used_bytes(), 2 * PAGE);
    memory.set_len(30_000).unwrap();
    assert_eq!(budget.used_bytes(), 2 * PAGE, "extending takes nothing");
    assert_eq!(read(&memory, 0, 5_000), [7; 5_000]);
    assert_eq!(read(&memory, 5_000, 25_000), [0; 25_000]);
    memory.set_len(0).unwrap();
    assert_eq!((budget.used_bytes(), memory.is_empty()), (0, true));
}

/// Reading a page that was never written maps the kernel's own page of zeros, which takes nothing.
#[test]
fn far_offsets_and_reading_zeros_take_nothing() {
    let budget = budget(3 * PAGE);
    let memory = memory(&budget);
    let far = 5 << 30;
    memory.write_at(far - 1, &[b"ab"]).unwrap();
    assert_eq!((memory.len(), budget.used_bytes()), (far + 1, 2 * PAGE));
    assert_eq!(read(&memory, far - 3, 4), [0, 0, b'a', b'b']);
    assert_eq!(read(&memory, 3 << 30, 64 * MIB), vec![0; 64 << 20]);
    memory.write_at(40 << 40, &[b"c"]).unwrap();
    assert_eq!(budget.used_bytes(), 3 * PAGE);
    memory.set_len(far).unwrap();
    assert_eq!(budget.used_bytes(), PAGE);
    assert_eq!(read(&memory, far - 3, 3), [0, 0, b'a']);
}

#[test]
fn what_is_beyond_the_budget_changes_nothing() {
    let budget = budget(4 * PAGE);
    let memory = memory(&budget);
    memory.write_at(100, &[[1_u8; 8_000]]).unwrap();
    let before = all(&memory);
    for offset in [0, 8_000, 9 << 30] {
        let error = memory.write_at(offset, &[[2_u8; 16_384], [3; 16_384]]).unwrap_err();
        let Error::BudgetExceeded { needed_bytes, used_bytes, budget_bytes } = error else {
            panic!("{error:?}");
        };
        let new = if offset == 0 { 6 } else { 8 + u64::from(offset == 8_000) - 1 };
        let new = if offset == 9 << 30 { 8 } else { new };
        assert_eq!(needed_bytes, new * PAGE, "at {offset}");
        assert_eq!((used_bytes, budget_bytes), (2 * PAGE, 4 * PAGE));
        assert!(all(&memory) == before);
        assert_eq!(budget.used_bytes(), 2 * PAGE);
    }
    memory.write_at(0, &[[4_u8; 16_384]]).unwrap();
    assert_eq!(budget.used_bytes(), budget.limit_bytes(), "what fits exactly is taken");
    let other = self::memory(&budget);
    assert!(matches!(other.write_at(0, &[b"x"]), Err(Error::BudgetExceeded { .. })));
    drop(memory);
    other.write_at(0, &[b"x"]).unwrap();
}

#[test]
fn what_no_address_space_holds_is_an_error() {
    let budget = budget(MIB);
    let memory = memory(&budget);
    memory.write_at(0, &[b"here"]).unwrap();
    for offset in [65 << 40, u64::MAX - 1, u64::MAX / 2] {
        let error = memory.write_at(offset, &[b"x"]).unwrap_err();
        assert!(matches!(error, Error::AddressSpace { .. }), "{error:?}");
        let error = memory.set_len(offset).unwrap_err();
        assert!(matches!(error, Error::AddressSpace { .. }), "{error:?}");
    }
    let error = memory.write_at(u64::MAX, &[b"xy"]).unwrap_err();
    assert!(matches!(error, Error::AddressSpace { .. }), "{error:?}");
    assert_eq!((all(&memory), budget.used_bytes()), (b"here".to_vec(), PAGE));
}

#[test]
fn a_sealed_memory_is_lent_without_a_copy_and_never_changes() {
    let budget = budget(MIB);
    let memory = memory(&budget);
    memory.write_at(0, &[[5_u8; 10_000]]).unwrap();
    assert!(matches!(memory.view(0, 1), Err(Error::NotSealed { .. })));
    assert!(memory.try_view(0, 1).is_none() && !memory.is_sealed());
    memory.seal();
    memory.seal();
    assert!(memory.is_sealed());
    let (one, two) = (memory.view(0, 10_000).unwrap(), memory.view(4, 10).unwrap());
    assert_eq!(one.as_ptr().wrapping_add(4), two.as_ptr(), "views of the same bytes");
    assert!(matches!(memory.write_at(0, &[b"x"]), Err(Error::Sealed { .. })));
    assert!(matches!(memory.write_at(0, &[b""]), Err(Error::Sealed { .. })));
    assert!(matches!(memory.try_write_at(0, &[b"x"]), Some(Err(Error::Sealed { .. }))));
    assert!(matches!(memory.set_len(0), Err(Error::Sealed { .. })));
    let past = memory.view(9_999, 2).unwrap_err();
    assert!(matches!(past, Error::PastEnd { file_len: 10_000, .. }), "{past:?}");
    assert_eq!(read(&memory, 9_990, 10), [5; 10]);
    drop((memory, one));
    assert_eq!(budget.used_bytes(), 3 * PAGE, "a view is left");
    assert_eq!(two, [5_u8; 10][..]);
    drop(two);
    assert_eq!(budget.used_bytes(), 0);
}

/// A thread that is told that the bytes are sealed gets a view, whatever its stripe is.
#[test]
fn all_threads_see_the_seal_at_once() {
    for _ in 0..200 {
        let memory = memory(&budget(MIB));
        memory.write_at(0, &[b"word"]).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| memory.seal());
            scope.spawn(|| {
                while !memory.is_sealed() {
                    thread::yield_now();
                }
                let view = thread::scope(|s| s.spawn(|| memory.view(0, 4)).join().unwrap());
                assert_eq!(view.unwrap(), "word");
            });
        });
    }
}

/// Each write fills the same range, which spans pages, with one byte; a mixture would show that a
/// read met half a write. Growing meanwhile moves the bytes to other addresses.
#[test]
fn a_read_sees_a_write_wholly_or_not_at_all() {
    const LEN: usize = 3 * 4096;
    let memory = memory(&budget(64 * MIB));
    memory.write_at(500, &[[0_u8; LEN]]).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2_u8)
            .map(|writer| {
                let memory = &memory;
                scope.spawn(move || {
                    for round in 0..4_000_u64 {
                        let byte = u8::try_from(round % 100).unwrap() * 2 + writer;
                        let half = [byte; LEN / 2];
                        memory.write_at(500, &[half, half]).unwrap();
                        if round % 400 == 0 {
                            memory.set_len((64 << 10) << (round / 400)).unwrap();
                        }
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                let mut bytes = [0; LEN];
                while !done.load(Ordering::Relaxed) {
                    memory.read_at(500, &mut bytes).unwrap();
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mixture");
                }
            });
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
}

/// Many threads want more than there is; the sum of what they got is at most the budget, and all
/// of it comes back.
#[test]
fn threads_never_pass_the_budget_together() {
    const LIMIT: u64 = 300 * PAGE;
    let budget = budget(LIMIT);
    thread::scope(|scope| {
        for thread in 0..8_u64 {
            let budget = &budget;
            scope.spawn(move || {
                for round in 0..100 {
                    let memory = memory(budget);
                    let mut got = 0;
                    for page in 0..100 {
                        let pages = 1 + (thread + round + page) % 3;
                        let data = vec![1_u8; usize::try_from(pages * PAGE).unwrap()];
                        match memory.write_at(got * PAGE, &[data]) {
                            Ok(()) => got += pages,
                            Err(Error::BudgetExceeded { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                        assert!(budget.used_bytes() <= LIMIT);
                        assert!(budget.used_bytes() >= got * PAGE);
                    }
                    assert_eq!(memory.len(), got * PAGE);
                }
            });
        }
    });
    assert_eq!(budget.used_bytes(), 0);
}

/// Large files are continued in huge pages, which are counted whole; a cut gives whole ones back,
/// and where no more of them fit the budget, small ones still do.
#[test]
fn large_files_keep_their_bytes_and_use_the_budget_up() {
    let budget = budget(41 * MIB);
    let memory = memory(&budget);
    let word = |at: u64| (at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let chunk = |at: u64| -> Vec<u8> {
        (at..at + 64 * 1024).step_by(8).flat_map(|at| word(at).to_le_bytes()).collect()
    };
    let check = |len: u64| {
        assert_eq!(memory.len(), len);
        let whole = (0..len / (64 * 1024)).map(|index| index * 64 * 1024);
        whole.for_each(|at| assert!(read(&memory, at, 64 * 1024) == chunk(at), "at {at}"));
    };
    for at in (0..41 * MIB).step_by(64 * 1024) {
        memory.write_at(at, &[chunk(at)]).unwrap();
        let used = budget.used_bytes();
        assert!((at + 64 * 1024..at + 64 * 1024 + 2 * MIB).contains(&used), "{used} at {at}");
    }
    assert_eq!(budget.used_bytes(), 41 * MIB);
    assert!(matches!(memory.write_at(41 * MIB, &[b"x"]), Err(Error::BudgetExceeded { .. })));
    check(41 * MIB);
    memory.set_len(29 * MIB + 5).unwrap();
    assert!((29 * MIB..32 * MIB).contains(&budget.used_bytes()));
    check(29 * MIB + 5);
    memory.set_len(33 * MIB).unwrap();
    assert!(read(&memory, 29 * MIB + 5, 4 * MIB - 5).iter().all(|byte| *byte == 0));
    memory.set_len(0).unwrap();
    assert_eq!(budget.used_bytes(), 0);
}

/// What the kernel says this process holds in memory of its own.
fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The count is the truth: the process grows by what is charged, no more, whether pages are written
/// one by one, in large files, after a cut, or read where nothing was written.
#[test]
fn what_is_charged_is_what_the_process_takes() {
    let test = "what_is_charged_is_what_the_process_takes";
    if child::path().is_none() {
        child::check(&mut child::command("", test, Path::new("none")));
        return;
    }
    // The allocator's and the kernel's own movements.
    const SLACK: u64 = 2 * MIB;
    let budget = budget(1 << 30);
    let before = anonymous_bytes();
    let check = |what: &str, at_least: u64| {
        let (grown, used) = (anonymous_bytes().saturating_sub(before), budget.used_bytes());
        assert!(grown <= used + SLACK, "{what}: {grown} bytes taken, {used} charged");
        assert!(used >= at_least, "{what}: {used} bytes charged for {at_least}");
        assert!(used <= grown + SLACK, "{what}: {used} bytes charged, {grown} taken");
    };
    let chunk = vec![1_u8; 64 << 10];

    let scattered = memory(&budget);
    for page in 0..2_000 {
        scattered.write_at(page * 37 * PAGE, &[b"x"]).unwrap();
    }
    check("scattered pages", 2_000 * PAGE);

    let small: Vec<_> = (0..200).map(|_| memory(&budget)).collect();
    small.iter().for_each(|small| small.write_at(0, &[&chunk[..20_000]]).unwrap());
    check("many small files", 200 * 5 * PAGE);

    let large = memory(&budget);
    for offset in (0..256 * MIB).step_by(chunk.len()) {
        large.write_at(offset, &[&chunk]).unwrap();
    }
    check("a large file", 256 * MIB);
    large.set_len(100 * MIB + 1).unwrap();
    check("a large file after a cut", 100 * MIB);
    large.set_len(400 * MIB).unwrap();
    let zeros = read(&large, 100 * MIB + 1, 300 * MIB - 1);
    assert!(zeros.iter().all(|byte| *byte == 0));
    drop(zeros);
    check("zeros that were read", 100 * MIB);
    large.seal();
    let view = large.view(5, 5).unwrap();
    drop((large, small, scattered));
    check("a view", 100 * MIB);
    drop(view);
    check("nothing", 0);
    assert_eq!(budget.used_bytes(), 0);
    child::done();
}
