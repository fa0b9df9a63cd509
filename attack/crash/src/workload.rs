//! What is done to a file while its writes are recorded.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use layout::{HEADER_LEN_BYTES, Header, Superblock};
use pagestore::{Checkpoints, Error, PageCount, PageId, Snapshot, Transaction, VersionedFile};
use uuid::Uuid;

use crate::{
    check::{compare, tell_error as tell},
    disk::{Disk, index},
    model::{Content, Model, Page},
    random::Random,
    record::{Event, Extend, Note, Tape},
};

/// One step of a workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Writes a page, counted around where there are fewer.
    Write(u64),
    /// Adds pages.
    Grow(u64),
    /// Takes pages away at the end.
    Shrink(u64),
    /// Ends the transaction.
    Commit,
    /// Gives the transaction up.
    Rollback,
    /// Takes a snapshot, which is held and compared at the end.
    Snapshot,
    /// Compares and drops the oldest one.
    DropSnapshot,
    /// Makes a checkpoint.
    Checkpoint,
    /// Changes a page by a group commit.
    Update(u64),
    /// So many threads change two pages each, so many times, by group commits.
    Together {
        /// How many threads.
        threads: u64,
        /// How often each.
        updates: u64,
    },
    /// Closes the file and opens it again.
    Reopen,
    /// Commits, but the process dies in a durable write of that, after so many others; then the file is opened
    /// again, and shows the commit or the one before.
    DieInCommit(u64),
    /// The process dies in a checkpoint's durable write.
    DieInCheckpoint,
    /// The process dies in the durable write that closes the file.
    DieInClose,
    /// Opens the file again after its process died; what the kernel has in memory is still there.
    Kill,
}

/// What was recorded.
pub(crate) struct Recorded {
    pub(crate) disk: Disk,
    pub(crate) events: Vec<Event>,
    pub(crate) model: Model,
}

/// The bytes of every workload's log: the fewest there can be, so that it is soon used again.
pub(crate) const LOG_BYTES: u64 = 128 << 10;

/// The file's UUID is the same in each run, so that equal states have equal bytes.
const FILE_UUID: Uuid = Uuid::from_u128(0x00c0_ffee_0000_4000_8000_0000_0000_0001);

/// The bytes of a file as it is made, but for the UUID.
fn new_file(path: &Path) -> Result<Vec<u8>, String> {
    VersionedFile::options()
        .log_bytes(LOG_BYTES)
        .create(path)
        .map_err(tell)?
        .close()
        .map_err(tell)?;
    let mut image = fs::read(path).unwrap();
    let header = &mut image[..index(HEADER_LEN_BYTES)];
    let made = *Header::parse(header).map_err(|error| error.to_string())?.superblock();
    let geometry = made.versioned().ok_or("it was not made as a versioned file")?.geometry;
    let new = |uuid| Header::encode([Some(&Superblock::new_versioned(uuid, geometry)), None]);
    if *header != new(made.file_uuid()) {
        return Err("a new file has another header than was thought".into());
    }
    header.copy_from_slice(&new(FILE_UUID));
    fs::write(path, &image).unwrap();
    Ok(image)
}

/// Runs steps on a new file.
pub(crate) fn run(steps: &[Step], checkpoints: Checkpoints) -> Result<Recorded, String> {
    let folder = crate::stage::folder();
    let path = folder.path().join("file");
    let disk = Disk::new(new_file(&path)?);
    let tape = Arc::new(Tape::default());
    let mut run = Run {
        path: &path,
        tape: Arc::clone(&tape),
        model: Model::new(),
        snapshots: Vec::new(),
        has_died: false,
    };
    let mut left = steps;
    while !left.is_empty() || run.model.last() == 0 {
        let options = VersionedFile::options().checkpoints(checkpoints);
        let file = options.medium(tape.wrap(Extend::AsItIs)).open(&path).map_err(tell)?;
        tape.note(Note::Opened(file.commit_id().get()));
        left = run.until_closed(file, left)?;
        if left.is_empty() {
            break;
        }
    }
    Ok(Recorded { disk, events: tape.take(), model: run.model })
}

struct Run<'run> {
    path: &'run Path,
    tape: Arc<Tape>,
    model: Model,
    snapshots: Vec<(Snapshot, u64)>,
    /// The last commit may be there, or not.
    has_died: bool,
}

