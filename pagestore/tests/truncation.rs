//! Files cut short, and extended again, under threads that read and write them: no process dies,
//! and nothing that is handed back as right is wrong.
//!
//! Method: a child process works in rounds, so that its death would be seen as one. In each round a
//! new file is opened; threads read and write it through the public interface while another
//! descriptor truncates it to random lengths, and in half of the rounds extends it again. Every
//! word of a page tells its page, its generation and its place, so a wrong byte is recognised. A
//! handler installed on top of ours counts the page faults that the kernel really raised.
//!
//! Where a file is cut and never extended, a result is right or an error, without exception. Where
//! it was extended again, the file *has* zeros, and nothing in a mutable file tells them from bytes
//! that somebody wrote; there, zeros are let pass, and any other wrong byte is not.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "children are only run to their end here")]
mod child;
mod report;
#[expect(unsafe_code, reason = "installs signal handlers")]
mod sigbus;

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pagestore::{
    Error, PageCount, PageFile, PageId, PageWriter, PoisonCause, Populate, Result, SealedFile,
    VerifyReport,
};
use report::{Random, say, seed};

/// Faults to catch, on tmpfs and on a disk.
const FAULTS_WANTED: [usize; 2] = [30_000, 10_000];
const PAGES: u64 = 48;
const PAGE_LEN: usize = 4096;
const WORDS: usize = PAGE_LEN / 8;
/// The header of a file with pages of 4 KiB: two pages of it come first.
const DATA_START: u64 = 8192;
const FULL_LEN: u64 = DATA_START + PAGES * PAGE_LEN as u64;
/// No cut has been completed.
const NO_CUT: u64 = u64::MAX;

/// The word at `place` of a page in a generation.
fn word(page: u64, generation: u64, place: usize) -> u64 {
    let first = (page + 1) << 32 | generation;
    if place == 0 { first } else { first.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place as u64 }
}

/// What some bytes that were handed back are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Judgement {
    /// Those of the page, in this generation.
    Right(u64),
    /// Zeros in some places, the first word among them or else right in all others.
    Zeros,
    /// Something else.
    Wrong,
}

fn judge(page: u64, bytes: &[u8]) -> Judgement {
    let words = |place: usize| {
        u64::from_le_bytes(bytes[place * 8..place * 8 + 8].try_into().expect("eight bytes"))
    };
    let first = words(0);
    let generation = first & 0xffff_ffff;
    if first >> 32 != page + 1 {
        // Without its first word a page does not tell its generation. That happens to a page that
        // was lost and came back empty while it was being written: the rest of it may be there.
        return if first == 0 { Judgement::Zeros } else { Judgement::Wrong };
    }
    let mut judgement = Judgement::Right(generation);
    for place in 1..WORDS {
        let found = words(place);
        if found == word(page, generation, place) {
            continue;
        }
        // A cut can lie inside a word; what it leaves of that ends in zeros.
        let kept = (64 - found.leading_zeros()).next_multiple_of(8);
        let mask = 1_u64.checked_shl(kept).map_or(u64::MAX, |bit| bit - 1);
        if found & !mask == 0 && found == word(page, generation, place) & mask || found == 0 {
            judgement = Judgement::Zeros;
        } else {
            return Judgement::Wrong;
        }
    }
    judgement
}

#[derive(Default)]
struct Tally {
    cuts: AtomicU64,
    extensions: AtomicU64,
    right: AtomicU64,
    flushed: AtomicU64,
    zeros_after_extension: AtomicU64,
    errors_fault: AtomicU64,
    errors_poisoned: AtomicU64,
    errors_flush: AtomicU64,
    errors_checksum: AtomicU64,
    rounds: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    /// Counts an error; only those that a cut file explains are let pass.
    fn error(&self, error: &Error) {
        match error {
            Error::Fault { .. } => count(&self.errors_fault),
            Error::Poisoned { cause: PoisonCause::Fault(_), .. } => count(&self.errors_poisoned),
            Error::Poisoned { cause: PoisonCause::Flush(_), .. } | Error::FlushFailed { .. } => {
                count(&self.errors_flush);
            }
            Error::Checksum { .. } => count(&self.errors_checksum),
            other => panic!("a cut file does not explain this: {other}"),
        }
    }

