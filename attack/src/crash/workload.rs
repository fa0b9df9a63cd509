//! What is done to a file while its writes are recorded.

use std::{fs, path::Path, sync::Arc};

use pagestore::{PageCount, PageId, Snapshot, Transaction, VersionedFile};

use super::{
    check::{self, Content, Model, compare},
    disk::{Disk, index},
    random::Random,
    record::{Event, Note, Tape},
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
    /// Closes the file and opens it again.
    Reopen,
    /// Opens the file again after its process died; what the kernel has in memory is still there.
    Kill,
}

/// What was recorded.
pub(super) struct Recorded {
    pub(super) disk: Disk,
    pub(super) events: Vec<Event>,
    pub(super) model: Model,
}

/// The bytes of every workload's log: the fewest there can be, so that it is soon used again.
const LOG_BYTES: u64 = 128 << 10;

/// Runs steps on a new file.
pub(super) fn run(steps: &[Step]) -> Result<Recorded, String> {
    let folder = super::stage::folder();
    let path = folder.path().join("file");
    let tell = check::tell_error;
    VersionedFile::options()
        .log_bytes(LOG_BYTES)
        .create(&path)
        .map_err(tell)?
        .close()
        .map_err(tell)?;
    let disk = Disk::new(fs::read(&path).unwrap());
    let tape = Arc::new(Tape::default());
    let mut run = Run {
        path: &path,
        tape: Arc::clone(&tape),
        model: Model { commits: vec![Content::new()] },
        snapshots: Vec::new(),
    };
    let mut left = steps;
    while !left.is_empty() || run.model.commits.len() == 1 {
        let file = check::options(&tape).open(&path).map_err(tell)?;
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
}

impl Run<'_> {
    /// Runs steps until the file is closed; gives what is left of them.
    fn until_closed<'s>(
        &mut self,
        file: VersionedFile,
        mut steps: &'s [Step],
    ) -> Result<&'s [Step], String> {
        let expected = self.model.commits.len() as u64 - 1;
        let found = file.commit_id().get();
        if found != expected {
            return Err(format!("{}: commit {found}, not {expected}", self.path.display()));
        }
        let opened = file.snapshot().map_err(check::tell_error)?;
        compare(&opened, self.last())?;
        drop(opened);
        let mut transaction: Option<(Transaction<'_>, Content)> = None;
        let mut how = Step::Kill;
        while let Some((&step, rest)) = steps.split_first() {
            steps = rest;
            match step {
                Step::Reopen | Step::Kill => {
                    how = step;
                    break;
                }
                Step::Commit => {
                    if let Some((transaction, content)) = transaction.take() {
                        self.commit(transaction, content)?;
                    }
                }
                Step::Rollback => drop(transaction.take()),
                Step::Snapshot => {
                    let snapshot = file.snapshot().map_err(check::tell_error)?;
                    let commit = snapshot.commit().get();
                    self.snapshots.push((snapshot, commit));
                }
                Step::DropSnapshot if self.snapshots.is_empty() => {}
                Step::DropSnapshot => {
                    let oldest = self.snapshots.remove(0);
                    self.look_at(&oldest)?;
                }
                Step::Checkpoint => file.checkpoint().map_err(check::tell_error)?,
                Step::Update(_) if transaction.is_some() => {}
                Step::Update(page) => self.update(&file, page)?,
                Step::Write(_) | Step::Grow(_) | Step::Shrink(_) => {
                    if transaction.is_none() {
                        let begun = file.begin().map_err(check::tell_error)?;
                        transaction = Some((begun, self.last().clone()));
                    }
                    let commit = self.model.commits.len() as u64;
                    if let Some((transaction, content)) = &mut transaction {
                        change(transaction, content, step, commit).map_err(check::tell_error)?;
                    }
                }
            }
        }
        drop(transaction);
        for snapshot in std::mem::take(&mut self.snapshots) {
            self.look_at(&snapshot)?;
        }
        if how == Step::Reopen {
            file.close().map_err(check::tell_error)?;
        } else {
            self.tape.switch_off();
            drop(file);
            self.tape.switch_on();
        }
        Ok(steps)
    }

    fn last(&self) -> &Content {
        self.model.commits.last().expect("the file as it was made is the first")
    }

    fn commit(&mut self, transaction: Transaction<'_>, content: Content) -> Result<(), String> {
        let commit = self.model.commits.len() as u64;
        // Before it is begun: a crash may leave it.
        self.model.commits.push(content);
        self.tape.note(Note::Committing(commit));
        let report = transaction.commit().map_err(check::tell_error)?;
        if report.commit.get() == commit {
            self.tape.note(Note::Committed(commit));
        } else {
            self.model.commits.pop();
            self.tape.note(Note::Opened(commit - 1));
        }
        Ok(())
    }

    fn update(&mut self, file: &VersionedFile, page: u64) -> Result<(), String> {
        let commit = self.model.commits.len() as u64;
        let mut content = self.last().clone();
        if content.is_empty() {
            return Ok(());
        }
        let page = page % content.len() as u64;
        content[index(page)] = filled(commit, page);
        self.model.commits.push(content.clone());
        self.tape.note(Note::Committing(commit));
        let updated = file.update(|transaction| {
            let bytes = transaction.page_mut(PageId::new(page))?;
            bytes.copy_from_slice(&content[index(page)]);
            Ok::<_, pagestore::Error>(())
        });
        updated.map_err(check::tell_error)?;
        self.tape.note(Note::Committed(commit));
        Ok(())
    }

    fn look_at(&self, (snapshot, commit): &(Snapshot, u64)) -> Result<(), String> {
        let content = &self.model.commits[index(*commit)];
        compare(snapshot, content).map_err(|error| format!("a snapshot of {commit}: {error}"))
    }
}

const PAGE_BYTES: usize = 4096;

/// What a commit fills a page with.
fn filled(commit: u64, page: u64) -> Arc<[u8]> {
    let word = (commit << 32 | page << 8 | 0xc0de << 48).to_le_bytes();
    Arc::from(word.repeat(PAGE_BYTES / word.len()))
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
            let zero: Arc<[u8]> = Arc::from(vec![0; PAGE_BYTES]);
            content.extend((0..count).map(|_| Arc::clone(&zero)));
        }
        Step::Shrink(count) => {
            transaction.shrink_to(PageCount::new(count).min(transaction.page_count()))?;
            content.truncate(index(count));
        }
        Step::Write(page) if !content.is_empty() => {
            let page = page % content.len() as u64;
            content[index(page)] = filled(commit, page);
            transaction.page_mut(PageId::new(page))?.copy_from_slice(&content[index(page)]);
        }
        _ => {}
    }
    Ok(())
}

/// The steps that a workload of a seed takes.
pub(super) fn random(seed: u64) -> Vec<Step> {
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
            31 => Step::Rollback,
            _ => Step::Write(0),
        });
    }
    steps
}