impl Run<'_> {
    /// Runs steps until the file is closed; gives what is left of them.
    fn until_closed<'s>(
        &mut self,
        file: VersionedFile,
        mut steps: &'s [Step],
    ) -> Result<&'s [Step], String> {
        let found = file.commit_id().get();
        if std::mem::take(&mut self.has_died) && found + 1 == self.model.last() {
            self.model.pop();
        }
        let expected = self.model.last();
        if found != expected {
            return Err(format!("{}: commit {found}, not {expected}", self.path.display()));
        }
        let opened = file.snapshot().map_err(tell)?;
        compare(&opened, self.model.last_content())?;
        drop(opened);
        let mut transaction: Option<(Transaction<'_>, Content)> = None;
        let mut how = Step::Kill;
        while let Some((&step, rest)) = steps.split_first() {
            steps = rest;
            match step {
                Step::Reopen | Step::Kill | Step::DieInClose => {
                    how = step;
                    break;
                }
                Step::DieInCheckpoint => {
                    self.tape.die_in(0);
                    if file.checkpoint().is_err() {
                        break;
                    }
                    // There was nothing to do.
                    self.tape.live_on();
                }
                Step::Commit => {
                    if let Some((transaction, content)) = transaction.take() {
                        self.commit(transaction, content)?;
                    }
                }
                Step::DieInCommit(others) => {
                    if let Some((transaction, content)) = transaction.take() {
                        self.die_in_commit(transaction, content, others)?;
                    }
                    break;
                }
                Step::Rollback => drop(transaction.take()),
                Step::Snapshot => {
                    let snapshot = file.snapshot().map_err(tell)?;
                    let commit = snapshot.commit().get();
                    self.snapshots.push((snapshot, commit));
                }
                Step::DropSnapshot if self.snapshots.is_empty() => {}
                Step::DropSnapshot => {
                    let oldest = self.snapshots.remove(0);
                    self.look_at(&oldest)?;
                }
                Step::Checkpoint => file.checkpoint().map_err(tell)?,
                Step::Update(_) if transaction.is_some() => {}
                Step::Update(page) => self.update(&file, page)?,
                Step::Together { .. } if transaction.is_some() => {}
                Step::Together { threads, updates } => self.together(&file, threads, updates)?,
                Step::Write(_) | Step::Grow(_) | Step::Shrink(_) => {
                    if transaction.is_none() {
                        let begun = file.begin().map_err(tell)?;
                        transaction = Some((begun, self.model.last_content().clone()));
                    }
                    let commit = self.model.last() + 1;
                    if let Some((transaction, content)) = &mut transaction {
                        change(transaction, content, step, commit).map_err(tell)?;
                    }
                }
            }
        }
        drop(transaction);
        for snapshot in std::mem::take(&mut self.snapshots) {
            self.look_at(&snapshot)?;
        }
        if how == Step::DieInClose {
            self.tape.die_in(0);
            // It dies, or has nothing to write.
            let _died = file.close();
            self.tape.switch_on();
        } else if how == Step::Reopen {
            file.close().map_err(tell)?;
        } else {
            self.tape.switch_off();
            drop(file);
            self.tape.switch_on();
        }
        Ok(steps)
    }

    fn commit(&mut self, transaction: Transaction<'_>, content: Content) -> Result<(), String> {
        let commit = self.model.last() + 1;
        // Before it is begun: a crash may leave it.
        self.model.push(content);
        self.tape.note(Note::Committing(commit));
        match transaction.commit() {
            Ok(report) if report.commit.get() == commit => {
                self.tape.note(Note::Committed(commit));
            }
            // There was nothing to commit.
            Ok(_) => self.nothing_came_of(commit),
            // A random workload can change more at a time than half of the log holds: one in millions of states.
            Err(Error::TransactionTooLarge { needed_bytes, .. })
                if needed_bytes > LOG_BYTES / 2 =>
            {
                self.nothing_came_of(commit);
            }
            Err(error) => return Err(tell(error)),
        }
        Ok(())
    }

    fn nothing_came_of(&mut self, commit: u64) {
        self.model.pop();
        self.tape.note(Note::Opened(commit - 1));
    }

    fn die_in_commit(
        &mut self,
        transaction: Transaction<'_>,
        content: Content,
        others: u64,
    ) -> Result<(), String> {
        let commit = self.model.last() + 1;
        self.model.push(content);
        self.tape.note(Note::Committing(commit));
        self.tape.die_in(others);
        match transaction.commit() {
            // It did not write that often, or had nothing to commit.
            Ok(report) if report.commit.get() == commit => {
                self.tape.note(Note::Committed(commit));
            }
            Ok(_) => self.nothing_came_of(commit),
            Err(_) => self.has_died = true,
        }
        Ok(())
    }

    fn update(&mut self, file: &VersionedFile, page: u64) -> Result<(), String> {
        let commit = self.model.last() + 1;
        let mut content = self.model.last_content().clone();
        if content.is_empty() {
            return Ok(());
        }
        let page = page % content.len() as u64;
        content[index(page)] = filled(commit, page);
        self.model.push(content.clone());
        self.tape.note(Note::Committing(commit));
        let updated = file.update(|transaction| {
            let bytes = transaction.page_mut(PageId::new(page))?;
            bytes.copy_from_slice(&content[index(page)].bytes);
            Ok::<_, pagestore::Error>(())
        });
        updated.map_err(tell)?;
        self.tape.note(Note::Committed(commit));
        Ok(())
    }

    fn together(&mut self, file: &VersionedFile, threads: u64, updates: u64) -> Result<(), String> {
        let page_count = self.model.last_content().len() as u64;
        if page_count == 0 {
            return Ok(());
        }
        // In the order in which they were made: each has the transaction for itself meanwhile.
        let made = Mutex::new(Vec::<(u64, u64, Page)>::new());
        let update = |thread: u64, number: u64| {
            let updated = file.update(|transaction| {
                let commit = transaction.base().get() + 1;
                self.tape.note(Note::Committing(commit));
                for page in [0, (1 + thread) % page_count] {
                    let filled = filled(commit, page ^ (1 + thread) << 8 ^ (1 + number) << 16);
                    transaction.page_mut(PageId::new(page))?.copy_from_slice(&filled.bytes);
                    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
                    made.push((commit, page, filled));
                }
                Ok::<_, pagestore::Error>(commit)
            });
            updated.map(|commit| self.tape.note(Note::Committed(commit))).map_err(tell)
        };
        let update = &update;
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads)
                .map(|thread| {
                    scope.spawn(move || (0..updates).try_for_each(|number| update(thread, number)))
                })
                .collect();
            let ended = threads.into_iter().map(|thread| thread.join().expect("no update panics"));
            ended.collect::<Result<(), String>>()
        })?;
        for of_one in made.into_inner().unwrap().chunk_by(|one, next| one.0 == next.0) {
            let mut content = self.model.last_content().clone();
            of_one.iter().for_each(|(_, page, filled)| content[index(*page)] = filled.clone());
            self.model.push(content);
            if of_one[0].0 != self.model.last() {
                return Err(format!("commit {} came after {}", of_one[0].0, self.model.last() - 1));
            }
        }
        Ok(())
    }

    fn look_at(&self, (snapshot, commit): &(Snapshot, u64)) -> Result<(), String> {
        let content =
            self.model.get(*commit).ok_or("a snapshot of a commit that was never made")?;
        compare(snapshot, &content.content)
            .map_err(|error| format!("a snapshot of {commit}: {error}"))
    }
}