    fn say(&self, place: &str, seconds: f64) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        say(&format!(
            "truncation on {place}: {} faults caught in {} rounds with {} cuts and {} extensions \
             ({seconds:.1} s); {} right results, {} right flushes, {} zeros after an extension; \
             errors: {} populate, {} poisoned, {} flush, {} checksum; 0 false results",
            sigbus::counted(),
            get(&self.rounds),
            get(&self.cuts),
            get(&self.extensions),
            get(&self.right),
            get(&self.flushed),
            get(&self.zeros_after_extension),
            get(&self.errors_fault),
            get(&self.errors_poisoned),
            get(&self.errors_flush),
            get(&self.errors_checksum),
        ));
    }
}

/// What all threads of a round know of the file.
struct Round<'run> {
    tally: &'run Tally,
    full_len: u64,
    /// Cuts begun so far.
    cuts_begun: AtomicU64,
    /// Cuts completed so far.
    cuts_done: AtomicU64,
    /// The file's length after the last completed cut or extension.
    len_now: AtomicU64,
    extended: AtomicBool,
    over: AtomicBool,
    poisoned: AtomicBool,
    start: Barrier,
}

impl<'run> Round<'run> {
    fn new(tally: &'run Tally, full_len: u64, threads: usize) -> Self {
        Self {
            tally,
            full_len,
            cuts_begun: AtomicU64::new(0),
            cuts_done: AtomicU64::new(0),
            len_now: AtomicU64::new(NO_CUT),
            extended: AtomicBool::new(false),
            over: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            start: Barrier::new(threads),
        }
    }

