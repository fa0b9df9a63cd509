//! From the input to sorted runs: one thread reads, two sort and spill.
//!
//! As long as all of the input fits into the chunks, they stay in memory. From the moment on when
//! the reading thread finds no free one, every sorted chunk is spilled.

use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use indicatif::ProgressBar;
use storage::{
    ByteOffset, Reservation, ResidencyBudget,
    spill::{SpillOptions, SpillRun, SpillWriter},
};

use super::{
    chunk::Chunk,
    key::{LineOrder, Uniqueness},
    plan::{CHUNK_COUNT, Plan},
};
use crate::{
    error::{Error, Result},
    input::Input,
    interrupt::Interrupt,
};

const THREADS: usize = 2;

/// What is made of the input, in the order it came.
pub(super) enum Sorted {
    InMemory(Vec<Chunk>),
    Spilled(Vec<SpillRun>),
}

/// How to sort.
pub(super) struct Sorting<'sort> {
    pub(super) order: LineOrder,
    pub(super) uniqueness: Uniqueness,
    pub(super) plan: Plan,
    pub(super) budget: &'sort ResidencyBudget,
    pub(super) spill: &'sort SpillOptions,
    pub(super) interrupt: &'sort Interrupt,
}

/// A chunk and its place in the input.
struct Numbered {
    number: usize,
    chunk: Chunk,
}

enum Job {
    Sort(Numbered),
    Spill(Numbered),
}

enum Done {
    Sorted(Numbered),
    /// The chunk can be used again.
    Spilled(Chunk),
}

/// Where a run stands in a thread's spill, by its number.
type Places = Vec<(usize, Range<ByteOffset>)>;

impl Sorting<'_> {
    /// Reads all of the input and sorts it.
    pub(super) fn run(&self, input: &mut Input, bar: &ProgressBar) -> Result<Sorted> {
        let must_spill = AtomicBool::new(false);
        let (jobs, queue) = mpsc::channel();
        let queue = Mutex::new(queue);
        let (answers, done) = mpsc::channel();
        thread::scope(|scope| {
            // Dropped with the jobs' sender where anything fails, so that the threads end.
            let mut chunks = Chunks::new(self, jobs, done, &must_spill);
            let mut workers = Vec::with_capacity(THREADS);
            for _ in 0..THREADS {
                let (queue, answers, must_spill) = (&queue, answers.clone(), &must_spill);
                let work = move || self.work(queue, &answers, must_spill);
                let spawned = thread::Builder::new().spawn_scoped(scope, work);
                workers.push(spawned.map_err(|source| Error::Thread { source })?);
            }
            // Of the threads alone, so that nobody waits for answers when they are gone.
            drop(answers);
            self.read(input, bar, &mut chunks)?;
            let in_memory = chunks.finish()?;
            let mut runs = Vec::new();
            for worker in workers {
                let spilled =
                    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                let Some((spill, places)) = spilled else { continue };
                let reader = spill.finish()?;
                for (number, place) in places {
                    runs.push((number, reader.run(place)?));
                }
            }
            if runs.is_empty() {
                return Ok(Sorted::InMemory(in_memory));
            }
            runs.sort_by_key(|(number, _)| *number);
            Ok(Sorted::Spilled(runs.into_iter().map(|(_, run)| run).collect()))
        })
    }

    /// Cuts the input into chunks of whole lines.
    fn read(&self, input: &mut Input, bar: &ProgressBar, chunks: &mut Chunks<'_>) -> Result<()> {
        let mut chunk = chunks.take()?;
        // Where in the input the chunk begins.
        let mut start = 0;
        loop {
            let room = chunk.room();
            if room.is_empty() {
                match chunk.rest().map(<[u8]>::len) {
                    None => chunks.grow(&mut chunk, start)?,
                    Some(rest_len) => {
                        start += chunk.len_bytes() - rest_len as u64;
                        chunk = chunks.exchange(chunk, rest_len)?;
                    }
                }
                continue;
            }
            let len = input.read(room, self.interrupt)?;
            if len == 0 {
                break;
            }
            chunk.filled(len);
            bar.inc(len as u64);
        }
        if !chunk.is_empty() {
            chunks.sort(chunk);
        }
        Ok(())
    }

    /// What a thread does: sorts chunks, and spills them where it must.
    fn work(
        &self,
        queue: &Mutex<Receiver<Job>>,
        answers: &Sender<Result<Done>>,
        must_spill: &AtomicBool,
    ) -> Option<(SpillWriter, Places)> {
        let mut spilled = None;
        loop {
            let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let numbered = match job {
                Err(_no_more) => return spilled,
                Ok(Job::Sort(mut numbered)) => {
                    numbered.chunk.sort(&self.order);
                    if !must_spill.load(Ordering::Acquire) {
                        if answers.send(Ok(Done::Sorted(numbered))).is_err() {
                            return spilled;
                        }
                        continue;
                    }
                    numbered
                }
                Ok(Job::Spill(numbered)) => numbered,
            };
            let answer = self.spill(numbered, &mut spilled).map(Done::Spilled);
            // Nobody listens where the reading failed.
            if answers.send(answer).is_err() {
                return spilled;
            }
        }
    }

    fn spill(
        &self,
        numbered: Numbered,
        spilled: &mut Option<(SpillWriter, Places)>,
    ) -> Result<Chunk> {
        let (spill, places) = match spilled {
            Some(spilled) => spilled,
            None => spilled.insert((self.spill.create()?, Places::new())),
        };
        let start = spill.position();
        let mut chunk = numbered.chunk;
        let mut last = None;
        for line in chunk.lines() {
            if last.is_some_and(|last| self.uniqueness.leaves_out(&self.order, last, line)) {
                continue;
            }
            spill.append_record(line)?;
            last = Some(line);
        }
        places.push((numbered.number, start..spill.position()));
        chunk.clear();
        Ok(chunk)
    }
}