const PAGE_BYTES: usize = 4096;

/// What a commit fills a page with.
fn filled(commit: u64, page: u64) -> Page {
    let word = (commit << 40 | page << 8 | 0xc0).to_le_bytes();
    Page::new(word.repeat(PAGE_BYTES / word.len()))
}

fn change(
    transaction: &mut Transaction<'_>,
    content: &mut Content,
    step: Step,
    commit: u64,
) -> pagestore::Result<()> {
    match step {
        Step::Grow(count) => {
            transaction.grow(PageCount::new(count))?;
            let zero = Page::new(vec![0; PAGE_BYTES]);
            content.extend((0..count).map(|_| zero.clone()));
        }
        Step::Shrink(count) => {
            transaction.shrink_to(PageCount::new(count).min(transaction.page_count()))?;
            content.truncate(index(count));
        }
        Step::Write(page) if !content.is_empty() => {
            let page = page % content.len() as u64;
            content[index(page)] = filled(commit, page);
            transaction.page_mut(PageId::new(page))?.copy_from_slice(&content[index(page)].bytes);
        }
        _ => {}
    }
    Ok(())
}

/// The steps that a workload of a seed takes.
pub(crate) fn random(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed);
    let pages_max = 1 + random.below(64);
    let commits_max = if random.below(8) == 0 { 200 } else { 30 };
    let commits = 1 + random.below(commits_max);
    let mut steps = vec![Step::Grow(1 + random.below(pages_max))];
    let mut left = commits;
    while left > 0 {
        steps.push(match random.below(32) {
            0..=14 => Step::Write(random.below(pages_max)),
            15..=23 => {
                left -= 1;
                Step::Commit
            }
            24 => Step::Grow(1 + random.below(pages_max / 4 + 1)),
            25 => Step::Shrink(random.below(pages_max)),
            26 => Step::Snapshot,
            27 => Step::DropSnapshot,
            28 => Step::Checkpoint,
            29 => Step::Update(random.below(pages_max)),
            30 if random.below(3) == 0 => Step::Reopen,
            31 if random.below(3) == 0 => Step::Kill,
            31 if random.below(3) == 0 => {
                left -= 1;
                match random.below(4) {
                    0 => Step::DieInCheckpoint,
                    1 => Step::DieInClose,
                    _ => Step::DieInCommit(random.below(2)),
                }
            }
            31 => Step::Rollback,
            _ => Step::Write(0),
        });
    }
    steps
}

/// The steps of a workload of a seed in which threads commit together.
pub(crate) fn together(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut steps = vec![Step::Grow(2 + random.below(6)), Step::Commit];
    for _ in 0..2 + random.below(6) {
        let (threads, updates) = (2 + random.below(4), 1 + random.below(6));
        steps.push(Step::Together { threads, updates });
        match random.below(10) {
            0 => steps.extend([Step::Grow(1 + random.below(3)), Step::Commit]),
            1 => steps.extend([Step::Shrink(2 + random.below(3)), Step::Commit]),
            2 => steps.push(Step::Snapshot),
            3 => steps.push(Step::DropSnapshot),
            4 => steps.push(Step::Checkpoint),
            5 => steps.push(Step::Kill),
            6 => steps.push(Step::Reopen),
            _ => steps.extend([Step::Write(random.below(8)), Step::Commit]),
        }
    }
    steps
}