    /// Counts an error, and notes that there is little to be gained from this file any more.
    fn error(&self, error: &Error) {
        self.tally.error(error);
        if matches!(error, Error::Poisoned { .. }) {
            self.poisoned.store(true, Ordering::Relaxed);
            thread::sleep(Duration::from_micros(20));
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The cuts begun so far, where none is under way.
    fn cuts_while_quiet(&self) -> Option<u64> {
        let done = self.cuts_done.load(Ordering::Acquire);
        (done == self.cuts_begun.load(Ordering::Acquire)).then_some(done)
    }

    /// Whether a cut that shortened the file was completed, and not undone.
    fn is_cut(&self) -> bool {
        self.len_now.load(Ordering::Acquire) < self.full_len
    }

    /// Looks at pages that were handed back as right.
    fn judge(&self, first: u64, bytes: &[u8], generations: impl Fn(u64) -> (u64, u64)) {
        for (page, bytes) in (first..).zip(bytes.chunks_exact(PAGE_LEN)) {
            match judge(page, bytes) {
                Judgement::Right(generation) => {
                    let (from, to) = generations(page);
                    assert!(
                        (from..=to).contains(&generation) || self.extended.load(Ordering::Acquire),
                        "page {page} is of generation {generation}, not of {from} to {to}"
                    );
                    count(&self.tally.right);
                }
                Judgement::Zeros if self.extended.load(Ordering::Acquire) => {
                    count(&self.tally.zeros_after_extension);
                }
                found => panic!(
                    "false Ok: page {page} is {found:?}; {} cuts begun, length now {}",
                    self.cuts_begun.load(Ordering::Acquire),
                    self.len_now.load(Ordering::Acquire)
                ),
            }
        }
    }

    /// Cuts the file a few times at random lengths, and in some rounds extends it again.
    fn cut(&self, file: &File, random: &mut Random) {
        self.start.wait();
        let extends = random.one_in(2);
        // Now and then with time for a flush of a disk.
        let pause_us_max = if random.one_in(6) { 3000 } else { 120 };
        let mut len = self.full_len;
        for _ in 0..=random.below(4) {
            if self.poisoned.load(Ordering::Relaxed) && random.one_in(2) {
                break;
            }
            thread::sleep(Duration::from_micros(random.below(pause_us_max)));
            let page = PAGE_LEN as u64;
            len = match random.below(8) {
                0 => random.below(DATA_START),
                1..=3 => DATA_START + random.below(len.max(DATA_START + 1) - DATA_START),
                _ => (DATA_START + random.below(PAGES) * page).min(len),
            };
            self.cuts_begun.fetch_add(1, Ordering::AcqRel);
            file.set_len(len).unwrap();
            self.len_now.store(len, Ordering::Release);
            self.cuts_done.fetch_add(1, Ordering::Release);
            count(&self.tally.cuts);
            if extends && random.one_in(2) {
                thread::sleep(Duration::from_micros(random.below(60)));
                self.extended.store(true, Ordering::Release);
                len = self.full_len;
                file.set_len(len).unwrap();
                self.len_now.store(len, Ordering::Release);
                count(&self.tally.extensions);
            }
        }
        thread::sleep(Duration::from_micros(100));
        self.over.store(true, Ordering::Release);
    }
}

/// A random range of pages, from one to all of them.
fn some_pages(random: &mut Random) -> (u64, u64) {
    if random.one_in(3) {
        return (0, PAGES);
    }
    let start = random.below(PAGES);
    (start, start + 1 + random.below(PAGES - start))
}

/// A file with these bytes that only this user can write to.
fn write_new(path: &Path, bytes: &[u8]) -> File {
    let _none_before = fs::remove_file(path);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

/// The bytes of a mutable file whose pages are of generation 0.
fn mutable_file(folder: &Path) -> Vec<u8> {
    let path = folder.join("template");
    let file = PageFile::create(&path).unwrap();
    file.grow(PageCount::new(PAGES)).unwrap();
    for page in 0..PAGES {
        let mut guard = file.page_mut(PageId::new(page)).unwrap();
        let words = guard.as_slice_of_mut::<u64>().unwrap();
        words.iter_mut().enumerate().for_each(|(place, to)| *to = word(page, 0, place));
    }
    file.close().unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, FULL_LEN);
    fs::remove_file(path).unwrap();
    bytes
}

/// The generations that the writer began and finished to write, a page each.
struct Generations {
    begun: Vec<AtomicU64>,
    done: Vec<AtomicU64>,
}

impl Generations {
    fn new() -> Self {
        let zeros = || (0..PAGES).map(|_| AtomicU64::new(0)).collect();
        Self { begun: zeros(), done: zeros() }
    }

    fn done(&self) -> Vec<u64> {
        self.done.iter().map(|done| done.load(Ordering::Acquire)).collect()
    }

    fn begun(&self, page: u64) -> u64 {
        self.begun[usize::try_from(page).unwrap()].load(Ordering::Acquire)
    }
}

fn mutable_round(path: &Path, bytes: &[u8], tally: &Tally, random: &mut Random) {
    let outside = write_new(path, bytes);
    let populate = if random.one_in(2) { Populate::OnTouch } else { Populate::BeforeBorrow };
    let options = PageFile::options().access(pagestore::Access::Normal).populate(populate);
    let file = options.open(path).unwrap();
    let round = Round::new(tally, FULL_LEN, 4);
    let generations = Generations::new();
    let (mut first, mut second, mut third) = (random.fork(), random.fork(), random.fork());
    let warm = random.one_in(2);
    if warm {
        file.with_pages(.., |bytes| round.judge(0, bytes, |_| (0, 0))).unwrap();
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            round.start.wait();
            while !round.is_over() {
                read_mutable(&file, &round, &generations, &mut first);
            }
        });
        scope.spawn(|| {
            round.start.wait();
            while !round.is_over() {
                hold_mutable(&file, &round, &generations, &mut second);
            }
        });
        scope.spawn(|| {
            round.start.wait();
            while !round.is_over() {
                write_and_flush(&file, &outside, &round, &generations, &mut third);
            }
        });
        round.cut(&outside, random);
    });
    check_poison_lasts(&file, tally);
    count(&tally.rounds);
}

/// Reads some pages in a closure.
fn read_mutable(
    file: &PageFile,
    round: &Round<'_>,
    generations: &Generations,
    random: &mut Random,
) {
    let (start, end) = some_pages(random);
    let done = generations.done();
    let read = file.with_pages(PageId::new(start)..PageId::new(end), <[u8]>::to_vec);
    match read {
        Ok(bytes) => round.judge(start, &bytes, |page| {
            (done[usize::try_from(page).unwrap()], generations.begun(page))
        }),
        Err(error) => round.error(&error),
    }
}

/// Holds a guard for a while, reads through it, and asks afterwards.
fn hold_mutable(
    file: &PageFile,
    round: &Round<'_>,
    generations: &Generations,
    random: &mut Random,
) {
    let (start, end) = some_pages(random);
    let done = generations.done();
    let read = || -> Result<Vec<u8>> {
        let guard = file.pages(PageId::new(start)..PageId::new(end))?;
        thread::sleep(Duration::from_micros(random.below(100)));
        let bytes = guard.to_vec();
        drop(guard);
        file.still_valid()?;
        Ok(bytes)
    };
    match { read }() {
        Ok(bytes) => round.judge(start, &bytes, |page| {
            (done[usize::try_from(page).unwrap()], generations.begun(page))
        }),
        Err(error) => round.error(&error),
    }
}

