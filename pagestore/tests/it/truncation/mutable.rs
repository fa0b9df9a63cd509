//! Rounds with a mutable file: two readers, and a thread that writes and flushes.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use pagestore::{Error, PageCount, PageFile, PageId, PoisonCause, Populate, Result};

use super::{
    pages::{DATA_START, FULL_LEN, Judgement, PAGE_LEN, PAGES, judge, some_pages, word, write_new},
    round::{Round, Tally, count},
};
use crate::report::Random;

/// The bytes of a mutable file whose pages are of generation 0.
pub(crate) fn mutable_file(folder: &Path) -> Vec<u8> {
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
pub(crate) struct Generations {
    begun: Vec<AtomicU64>,
    done: Vec<AtomicU64>,
}

impl Generations {
    pub(crate) fn new() -> Self {
        let zeros = || (0..PAGES).map(|_| AtomicU64::new(0)).collect();
        Self { begun: zeros(), done: zeros() }
    }

    pub(crate) fn done(&self) -> Vec<u64> {
        self.done.iter().map(|done| done.load(Ordering::Acquire)).collect()
    }

    pub(crate) fn begun(&self, page: u64) -> u64 {
        self.begun[usize::try_from(page).unwrap()].load(Ordering::Acquire)
    }
}

pub(crate) fn mutable_round(path: &Path, bytes: &[u8], tally: &Tally, random: &mut Random) {
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
pub(crate) fn read_mutable(
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
pub(crate) fn hold_mutable(
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
pub(crate) fn write_and_flush(
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
pub(crate) fn check_poison_lasts(file: &PageFile, tally: &Tally) {
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
