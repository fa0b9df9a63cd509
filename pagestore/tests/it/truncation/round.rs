//! A round: what its threads know of the file that is cut under them, and what all rounds counted.

use std::{
    fs::File,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use pagestore::{Error, PoisonCause};

use super::pages::{DATA_START, Judgement, PAGE_LEN, PAGES, judge};
use crate::{
    report::{Random, say},
    sigbus,
};

/// No cut has been completed.
pub(crate) const NO_CUT: u64 = u64::MAX;

#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) cuts: AtomicU64,
    pub(crate) extensions: AtomicU64,
    pub(crate) right: AtomicU64,
    pub(crate) flushed: AtomicU64,
    pub(crate) zeros_after_extension: AtomicU64,
    pub(crate) errors_fault: AtomicU64,
    pub(crate) errors_poisoned: AtomicU64,
    pub(crate) errors_flush: AtomicU64,
    pub(crate) errors_checksum: AtomicU64,
    pub(crate) rounds: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    /// Counts an error; only those that a cut file explains are let pass.
    pub(crate) fn error(&self, error: &Error) {
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

    pub(crate) fn say(&self, place: &str, seconds: f64) {
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
pub(crate) struct Round<'run> {
    pub(crate) tally: &'run Tally,
    full_len: u64,
    /// Cuts begun so far.
    pub(crate) cuts_begun: AtomicU64,
    /// Cuts completed so far.
    cuts_done: AtomicU64,
    /// The file's length after the last completed cut or extension.
    len_now: AtomicU64,
    pub(crate) extended: AtomicBool,
    over: AtomicBool,
    poisoned: AtomicBool,
    pub(crate) start: Barrier,
}

impl<'run> Round<'run> {
    pub(crate) fn new(tally: &'run Tally, full_len: u64, threads: usize) -> Self {
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
    pub(crate) fn error(&self, error: &Error) {
        self.tally.error(error);
        if matches!(error, Error::Poisoned { .. }) {
            self.poisoned.store(true, Ordering::Relaxed);
            thread::sleep(Duration::from_micros(20));
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The cuts begun so far, where none is under way.
    pub(crate) fn cuts_while_quiet(&self) -> Option<u64> {
        let done = self.cuts_done.load(Ordering::Acquire);
        (done == self.cuts_begun.load(Ordering::Acquire)).then_some(done)
    }

    /// Whether a cut that shortened the file was completed, and not undone.
    pub(crate) fn is_cut(&self) -> bool {
        self.len_now.load(Ordering::Acquire) < self.full_len
    }

    /// Looks at pages that were handed back as right.
    pub(crate) fn judge(&self, first: u64, bytes: &[u8], generations: impl Fn(u64) -> (u64, u64)) {
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
    pub(crate) fn cut(&self, file: &File, random: &mut Random) {
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