/// Stores new generations to some pages, flushes, and looks whether the file has them.
fn write_and_flush(
    file: &PageFile,
    outside: &File,
    round: &Round<'_>,
    generations: &Generations,
    random: &mut Random,
) {
    let cuts_before_writing = round.cuts_while_quiet();
    let mut written = Vec::new();
    for _ in 0..=random.below(4) {
        let page = random.below(PAGES);
        let index = usize::try_from(page).unwrap();
        match file.page_mut(PageId::new(page)) {
            Ok(mut guard) => {
                let generation = 1 + generations.begun[index].fetch_add(1, Ordering::AcqRel);
                let words = guard.as_slice_of_mut::<u64>().unwrap();
                words
                    .iter_mut()
                    .enumerate()
                    .for_each(|(place, to)| *to = word(page, generation, place));
                // Under the latch, so that no reader gets to see it before it counts.
                generations.done[index].store(generation, Ordering::Release);
                drop(guard);
                written.push((page, generation));
            }
            Err(error) => round.error(&error),
        }
    }
    let was_cut = round.is_cut();
    let cuts_before_flush = round.cuts_while_quiet();
    match file.flush() {
        Ok(report) => {
            written.sort_unstable();
            written.dedup_by(|later, earlier| {
                let same_page = later.0 == earlier.0;
                if same_page {
                    earlier.1 = later.1;
                }
                same_page
            });
            assert_eq!(report.pages.get(), written.len() as u64);
            assert!(
                // With nothing to write, a flush does not even look at the file.
                !was_cut || written.is_empty() || round.extended.load(Ordering::Acquire),
                "false Ok: a flush succeeded on a file that had been cut short before"
            );
            for (page, generation) in written {
                let mut bytes = [0; PAGE_LEN];
                let read = outside.read_at(&mut bytes, DATA_START + page * PAGE_LEN as u64);
                let found = judge(page, &bytes);
                let there = read.unwrap() == PAGE_LEN
                    && matches!(found, Judgement::Right(newest) if newest >= generation);
                let cuts = Some(round.cuts_begun.load(Ordering::Acquire));
                let excused = cuts != cuts_before_flush
                    || cuts != cuts_before_writing && round.extended.load(Ordering::Acquire);
                assert!(
                    there || excused,
                    "false Ok: page {page} is not in the file after a flush: {found:?}"
                );
            }
            count(&round.tally.flushed);
        }
        Err(error) => round.error(&error),
    }
}

/// Once an access says that the file is poisoned, all do.
fn check_poison_lasts(file: &PageFile, tally: &Tally) {
    let page = PageId::new(0);
    let all = || {
        [
            file.still_valid(),
            file.page(page).map(drop),
            file.pages(..).map(drop),
            file.with_pages(.., |bytes| bytes[0]).map(drop),
            file.try_page(page).map(drop),
            file.try_pages(..).map(drop),
            file.page_mut(page).map(drop),
            file.pages_mut(..).map(drop),
            file.try_page_mut(page).map(drop),
            file.try_pages_mut(..).map(drop),
            file.flush().map(drop),
            file.grow(PageCount::new(1)).map(drop),
        ]
    };
    let fault = |result: &Result<()>| {
        matches!(result, Err(Error::Poisoned { cause: PoisonCause::Fault(_), .. }))
    };
    if file.still_valid().as_ref().is_err_and(|error| matches!(error, Error::Poisoned { .. })) {
        for (number, result) in all().iter().enumerate() {
            assert!(fault(result), "access {number} of a poisoned file: {result:?}");
        }
        count(&tally.errors_poisoned);
    }
}

/// The bytes of a sealed file whose pages are of generation 0.
fn sealed_file(folder: &Path) -> Vec<u8> {
    let path = folder.join("template");
    let mut writer = PageWriter::create(&path).unwrap();
    for page in 0..PAGES {
        let words: Vec<u8> =
            (0..WORDS).flat_map(|place| word(page, 0, place).to_le_bytes()).collect();
        writer.append(&words).unwrap();
    }
    drop(writer.seal().unwrap());
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(path).unwrap();
    bytes
}