/// The chunks, wherever they are.
struct Chunks<'sort> {
    plan: Plan,
    budget: &'sort ResidencyBudget,
    jobs: Sender<Job>,
    done: Receiver<Result<Done>>,
    must_spill: &'sort AtomicBool,
    free: Vec<Chunk>,
    sorted: Vec<Numbered>,
    /// How many the threads have.
    busy: usize,
    next_number: usize,
    /// Of all chunks there are.
    reserved: Vec<Reservation>,
}

impl<'sort> Chunks<'sort> {
    fn new(
        sorting: &Sorting<'sort>,
        jobs: Sender<Job>,
        done: Receiver<Result<Done>>,
        must_spill: &'sort AtomicBool,
    ) -> Self {
        let (plan, budget) = (sorting.plan, sorting.budget);
        let (free, sorted, reserved) = (Vec::new(), Vec::new(), Vec::new());
        let (busy, next_number) = (0, 0);
        Self { plan, budget, jobs, done, must_spill, free, sorted, busy, next_number, reserved }
    }

    /// An empty chunk.
    fn take(&mut self) -> Result<Chunk> {
        loop {
            if let Some(chunk) = self.free.pop() {
                return Ok(chunk);
            }
            if (self.reserved.len() as u64) < CHUNK_COUNT {
                let bytes = self.plan.chunk_bytes();
                self.reserved.push(self.budget.reserve(bytes as u64)?);
                return Chunk::new(bytes);
            }
            self.spill_all();
            self.wait()?;
        }
    }

    fn sort(&mut self, chunk: Chunk) {
        let numbered = Numbered { number: self.next_number, chunk };
        self.next_number += 1;
        self.give(Job::Sort(numbered));
    }

    /// Has a chunk sorted, and gives another that begins with its last bytes, which are no line yet.
    fn exchange(&mut self, mut chunk: Chunk, rest_len: usize) -> Result<Chunk> {
        if chunk.is_grown() {
            // Little, since it was full with the end of its first line.
            let rest = chunk.rest().unwrap_or_default().to_vec();
            chunk.cut_off(rest_len);
            self.sort(chunk);
            self.spill_others()?;
            let mut next = self.take()?;
            next.begin_with(&rest);
            return Ok(next);
        }
        let mut next = self.take()?;
        next.begin_with(chunk.rest().unwrap_or_default());
        chunk.cut_off(rest_len);
        self.sort(chunk);
        Ok(next)
    }

    fn give(&mut self, job: Job) {
        self.busy += 1;
        self.jobs.send(job).expect("the threads take jobs as long as this can send");
    }

    /// From now on, what is sorted is spilled.
    fn spill_all(&mut self) {
        self.must_spill.store(true, Ordering::Release);
        for numbered in std::mem::take(&mut self.sorted) {
            self.give(Job::Spill(numbered));
        }
    }

    /// Waits for one chunk.
    fn wait(&mut self) -> Result<()> {
        let done = self.done.recv().expect("a busy thread answers");
        self.busy -= 1;
        match done? {
            // It was the only one.
            Done::Spilled(chunk) if chunk.is_grown() => self.reserved.clear(),
            Done::Spilled(chunk) => self.free.push(chunk),
            Done::Sorted(numbered) if self.must_spill.load(Ordering::Acquire) => {
                self.give(Job::Spill(numbered));
            }
            Done::Sorted(numbered) => self.sorted.push(numbered),
        }
        Ok(())
    }

    /// Has all chunks spilled that the caller does not have, and gives their memory back.
    fn spill_others(&mut self) -> Result<()> {
        self.spill_all();
        while self.busy > 0 {
            self.wait()?;
        }
        self.free.clear();
        self.reserved.truncate(1);
        Ok(())
    }

    /// Makes a chunk larger for a line that begins in the input at `start`, and the only one.
    fn grow(&mut self, chunk: &mut Chunk, start: u64) -> Result<()> {
        self.spill_others()?;
        let bytes_max = self.plan.chunk_bytes_max().min(Chunk::BYTES_MAX);
        let bytes = (chunk.bytes() * 2).min(bytes_max);
        if bytes <= chunk.bytes() {
            return Err(Error::LineTooLong { start, line_bytes_max: bytes_max });
        }
        self.reserved.clear();
        self.reserved.push(self.budget.reserve(bytes as u64)?);
        chunk.grow(bytes)
    }

    /// Waits for all chunks; gives those that were not spilled, in order.
    fn finish(mut self) -> Result<Vec<Chunk>> {
        if self.must_spill.load(Ordering::Acquire) {
            self.spill_all();
        }
        while self.busy > 0 {
            self.wait()?;
        }
        self.sorted.sort_by_key(|numbered| numbered.number);
        Ok(self.sorted.into_iter().map(|numbered| numbered.chunk).collect())
    }
}