fn sealed_round(path: &Path, bytes: &[u8], tally: &Tally, random: &mut Random) {
    let outside = write_new(path, bytes);
    let file = SealedFile::open(path).unwrap();
    let round = Round::new(tally, bytes.len() as u64, 4);
    let views = [random.fork(), random.fork(), random.fork()];
    if random.one_in(2) {
        assert!(file.verify(|_| ()).unwrap().is_ok());
    }
    thread::scope(|scope| {
        for mut random in views {
            let (file, round) = (&file, &round);
            scope.spawn(move || {
                round.start.wait();
                while !round.is_over() {
                    read_sealed(file, round, &mut random);
                }
            });
        }
        round.cut(&outside, random);
    });
    if file.still_valid().is_err() {
        let page = PageId::new(0);
        let all = [
            file.page(page).map(drop),
            file.pages(..).map(drop),
            file.with_pages(.., |bytes| bytes[0]).map(drop),
            file.bytes(..).map(drop),
            file.pages_unverified(..).map(drop),
            file.verify(|_| ()).map(drop),
        ];
        for (number, result) in all.iter().enumerate() {
            let poisoned = matches!(result, Err(Error::Poisoned { .. }));
            assert!(poisoned, "access {number} of a poisoned file: {result:?}");
        }
    }
    count(&tally.rounds);
}

/// Reads some pages in one of the ways that there are.
fn read_sealed(file: &SealedFile, round: &Round<'_>, random: &mut Random) {
    let (start, end) = some_pages(random);
    let range = PageId::new(start)..PageId::new(end);
    let first = PageId::new(start);
    let wait = Duration::from_micros(random.below(60));
    let read: Result<Vec<u8>> = match random.below(6) {
        0 => file.with_pages(range, <[u8]>::to_vec),
        1 => file.page(first).map(<[u8]>::to_vec).and_then(|bytes| {
            file.still_valid()?;
            Ok(bytes)
        }),
        2 => file.pages(range).and_then(|pages| {
            thread::sleep(wait);
            let bytes = pages.to_vec();
            file.still_valid()?;
            Ok(bytes)
        }),
        3 => file.bytes(range).and_then(|view| {
            thread::sleep(wait);
            let bytes = view.to_vec();
            file.still_valid()?;
            Ok(bytes)
        }),
        4 => file.as_slice_of::<u64>(range).and_then(|words| {
            let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            file.still_valid()?;
            Ok(bytes)
        }),
        _ => {
            let was_cut = round.is_cut();
            let verified = file.verify(|_| ());
            let right = verified.as_ref().is_ok_and(VerifyReport::is_ok);
            assert!(
                !right || !was_cut || round.extended.load(Ordering::Acquire),
                "false Ok: a file that had been cut short was verified"
            );
            verified.map(|_report| Vec::new())
        }
    };
    match read {
        Ok(bytes) => round.judge(start, &bytes, |_| (0, 0)),
        Err(error) => round.error(&error),
    }
}

/// Appends and seals while somebody cuts the file that is being written.
fn writer_round(folder: &Path, payload: &[u8], tally: &Tally, random: &mut Random) -> bool {
    let path = folder.join("written");
    let _none_before = fs::remove_file(&path);
    let mut writer = PageWriter::create(&path).unwrap();
    let temporary = temporary_in(folder);
    let outside = OpenOptions::new().write(true).open(temporary).unwrap();
    let len = DATA_START + payload.len() as u64;
    let cuts = 1 + random.below(3);
    let mut cutter = random.fork();
    let sealed = thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..cuts {
                thread::sleep(Duration::from_micros(cutter.below(600)));
                outside.set_len(cutter.below(len)).unwrap();
                count(&tally.cuts);
            }
        });
        for piece in payload.chunks(payload.len() / 4 + 1) {
            writer.append(piece)?;
        }
        writer.seal()
    });
    drop(outside);
    count(&tally.rounds);
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(Error::Format { .. }) => return true,
        Err(error) => {
            tally.error(&error);
            return true;
        }
    };
    let read = sealed.with_pages(.., |bytes| bytes == payload);
    match read {
        Ok(right) => assert!(right, "false Ok: a sealed file hands out wrong bytes"),
        Err(error) => tally.error(&error),
    }
    false
}

fn temporary_in(folder: &Path) -> PathBuf {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "tmp")).collect();
    assert_eq!(paths.len(), 1);
    paths.remove(0)
}

/// The child's part: rounds in one folder until enough faults were caught.
fn rounds_in(folder: &Path, place: &str, faults_wanted: usize) {
    let seed = seed();
    let mut random = Random(seed);
    say(&format!("truncation on {place}: PAGESTORE_TEST_SEED={seed}"));
    let tally = Tally::default();
    let (mutable, sealed) = (mutable_file(folder), sealed_file(folder));
    let path = folder.join("file");
    // The first mapping installed our handler; the one that counts goes on top.
    sigbus::count_from_now();
    let started = Instant::now();
    while sigbus::counted() < faults_wanted {
        mutable_round(&path, &mutable, &tally, &mut random);
        sealed_round(&path, &sealed, &tally, &mut random);
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "only {} faults after {} rounds",
            sigbus::counted(),
            tally.rounds.load(Ordering::Relaxed)
        );
    }
    tally.say(place, started.elapsed().as_secs_f64());
}

/// Runs the child's part of `test` and says what it said; a child that dies fails the test.
fn run_child(test: &str, folder: &Path) {
    let mut command = child::command("", test, folder);
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the child ended with {}:\n{errors}", output.status);
    errors.lines().filter(|line| line.contains("truncation on")).for_each(say);
}

#[test]
fn on_tmpfs_no_cut_kills_the_process_or_is_taken_for_data() {
    let test = "on_tmpfs_no_cut_kills_the_process_or_is_taken_for_data";
    if let Some(folder) = child::path() {
        return rounds_in(&folder, "tmpfs", FAULTS_WANTED[0]);
    }
    run_child(test, tempfile::tempdir_in("/dev/shm").unwrap().path());
}

#[test]
fn on_a_disk_no_cut_kills_the_process_or_is_taken_for_data() {
    let test = "on_a_disk_no_cut_kills_the_process_or_is_taken_for_data";
    if let Some(folder) = child::path() {
        return rounds_in(&folder, "the disk", FAULTS_WANTED[1]);
    }
    run_child(test, tempfile::tempdir().unwrap().path());
}

/// A cut inside the part that is written already leaves a hole there when the writer goes on. Its
/// zeros are found by their pages' checksums; a cut behind it is found by the length.
#[test]
fn a_writer_whose_file_is_cut_seals_it_right_or_says_so() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let seed = seed();
    let mut random = Random(seed);
    let tally = Tally::default();
    let payload: Vec<u8> = (1..=255).cycle().take((3 << 20) / PAGE_LEN * PAGE_LEN).collect();
    let refused =
        (0..200).filter(|_| writer_round(folder.path(), &payload, &tally, &mut random)).count();
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    say(&format!(
        "truncation under a writer: seed {seed}, {} rounds with {} cuts: {refused} refused by \
         append or seal, {} found by checksums, 0 wrong bytes",
        get(&tally.rounds),
        get(&tally.cuts),
        get(&tally.errors_checksum)
    ));
}

/// What one caught fault takes: signal, handler, a page of zeros.
#[test]
fn the_cost_of_a_caught_fault_is_measured() {
    let test = "the_cost_of_a_caught_fault_is_measured";
    const FAULTS: u64 = 8192;
    if let Some(folder) = child::path() {
        let path = folder.join("file");
        let file = PageFile::options().populate(Populate::OnTouch).create(&path).unwrap();
        file.grow(PageCount::new(FAULTS)).unwrap();
        sigbus::count_from_now();
        let guard = file.pages(..).unwrap();
        let outside = OpenOptions::new().write(true).open(&path).unwrap();
        outside.set_len(DATA_START).unwrap();
        let started = Instant::now();
        let sum: u64 = guard.iter().step_by(PAGE_LEN).map(|&byte| u64::from(byte)).sum();
        let elapsed = started.elapsed();
        assert_eq!((sum, sigbus::counted() as u64), (0, FAULTS));
        assert!(matches!(file.still_valid(), Err(Error::Poisoned { .. })));
        let micros = elapsed.as_secs_f64() * 1e6 / FAULTS as f64;
        return say(&format!("truncation on its cost: {micros:.1} us for each caught fault"));
    }
    run_child(test, tempfile::tempdir_in("/dev/shm").unwrap().path());
}
